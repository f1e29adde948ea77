"""A Gaussian process over tasks: what known tasks say of a new one, less the further it is away.

Standings of the models on a task described by x (`tasks.description`, halves u and v):

    y(x) = c + f(x),   f ~ GP(0, k),   k(x, x') = s exp(-(a |u - u'|^2 + b |v - v'|^2)),

c the constant order: the mean over datasets of the mean standing on their tasks. A training task
shows y with noise variance n. All models share k, so a new task's mean is one weighted sum of the
training tasks' standings, whatever the number of models; far from all of them it is c. The variance
s - k_* (K + n I)^-1 k_* + g grows with the distance; g is what no description explains.
"""

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from functools import cached_property

import jax
import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int64
from scipy.linalg import cho_factor, cho_solve

from spider_jax.runtime.blas import one_blas_thread
from spider_jax.tasks.description import Design, describe
from spider_jax.tasks.padding import pad_tokens
from spider_jax.tasks.tokens import TaskTokens


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class TaskProcess:
    """A process over S training tasks.

    Attributes:
        unit: deviation of the sources' features.
        centre: mean description of the training tasks.
        scale: what each number of a description is divided by.
        rows: descriptions of the training tasks, centred and scaled.
        constant: weights of the training tasks in the constant order; they sum to 1.
        hyper: a, b, s, n and g, see the module.
    """

    unit: Float32[np.ndarray, " D"]
    centre: Float32[np.ndarray, " f"]
    scale: Float32[np.ndarray, " f"]
    rows: Float32[np.ndarray, "S f"]
    constant: Float32[np.ndarray, " S"]
    hyper: Float64[np.ndarray, " 5"]

    @staticmethod
    def of(
        given: Design,
        unit: Float32[np.ndarray, " D"],
        constant: Float64[np.ndarray, " S"],
        hyper: Float64[np.ndarray, " 5"],
    ) -> "TaskProcess":
        """From the training tasks' design."""
        centre, scale, rows, weights = (
            np.asarray(a, np.float32) for a in (given.centre, given.scale, given.rows, constant)
        )
        return TaskProcess(unit, centre, scale, rows, weights, as_stored(hyper))

    def arrays(self) -> dict[str, Float32[np.ndarray, "..."]]:
        """By the names of the fields, in the precision of a file."""
        return {one.name: np.asarray(getattr(self, one.name), np.float32) for one in fields(self)}

    @staticmethod
    def from_arrays(arrays: Mapping[str, Float32[np.ndarray, "..."]]) -> "TaskProcess":
        """The inverse of `arrays`."""
        kept = {one.name: arrays[one.name] for one in fields(TaskProcess)}
        return TaskProcess(**kept | {"hyper": kept["hyper"].astype(np.float64)})

    @cached_property
    def _factor(self) -> tuple[Float64[np.ndarray, "S S"], bool]:
        known = kernel(self.rows, self.rows, self.hyper)
        known[np.diag_indices(len(known))] += self.hyper[3]
        factor, lower = cho_factor(known, lower=True)
        return factor, bool(lower)

    def predict(
        self, described: Float64[np.ndarray, "T f"]
    ) -> tuple[Float64[np.ndarray, "T S"], Float64[np.ndarray, " T"]]:
        """What the training tasks say of other tasks.

        Args:
            described: see `tasks.description.describe`.

        Returns:
            Weights of the training tasks' standings; and the variance that is left, in squared
            standard units. The weights of a task unlike all others are those of the constant order.
        """
        asked = (described - self.centre) / self.scale
        near = kernel(asked, self.rows, self.hyper)
        pull = cho_solve(self._factor, near.T).T
        weights = pull + (1 - pull.sum(1, keepdims=True)) * self.constant
        _, _, signal, _, rest = self.hyper
        return weights, signal - (pull * near).sum(1) + rest

    @property
    def far(self) -> float:
        """The variance on a task of which nothing is known."""
        return float(self.hyper[2] + self.hyper[4])

    def known(self, tokens: TaskTokens) -> tuple[float, float | None]:
        """How much the training tasks say of one task.

        Args:
            tokens: of the task, in the unit that it was trained in.

        Returns:
            The variance that they leave, and the share that they explain; None where nothing but
            class centres is known of it.
        """
        if tokens.deviations is None:
            return self.far, None
        padded = pad_tokens([tokens])
        assert padded.deviations is not None
        asked = describe(padded.centres, padded.mask, padded.deviations, self.unit)
        _, variance = self.predict(asked)
        return float(variance[0]), float(self._share(variance)[0])

    def explained(self, described: Float64[np.ndarray, "T f"]) -> Float64[np.ndarray, " T"]:
        """Share of the process' variance that the training tasks explain: 0 far from all, to 1."""
        return self._share(self.predict(described)[1])

    def _share(self, variance: Float64[np.ndarray, " T"]) -> Float64[np.ndarray, " T"]:
        _, _, signal, _, rest = self.hyper
        return np.clip(1 - (variance - rest) / signal, 0.0, 1.0)


def kernel(
    a: Float[np.ndarray, "A f"], b: Float[np.ndarray, "B f"], hyper: Float64[np.ndarray, " 5"]
) -> Float64[np.ndarray, "A B"]:
    """k of scaled descriptions, see the module."""
    first, second = squared_distances(a, b)
    return np.asarray(hyper[2] * np.exp(-(hyper[0] * first + hyper[1] * second)))


def squared_distances(
    a: Float[np.ndarray, "A f"], b: Float[np.ndarray, "B f"]
) -> Float64[np.ndarray, "2 A B"]:
    """|u - u'|^2 and |v - v'|^2 of the two halves of scaled descriptions."""
    halves = (np.split(np.asarray(x, np.float64), 2, axis=1) for x in (a, b))
    return np.stack([_squared(p, q) for p, q in zip(*halves, strict=True)])


def _squared(
    p: Float64[np.ndarray, "A h"], q: Float64[np.ndarray, "B h"]
) -> Float64[np.ndarray, "A B"]:
    found = (p**2).sum(1)[:, None] + (q**2).sum(1)[None] - 2 * p @ q.T
    return np.maximum(found, 0)


def constant_weights(
    dataset_rows: Bool[np.ndarray, "G S"],
) -> Float64[np.ndarray, " S"]:
    """Weights of training tasks in the constant order: every dataset the same, its tasks alike.

    Args:
        dataset_rows: True for tasks that come from one dataset alone; a row for every dataset that
            counts.

    Returns:
        Weights that sum to 1; all alike where no dataset has a task of its own.
    """
    counts = dataset_rows.sum(1)
    some = counts > 0
    if not some.any():
        return np.full(dataset_rows.shape[1], 1 / dataset_rows.shape[1])
    return np.asarray((dataset_rows[some] / counts[some, None]).mean(0))


def predict_apart(
    rows: Float[np.ndarray, "S f"],
    targets: Float[np.ndarray, "S M"],
    hyper: Float64[np.ndarray, " 5"],
    groups: Int64[np.ndarray, " S"],
    allowed: Bool[np.ndarray, "G S"],
    constants: Float64[np.ndarray, "G S"],
) -> Float64[np.ndarray, "S M"]:
    """What a process on the tasks that its group allows says of every task.

    Args:
        rows: scaled descriptions.
        targets: standings.
        hyper: see the module.
        groups: the group of each task.
        allowed: True for tasks that a group's process may use.
        constants: weights of the constant order of each group.

    Returns:
        Means; 0 for groups without allowed tasks.
    """
    known = kernel(rows, rows, hyper)
    out = np.zeros(targets.shape)

    def predict(group: int) -> None:
        asked, use = np.flatnonzero(groups == group), np.flatnonzero(allowed[group])
        if len(asked) == 0 or len(use) == 0:
            return
        constant = constants[group] @ targets
        gram = known[np.ix_(use, use)] + hyper[3] * np.eye(len(use))
        pull = cho_solve(cho_factor(gram, lower=True), known[np.ix_(use, asked)]).T
        out[asked] = constant + pull @ (targets[use] - constant)

    with one_blas_thread(), ThreadPoolExecutor(os.cpu_count()) as pool:
        for _ in pool.map(predict, range(len(allowed))):
            pass
    return out


def as_stored(values: Float[np.ndarray, "..."]) -> Float64[np.ndarray, "..."]:
    """float64 numbers that a file of float32 gives back to the bit."""
    return np.asarray(values, np.float32).astype(np.float64)
