"""One scale for results of many tasks: standard units, and the constant order behind them.

Results are heavy-tailed and in many measures, so of each task only the order counts: model m, with
mid-rank r among the task's n models, has the normal score s = Phi^-1((r - 1/2)/n). But different
models were run on each task: where only strong ones were, a middling score is a good result. So

    q_m  = (sum over m's tasks of Z_tm + q0_m)/(n_m + 1),
    Z_tm = mean of q over t's models + s_tm sqrt(variance of q over t's models + v),

v the mean of (Z - q)^2, are found in ROUNDS rounds, Z brought to unit deviation in each. q is the
*calibrated constant order*; q0 is what facts say of a model: 0 in the rounds and without facts.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float64, Int32
from scipy.sparse import csr_array

from spider_jax.belief.evidence import Spread

ROUNDS = 15


@dataclass(frozen=True, eq=False)
class Scaled:
    """Records in standard units, sorted by task.

    Attributes:
        model: position of the model of every record.
        task: position of the task of every record, ascending.
        z: calibrated normal score.
        models: M.
        tasks: T.
        size: of each task, how much of its measure a standard unit is; NaN where nothing shows it.
    """

    model: Int32[np.ndarray, " n"]
    task: Int32[np.ndarray, " n"]
    z: Float64[np.ndarray, " n"]
    models: int
    tasks: int
    size: Float64[np.ndarray, " T"]

    @cached_property
    def counts(self) -> Float64[np.ndarray, " M"]:
        """How many records each model has."""
        return np.bincount(self.model, minlength=self.models).astype(np.float64)

    @cached_property
    def sums(self) -> Float64[np.ndarray, " M"]:
        """Sum of each model's z."""
        return np.bincount(self.model, self.z, self.models)

    @cached_property
    def table(self) -> csr_array:
        """z by task and model."""
        return csr_array((self.z, (self.task, self.model)), shape=(self.tasks, self.models))

    @cached_property
    def known(self) -> csr_array:
        """1 where there is a record, by task and model."""
        ones = np.ones(len(self.z))
        return csr_array((ones, (self.task, self.model)), shape=(self.tasks, self.models))

    @cached_property
    def spread(self) -> Spread:
        """How far results spread over the models of a task."""
        return Spread.of(self.size)

    def constant(
        self, before: Float64[np.ndarray, " M"] | None = None
    ) -> Float64[np.ndarray, " M"]:
        """The calibrated constant order.

        Args:
            before: what facts say of each model; default: 0.
        """
        return (self.sums + (0.0 if before is None else before)) / (self.counts + 1)


def scale(
    model: Int32[np.ndarray, " n"],
    task: Int32[np.ndarray, " n"],
    value: Float64[np.ndarray, " n"],
    models: int,
    tasks: int,
) -> Scaled:
    """Bring results to one scale, see the module.

    Args:
        model: position of the model of every record.
        task: position of the task of every record.
        value: results, larger is better.
        models: M.
        tasks: T.

    Returns:
        The records in standard units.
    """
    order = np.argsort(task, kind="stable")
    model, task, value = model[order], task[order], value[order]
    score = normal_scores(task, value, tasks)
    z = _calibrated(model, task, score, models, tasks)
    return Scaled(model, task, z, models, tasks, _sizes(task, value, z, tasks))


def normal_scores(
    task: Int32[np.ndarray, " n"], value: Float64[np.ndarray, " n"], tasks: int
) -> Float64[np.ndarray, " n"]:
    """Phi^-1((mid-rank - 1/2)/n) within each task, with unit deviation; ties share a rank.

    Args:
        task: position of the task of every record.
        value: results.
        tasks: T.

    Returns:
        Scores; 0 on tasks where all results are the same.
    """
    from scipy.special import ndtri

    order = np.lexsort((value, task))
    mine, sorted_values = task[order], value[order]
    count = np.bincount(task, minlength=tasks)
    start = np.concatenate([[0], np.cumsum(count)])
    place = np.arange(len(order)) - start[mine]
    new = np.r_[True, (np.diff(mine) != 0) | (np.diff(sorted_values) != 0)]
    group = np.cumsum(new) - 1
    middle = np.bincount(group, place) / np.bincount(group)  # mid-rank, from 0
    found = np.empty(len(order))
    found[order] = ndtri((middle[group] + 0.5) / count[mine])
    deviation = np.sqrt(np.bincount(task, found**2, tasks) / np.maximum(count, 1))
    return np.asarray(found / np.where(deviation > 1e-12, deviation, 1.0)[task])


def _calibrated(
    model: Int32[np.ndarray, " n"],
    task: Int32[np.ndarray, " n"],
    score: Float64[np.ndarray, " n"],
    models: int,
    tasks: int,
) -> Float64[np.ndarray, " n"]:
    counts = np.bincount(model, minlength=models)
    sizes = np.maximum(np.bincount(task, minlength=tasks), 1)
    z = score
    for _ in range(ROUNDS):
        q = (np.bincount(model, z, models) / (counts + 1))[model]
        rest = np.mean((z - q) ** 2) if len(z) else 0.0
        mean = (np.bincount(task, q, tasks) / sizes)[task]
        variance = (np.bincount(task, (q - mean) ** 2, tasks) / sizes)[task]
        z = mean + score * np.sqrt(variance + rest)
        z = z / max(float(np.sqrt(np.mean(z**2))) if len(z) else 1.0, 1e-12)
    return z


def _sizes(
    task: Int32[np.ndarray, " n"],
    value: Float64[np.ndarray, " n"],
    z: Float64[np.ndarray, " n"],
    tasks: int,
) -> Float64[np.ndarray, " T"]:
    """The slope of results over standard units, by task."""
    count = np.bincount(task, minlength=tasks)

    def centred(x: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
        return x - (np.bincount(task, x, tasks) / np.maximum(count, 1))[task]

    x, y = centred(z), centred(value)
    xx, xy = (np.bincount(task, x * other, tasks) for other in (x, y))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where((count >= 5) & (xy > 0), xy / xx, np.nan)
