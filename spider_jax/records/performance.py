"""Past fine-tuning: a matrix of results with holes, and validation curves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Int
from numpy.typing import ArrayLike

from spider_jax.errors import InputError
from spider_jax.storage.files import read_json, write_json


@dataclass(frozen=True)
class PastResults:
    """Results of models on past tasks; larger is better, NaN is a hole.

    Attributes:
        models: their names, each once.
        tasks: their names, each once.
        accuracies: final test score of every model on every task.
        curves: validation score after every epoch, NaN beyond the epochs that were run.
        validation_rows: rows behind a validation score of a task, 0 where that is not known.

    Raises:
        InputError: a name that occurs twice, or shapes that do not fit the names.
    """

    models: tuple[str, ...]
    tasks: tuple[str, ...]
    # Names with an underscore only say what an axis is: __post_init__ compares the sizes.
    accuracies: Float64[np.ndarray, "_M _T"]
    curves: Float64[np.ndarray, "_M _T _E"]
    validation_rows: Int[np.ndarray, " _T"]

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
        """A table of final results, without curves.

        Args:
            accuracies: by (model, task), as `FeatureStore.accuracies` gives them.

        Returns:
            The table, models and tasks in alphabetical order.

        >>> PastResults.from_accuracies({("vit", "pets"): 0.75, ("vgg", "cars"): 0.5}).accuracies
        array([[0.5 ,  nan],
               [ nan, 0.75]])
        """
        models = tuple(sorted({model for model, _ in accuracies}))
        tasks = tuple(sorted({task for _, task in accuracies}))
        table = np.array([[accuracies.get((m, t), np.nan) for t in tasks] for m in models])
        return _performance(models, tasks, table.reshape(len(models), len(tasks)))

    def without_task(self, task: str) -> "PastResults":
        """The table without a task: a selection must not see results of its own target.

        Args:
            task: its name; one that the table does not have is ignored.

        Returns:
            A new table.
        """
        return self._of_tasks([i for i, name in enumerate(self.tasks) if name != task])

    def only_tasks(self, tasks: Sequence[str]) -> "PastResults":
        """The table of some tasks.

        Args:
            tasks: their names; those that the table does not have are ignored.

        Returns:
            A new table; the tasks keep their order.
        """
        return self._of_tasks([i for i, name in enumerate(self.tasks) if name in set(tasks)])

    def for_models(self, models: Sequence[str]) -> "PastResults":
        """The table of some models.

        Args:
            models: their names; one that the table does not have becomes a row of holes.

        Returns:
            A new table, models in the order given.
        """
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
        """The table with one more result; a new model, a new task or a longer curve is added.

        Args:
            model: its name.
            task: its name.
            accuracy: final test score; NaN (not known) leaves what was there.
            curve: [E] validation score after every epoch; an empty one leaves what was there.
            validation_rows: rows behind the curve, 0 if not known.

        Returns:
            A new table; nothing else in it changes.
        """
        steps = np.asarray(curve, np.float64).reshape(1, 1, -1)
        rows = np.array([validation_rows], np.int64)
        return self.updated(
            PastResults((model,), (task,), np.array([[accuracy]], np.float64), steps, rows)
        )

    def updated(self, newer: "PastResults") -> "PastResults":
        """Both tables in one.

        Args:
            newer: it wins where both have a result; a curve is taken whole.

        Returns:
            A new table, models and tasks of this one first.
        """
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

    def mean_accuracies(self) -> Float64[np.ndarray, " M"]:
        """The mean accuracy of every model, corrected for how hard its tasks were.

        mean over tasks of (A[m, t] - mean_m A[m, t]), plus the mean of all; without holes that is
        the mean over tasks. NaN for a model without any result.
        """
        by_task = masked_mean(self.accuracies, 0)
        centred = masked_mean(self.accuracies - by_task[None], 1)
        return np.asarray(centred + masked_mean(by_task, 0))

    def save(self, path: Path) -> None:
        """Write the table as JSON, all or nothing, holes as null.

        Args:
            path: the file; one that exists is replaced.
        """
        content = {
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

        Args:
            path: the file.

        Returns:
            The table.

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


def masked_mean(values: Float64[np.ndarray, "..."], axis: int) -> Float64[np.ndarray, "..."]:
    """The mean of the finite values along an axis.

    Args:
        values: NaN where one is missing.
        axis: the axis, which the result does not have.

    Returns:
        Means, NaN where no value is finite.

    >>> masked_mean(np.array([[0.5, np.nan], [0.25, np.nan]]), 0)
    array([0.375,   nan])
    """
    known = np.isfinite(values)
    count = known.sum(axis)
    total = np.where(known, values, 0.0).sum(axis)
    return np.asarray(np.where(count > 0, total / np.maximum(count, 1), np.nan))


def _places(names: tuple[str, ...], among: tuple[str, ...]) -> Int[np.ndarray, " n"]:
    place = {name: i for i, name in enumerate(among)}
    return np.array([place[name] for name in names], np.int64)


def _performance(
    models: tuple[str, ...], tasks: tuple[str, ...], table: Float64[np.ndarray, "M T"]
) -> PastResults:
    curves = np.full((*table.shape, 0), np.nan)
    return PastResults(models, tasks, table, curves, np.zeros(len(tasks), np.int64))


def with_nulls(values: Float64[np.ndarray, "_ ..."]) -> list[object]:
    """Values for a JSON, which has no NaN.

    Args:
        values: of any shape but a scalar.

    Returns:
        Nested lists, None where a value is not finite.
    """
    plain = values.astype(object)
    plain[~np.isfinite(values)] = None
    nested: list[object] = plain.tolist()
    return nested
