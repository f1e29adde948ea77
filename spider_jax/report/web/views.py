"""What a page is made of: cells and tables, figures, sections. Everything in them is text."""

import math
from collections.abc import Sequence
from numbers import Integral, Real
from typing import NamedTuple

from markupsafe import Markup

from spider_jax.report.escape import escape_terminal

LONGEST = 120  # characters of a text; 10,000 of a name would hide the rest
MOST_CELLS = 20_000  # of a table
MOST_COLUMNS = 40
MINUS = "\N{MINUS SIGN}"
UNKNOWN = "\N{EN DASH}"  # a cell without a value; page.js knows it too
UNITS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e5, "k"))


class Cell(NamedTuple):
    """A cell of a table.

    Attributes:
        text: what is shown.
        value: the exact number that it is sorted and filtered by; None for text.
        bar: where a strip begins and ends, as shares of the width; None for none.
        tint: how strong its ground is, 0 to 1; None for none.
    """

    text: str
    value: float | None = None
    bar: tuple[float, float] | None = None
    tint: float | None = None


class Grid(NamedTuple):
    """A table.

    Attributes:
        label: what it holds, for those who do not see it.
        columns: headings.
        numeric: which columns stand right.
        rows: the rows that are shown.
        total: how many there are.
        breaks: rows before which a group ends.
        tools: whether it can be sorted and filtered.
        heat: whether its ground is a heat map.
    """

    label: str
    columns: Sequence[str]
    numeric: Sequence[bool]
    rows: Sequence[Sequence[Cell]]
    total: int
    breaks: frozenset[int] = frozenset()
    tools: bool = True
    heat: bool = False


class Figure(NamedTuple):
    """A picture.

    Attributes:
        title: what it shows.
        body: HTML made by `charts`.
        caption: how to read it.
    """

    title: str
    body: Markup
    caption: str


class Limits(NamedTuple):
    """How much of everything is on a page, so that it stays small.

    Attributes:
        rows: of a table.
        points: of a picture; more of them are shown as a density.
        pictures: of a ranking against its costs.
    """

    rows: int
    points: int
    pictures: int


class View(NamedTuple):
    """A section of the page.

    Attributes:
        heading: its title.
        kicker: the kind of result, above the title.
        lead: the answer, in a sentence.
        facts: numbers worth a line of their own.
        figures: pictures.
        grids: tables.
        notes: sentences.
        skipped: what could not be used, a line each.
    """

    heading: str
    kicker: str
    lead: str = ""
    facts: Sequence[tuple[str, str]] = ()
    figures: Sequence[Figure] = ()
    grids: Sequence[Grid] = ()
    notes: Sequence[str] = ()
    skipped: Sequence[str] = ()


def shown(text: object, longest: int = LONGEST) -> str:
    r"""A text as a page shows it: cut, and without a character that hides or turns its line.

    Args:
        text: any text.
        longest: characters of it that are kept.

    Returns:
        One line; the template escapes what HTML would read as its own.

    >>> shown("a\u202eb"), shown("x" * 5000, 3)
    ('a\\u202eb', 'xxx… (5,000 characters)')
    """
    words = str(text)
    if len(words) > longest:
        words = f"{words[:longest]}… ({len(words):,} characters)"
    return escape_terminal(words)


def number(value: Real | float) -> str:
    """A number for a reader: three decimals, and a unit for what is large.

    Args:
        value: finite.

    Returns:
        Its text.

    >>> number(0.12345), number(25_557_032), number(0.00002), number(1200)
    ('0.123', '25.6 M', '2e-05', '1,200')
    """
    size = abs(float(value))
    if size >= 1e15:
        return f"{float(value):.3g}".replace("-", MINUS)
    for unit, sign in UNITS:
        if size >= unit:
            scale = 1e3 if sign == "k" else unit
            return f"{float(value) / scale:.1f} {sign}".replace("-", MINUS)
    if isinstance(value, Integral):
        return f"{int(value):,}".replace("-", MINUS)
    if 0 < size < 0.0005:
        text = f"{float(value):.1g}"
        return MINUS + text[1:] if text.startswith("-") else text
    form = "z,.1f" if size >= 1000 else "z.3f"
    return f"{float(value):{form}}".replace("-", MINUS)


def cell(value: object) -> Cell:
    """A value of a JSON as a cell.

    Args:
        value: a number, a text, a truth or nothing.

    Returns:
        The cell; a number that is not finite is not known.
    """
    if value is None:
        return Cell(UNKNOWN)
    if isinstance(value, bool):
        return Cell("yes" if value else "no")
    if isinstance(value, Real):
        try:
            known = float(value)
        except OverflowError:  # an integer of hundreds of digits
            return Cell(shown(value))
        if not math.isfinite(known):
            return Cell(UNKNOWN)
        return Cell(number(value), known)
    if isinstance(value, list):
        return Cell(shown(", ".join(str(one) for one in value[:LONGEST])))
    return Cell(shown(value))


def grid(
    label: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
    *,
    most: int,
    total: int | None = None,
) -> Grid:
    """A table of plain values.

    Args:
        label: what it holds.
        columns: headings.
        rows: one value per column in every row.
        most: rows that are shown.
        total: rows in all; default: those given.

    Returns:
        The table.
    """
    wide = min(len(columns), MOST_COLUMNS)
    most = min(most, max(1, MOST_CELLS // max(1, wide)))
    cells = [[cell(value) for value in row[:wide]] for row in rows[:most]]
    return Grid(
        label if wide == len(columns) else f"{label}, the first {wide} of {len(columns):,} columns",
        [shown(column, 60) for column in columns[:wide]],
        [stands_right([row[i] for row in cells]) for i in range(wide)],
        cells,
        len(rows) if total is None else total,
    )


def stands_right(cells: Sequence[Cell]) -> bool:
    """Whether a column holds a number and, but for what is not known, nothing else."""
    known = [c.value is not None for c in cells if c.text != UNKNOWN]
    return bool(known) and all(known)
