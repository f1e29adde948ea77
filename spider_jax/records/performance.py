"""What is known of past fine-tuning: a matrix of results with holes, and validation curves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spider_jax.errors import InputError
from spider_jax.storage.files import read_json, write_json

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class PastResults:
    """Results of models on benchmark tasks; larger is better, NaN is a hole.

    models: names [M]. tasks: names [T]. accuracies: float64 [M, T], the final test score. curves:
    float64 [M, T, E], the validation score after every epoch, NaN beyond the epochs run.
    validation_rows: int64 [T] rows behind a validation score, 0 where that is not known.
    """

    models: tuple[str, ...]
    tasks: tuple[str, ...]
    accuracies: Floats
    curves: Floats
    validation_rows: NDArray[np.int64]

    def __post_init__(self) -> None:
        M, T = len(self.models), len(self.tasks)
        for what, names in (("models", self.models), ("tasks", self.tasks)):
            if len(set(names)) != len(names):
                raise InputError(f"{what} of a performance table must differ, got one twice")
        shapes = (self.accuracies.shape, self.curves.shape[:2], self.validation_rows.shape)
        if shapes != ((M, T), (M, T), (T,)) or self.curves.ndim != 3:
            raise InputError(
                f"accuracies [M, T], curves [M, T, E] and validation_rows [T] must have M={M}, "
                f"T={T}, got {self.accuracies.shape}, {self.curves.shape}, {shapes[2]}"
            )

    @staticmethod
    def from_accuracies(accuracies: Mapping[tuple[str, str], float]) -> "PastResults":
        """Final results by (model, task), as a zoo's accuracies.csv gives them; no curves."""
        models = tuple(sorted({model for model, _ in accuracies}))
        tasks = tuple(sorted({task for _, task in accuracies}))
        table = np.array([[accuracies.get((m, t), np.nan) for t in tasks] for m in models])
        return _performance(models, tasks, table.reshape(len(models), len(tasks)))

    def without_task(self, task: str) -> "PastResults":
        """The table without a task: nothing of a target may touch its own selection."""
        return self._of_tasks([i for i, name in enumerate(self.tasks) if name != task])

    def only_tasks(self, tasks: Sequence[str]) -> "PastResults":
        """The table of some tasks; names it does not have are ignored."""
        return self._of_tasks([i for i, name in enumerate(self.tasks) if name in set(tasks)])

    def for_models(self, models: Sequence[str]) -> "PastResults":
        """The table of these models in this order; a model it does not know is a row of holes."""
        known = {name: i for i, name in enumerate(self.models)}
        M, T, E = self.curves.shape
        padded = np.concatenate([self.accuracies, np.full((1, T), np.nan)])
        curves = np.concatenate([self.curves, np.full((1, T, E), np.nan)])
        rows = np.array([known.get(name, M) for name in models], np.int64)
        return replace(self, models=tuple(models), accuracies=padded[rows], curves=curves[rows])

    def with_result(
        self,
        model: str,
        task: str,
        *,
        accuracy: float = float("nan"),
        curve: ArrayLike = (),
        validation_rows: int = 0,
    ) -> "PastResults":
        """The table with one more result; the model, the task and longer curves are made room for.

        Args:
            model: name. task: name.
            accuracy: final test score; NaN (not known) leaves what was there.
            curve: validation score after every epoch; empty leaves what was there.
            validation_rows: rows behind these, 0 if not known.

        Returns:
            A new table; nothing else in it changes.
        """
        steps = np.asarray(curve, np.float64).reshape(1, 1, -1)
        rows = np.array([validation_rows], np.int64)
        return self.updated(
            PastResults((model,), (task,), np.array([[accuracy]], np.float64), steps, rows)
        )

    def updated(self, newer: "PastResults") -> "PastResults":
        """Both tables in one: where both know something, the newer wins; a curve is taken whole."""
        models = tuple(dict.fromkeys(self.models + newer.models))
        tasks = tuple(dict.fromkeys(self.tasks + newer.tasks))
        E = max(self.curves.shape[2], newer.curves.shape[2])
        table = np.full((len(models), len(tasks)), np.nan)
        curves, rows = np.full((*table.shape, E), np.nan), np.zeros(len(tasks), np.int64)
        for one in (self, newer):
            at = _places(one.models, models), _places(one.tasks, tasks)
            where = np.ix_(*at)
            known = np.isfinite(one.accuracies)
            table[where] = np.where(known, one.accuracies, table[where])
            longer = np.full((*known.shape, E), np.nan)
            longer[..., : one.curves.shape[2]] = one.curves
            ran = np.isfinite(longer).any(2, keepdims=True)
            curves[where] = np.where(ran, longer, curves[where])
            rows[at[1]] = np.where(one.validation_rows > 0, one.validation_rows, rows[at[1]])
        return PastResults(models, tasks, table, curves, rows)

    def mean_accuracies(self) -> Floats:
        """The average of every model [M], fair to models with holes: what a task is above is less.

        mean over tasks of (A[m, d] - mean_m A[m, d]), plus the mean of all; without holes that is
        the mean over tasks. NaN for a model without any result.
        """
        by_task = masked_mean(self.accuracies, 0)
        centred = masked_mean(self.accuracies - by_task[None], 1)
        return np.asarray(centred + masked_mean(by_task, 0))

    def save(self, path: Path) -> None:
        """Write the table as JSON, all or nothing, holes as null."""
        content: dict[str, Any] = {
            "models": list(self.models),
            "tasks": list(self.tasks),
            "accuracies": with_nulls(self.accuracies),
            "curves": with_nulls(self.curves),
            "validation_rows": self.validation_rows.tolist(),
        }
        write_json(path, "performance", content)

    @staticmethod
    def load(path: Path) -> "PastResults":
        """Read what `save` wrote.

        Raises:
            InputError: missing, broken, or of a newer version.
        """
        content = read_json(path, "performance")
        try:
            models, tasks = tuple(content["models"]), tuple(content["tasks"])
            table = np.array(content["accuracies"], np.float64).reshape(len(models), len(tasks))
            curves = np.array(content["curves"], np.float64)
            curves = curves.reshape(len(models), len(tasks), curves.shape[-1] if curves.size else 0)
            rows = np.array(content["validation_rows"], np.int64)
            return PastResults(models, tasks, table, curves, rows)
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{path} is not a sound performance table: {error}") from None

    def _of_tasks(self, kept: Sequence[int]) -> "PastResults":
        at = np.array(kept, np.int64)
        return PastResults(
            self.models,
            tuple(self.tasks[i] for i in kept),
            self.accuracies[:, at],
            self.curves[:, at],
            self.validation_rows[at],
        )


def masked_mean(values: Floats, axis: int) -> Floats:
    """The mean of what is not NaN along an axis; NaN where there is nothing."""
    known = np.isfinite(values)
    count = known.sum(axis)
    total = np.where(known, values, 0.0).sum(axis)
    return np.asarray(np.where(count > 0, total / np.maximum(count, 1), np.nan))


def _places(names: tuple[str, ...], among: tuple[str, ...]) -> NDArray[np.int64]:
    place = {name: i for i, name in enumerate(among)}
    return np.array([place[name] for name in names], np.int64)


def _performance(models: tuple[str, ...], tasks: tuple[str, ...], table: Floats) -> PastResults:
    curves = np.full((*table.shape, 0), np.nan)
    return PastResults(models, tasks, table, curves, np.zeros(len(tasks), np.int64))


def with_nulls(values: Floats) -> Any:
    """Nested lists for a JSON, what is not finite as None."""
    plain: NDArray[Any] = values.astype(object)
    plain[~np.isfinite(values)] = None
    return plain.tolist()
