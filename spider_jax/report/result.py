"""One protocol for every result: what it says goes to all its ways out, see `spider_jax.report`."""

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar, runtime_checkable

from spider_jax.errors import InputError
from spider_jax.report import tables
from spider_jax.report.frames import to_frame
from spider_jax.report.page import Notes, Section, Table, page_markdown, page_text
from spider_jax.storage.files import read_json, versioned, write_json, write_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
else:
    Axes = object

Read = TypeVar("Read")
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

    @classmethod
    def from_json(cls: type[Read], path: str | Path) -> Read:
        """Read what `to_json` wrote.

        Args:
            path: the file.

        Returns:
            The result; what follows from its numbers is derived anew.

        Raises:
            InputError: the file is missing, of another kind, broken, or of a newer version; or
                results of this kind are not read back.
        """
        found: Read = _read_back(cls, Path(path))
        return found

    @classmethod
    def read(cls: type[Read], content: Mapping[str, Any]) -> Read:
        """The inverse of `data`, for those classes that have one.

        Args:
            content: of a JSON.

        Returns:
            The result.

        Raises:
            Exception: this class has none.
            AttributeError, KeyError, TypeError, ValueError: the content is not sound.
        """
        raise _NotReadBackError

    def to_html(self) -> str:
        """The result as one self-contained HTML page, as `spider-jax report` writes it.

        Returns:
            A document: no network, readable without JavaScript, every name is text.
        """
        from spider_jax.report.web.page import memory_source, page_of  # with jinja2

        return page_of([memory_source(f"{self.kind} (in memory)", self.to_content())])

    def to_frame(self, library: str | None = None) -> Any:
        """The table as a data frame: exact names and numbers, a missing value for None.

        Args:
            library: "pandas" or "polars"; default: the first of them that is installed.

        Returns:
            A pandas.DataFrame or a polars.DataFrame.

        Raises:
            InputError: an unknown library, or none is installed.
        """
        return to_frame(self.columns, self.to_rows(), library)

    def plot(self, axes: Axes | None = None) -> Axes:
        """The picture of the result, with matplotlib.

        Args:
            axes: matplotlib's, to draw on; default: new ones.

        Returns:
            The axes.

        Raises:
            InputError: matplotlib is not installed, or results of this kind have no picture.
        """
        from spider_jax.report.plots import plot_content

        return plot_content(self.to_content(), axes)

    def __str__(self) -> str:
        return self.to_text()

    def _repr_html_(self) -> str:
        """What a notebook shows: tables of at most 50 rows, and all sentences."""
        from spider_jax.report.notebook import notebook_html

        return notebook_html(self._whole_page())

    def _whole_page(self) -> list[Section]:
        skipped = [f"skipped: {what}" for what in self.skipped]
        return [*self.page(), *([Section((Notes(skipped),))] if skipped else [])]


class _NotReadBackError(Exception):  # NotImplementedError would make `read` abstract for a checker
    """A class of results that only go out."""


def _read_back(result: Any, path: Path) -> Any:
    """A result of this class from its JSON."""
    kind = result.kind
    content = read_json(path, kind)
    try:
        return result.read(content)
    except KeyError as error:
        raise InputError(f"{path} is not a whole {kind}: {error} is missing") from None
    except _NotReadBackError:
        why = "is not read back: `spider-jax report` makes a page of it"
        raise InputError(f"{path}: {kind} {why}") from None
    except (AttributeError, IndexError, OverflowError, TypeError, ValueError) as error:
        why = " ".join(str(error).split())
        raise InputError(f"{path} is not a sound {kind}: {why:.300}") from None


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
