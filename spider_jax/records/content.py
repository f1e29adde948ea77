"""What a table of records holds: names, arrays, facts, and what was set aside."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np
from jaxtyping import Bool, Float64, Int32, Int64

from spider_jax.errors import InputError
from spider_jax.records.checks import better_when_larger

C = TypeVar("C", bound="Content")


@dataclass(frozen=True, eq=False)
class Content:
    """The fields of `Records`, and what follows from them alone.

    Attributes:
        models: names, each once; a model needs no record.
        tasks: names, each once; a task needs no record.
        model: position of the model of every record.
        task: position of the task of every record.
        value: results, in the task's measure.
        stderr: standard errors, NaN where not known.
        model_facts: column -> one text per model, "" where not known.
        task_facts: column -> one text per task, "" where not known. "direction" says which way is
            better, "measure" in what the values are, "unit" whether shares are in percent.
        set_aside: records (model, task, value, stderr) of tasks with a single model, which teach
            nothing; they are written, and count as soon as the task has a second model.
        notes: what was done while reading, a sentence each.
        problems: what was left out and why, a sentence each.

    Raises:
        InputError: a name that occurs twice, arrays or facts that do not fit the names, a value
            that is not finite, or an unknown direction.
    """

    models: tuple[str, ...]
    tasks: tuple[str, ...]
    model: Int32[np.ndarray, " n"]
    task: Int32[np.ndarray, " n"]
    value: Float64[np.ndarray, " n"]
    stderr: Float64[np.ndarray, " n"]
    model_facts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    task_facts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    set_aside: tuple[tuple[str, str, float, float], ...] = ()
    notes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for what, names, at, facts in (
            ("models", self.models, self.model, self.model_facts),
            ("tasks", self.tasks, self.task, self.task_facts),
        ):
            if len(set(names)) != len(names):
                raise InputError(f"{what} of records must differ, got one twice")
            if len(at) and not (at.min() >= 0 and at.max() < len(names)):
                raise InputError(f"positions of {what} must be below {len(names)}, got {at.max()}")
            for column, texts in facts.items():
                if len(texts) != len(names):
                    raise InputError(
                        f"fact {column!r} must have one text per name ({len(names)} {what}), "
                        f"got {len(texts)}"
                    )
        if not np.isfinite(self.value).all():
            raise InputError("values of records must be finite: leave out what is not known")
        self.larger_is_better  # noqa: B018  refuses an unknown direction

    def __len__(self) -> int:
        """How many results are known."""
        return len(self.value)

    @property
    def larger_is_better(self) -> Bool[np.ndarray, " T"]:
        """Whether larger is better on each task: as its direction says, else as its measure does.

        Where neither is known, larger is better.
        """
        return better_when_larger(len(self.tasks), self.task_facts)

    def without_single(self: C) -> C:
        """The table with results of tasks with one model set aside, and a problem for each."""
        everything = self.whole()
        single = np.bincount(everything.task, minlength=len(self.tasks)) == 1
        at = np.flatnonzero(single[everything.task])
        if not len(at):
            return everything
        aside = tuple(everything.rows(at))
        problems = (
            f"task {task!r} has one model only ({model!r}): it teaches nothing and is left out"
            for model, task, *_ in aside
        )
        kept = everything.at(np.flatnonzero(~single[everything.task]))
        return replace(kept, set_aside=aside, problems=(*self.problems, *problems))

    def whole(self: C) -> C:
        """The table with what was set aside put back."""
        if not self.set_aside:
            return self
        place = {name: i for i, name in enumerate(self.models)}
        task_place = {name: i for i, name in enumerate(self.tasks)}
        model, task, value, stderr = zip(*self.set_aside, strict=True)
        return replace(
            self,
            model=np.append(self.model, np.array([place[m] for m in model], np.int32)),
            task=np.append(self.task, np.array([task_place[t] for t in task], np.int32)),
            value=np.append(self.value, value),
            stderr=np.append(self.stderr, stderr),
            set_aside=(),
            problems=(),
        )

    def at(self: C, positions: Int64[np.ndarray, " k"]) -> C:
        """The table with some of its records; every model and task keeps its place.

        Args:
            positions: of the records.
        """
        return replace(
            self,
            model=self.model[positions],
            task=self.task[positions],
            value=self.value[positions],
            stderr=self.stderr[positions],
        )

    def rows(self, positions: Int64[np.ndarray, " k"]) -> list[tuple[str, str, float, float]]:
        """Some records as (model, task, value, stderr).

        Args:
            positions: of the records.
        """
        columns = (c[positions].tolist() for c in (self.model, self.task, self.value, self.stderr))
        return [(self.models[m], self.tasks[t], v, s) for m, t, v, s in zip(*columns, strict=True)]
