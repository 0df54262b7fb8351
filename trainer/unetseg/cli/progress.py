"""Progress for people: a bar on a terminal, sparse lines elsewhere."""

from __future__ import annotations

import shutil
import time
from typing import TextIO

from ..messages import Epoch, Progress

BAR_WIDTH = 24
SECONDS_BETWEEN_LINES = 30.0


class ProgressDisplay:
    """Called with every ``Progress`` and ``Epoch``; a context manager that ends the bar's line.

    Without a terminal it writes a line for each new stage, each validation and each half minute.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._terminal = stream.isatty()
        self._stages_told: set[str] = set()
        self._written_at = 0.0
        self._width = 0

    def __enter__(self) -> ProgressDisplay:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._width:
            self._stream.write("\n")

    def __call__(self, message: Progress | Epoch) -> None:
        stage = message.stage if isinstance(message, Progress) else "training"
        text = _described(stage, message)
        measured = isinstance(message, Epoch) and message.held_out_dice is not None
        now = time.monotonic()
        if self._terminal:
            filled = round(BAR_WIDTH * message.fraction)
            text = f"[{'#' * filled}{'.' * (BAR_WIDTH - filled)}] {text}"
            if not measured:  # a line that wraps cannot be overwritten
                text = text[: shutil.get_terminal_size().columns - 1]
            self._stream.write("\r" + text.ljust(self._width))
            self._width = len(text)
            if measured:
                self._stream.write("\n")
                self._width = 0
        elif measured or stage not in self._stages_told or now - self._written_at >= SECONDS_BETWEEN_LINES:
            self._stream.write(text + "\n")
            self._written_at = now
        self._stages_told.add(stage)
        self._stream.flush()


def dice_text(values: tuple[float | None, ...]) -> str:
    """Dice per class from 1 on; n/a where a class is in neither label map."""
    return " ".join("n/a" if value is None else f"{value:.3f}" for value in values)


def _described(stage: str, message: Progress | Epoch) -> str:
    parts = [f"{100 * message.fraction:3.0f} % {stage}"]
    if message.seconds_left is not None:
        minutes, seconds = divmod(round(message.seconds_left), 60)
        parts.append(f"{minutes}:{seconds:02d} left")
    if isinstance(message, Epoch):
        parts.append(f"iteration {message.iteration}")
        parts += [f"{name} {'n/a' if value is None else f'{value:.4f}'}" for name, value in message.loss.items()]
        if message.held_out_dice is not None:
            parts.append(f"held-out Dice {dice_text(message.held_out_dice)}")
    return ", ".join(parts)
