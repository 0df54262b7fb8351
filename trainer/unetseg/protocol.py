"""Messages as lines: one JSON object each, with its class under ``type`` and the protocol's ``version``."""

from __future__ import annotations

import json
from typing import get_args

from .errors import ProtocolError
from .messages import Message
from .records import RecordError, from_json, loads, to_json

PROTOCOL_VERSION = 1
MAX_LINE_BYTES = 1_000_000

MESSAGES: dict[str, type[Message]] = {kind.__name__: kind for kind in get_args(Message)}


def encode(message: Message) -> str:
    """The message as one line of ASCII, newline included (so that no reader can split a character)."""
    data = {"type": type(message).__name__, "version": PROTOCOL_VERSION, **to_json(message)}
    try:
        line = json.dumps(data, allow_nan=False) + "\n"
    except ValueError as error:
        raise ProtocolError("A message must hold finite numbers only", received=type(message).__name__) from error
    if len(line) > MAX_LINE_BYTES:
        raise ProtocolError(f"A message must be at most {MAX_LINE_BYTES} bytes", received=f"{len(line)} bytes")
    return line


def request_id(line: bytes) -> str | None:
    """The id on a line that ``decode`` refused, where it can be found, so that the refusal names the request."""
    try:
        data = loads(line.decode())
    except (RecordError, UnicodeDecodeError):
        return None
    found = data.get("id") if isinstance(data, dict) else None
    return found if isinstance(found, str) else None


def decode(line: str | bytes) -> Message:
    """The message on one line. Raises ``ProtocolError`` for anything else."""
    if len(line) > MAX_LINE_BYTES:
        raise ProtocolError(f"A message must be at most {MAX_LINE_BYTES} bytes", received=f"{len(line)} bytes")
    try:
        data = loads(line if isinstance(line, str) else line.decode())
        if not isinstance(data, dict):
            raise RecordError("a message must be an object")
        kind, version = data.pop("type", None), data.pop("version", None)
        if version != PROTOCOL_VERSION:
            raise ProtocolError(
                f"Both processes must speak version {PROTOCOL_VERSION} of the protocol",
                received=f"version {version}",
                remedy="Install the same version of UNetSegment on both sides",
            )
        if not isinstance(kind, str) or kind not in MESSAGES:
            raise RecordError(f"unknown type {str(kind)[:40]!r}")
        return from_json(MESSAGES[kind], data)
    except (RecordError, UnicodeDecodeError) as error:
        raise ProtocolError("A line must be one message in JSON", received=str(error)) from error
