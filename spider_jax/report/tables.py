"""One table of rows, three ways out: a terminal, Markdown, CSV."""

import csv
import io
import unicodedata
from collections.abc import Sequence
from numbers import Integral, Real
from typing import TypeGuard

from spider_jax.report.escape import Own, escape_markdown, escape_terminal

GAP = "  "
LEAST_GROUP = 3  # rows of a group in the mean, or the empty lines would hide the table
BOLD, GREEN, PLAIN = "\x1b[1m", "\x1b[32m", "\x1b[0m"
# With these a spreadsheet begins one; the last four are the wide forms of the first.
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
SAFE = ("-", "+-")  # cells and headings of our own that are none


def to_text(
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
    *,
    width: int | None = None,
    groups: Sequence[int] = (),
    strong: int | None = None,
) -> str:
    """The table aligned for a terminal.

    A column of numbers stands right, any other left; floats have 3 decimals, None is "-"; control
    characters are shown by `escape_terminal`, so a cell can neither move the cursor nor break a
    line.

    Args:
        columns: one heading per column.
        rows: one cell per column in every row.
        width: cells in a line of the terminal. A wider table is given in several parts, each with
            the models or else the first column; nothing is cut, so a part of two columns may still
            be wider. Default: one part.
        groups: rows with an empty line before them, unless there are too many to read.
        strong: how many of the first rows are green, below a bold heading; None for no colour.

    Returns:
        One line for the headings and one per row in each part, an empty line between parts, no
        newline at the end.

    Raises:
        ValueError: a row with more or fewer cells than there are columns.

    >>> print(to_text(["model", "score"], [["resnet50", 0.5], ["vgg", None]]))
    model     score
    resnet50  0.500
    vgg           -
    """
    right = _number_columns(columns, rows)
    lines = [[escape_terminal(_cell(value)) for value in row] for row in (columns, *rows)]
    widths = [max(map(_width, cells)) for cells in zip(*lines, strict=True)]
    key = list(columns).index("model") if "model" in columns else 0
    parts = [list(range(len(widths)))] if width is None else _parts(widths, width, key)
    apart = {0, *groups} if 0 < len(groups) <= len(rows) / LEAST_GROUP else {0}
    return "\n\n".join(
        "\n".join(
            _line(GAP.join(_pad(line[i], widths[i], right[i]) for i in part), row, apart, strong)
            for row, line in enumerate(lines, start=-1)
        )
        for part in parts
    )


def to_markdown(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """The table in GitHub's Markdown, cells as in `to_text` and escaped by `escape_markdown`.

    Args:
        columns: one heading per column.
        rows: one cell per column in every row.

    Returns:
        The lines of the table, no newline at the end.

    Raises:
        ValueError: a row with more or fewer cells than there are columns.

    >>> print(to_markdown(["model", "score"], [["a|b", 0.5]]))
    | model | score |
    | --- | ---: |
    | a&#124;b | 0.500 |
    """
    rule = ["---:" if right else "---" for right in _number_columns(columns, rows)]
    heading, *body = [[escape_markdown(_cell(value)) for value in row] for row in (columns, *rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in (heading, rule, *body))


def to_csv(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """The table as CSV: every value exact, quoted where it must be, None as an empty cell.

    Names read back are the names given, but for those that a spreadsheet would run as a formula:
    a text or a heading that begins with = + - @, a tab or a new line has an apostrophe before it.
    Floats have all the digits that their dtype needs.

    Args:
        columns: one heading per column.
        rows: one cell per column in every row.

    Returns:
        One line per row, each ended by a newline.

    Raises:
        ValueError: a row with more or fewer cells than there are columns.

    >>> to_csv(["model", "score"], [['a"b', 0.1], ["c", None]])
    'model,score\\n"a""b",0.1\\nc,\\n'
    """
    _number_columns(columns, rows)
    guarded = ([_guarded(cell) for cell in row] for row in (columns, *rows))
    return "".join(map(_csv_line, guarded))


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if _is_number(value) and not isinstance(value, Integral):
        return f"{float(value):z.3f}"  # z: a rounded -0.0001 is 0.000, without a sign
    return value if isinstance(value, str) else str(value)  # str() of an Own were a plain string


def _is_number(value: object) -> TypeGuard[Real]:
    return isinstance(value, Real) and not isinstance(value, bool)


def _number_columns(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> list[bool]:
    """Whether each column holds a number and, but for None, nothing else."""
    cells = list(zip(columns, *rows, strict=True))
    known = [[value for value in column[1:] if value is not None] for column in cells]
    return [bool(values) and all(map(_is_number, values)) for values in known]


def _csv_line(cells: Sequence[object]) -> str:
    # Python 3.11 quotes a carriage return only if the line end holds one, so it ends the line here.
    line = io.StringIO()
    csv.writer(line, lineterminator="\r\n").writerow(cells)
    return line.getvalue().removesuffix("\r\n") + "\n"


def _guarded(value: object) -> object:
    if not isinstance(value, str) or isinstance(value, Own) or value in SAFE:
        return value
    return f"'{value}" if value.startswith(FORMULA) else value


def _line(text: str, row: int, apart: set[int], strong: int | None) -> str:
    """A line of the table, -1 for the heading; the first row has no empty line before it."""
    shown, before = text.rstrip(), "\n" if row > 0 and row in apart else ""
    if strong is None or row >= strong:
        return before + shown
    return f"{before}{BOLD if row < 0 else GREEN}{shown}{PLAIN}"


def _parts(widths: Sequence[int], width: int, key: int) -> list[list[int]]:
    """Columns of each part: as many as the width takes, the later ones after the key's."""
    parts, used = [[0]], widths[0]
    for i, own in enumerate(widths[1:], start=1):
        if i in parts[-1]:
            continue
        if len(parts[-1]) > 1 and used + len(GAP) + own > width:
            parts.append([key])
            used = widths[key]
            if i == key:
                continue
        parts[-1].append(i)
        used += len(GAP) + own
    return parts


def _width(text: str) -> int:
    """Terminal cells that a text takes: 2 for wide characters, 0 for combining ones."""
    wide = sum(unicodedata.east_asian_width(c) in "WF" for c in text)
    return len(text) + wide - sum(unicodedata.combining(c) > 0 for c in text)


def _pad(text: str, width: int, right: bool) -> str:
    space = " " * (width - _width(text))
    return space + text if right else text + space
