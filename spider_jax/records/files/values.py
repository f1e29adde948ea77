"""The rows of values.csv or values.parquet as arrays, read in blocks that fit in memory."""

import csv
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int32

from spider_jax.errors import InputError
from spider_jax.records.files.faults import Faults
from spider_jax.records.files.names import BLANK, BROKEN, NameTable
from spider_jax.records.files.parquet import parquet_blocks
from spider_jax.storage.text_files import lines_of, open_text, read_header

# Rows at a time. Python looks for garbage after 700 new containers: a block of more rows is walked
# by it again and again (10,000,000 rows: 20 s in blocks of 512, 69 s in blocks of 65,536).
BLOCK = 512
PARQUET_BLOCK = 1 << 16
HOLES = frozenset(("", "nan"))
Block = tuple[Sequence[object], ...]  # the cells of some rows, a sequence per column


class Columns(NamedTuple):
    """What the columns of a file with results are called.

    Attributes:
        value: of the results.
        stderr: of their standard errors, which a file need not have.
    """

    value: str = "value"
    stderr: str = "stderr"


COLUMNS = Columns()


@dataclass(frozen=True, eq=False)
class Values:
    """The rows of one file; the position of a row is its place in the data of the file.

    Attributes:
        file: where they come from.
        model: position of the model, negative where the name is none.
        task: position of the task, likewise.
        value: results, NaN where the cell is empty.
        stderr: standard errors, NaN where not known.
        faults: of the rows.
        places: gives the place of rows, for errors.
        notes: what was ignored.
    """

    file: Path
    model: Int32[np.ndarray, " n"]
    task: Int32[np.ndarray, " n"]
    value: Float64[np.ndarray, " n"]
    stderr: Float64[np.ndarray, " n"]
    faults: Faults
    places: Callable[[set[int]], Mapping[int, str]]
    notes: tuple[str, ...] = ()


def read_values(
    path: Path, models: NameTable, tasks: NameTable, columns: Columns = COLUMNS
) -> Values:
    """Read a file with one result a row.

    Args:
        path: .csv, .csv.gz or .parquet.
        models: gets the names of the models.
        tasks: gets the names of the tasks.
        columns: names of the columns beside model and task.

    Returns:
        The rows, and the faults of single ones.

    Raises:
        InputError: the file cannot be read, or lacks a column.
    """
    faults = Faults(path)
    if path.name.endswith(".parquet"):
        header, blocks = parquet_blocks(path, PARQUET_BLOCK)
        found = _Reader(path, header, columns, models, tasks, faults)
        found.read(blocks)
        return found.values(lambda rows: {row: f"row {row + 1}" for row in rows})
    with open_text(path) as text:
        rows = csv.reader(text, strict=True)
        found = _Reader(path, read_header(rows, path), columns, models, tasks, faults)
        found.read(_csv_blocks(rows, found.width, faults))
    return found.values(lambda wanted: lines_of(path, wanted))


def _csv_blocks(rows: Iterator[list[str]], width: int, faults: Faults) -> Iterator[Block]:
    done = 0
    while block := list(islice(rows, BLOCK)):
        if set(map(len, block)) != {width}:
            block = _of_width([row for row in block if row], width, faults, done)
        done += len(block)
        yield tuple(zip(*block, strict=True))


def _of_width(block: list[list[str]], width: int, faults: Faults, done: int) -> list[list[str]]:
    """Rows cut or filled to the width of the header; those of another width are faults."""
    for i, row in enumerate(block):
        if len(row) != width:
            what = f"must have {width} cells as the header has, got {len(row)}"
            faults.add(done + i, f"{what}: is a comma missing or not quoted?")
            block[i] = (row + width * [""])[:width]
    return block


@dataclass
class _Reader:
    """Turns blocks of cells into arrays."""

    path: Path
    header: Sequence[str]
    columns: Columns
    models: NameTable
    tasks: NameTable
    faults: Faults
    done: int = 0
    parts: list[tuple[np.ndarray, ...]] = field(default_factory=list)

    def __post_init__(self) -> None:
        found = {name.casefold(): i for i, name in reversed(list(enumerate(self.header)))}
        wanted = ("model", "task", self.columns.value)
        missing = [name for name in wanted if name not in found]
        if missing:
            wide = ";" in self.header[0] or "\t" in self.header[0]
            hint = "separate cells by commas, or import it as a wide table" if wide else "add it"
            raise InputError(
                f"{self.path} must have columns {','.join(wanted)}, it lacks {','.join(missing)}: "
                f"{hint}"
            )
        self.width = len(self.header)
        self.at = [found[name] for name in wanted]
        self.stderr_at = found.get(self.columns.stderr)
        used = {*self.at, self.stderr_at}
        self.ignored = [name or "(no name)" for i, name in enumerate(self.header) if i not in used]

    def read(self, blocks: Iterator[Block]) -> None:
        for cells in blocks:
            if not cells:  # only empty lines
                continue
            model, task, value = (cells[i] for i in self.at)
            n = len(model)
            part = (
                np.fromiter(map(self.models.__getitem__, model), np.int32, n),
                np.fromiter(map(self.tasks.__getitem__, task), np.int32, n),
                self._numbers(value, self.columns.value),
                np.full(n, np.nan)
                if self.stderr_at is None
                else self._errors(cells[self.stderr_at]),
            )
            self._check_names(part[0], "model")
            self._check_names(part[1], "task")
            self.parts.append(part)
            self.done += n

    def values(self, places: Callable[[set[int]], Mapping[int, str]]) -> Values:
        model = self._column(0, np.int32)
        task = self._column(1, np.int32)
        value = self._column(2, np.float64)
        stderr = self._column(3, np.float64)
        notes: tuple[str, ...] = ()
        if self.ignored:
            notes = (f"{self.path}: ignored columns: {', '.join(self.ignored)}",)
        return Values(self.path, model, task, value, stderr, self.faults, places, notes)

    def _column(self, i: int, dtype: type) -> np.ndarray:
        """One column of all parts, whose memory is given back."""
        whole = np.concatenate([np.empty(0, dtype), *(part[i] for part in self.parts)])
        self.parts = [(*part[:i], np.empty(0, dtype), *part[i + 1 :]) for part in self.parts]
        return whole

    def _check_names(self, positions: Int32[np.ndarray, " n"], what: str) -> None:
        for row in np.flatnonzero(positions < 0).tolist():
            if positions[row] == BLANK:
                self.faults.add(self.done + row, f"the {what} has no name: fill the cell")
            elif positions[row] == BROKEN:
                self.faults.add(
                    self.done + row, f"the name of the {what} has a control character: take it out"
                )

    def _numbers(self, cells: Sequence[object], what: str) -> Float64[np.ndarray, " n"]:
        """The numbers of a column; NaN for holes, and for what is none, which is a fault."""
        try:
            numbers = np.fromiter(map(float, cells), np.float64, len(cells))  # type: ignore[arg-type]
        except (TypeError, ValueError):
            numbers = np.array([self._number(i, cell, what) for i, cell in enumerate(cells)])
        else:
            if isinstance(cells[0], str) and "_" in "".join(cells):  # type: ignore[arg-type]
                numbers = np.array([self._number(i, cell, what) for i, cell in enumerate(cells)])
        for row in np.flatnonzero(np.isinf(numbers)).tolist():
            self.faults.add(
                self.done + row, f"{what} must be finite, got {cells[row]!r}: correct it"
            )
        return numbers

    def _number(self, row: int, cell: object, what: str) -> float:
        """One cell as a number; Python's own 1_000 is none here."""
        if cell is None or (isinstance(cell, str) and cell.strip().casefold() in HOLES):
            return math.nan
        try:
            if isinstance(cell, str) and "_" in cell:
                raise ValueError
            return float(cell)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            shown = repr(cell)[:40]
            self.faults.add(
                self.done + row, f"{what} must be a number, got {shown}: correct it, or empty it"
            )
            return math.nan

    def _errors(self, cells: Sequence[object]) -> Float64[np.ndarray, " n"]:
        """Standard errors, none negative."""
        numbers = self._numbers(cells, self.columns.stderr)
        for row in np.flatnonzero(numbers < 0).tolist():
            self.faults.add(
                self.done + row,
                f"{self.columns.stderr} must be at least 0, got {numbers[row]:g}: correct it",
            )
        return numbers
