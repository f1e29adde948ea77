"""CSV and other text files of users: regular files only, gzip by its suffix, one line an error."""

import contextlib
import csv
import gzip
import io
import os
import stat
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO

from spider_jax.errors import InputError


def refuse_link_out(root: Path, path: Path) -> None:
    """Refuse a file that leads out of its folder through a symbolic link.

    Args:
        root: the folder.
        path: a file in it.

    Raises:
        InputError: it leads out.
    """
    if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root)):
        raise InputError(f"{path} is a link out of {root}, which is not followed: copy the file")


@contextlib.contextmanager
def open_regular(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for reading; what is no regular file is refused and never waited for.

    Args:
        path: of the file.

    Yields:
        The file.

    Raises:
        InputError: there is no such file, or a folder, a pipe or a device stands there.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except FileNotFoundError:
        raise InputError(f"{path} is missing") from None
    with os.fdopen(descriptor, "rb") if _is_regular(descriptor) else _refuse(descriptor, path) as f:
        yield f


def _is_regular(descriptor: int) -> bool:
    return stat.S_ISREG(os.fstat(descriptor).st_mode)


def _refuse(descriptor: int, path: Path) -> IO[bytes]:
    os.close(descriptor)
    raise InputError(f"{path} is no regular file: a CSV or Parquet file goes there")


@contextlib.contextmanager
def open_text(path: Path) -> Iterator[io.TextIOWrapper]:
    """Open a UTF-8 text for reading, unpacked where its name ends in .gz.

    What goes wrong while it is read becomes an InputError as well.

    Args:
        path: of the file.

    Yields:
        The text, line ends as they are.

    Raises:
        InputError: no regular file, damaged, not UTF-8, or no CSV.
    """
    try:
        with open_regular(path) as raw:
            packed = path.name.endswith(".gz")
            binary = gzip.GzipFile(fileobj=raw) if packed else raw
            with io.TextIOWrapper(binary, "utf-8-sig", newline="") as text:
                yield text
    except UnicodeDecodeError as error:
        found = f"byte {error.object[error.start]:#04x}"
        raise InputError(f"{path} is not UTF-8 ({found}): save it as CSV in UTF-8") from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(f"{path} is no whole gzip file: {error}") from None
    except csv.Error as error:
        hint = ": is a quote left open?" if "limit" in str(error) or "end" in str(error) else ""
        raise InputError(f"{path} is not a readable CSV file: {error}{hint}") from None


def read_header(rows: Iterator[list[str]], path: Path) -> list[str]:
    """The names of the columns: the first line that is not empty.

    Args:
        rows: of a CSV reader, at its beginning.
        path: of the file, for errors.

    Returns:
        The names without surrounding space.

    Raises:
        InputError: an empty file, or a column that is named twice.
    """
    header = next((row for row in rows if row), None)
    if header is None:
        raise InputError(f"{path} is empty: its first line must name the columns")
    names = [name.strip() for name in header]
    twice = next((n for i, n in enumerate(names) if n and n in names[:i]), None)
    if twice is not None:
        raise InputError(f"{path} has two columns {twice!r}: rename one")
    return names


def numbered(text: Iterable[str], separator: str = ",") -> Iterator[tuple[int, list[str]]]:
    """The rows of a CSV with the line that each begins at, empty lines left out.

    Args:
        text: the file at its beginning.
        separator: what stands between cells.

    Yields:
        The line from 1, as an editor counts it, and the cells.
    """
    reader = csv.reader(text, delimiter=separator, strict=True)
    before = 0
    for row in reader:
        if row:
            yield before + 1, row
        before = reader.line_num


def lines_of(path: Path, rows: set[int]) -> Mapping[int, str]:
    """Where rows of a CSV stand.

    Args:
        path: of the file, which is read once more.
        rows: of the data, from 0.

    Returns:
        "line 12" by row.
    """
    found: dict[int, str] = {}
    last = max(rows)
    with open_text(path) as text:
        for row, (line, _) in enumerate(numbered(text), start=-1):  # the header is row -1
            if row in rows:
                found[row] = f"line {line}"
            if row >= last:
                break
    return found
