"""Two tables of records in one: the first wins, and what differs is said."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int32, Int64

from spider_jax.errors import InputError
from spider_jax.records.checks import (
    Results,
    check_ranges,
    pair_keys,
    refuse_other_measure,
    task_rules,
)
from spider_jax.records.content import C, Content
from spider_jax.records.files.faults import SHOWN, Faults


def join(mine: C, other: Content) -> C:
    """Both tables in one, see `Records.merged`.

    Args:
        mine: wins where both have a result or a fact.
        other: the other one.

    Returns:
        A new table.

    Raises:
        InputError: a task in two measures or units.
    """
    models, tasks = _union(mine.models, other.models), _union(mine.tasks, other.tasks)
    both = _both(mine.tasks, other.tasks)
    refuse_other_measure(mine.tasks, mine.task_facts, other.task_facts, both)
    moved = _moved(other, models, tasks)
    known, differ = _known(mine, moved)
    new = moved.at(np.flatnonzero(~known))
    note = f"{differ} results are given twice with another value: those of the first count"
    joined = replace(
        mine,
        models=models,
        tasks=tasks,
        model=np.append(mine.model, new.model),
        task=np.append(mine.task, new.task),
        value=np.append(mine.value, new.value),
        stderr=np.append(mine.stderr, new.stderr),
        model_facts=_facts(mine.models, mine.model_facts, other.models, other.model_facts, models),
        task_facts=_facts(mine.tasks, mine.task_facts, other.tasks, other.task_facts, tasks),
        notes=(*mine.notes, *other.notes, *((note,) if differ else ())),
        problems=(*mine.problems, *other.problems),
    )
    _refuse_mixed(joined)
    return joined


def overlap(mine: Content, other: Content) -> tuple[int, int]:
    """How much two tables have in common.

    Args:
        mine: one table.
        other: the other one.

    Returns:
        How many results of the other one this one has, and how many of these differ.
    """
    models, tasks = _union(mine.models, other.models), _union(mine.tasks, other.tasks)
    known, differ = _known(mine, _moved(other, models, tasks))
    return int(known.sum()), differ


def refuse_conflict(mine: Content, new: Content) -> None:
    """Refuse new results that differ from known ones.

    Args:
        mine: the known ones.
        new: the new ones.

    Raises:
        InputError: a pair with another value.
    """
    place, task_place = _index(mine.models), _index(mine.tasks)
    keys = {
        (place[m], task_place[t]): (m, t, v)
        for m, t, v, _ in new.rows(np.arange(len(new)))
        if m in place and t in task_place
    }
    if not keys:
        return
    asked = np.isin(
        pair_keys(mine.model, mine.task, len(mine.tasks)),
        [m * len(mine.tasks) + t for m, t in keys],
    )
    rows = mine.at(np.flatnonzero(asked))
    pairs = zip(rows.model.tolist(), rows.task.tolist(), rows.value.tolist(), strict=True)
    found = [(*keys[m, t], value) for m, t, value in pairs if keys[m, t][2] != value]
    if found:
        shown = "; ".join(f"{m!r} on {t!r} is {v:g}, not {n:g}" for m, t, n, v in found[:SHOWN])
        more = f" (and {len(found) - SHOWN} more)" if len(found) > SHOWN else ""
        raise InputError(f"known results differ: {shown}{more}: replace them, or leave them out")


def without_pairs(mine: C, new: Content) -> C:
    """A table without the results that another one has.

    Args:
        mine: the table.
        new: the other one.

    Returns:
        A new table with all models and tasks.
    """
    tasks = _union(mine.tasks, new.tasks)
    models = _union(mine.models, new.models)
    theirs = pair_keys(
        _places(new.models, models)[new.model], _places(new.tasks, tasks)[new.task], len(tasks)
    )
    known = np.isin(pair_keys(mine.model, mine.task, len(tasks)), theirs)
    return mine.at(np.flatnonzero(~known))


def _moved(other: Content, models: tuple[str, ...], tasks: tuple[str, ...]) -> Content:
    """The results of a table with the positions of another one's names, without facts."""
    return replace(
        other,
        models=models,
        tasks=tasks,
        model=_places(other.models, models)[other.model],
        task=_places(other.tasks, tasks)[other.task],
        model_facts={},
        task_facts={},
        set_aside=(),
    )


def _union(first: Sequence[str], second: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*first, *second)))


def _index(names: Sequence[str]) -> dict[str, int]:
    return {name: i for i, name in enumerate(names)}


def _places(names: Sequence[str], among: Sequence[str]) -> Int32[np.ndarray, " _"]:
    place = _index(among)
    return np.array([place[name] for name in names], np.int32)


def _both(first: Sequence[str], second: Sequence[str]) -> list[tuple[int, int]]:
    place = _index(first)
    return [(place[name], j) for j, name in enumerate(second) if name in place]


def _known(mine: Content, moved: Content) -> tuple[Bool[np.ndarray, " n"], int]:
    """Which records of `moved` are known, and how many of these differ."""
    T = len(moved.tasks)
    keys, theirs = pair_keys(mine.model, mine.task, T), pair_keys(moved.model, moved.task, T)
    known = np.isin(theirs, keys)
    at = np.flatnonzero(known)
    if not len(at):
        return known, 0
    order = np.argsort(keys)
    found = order[np.searchsorted(keys, theirs[at], sorter=order)]
    return known, int((mine.value[found] != moved.value[at]).sum())


def _facts(
    names: Sequence[str],
    mine: Mapping[str, Sequence[str]],
    other_names: Sequence[str],
    other: Mapping[str, Sequence[str]],
    union: Sequence[str],
) -> dict[str, tuple[str, ...]]:
    """Facts of the union: mine where it has a text, else the other's."""
    place, other_place = _index(names), _index(other_names)
    found = {}
    for column in dict.fromkeys((*mine, *other)):
        texts, more = mine.get(column), other.get(column)
        own = [texts[place[n]] if texts is not None and n in place else "" for n in union]
        found[column] = tuple(
            text or (more[other_place[n]] if more is not None and n in other_place else "")
            for text, n in zip(own, union, strict=True)
        )
    return found


def _refuse_mixed(joined: Content) -> None:
    """Refuse results of a task that were in percent in one table and in fractions in the other."""
    faults = Faults(Path())
    rules = task_rules(len(joined.tasks), joined.task_facts)
    row: Int64[np.ndarray, " n"] = np.arange(len(joined))
    results = Results(joined.models, joined.tasks, joined.model, joined.task, joined.value, row)
    check_ranges(results, rules, faults)
    if faults.count:
        shown = "; ".join(what for _, what, _ in faults.rows[:SHOWN])
        more = f" (and {faults.count - SHOWN} more)" if faults.count > SHOWN else ""
        raise InputError(f"joined results do not fit: {shown}{more}")
