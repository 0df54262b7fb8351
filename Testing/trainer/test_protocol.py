"""What is no message is refused with a reason; what is one: see ``test_messages``."""

from __future__ import annotations

import pytest

from unetseg.errors import ProtocolError
from unetseg.messages import Failed, Progress
from unetseg.protocol import decode, encode, request_id


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"", "not valid JSON"),
        (b"hello\n", "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
        (b'{"type": "Describe", "version": 1, "id": "\xff"}', "codec can't decode"),
        (b'["Describe"]', "must be an object"),
        (b'{"type": "Describe", "id": "1"}', "version None"),
        (b'{"type": "Describe", "version": 2, "id": "1"}', "version 2"),
        (b'{"type": "Delete", "version": 1, "id": "1"}', "unknown type 'Delete'"),
        (b'{"type": ["x"], "version": 1, "id": "1"}', "unknown type"),
        (b'{"type": "Describe", "version": 1}', "needs the field 'id'"),
        (b'{"type": "Describe", "version": 1, "id": 1}', "Describe.id must be str"),
        (b'{"type": "Describe", "version": 1, "id": "1", "more": 1}', "no field 'more'"),
        (b'{"type": "Progress", "version": 1, "request": "1", "stage": "x", "fraction": NaN}', "NaN is not JSON"),
        (b'{"type": "Describe", "version": 1, "id": "' + b"x" * 1_000_000 + b'"}', "bytes"),
    ],
)
def test_anything_else_is_refused_with_a_reason(line: bytes, reason: str) -> None:
    with pytest.raises(ProtocolError, match=reason.replace("[", r"\[")):
        decode(line)


def test_a_message_that_no_one_could_read_is_not_sent() -> None:
    with pytest.raises(ProtocolError, match="finite"):
        encode(Progress("1", "training", float("nan")))
    with pytest.raises(ProtocolError, match="at most 1000000 bytes"):
        encode(Failed("1", "internal", "x", details="x" * 1_000_000))


@pytest.mark.parametrize(
    ("line", "expected"),
    [(b'{"type": "Nonsense", "id": "17"}', "17"), (b'{"id": 17}', None), (b"{", None), (b"\xff", None), (b"[1]", None)],
)
def test_a_refused_line_is_answered_under_its_id_where_it_has_one(line: bytes, expected: str | None) -> None:
    assert request_id(line) == expected
