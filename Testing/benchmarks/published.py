"""Read a section of RESULTS.md back, so that no figure is typed twice."""

from __future__ import annotations

from dataclasses import dataclass

from unetseg.errors import SettingsError


@dataclass(frozen=True)
class Published:
    """One section, as ``results.publish`` has written it.

    Attributes:
        command: that printed it.
        facts: date and machine.
        table: its lines, in Markdown.
        notes: the lines below the table.
    """

    command: str
    facts: str
    table: tuple[str, ...]
    notes: str

    def rows(self) -> list[dict[str, str]]:
        """The table's cells by the heading of their column."""
        header, _rule, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in self.table)
        return [dict(zip(header, row, strict=True)) for row in rows]

    def row_of_training(self, iterations: int) -> dict[str, str] | None:
        """The row of a training of so many steps."""
        return next((row for row in self.rows() if row.get("iterations") == str(iterations)), None)


def find_training(text: str, title: str, *, iterations: int) -> Published:
    """The last section called ``title`` with a training of so many steps.

    Raises:
        SettingsError: there is none.
    """
    found = [_parsed(section) for section in text.split("\n## ") if section.startswith(f"{title}\n")]
    for published in reversed(found):
        if published.row_of_training(iterations) is not None:
            return published
    raise SettingsError(
        "The figures of a model must have been published by the training that made it",
        received=f"{len(found)} sections “{title}”, none of {iterations} iterations",
        remedy="Train the model with the script of this section",
    )


def _parsed(section: str) -> Published:
    blocks = [block.strip() for block in section.split("\n\n")]
    _title, command, facts, table, *notes = (block for block in blocks if block)
    return Published(command.strip("`"), facts, tuple(table.splitlines()), "\n".join(notes))
