"""Columns of a table, or entries of a manifest, as a `FactTable`."""

import ast
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float64

from spider_jax.facts.catalogue import LISTS, NUMBERS, TEXTS, WHOLE, Column, is_unknown, read_column
from spider_jax.facts.fact_table import MODEL, FactTable, Texts
from spider_jax.facts.quantities import read_quantity

MILLIONS = 1e5  # a column of parameters that are all below this is one of millions
NUMBER = re.compile(r"[+-]?(\d{1,3}(,\d{3})+|\d+)?(\.\d*)?(e[+-]?\d{1,4})?", re.IGNORECASE)
BEGINS = frozenset("0123456789+-.")
ODD = 5  # at most one of so many known cells may be no number in a column of numbers
MOST_ENTRIES = 10_000  # of a list


MEASURED = "measured"  # of an entry: what extraction measured, which a stated fact goes before
COSTS = ("seconds", "memory", "peak_memory")  # what it measures
TRAINING = ("trained_on", "adapted_from", "base_model")  # what a model has seen


def training_columns(names: Iterable[str]) -> tuple[str, ...]:
    """The columns that say what models were trained on, and whom they were adapted from.

    Args:
        names: of all columns.

    Returns:
        Those; none where no column names data.
    """
    found = tuple(name for name in names if read_column(name).fact in TRAINING)
    return found if any(read_column(name).fact == TRAINING[0] for name in found) else ()


def table_of_columns(
    models: Sequence[str], columns: Mapping[str, Sequence[object]], source: str
) -> FactTable:
    """Facts of columns; those that the catalogue knows get its names and its units.

    Args:
        models: names, each once.
        columns: name -> a cell for every model: a number, a text, a list of texts, or None.
        source: where they are from, for notes.

    Returns:
        The facts. A cell that cannot be read is not known, and a note says so.
    """
    found = FactTable(tuple(models), source=source)
    for name, cells in columns.items():
        column = read_column(name)
        if not column.fact or column.fact == MODEL:
            continue
        found = found.merged(_table_of_column(found.models, name, column, cells, source))
    return found


def _table_of_column(
    models: tuple[str, ...], name: str, column: Column, cells: Sequence[object], source: str
) -> FactTable:
    fact, notes = column.fact, list[str]()
    where = f"column {name!r} of {source}"
    if fact in NUMBERS:
        values = _quantities(models, column, cells, where, notes)
        return FactTable(models, numbers={fact: values}, source=where, notes=tuple(notes))
    is_ours = fact in (*LISTS, *TEXTS)
    plain_numbers = None if is_ours else _plain_numbers(models, cells, where, notes)
    if plain_numbers is not None:
        return FactTable(models, numbers={fact: plain_numbers}, source=where, notes=tuple(notes))
    return FactTable(models, texts={fact: _texts(cells, split=fact in LISTS)}, source=where)


# ---- numbers of the catalogue ----------------------------------------------------------------


def _quantities(
    models: tuple[str, ...],
    column: Column,
    cells: Sequence[object],
    where: str,
    notes: list[str],
) -> Float64[np.ndarray, " M"]:
    """Positive numbers in the catalogue's units; NaN for what is none, which a note says."""
    values = np.full(len(models), math.nan)
    bare = np.zeros(len(models), bool)  # without a unit of its own
    unread: list[tuple[str, object]] = []
    seen: dict[object, float | None] = {}  # what many models have is read once
    for i, cell in enumerate(cells):
        if not isinstance(cell, str):
            value = _quantity(cell, column.fact == "input_size")
        elif cell in seen:
            value = seen[cell]
        else:
            value = seen[cell] = _quantity(cell, column.fact == "input_size")
        if value is not None and value > 0:
            values[i] = value
            bare[i] = not isinstance(cell, str) or not cell.strip()[-1:].isalpha()
        elif value is None and not (cell is None or is_unknown(str(cell)) or cell != cell):
            unread.append((models[i], cell))
    if column.guess and bare.any() and values[bare].max() < MILLIONS:
        column = column._replace(scale=1e6)
        notes.append(f"{where} is read in millions")
    values[bare] = 1 / values[bare] if column.inverse else values[bare] * column.scale
    if column.fact in WHOLE:
        values = _whole(models, column, values, where, notes)
    if unread:
        model, cell = unread[0]
        notes.append(
            f"{where}: {column.fact} of {model} must be a number, got {str(cell)[:60]!r}"
            f"{_and_more(len(unread))}: taken as not known"
        )
    return values


def _whole(
    models: tuple[str, ...],
    column: Column,
    values: Float64[np.ndarray, " M"],
    where: str,
    notes: list[str],
) -> Float64[np.ndarray, " M"]:
    """Counts; a fraction in a column that names no unit is of a unit that nobody knows."""
    near = np.round(values)
    if column.scale != 1:
        return near
    bad = np.flatnonzero(np.abs(values - near) > 1e-6 * values)
    if len(bad):
        notes.append(
            f"{where}: {column.fact} of {models[bad[0]]} must be a whole number, got "
            f"{values[bad[0]]:g}{_and_more(len(bad))}: taken as not known; write 25.6M, or name "
            f"the column {column.fact}_m"
        )
    near[bad] = math.nan
    return near


def _and_more(count: int) -> str:
    return f" (and {count - 1} more)" if count > 1 else ""


def _quantity(cell: object, is_size: bool) -> float | None:
    """A number of a cell; of a size such as 3x224x256, the longest side."""
    if isinstance(cell, bool) or cell is None:
        return None
    if isinstance(cell, int | float):
        return float(cell) if abs(cell) < 1e300 else None
    if is_size:
        sides = [read_quantity(side) for side in re.findall(r"[\d.]+", str(cell))]
        words = re.sub(r"[\d.,x\u00d7*()\[\]\s]|px", "", str(cell).casefold())
        return None if words else max((s for s in sides if s is not None), default=None)
    return read_quantity(cell) if isinstance(cell, str) else None


# ---- other columns ---------------------------------------------------------------------------


def _plain_numbers(
    models: Sequence[str], cells: Sequence[object], where: str, notes: list[str]
) -> Float64[np.ndarray, " M"] | None:
    """A column of numbers: most of what is known are finite ones; None for any other."""
    values, others = np.full(len(cells), math.nan), list[int]()
    for i, cell in enumerate(cells):
        value = _plain_number(cell)
        if value is not None:
            values[i] = value
        elif cell is not None and cell == cell and not (isinstance(cell, str) and is_unknown(cell)):
            others.append(i)
            if ODD * len(others) > len(cells):
                return None
    known = int((~np.isnan(values)).sum())
    if known == 0 or ODD * len(others) > known + len(others):
        return None
    if others:
        first = str(cells[others[0]])[:60]
        notes.append(
            f"{where}: {models[others[0]]} must have a finite number, got {first!r}"
            f"{_and_more(len(others))}: taken as not known"
        )
    return values


def _plain_number(cell: object) -> float | None:
    if isinstance(cell, bool) or not isinstance(cell, int | float | str):
        return None
    text = str(cell).strip()
    if text[:1] not in BEGINS or not NUMBER.fullmatch(text) or not any(c.isdigit() for c in text):
        return None
    value = float(text.replace(",", ""))
    return value if math.isfinite(value) else None


def _texts(cells: Sequence[object], split: bool) -> Texts:
    """The texts of all cells; what many have is read once."""
    seen: dict[str, tuple[str, ...]] = {}
    found = []
    for cell in cells:
        if not isinstance(cell, str):
            found.append(_entries(cell, split))
            continue
        if cell not in seen:
            seen[cell] = _entries(cell, split)
        found.append(seen[cell])
    return tuple(found)


def _entries(cell: object, split: bool) -> tuple[str, ...]:
    """The texts of a cell, () where nothing is known.

    Lists are lists already, Python's own as text, or separated by | or ; or commas.
    """
    if cell is None or isinstance(cell, Mapping) or cell != cell:
        return ()
    if isinstance(cell, str) and split:
        cell = _listed(cell)
    parts = cell if isinstance(cell, list | tuple) else [cell]
    texts = [str(p).strip() for p in parts[:MOST_ENTRIES] if not isinstance(p, list | dict)]
    return tuple(dict.fromkeys(text for text in texts if not is_unknown(text)))


def _listed(text: str) -> Sequence[object]:
    if text.strip().startswith("[") and len(text) < 100_000:
        try:
            found = ast.literal_eval(text.strip())
        except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
            found = None
        if isinstance(found, list):
            return found
    separator = next((s for s in ("|", ";") if s in text), ",")
    return text.split(separator)


def table_of_entries(
    entries: Mapping[str, Mapping[str, object]], source: str, *, training: bool = False
) -> FactTable:
    """Facts of the models of a manifest: its `models`, name -> facts.

    Args:
        entries: by model.
        source: where they are from, for notes.
        training: only what they were trained on.
    """
    models = tuple(entries)
    names: Iterable[str] = dict.fromkeys(name for entry in entries.values() for name in entry)
    if training:
        names = training_columns(names)
    columns: dict[str, list[object]] = {}
    for name in names:
        cells = [entry.get(name) for entry in entries.values()]
        if not all(cell is None or isinstance(cell, Mapping) for cell in cells):
            columns[name] = cells
    sizes = [_size_of(entry.get("preprocessing")) for entry in entries.values()]
    if not training and "input_size" not in columns and any(size is not None for size in sizes):
        columns["input_size"] = list(sizes)  # as extraction writes it
    found = table_of_columns(models, columns, source)
    return found if training else _with_measured(found, entries, source)


def _with_measured(
    stated: FactTable, entries: Mapping[str, Mapping[str, object]], source: str
) -> FactTable:
    """What is stated, then what extraction measured; a note names the machines."""
    given = [entry.get(MEASURED) for entry in entries.values()]
    found = [one if isinstance(one, Mapping) else {} for one in given]
    cells = {name: [one.get(name) for one in found] for name in COSTS}
    columns = {name: of for name, of in cells.items() if any(cell is not None for cell in of)}
    if not columns:
        return stated
    measured = table_of_columns(stated.models, columns, f"what extract measured ({source})")
    if "seconds" in columns:
        where = dict.fromkeys(str(one.get("machine")) for one in found if "seconds" in one)
        apart = f"; {len(where)} kinds of machine, whose seconds do not compare"
        note = (
            f"seconds are as extract measured them on {'; '.join(where)}{apart * (len(where) > 1)}"
        )
        measured = replace(measured, notes=(*measured.notes, note))
    return stated.merged(measured)


def _size_of(preprocessing: object) -> object:
    size = preprocessing.get("size") if isinstance(preprocessing, Mapping) else None
    if isinstance(size, Mapping):  # of a Hugging Face processor
        sides = [s for s in size.values() if isinstance(s, int | float)]
        return max(sides, default=None)
    return size if isinstance(size, int | float | str) else None
