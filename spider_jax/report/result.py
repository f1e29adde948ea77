"""One protocol for every result: what it says goes to a terminal, Markdown, CSV and JSON."""

import math
from abc import abstractmethod
from collections.abc import Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

from spider_jax.report import tables
from spider_jax.report.page import Notes, Section, Table, page_markdown, page_text
from spider_jax.storage.files import versioned, write_json, write_text

Scalar = str | int | float | bool | None  # what a cell of a JSON row holds


@runtime_checkable
class Result(Protocol):
    """What a result says of itself; all ways out of it are made from that.

    A class that names Result as its base gives `kind`, `columns` and `to_rows`, and has the rest;
    `notes`, `skipped`, `statements`, `page` and `data` are for those that have more to say. A
    dataclass whose field is called `notes` or `skipped` must give that field a default.

    Attributes:
        kind: the format in the header of the JSON.
    """

    kind: ClassVar[str]

    @property
    @abstractmethod
    def columns(self) -> tuple[str, ...]:
        """Headings of `to_rows`."""

    @abstractmethod
    def to_rows(self) -> Sequence[Sequence[object]]:
        """The table, one cell per name in `columns` in every row; None for what is not known."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences for the reader; words of this package only where they are `Own`."""
        return ()

    @property
    def skipped(self) -> tuple[str, ...]:
        """What could not be used, and why, a line each."""
        return ()

    def statements(self) -> Sequence[str]:
        """All that is said below the table: the notes, and what the class itself adds to them."""
        return self.notes

    def page(self) -> Sequence[Section]:
        """What a reader sees, but for what was skipped: the table and the statements."""
        return (Section((Table(self.columns, self.to_rows()), Notes(self.statements()))),)

    def data(self) -> dict[str, Any]:
        """What a program reads, as JSON has it: rows by column, statements, what was skipped."""
        return {
            "rows": json_rows(self.columns, self.to_rows()),
            "notes": list(self.statements()),
            "skipped": list(self.skipped),
        }

    # ---- ways out ----------------------------------------------------------------------------

    def to_text(self) -> str:
        """The page for a terminal, and what was skipped.

        Returns:
            Lines without control characters, no newline at the end.
        """
        return page_text(self._whole_page())

    def to_markdown(self) -> str:
        """What `to_text` says, in GitHub's Markdown.

        Returns:
            Tables, lists and paragraphs with every name escaped, no newline at the end.
        """
        return page_markdown(self._whole_page())

    def to_csv(self, path: str | Path) -> None:
        """Write all rows with exact names and numbers as CSV, all or nothing.

        Args:
            path: the file; one that exists is replaced.
        """
        write_text(Path(path), tables.to_csv(self.columns, self.to_rows()))

    def to_content(self) -> dict[str, Any]:
        """What `to_json` writes, with its header.

        Returns:
            {"format": "spider_jax/<kind>", "version", "created_with", and what `data` gives}.
        """
        return versioned(self.kind, self.data())

    def to_json(self, path: str | Path) -> None:
        """Write `to_content` as JSON, all or nothing.

        Args:
            path: the file; one that exists is replaced.
        """
        write_json(Path(path), self.kind, self.data())

    def __str__(self) -> str:
        return self.to_text()

    def _whole_page(self) -> list[Section]:
        skipped = [f"skipped: {what}" for what in self.skipped]
        return [*self.page(), *([Section((Notes(skipped),))] if skipped else [])]


def json_rows(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> list[dict[str, Scalar]]:
    """Rows by column for a JSON; a number that is not finite is None.

    Args:
        columns: one heading per column.
        rows: one cell per column in every row.

    Returns:
        One entry per row.

    >>> json_rows(["model", "score"], [["vgg", 0.5], ["vit", float("nan")]])
    [{'model': 'vgg', 'score': 0.5}, {'model': 'vit', 'score': None}]
    """
    return [dict(zip(columns, map(_json_value, row), strict=True)) for row in rows]


def _json_value(value: object) -> Scalar:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return float(value) if math.isfinite(value) else None
    return str(value)
