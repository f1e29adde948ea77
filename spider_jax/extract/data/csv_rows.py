"""CSV files as they come: their encoding and delimiter are found, records are counted in lines."""

import codecs
import csv
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from spider_jax.errors import InputError, one_line

DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
SAMPLE = 20  # records by which the delimiter is found
SAMPLE_BYTES = 1 << 12
MARKS = (  # the longer ones first: one of UTF-32 begins as that of UTF-16
    *((codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32")),
    *((codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16")),
)
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(nan|inf|infinity)", re.IGNORECASE)
DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+([eE][+-]?\d+)?")

Record = tuple[int, list[str]]


class CsvFile(NamedTuple):
    """A CSV file, opened anew for every reading.

    Attributes:
        path: of the file.
        delimiter: between its cells.
        header: the names of its columns.
        first_line: whether the first line is the header, and no record.
        records: gives the line that a record begins in, counted from 1, and its cells.
    """

    path: Path
    delimiter: str
    header: list[str]
    first_line: bool
    records: Callable[[], Iterator[Record]]

    def where(self, line: int) -> str:
        """The file and line, for errors.

        Args:
            line: counted from 1, as an editor does.
        """
        return f"{self.path}, line {line}"


def open_csv(path: Path, wanted: Collection[str] = (), *, numbers: bool = False) -> CsvFile:
    """A CSV file in UTF-8 or UTF-16, with a comma, semicolon, tab or bar between its cells.

    Args:
        path: of the file.
        wanted: names of columns that it should have, by which the delimiter is found.
        numbers: whether a first line of numbers is a record; 0, 1, 2, ... are names all the same.

    Returns:
        The file. Its records have as many cells as the header; blank lines are no records.

    Raises:
        InputError: unreadable, empty, or (while records are read) a record of another length.
    """
    encoding = _encoding(path)
    delimiter = _delimiter(path, encoding, {name.casefold() for name in wanted})
    try:
        with path.open(newline="", encoding=encoding) as file:
            first = next(csv.reader(file, delimiter=delimiter, strict=True), [])
    except (UnicodeError, csv.Error) as error:
        raise _unreadable(path, error) from None
    headless = numbers and _is_record(first, delimiter)
    header = [f"column {i}" for i in range(len(first))] if headless else [n.strip() for n in first]

    def records() -> Iterator[Record]:
        return _records(path, encoding, delimiter, len(header), skip=0 if headless else 1)

    return CsvFile(path, delimiter, header, not headless, records)


def _unreadable(path: Path, error: Exception) -> InputError:
    hint = ": save it as UTF-8" if isinstance(error, UnicodeError) else ""
    return InputError(f"{path} is not a readable CSV file: {one_line(error)}{hint}")


def _encoding(path: Path) -> str:
    with path.open("rb") as file:
        sample = file.read(SAMPLE_BYTES)
    for mark, name in MARKS:
        if sample.startswith(mark):
            return name
    for start, name in ((1, "utf-16-le"), (0, "utf-16-be")):  # without a mark: every second is 0
        zeros = sample[start::2].count(0)
        if zeros > len(sample) / 4 and sample[1 - start :: 2].count(0) == 0:
            return name
    return "utf-8-sig"


def _delimiter(path: Path, encoding: str, wanted: Collection[str]) -> str:
    """The one by which the header has the wanted names, and all records the same length."""

    def fit(delimiter: str) -> tuple[int, bool, float, int]:
        try:
            with path.open(newline="", encoding=encoding) as file:
                found = [r for r in islice(csv.reader(file, delimiter=delimiter), SAMPLE) if r]
        except (UnicodeError, csv.Error):
            found = []
        header = found[0] if found else []
        names = {name.strip().casefold() for name in header}
        even = len(header) > 1 and all(len(row) == len(header) for row in found)
        cells = [cell for row in found[1:] or found for cell in row]
        share = sum(is_number(cell, delimiter) for cell in cells) / max(1, len(cells))
        return len(names & set(wanted)), even, share, len(header)

    return max(DELIMITERS, key=fit)  # the first of those that fit alike


def is_number(cell: str, delimiter: str = ",") -> bool:
    """Whether a cell is a number; a decimal comma is one where commas do not delimit.

    Args:
        cell: as it stands in the file.
        delimiter: of the file.
    """
    return NUMBER.fullmatch(with_point(cell, delimiter)) is not None


def with_point(cell: str, delimiter: str) -> str:
    """A number with a decimal point, anything else without the blanks around it.

    Args:
        cell: as it stands in the file.
        delimiter: of the file; where it is a comma, there are no decimal commas.

    >>> with_point(" 0,5", ";"), with_point("a, b", ";")
    ('0.5', 'a, b')
    """
    cell = cell.strip()
    if delimiter != "," and DECIMAL_COMMA.fullmatch(cell):
        return cell.replace(",", ".")
    return cell


def _is_record(first: Sequence[str], delimiter: str) -> bool:
    names = [str(i) for i in range(len(first))]
    named = [cell.strip() for cell in first] in (names, ["", *names[:-1]])  # as pandas names them
    return bool(first) and not named and all(is_number(cell, delimiter) for cell in first)


def _records(
    path: Path, encoding: str, delimiter: str, width: int, *, skip: int
) -> Iterator[Record]:
    blank: list[Record] = []  # of a file of one column a blank line is a cell, but not at the end
    try:
        with path.open(newline="", encoding=encoding) as file:
            reader = csv.reader(file, delimiter=delimiter, strict=True)
            line = 1
            for number, cells in enumerate(reader):
                begun, line = line, reader.line_num + 1
                if number < skip or (not cells and width > 1):
                    continue
                if not cells:
                    blank.append((begun, [""]))
                    continue
                if len(cells) != width:
                    raise InputError(
                        f"{path}, line {begun} has {len(cells)} cells, the first line {width} "
                        f"(between them stands a {DELIMITERS[delimiter]}): mend the line, or the "
                        "names of the columns"
                    )
                yield from blank
                blank.clear()
                yield begun, cells
    except (UnicodeError, csv.Error) as error:
        raise _unreadable(path, error) from None
