"""A wide table, as a spreadsheet exports it: models x tasks, or tasks x models."""

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from spider_jax.errors import InputError
from spider_jax.records.importers.cells import HOLES, is_number, read_number
from spider_jax.records.importers.gathered import Gathered, ImportOptions
from spider_jax.storage.text_files import numbered, open_text, read_header

SEPARATORS = (",", ";", "\t", "|")
SHOWN = 12  # names in a note
# Columns and rows that are made of the others and are no task and no model.
TASK_WORDS = frozenset(("task", "tasks", "dataset", "datasets", "benchmark", "benchmarks"))
SUMMARIES = frozenset(("average", "avg", "avg.", "mean", "overall", "rank", "#", "no.", "median"))


@dataclass(frozen=True)
class _Wide:
    """A file as it is: what names its rows, its other columns, and the lines of its rows."""

    path: Path
    names: list[str]
    lines: list[int]
    columns: dict[str, list[str]]
    decimal: str


def import_wide(sources: Sequence[Path], options: ImportOptions) -> Gathered:
    """Results of wide tables.

    A column without any number is a fact, and so are those that the options name; columns and rows
    that are called average, mean or rank are left out.

    Args:
        sources: CSV files.
        options: the part for wide tables.

    Returns:
        Results; a file that cannot be read, a column that is named and not there, or a cell that is
        neither number nor hole is a problem.
    """
    found = Gathered()
    for path in sources:
        try:
            _take(_read(path, options), options, found)
        except InputError as error:
            found.problems.append(str(error))
    return found


def _read(path: Path, options: ImportOptions) -> _Wide:
    with open_text(path) as text:
        first = next((line for line in text if line.strip()), "")
    separator = options.separator or _separator(first)
    with open_text(path) as text:
        lines = numbered(text, separator)
        header = read_header((row for _, row in lines), path)
        rows = [(line, row) for line, row in lines if any(cell.strip() for cell in row)]
    for line, row in rows:
        if len(row) != len(header):
            raise InputError(
                f"{path}, line {line}: must have {len(header)} cells as the header has, got "
                f"{len(row)}: is {separator!r} what stands between cells?"
            )
    for name in (options.names, *options.facts, *options.skip):
        if name and name not in header:
            raise InputError(f"{path} has no column {name!r}, it has {', '.join(header)[:200]}")
    at = header.index(options.names) if options.names else 0
    if header[at].casefold() in TASK_WORDS and not options.transposed:
        raise InputError(
            f"{path}: the column of names is called {header[at]!r}: if rows are tasks give "
            "--transposed, else rename the column"
        )
    columns = {
        name: [row[i].strip() for _, row in rows]
        for i, name in enumerate(header)
        if i != at and name
    }
    cells = [cell for column in columns.values() for cell in column]
    names = [row[at].strip() for _, row in rows]
    return _Wide(
        path, names, [line for line, _ in rows], columns, _decimal(cells, separator, options)
    )


def _separator(line: str) -> str:
    return max(SEPARATORS, key=lambda s: len(next(csv.reader([line], delimiter=s))))


def _decimal(cells: Sequence[str], separator: str, options: ImportOptions) -> str:
    """A comma where cells are not separated by it, some number has one, and none has a point."""
    if options.decimal:
        return options.decimal
    points = any("." in cell and is_number(cell) for cell in cells)
    commas = any("," in cell and is_number(cell, ",") for cell in cells)
    return "," if separator != "," and commas and not points else "."


def _take(table: _Wide, options: ImportOptions, found: Gathered) -> None:
    facts = found.task_facts if options.transposed else found.model_facts
    kept = [i for i, name in enumerate(table.names) if name.casefold() not in SUMMARIES]
    if len(kept) < len(table.names):
        found.notes.append(f"{table.path}: rows that are averages of the others are left out")
    for i in kept:
        facts.setdefault(table.names[i], {})
    taken = []
    for column, cells in table.columns.items():
        kind = _kind(column, [cells[i] for i in kept], table.decimal, options)
        if kind == "fact":
            for i in kept:
                text = "" if cells[i].casefold() in HOLES else cells[i]
                facts[table.names[i]].setdefault(column, text)
        if kind == "results":
            (found.model_facts if options.transposed else found.task_facts).setdefault(column, {})
            _results(table, column, kept, options, found)
            taken.append(column)
        elif column not in (*options.facts, *options.skip):
            what = "a fact, it has no numbers" if kind == "fact" else "left out"
            found.notes.append(f"{table.path}: column {column!r} is {what}")
    what = "models" if options.transposed else "tasks"
    more = f" and {len(taken) - SHOWN} more" if len(taken) > SHOWN else ""
    found.notes.append(
        f"{table.path}: these columns are {what}, name by --facts what is none: "
        f"{', '.join(taken[:SHOWN])}{more}"
    )


def _kind(column: str, cells: Sequence[str], decimal: str, options: ImportOptions) -> str:
    if column in options.skip:
        return "skipped"
    if column in options.facts:
        return "fact"
    if column.casefold() in SUMMARIES:
        return "skipped"
    return "results" if any(is_number(cell, decimal) for cell in cells) else "fact"


def _results(
    table: _Wide, column: str, kept: Sequence[int], options: ImportOptions, found: Gathered
) -> None:
    for i in kept:
        cell = table.columns[column][i]
        try:
            value = read_number(cell, table.decimal)
        except ValueError:
            found.problems.append(
                f"{table.path}, line {table.lines[i]}: {column!r} must be a number, got "
                f"{cell[:40]!r}: the cell is left out"
            )
            continue
        if not math.isnan(value):
            pair = (column, table.names[i]) if options.transposed else (table.names[i], column)
            found.rows.append((*pair, value, math.nan))
