"""Read records: every file, its faults, what is merged, and what is left out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64, Int32, Int64

from spider_jax.errors import InputError
from spider_jax.records.checks import Results, check_ranges, first_of_pairs, pair_keys, task_rules
from spider_jax.records.content import Content
from spider_jax.records.files.facts import Facts, facts_of, read_facts
from spider_jax.records.files.faults import KEPT, Fault, Faults, refuse_faults
from spider_jax.records.files.folder import Source, sources
from spider_jax.records.files.names import NameTable
from spider_jax.records.files.values import Columns, Values, read_values
from spider_jax.records.joining import join
from spider_jax.records.measures import direction_word, is_route
from spider_jax.storage.files import name_to_component
from spider_jax.storage.npy import read_header
from spider_jax.storage.text_files import lines_of, refuse_link_out
from spider_jax.zoo.files import kind_of, read_manifest

ZOO_COLUMNS = Columns("accuracy", "standard_error")
ROUTE_COLUMN = "task_direction"


@dataclass
class Found:
    """What one source holds.

    Attributes:
        content: the records of the rows without a fault.
        faults: those whose place is known, at most a few hundred.
        count: of all faults.
    """

    content: Content
    faults: list[Fault] = field(default_factory=list)
    count: int = 0


def read_records(paths: Sequence[str | Path]) -> Content:
    """The records of folders, of which the earlier ones win; see `Records.read`.

    Args:
        paths: records folders, zoos, or files with results.

    Returns:
        One table; results of tasks with a single model are set aside.

    Raises:
        InputError: no path, or a fault; one line has the first few faults and their number.
    """
    if not paths:
        raise InputError("records need at least one folder")
    found = [read_source(source) for path in paths for source in sources(Path(path))]
    refuse_faults([f for one in found for f in one.faults], sum(one.count for one in found))
    content = found[0].content
    for one in found[1:]:
        content = join(content, one.content)
    return content.without_single()


def read_source(source: Source) -> Found:
    """The rows of one source, and its faults.

    Args:
        source: its files.

    Returns:
        Records of the sound rows; tasks with one model are in it.

    Raises:
        InputError: a file cannot be read at all.
    """
    models = None if source.models is None else read_facts(source.models, "model")
    tasks = None if source.tasks is None else read_facts(source.tasks, "task")
    places = NameTable(() if models is None else models.names)
    task_places = NameTable(() if tasks is None else tasks.names)
    columns = ZOO_COLUMNS if source.is_zoo else Columns()
    values = read_values(source.values, places, task_places, columns)
    facts, notes, faults = _task_facts(source, tasks, task_places.names)
    changed = places.changed + task_places.changed
    if changed:
        notes.append(f"{values.file}: {changed} names are read without space around them, in NFC")
    content = _table(values, (places.names, task_places.names), (models, facts), notes)
    file_faults = [f for f in (models, tasks) if f is not None]
    found = [one for f in file_faults for one in _located(f.faults)]
    found += faults + values.faults.located(values.places)
    count = sum(f.faults.count for f in file_faults) + len(faults) + values.faults.count
    return Found(content, found, count)


def _located(faults: Faults) -> list[Fault]:
    return faults.located(lambda rows: lines_of(faults.file, rows))


def _table(
    values: Values,
    names: tuple[list[str], list[str]],
    facts: tuple[Facts | None, Mapping[str, tuple[str, ...]]],
    notes: list[str],
) -> Content:
    """The records of sound rows; what is wrong with the others is added to the faults."""
    models, tasks = names
    kept = np.isfinite(values.value) & (values.model >= 0) & (values.task >= 0)
    row = None if kept.all() else np.flatnonzero(kept)
    model, task, value, stderr = _taken(values, row)
    keep, conflicts = first_of_pairs(pair_keys(model, task, len(tasks)), value)
    _report_twice(Results(models, tasks, model, task, value, row), conflicts, values.faults)
    if keep is not None:
        merged = int((~keep).sum()) - len(conflicts)
        if merged:
            notes.append(f"{values.file}: {merged} rows are given twice and count once")
        at = np.flatnonzero(keep)
        model, task, value, stderr = model[at], task[at], value[at], stderr[at]
        row = at if row is None else row[at]
    bad = check_ranges(
        Results(models, tasks, model, task, value, row),
        task_rules(len(tasks), facts[1]),
        values.faults,
    )
    if bad.any():
        model, task, value, stderr = model[~bad], task[~bad], value[~bad], stderr[~bad]
    return Content(
        tuple(models), tuple(tasks), model, task, value, stderr,
        facts_of(models, facts[0]), facts[1], notes=(*values.notes, *notes),
    )  # fmt: skip


def _report_twice(results: Results, conflicts: Int64[np.ndarray, "k 2"], faults: Faults) -> None:
    """Rows that give another value than the first row of their pair."""
    faults.count += max(0, len(conflicts) - KEPT)
    for i, first in conflicts[:KEPT].tolist():
        what = f"{{value}} of {{model}} on {{task}} is {results.value[first]:g} in {{{{0}}}}"
        other = first if results.row is None else int(results.row[first])
        at = np.array([i], np.int64)
        results.report(faults, at, f"{what}: leave one of the two out", other)


def _taken(values: Values, row: Int64[np.ndarray, " k"] | None) -> tuple[
    Int32[np.ndarray, " k"], Int32[np.ndarray, " k"],
    Float64[np.ndarray, " k"], Float64[np.ndarray, " k"],
]:  # fmt: skip
    if row is None:
        return values.model, values.task, values.value, values.stderr
    return values.model[row], values.task[row], values.value[row], values.stderr[row]


# ---- facts of tasks --------------------------------------------------------------------------


def _task_facts(
    source: Source, facts: Facts | None, names: Sequence[str]
) -> tuple[dict[str, tuple[str, ...]], list[str], list[Fault]]:
    """The facts of tasks, what is said of them, and unknown directions."""
    if source.is_zoo:
        return _zoo_facts(source.folder, names), [], []
    columns = facts_of(names, facts)
    if facts is None or "direction" not in columns:
        return columns, [], []
    if is_route(columns["direction"]):
        renamed = {ROUTE_COLUMN if n == "direction" else n: c for n, c in columns.items()}
        words = ", ".join(sorted(set(columns["direction"]) - {""})[:3])
        note = f"{source.tasks}: direction says {words}, not which way is better"
        return renamed, [f"{note}: it is read as the fact {ROUTE_COLUMN}"], []
    faults = Faults(facts.faults.file)
    for i, text in enumerate(facts.columns["direction"]):
        try:
            direction_word(text)
        except InputError as error:
            row = facts.rows[i]
            faults.add(row, f"{error} for task {facts.names[i]!r}: use one, or rename the column")
    if faults.count:  # no rule can be made of it
        columns["direction"] = ("",) * len(names)
    return columns, [], _located(faults)


def _zoo_facts(folder: Path, names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """A zoo's accuracies are larger when better; the manifest may name another measure."""
    path = folder / "manifest.json"
    refuse_link_out(folder, path)
    tasks: Mapping[str, Any] = read_manifest(path).get("tasks", {})
    measures = tuple(_zoo_measure(folder, name, tasks.get(name, {})) for name in names)
    return {"measure": measures, "direction": ("larger",) * len(names)}


def _zoo_measure(folder: Path, task: str, entry: Mapping[str, Any]) -> str:
    """What the manifest says; else accuracy, but the negative error of a regression."""
    if isinstance(entry.get("measure"), str):
        return str(entry["measure"])
    kind = entry.get("kind")
    if kind is None:
        try:
            path = folder / "labels" / f"{name_to_component(task)}.npy"
            refuse_link_out(folder, path)
            kind = kind_of(task, read_header(path), None)
        except InputError:  # results of a task whose labels are not there
            kind = None
    return "rmse" if kind == "regression" else "accuracy"
