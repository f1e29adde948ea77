"""One small table, three ways out: a terminal, Markdown, CSV. Names are data and are escaped."""

import csv
import io
import unicodedata
from collections.abc import Sequence
from numbers import Integral, Real
from typing import TypeGuard

MARKDOWN_SIGNS = str.maketrans({sign: f"&#{ord(sign)};" for sign in "&<>|`[]\\*~"})
GAP = "  "


def to_text(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """The table aligned for a terminal, without colour.

    A column of numbers stands right, any other left; floats have 3 decimals, None is "-"; control
    characters are shown by `escape_terminal`, so a cell can neither move the cursor nor break a
    line.

    Args:
        columns: one heading per column.
        rows: one cell per column in every row.

    Returns:
        One line for the headings and one per row, no newline at the end.

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
    return "\n".join(GAP.join(map(_pad, line, widths, right)).rstrip() for line in lines)


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

    Nothing is escaped, so that names read back are the names given; floats have all the digits that
    their dtype needs.

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
    return "".join(map(_csv_line, (columns, *rows)))


def escape_terminal(text: str) -> str:
    r"""`text` with control, format and line-breaking characters written \xNN (or \uNNNN).

    >>> print(escape_terminal("\x1b[31mred\n"))
    \x1b[31mred\x0a
    """
    return "".join(_code(c) if _is_control(c) else c for c in text)


def escape_markdown(text: str) -> str:
    """`text` that Markdown shows as it is: no cell, link, code, HTML or emphasis can begin in it.

    Signs become numeric entities and not backslash escapes, because inside a table the readers of
    Markdown disagree on what a backslash before a bar means.

    >>> escape_markdown("<b>|`x`")
    '&#60;b&#62;&#124;&#96;x&#96;'
    """
    return escape_terminal(text).translate(MARKDOWN_SIGNS)


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if _is_number(value) and not isinstance(value, Integral):
        return f"{float(value):z.3f}"  # z: a rounded -0.0001 is 0.000, without a sign
    return str(value)


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


def _is_control(char: str) -> bool:
    # Format characters (Cf) too: they can turn the direction of a line or hide in a name.
    category = unicodedata.category(char)
    return category.startswith("C") or category in ("Zl", "Zp")


def _code(char: str) -> str:
    number = ord(char)
    if number < 0x100:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def _width(text: str) -> int:
    """Terminal cells that a text takes: 2 for wide characters, 0 for combining ones."""
    wide = sum(unicodedata.east_asian_width(c) in "WF" for c in text)
    return len(text) + wide - sum(unicodedata.combining(c) > 0 for c in text)


def _pad(text: str, width: int, right: bool) -> str:
    space = " " * (width - _width(text))
    return space + text if right else text + space
