"""Features in the columns of a CSV file: never its labels, its words, or its row numbers."""

import logging
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float64
from numpy.typing import NDArray

from spider_jax.errors import InputError
from spider_jax.extract.data.csv_rows import CsvFile, Record, is_number, open_csv, with_point

log = logging.getLogger("spider_jax")

ROWS = 1024  # of a block
# Columns that are no features, in any case. The index of a data frame has one of these, or no name.
NO_FEATURE = (
    *("label", "labels", "target", "targets", "class", "classes", "text", "texts", "split", "fold"),
    *("id", "ids", "index", "idx", "row", "rownames", "level_0", "__index_level_0__"),
    *("filename", "file", "path", "name"),
)


def is_no_feature(name: str) -> bool:
    """Whether a column's name says that it holds labels, texts or the numbers of the rows.

    Args:
        name: of the column.
    """
    plain = name.strip().casefold()
    return not plain or plain in NO_FEATURE or plain.startswith("unnamed:")


def feature_columns(path: Path, names: Sequence[str], key: str | None) -> list[int]:
    """The columns that a user names, or all that may be features by their names.

    Args:
        path: of the file, for errors.
        names: of all columns.
        key: names with commas between them, or None.

    Returns:
        Their places, in the order of the file or of the key.

    Raises:
        InputError: a name that the file does not have.
    """
    if key is None:
        return [place for place, name in enumerate(names) if not is_no_feature(name)]
    wanted = [key] if key in names else [name.strip() for name in key.split(",")]
    for name in wanted:
        if name not in names:
            shown = ", ".join(map(repr, names[:12])) + (", ..." if len(names) > 12 else "")
            raise InputError(f"{path}: key must be among {shown or 'nothing'}, got {name!r}")
    return [names.index(name) for name in wanted]


class CsvFeatures:
    """The columns of numbers of a CSV file.

    Attributes:
        rows: N.
        columns: names [D].
    """

    def __init__(self, path: Path, key: str | None) -> None:
        """Read the file once, for its length and for what its columns are.

        Args:
            path: of the file.
            key: names of columns with commas between them; None: all that are features.

        Raises:
            InputError: unreadable, or without columns of numbers.
        """
        self._file: CsvFile = open_csv(path, numbers=True)
        header = self._file.header
        self._places = feature_columns(path, header, key)
        if key is None:
            words = self._words(self._places)
            self._places = [i for i in self._places if i not in words]
        counted = _RowNumbers(len(self._places))
        for block in self.blocks():
            counted.add(block)
        self.rows = counted.rows
        if key is None:
            numbers = {i for i, is_ in zip(self._places, counted.found(), strict=True) if is_}
            self._places = [i for i in self._places if i not in numbers]
            self._say_left_out(header, words, numbers)
        self.columns = [header[i] for i in self._places]
        if not self.columns or not self.rows:
            shown = ", ".join(map(repr, header[:12]))
            raise InputError(
                f"{path} has no columns of numbers that are features: it has {shown}; name some "
                "with ?key=a,b"
            )

    def _words(self, places: Collection[int]) -> set[int]:
        """Columns without a number in the first block."""
        left = set(places)
        for number, (_, cells) in enumerate(self._file.records()):
            left -= {i for i in left if is_number(cells[i], self._file.delimiter)}
            if not left or number == ROWS:
                break
        return left

    def _say_left_out(
        self, header: Sequence[str], words: Collection[int], numbers: Collection[int]
    ) -> None:
        out = [(header[i], "row numbers") for i in sorted(numbers)]
        out += [(header[i], "words") for i in sorted(words)]
        out += [(name, "by its name") for name in header if is_no_feature(name)]
        if out:
            named = all(name.strip().casefold() in NO_FEATURE for name, _ in out)
            shown = ", ".join(f"{name!r} ({why})" for name, why in out[:12])
            log.log(
                logging.INFO if named else logging.WARNING,
                "%s: %d columns are features; left out: %s%s; others are chosen with ?key=a,b",
                *(self._file.path, len(self._places), shown, ", ..." if len(out) > 12 else ""),
            )

    def blocks(self) -> Iterator[Float64[np.ndarray, "b D"]]:
        """The features in order, [b, D]."""
        held: list[Record] = []
        for record in self._file.records():
            held.append(record)
            if len(held) == ROWS:
                yield self._block(held)
                held = []
        if held:
            yield self._block(held)

    def _block(self, records: Sequence[Record]) -> NDArray[np.float64]:
        places, found = self._places, []
        for line, cells in records:
            try:
                found.append([float(cells[i]) for i in places])
            except ValueError:  # decimal commas, or no numbers
                found.append([self._number(line, i, cells[i]) for i in places])
        return np.array(found, np.float64).reshape(len(records), len(places))

    def _number(self, line: int, place: int, cell: str) -> float:
        try:
            return float(with_point(cell, self._file.delimiter))
        except ValueError:
            name = self._file.header[place]
            raise InputError(
                f"{self._file.where(line)}: column {name!r} must be a number, got {cell[:40]!r}"
            ) from None


class _RowNumbers:
    """Which columns of a matrix are 0..N-1 or 1..N in any order, by sums as rows come."""

    def __init__(self, columns: int) -> None:
        self.rows = 0
        self.whole = np.ones(columns, bool)
        self.least, self.most = np.full(columns, np.inf), np.full(columns, -np.inf)
        self.sums, self.squares = np.zeros(columns), np.zeros(columns)

    def add(self, block: NDArray[np.float64]) -> None:
        self.rows += len(block)
        with np.errstate(all="ignore"):  # what is not finite is no row number
            self.whole &= (block == np.rint(block)).all(0)
            self.least = np.minimum(self.least, block.min(0, initial=np.inf))
            self.most = np.maximum(self.most, block.max(0, initial=-np.inf))
            self.sums += block.sum(0)
            self.squares += np.square(block).sum(0)

    def found(self) -> NDArray[np.bool_]:
        """Whole numbers with the range, the sum and the sum of squares of row numbers."""
        N, low = self.rows, self.least
        every = np.arange(N)
        sums = every.sum() + low * N
        squares = np.square(every, dtype=np.float64).sum() + 2 * low * every.sum() + low**2 * N
        near = np.isclose(self.squares, squares, rtol=1e-9) & np.isclose(self.sums, sums, rtol=1e-9)
        return self.whole & np.isin(low, (0, 1)) & (self.most - low == N - 1) & near & (N > 2)
