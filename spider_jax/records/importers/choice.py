"""Which of several metrics of a task becomes its result: the one that most models have."""

from collections.abc import Sequence
from typing import NamedTuple

from spider_jax.records.importers.gathered import Gathered


class Candidate(NamedTuple):
    """A value that may become the result of a model on a task.

    Attributes:
        model: its name.
        task: its name.
        metric: name of the metric.
        detail: how it was measured: filter, shots, split; values of one task must share it.
        value: of the metric.
        stderr: its standard error, NaN where not known.
        direction: larger, smaller, or "" where not known.
    """

    model: str
    task: str
    metric: str
    detail: str
    value: float
    stderr: float
    direction: str = ""


def choose(candidates: Sequence[Candidate], metric: str, gathered: Gathered) -> None:
    """Add one result per model and task.

    Args:
        candidates: in the order of the files, what wins first.
        metric: the metric that is asked for; "" takes on each task the one, measured in the one
            way, that most models have, and of equal ones the first.
        gathered: gets results, measures and what is left out.
    """
    by_task: dict[str, list[Candidate]] = {}
    for one in candidates:
        by_task.setdefault(one.task, []).append(one)
    for task, ones in by_task.items():
        models = {one.model for one in ones}
        asked = [one for one in ones if metric in ("", one.metric)]
        if not asked:
            found = ", ".join(dict.fromkeys(one.metric for one in ones))
            gathered.problems.append(f"task {task!r} has no metric {metric!r}, it has {found}")
            continue
        counts: dict[tuple[str, str], set[str]] = {}
        for one in asked:
            counts.setdefault((one.metric, one.detail), set()).add(one.model)
        key = max(counts, key=lambda way: len(counts[way]))  # of equal ones the first
        chosen = [one for one in asked if (one.metric, one.detail) == key]
        gathered.rows += [(one.model, task, one.value, one.stderr) for one in chosen]
        facts = gathered.task_facts.setdefault(task, {})
        facts |= {"measure": key[0], "direction": chosen[0].direction, "evaluated": key[1]}
        lacking = len(models) - len(counts[key])
        if lacking:
            way = f"{key[0]} ({key[1]})" if key[1] else key[0]
            gathered.problems.append(
                f"task {task!r}: {lacking} of {len(models)} models have no {way} and are left out"
            )
