"""The task ridge: models' scores by a linear regression on how the extractor's features spread.

A task is described per feature c of the extractor, in units of the feature's deviation over the
sources, by

    ln(s_c + e)  and  ln((b_c + e)/(w_c + e)) less its mean over c,

s the deviation over all rows, b that of the class centres, w that within classes, e = 0.1. Each
half has total variance 1 over the training tasks. Ridge regression from there to the target scores
is a weighted sum of the training tasks' targets: its weights are what is kept.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int64
from numpy.typing import NDArray

from spider_jax.runtime.blas import one_blas_thread

FLOOR = 0.1
RIDGE = 1.0  # of the mean eigenvalue; 0.5 to 10 is as good


class TaskRidge(NamedTuple):
    """Weights of S training tasks for a task described by x [2 D]: (x - centre) coefficients + 1/S.

    Attributes:
        unit: [D] deviation of the sources' features.
        centre: [2 D] mean description of the training tasks.
        coefficients: [2 D, S] of the regression.
        gain: a prediction is multiplied by it, because shrinkage makes it smaller than the targets.
    """

    unit: Float32[np.ndarray, " D"]
    centre: Float32[np.ndarray, " f"]
    coefficients: Float32[np.ndarray, "f S"]
    gain: Float32[np.ndarray, ""]

    def weights(self, described: Float64[np.ndarray, "T f"]) -> Float32[np.ndarray, "T S"]:
        """[T, S] weights of the training tasks for described tasks [T, 2 D]."""
        found = (described - self.centre) @ self.coefficients.astype(np.float64)
        return np.asarray(self.gain * (found + 1 / found.shape[1]), np.float32)


def source_unit(features: Float[np.ndarray, "N D"]) -> Float32[np.ndarray, " D"]:
    """[D] deviation of the sources' features [N, D], bounded from below."""
    sd = np.asarray(features, np.float64).std(0)
    return np.asarray(sd + 1e-3 * sd.mean() + 1e-30, np.float32)


def describe(
    tokens: Float[np.ndarray, "T C D"],
    mask: Bool[np.ndarray, "T C"],
    deviations: Float[np.ndarray, "T 2 D"],
    unit: Float[np.ndarray, " D"],
) -> Float64[np.ndarray, "T f"]:
    """The description of tasks.

    Args:
        tokens: [T, C, D] raw class centres, padded.
        mask: [T, C] True where a class is real.
        deviations: [T, 2, D], see `task_deviations`.
        unit: [D] deviation of the sources' features.

    Returns:
        float64 [T, 2 D].
    """
    real, scale = mask[..., None], np.asarray(unit, np.float64)
    n = np.maximum(real.sum(1), 1)
    centres = np.asarray(tokens, np.float64)
    mean = (centres * real).sum(1) / n
    between = np.sqrt((((centres - mean[:, None]) ** 2) * real).sum(1) / n) / scale
    total, within = np.moveaxis(np.asarray(deviations, np.float64) / scale, 1, 0)
    fisher = np.log((between + FLOOR) / (within + FLOOR))
    fisher -= fisher.mean(1, keepdims=True)
    return np.concatenate([np.log(total + FLOOR), fisher], axis=1)


class Design(NamedTuple):
    """Training tasks ready for regression.

    Attributes:
        rows: [S, 2 D] described, centred, each half scaled to total variance 1.
        centre: [2 D] that was taken out.
        scale: [2 D] that was divided by.
    """

    rows: Float64[np.ndarray, "S f"]
    centre: Float64[np.ndarray, " f"]
    scale: Float64[np.ndarray, " f"]


def design(described: Float64[np.ndarray, "S f"]) -> Design:
    """Centre the descriptions [S, 2 D] and give each half total variance 1."""
    centre = described.mean(0)
    halves = np.split((described - centre).var(0), 2)
    size = [np.sqrt(max(half.sum(), 1e-30)) for half in halves]
    scale = np.repeat(size, len(centre) // 2)
    return Design((described - centre) / scale, centre, scale)


def fit_task_ridge(given: Design, unit: Float32[np.ndarray, " D"], gain: float) -> TaskRidge:
    """The regression on all tasks of a design."""
    S = len(given.rows)
    gram = given.rows @ given.rows.T
    dual = np.linalg.solve(_regularized(gram), np.eye(S) - 1 / S)
    coefficients = (given.rows.T @ dual) / given.scale[:, None]
    kept = (given.centre, coefficients, np.float64(gain))
    return TaskRidge(unit, *(np.asarray(array, np.float32) for array in kept))


def predict_held_out(
    gram: Float64[np.ndarray, "S S"],
    targets: Float[np.ndarray, "S M"],
    groups: Int64[np.ndarray, " S"],
    allowed: Bool[np.ndarray, "G S"],
) -> Float64[np.ndarray, "S M"]:
    """What a regression on the tasks that its group allows says of every task.

    Args:
        gram: [S, S] of a design.
        targets: [S, M] what is predicted.
        groups: [S] 0..G-1, the group of each task.
        allowed: [G, S] True for tasks that a group's regression may use.

    Returns:
        [S, M]; 0 for groups with fewer than two allowed tasks.
    """
    out = np.zeros(targets.shape)

    def predict(group: int) -> None:
        asked, rows = np.flatnonzero(groups == group), np.flatnonzero(allowed[group])
        if len(asked) and len(rows) > 1:
            out[asked] = _predict(gram, targets, asked, rows)

    with one_blas_thread(), ThreadPoolExecutor(os.cpu_count()) as pool:
        for _ in pool.map(predict, range(len(allowed))):
            pass
    return out


def _predict(
    gram: NDArray[np.float64],
    targets: NDArray[np.floating],
    asked: NDArray[np.int64],
    rows: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Ridge with intercept from the Gram matrix: the rows' mean is taken out of both sides."""
    known, mean = gram[np.ix_(rows, rows)], targets[rows].mean(0)
    column = known.mean(0)
    centred = known - column - column[:, None] + column.mean()
    cross = gram[np.ix_(asked, rows)]
    cross = cross - column - cross.mean(1, keepdims=True) + column.mean()
    solved: NDArray[np.float64] = np.linalg.solve(_regularized(centred), targets[rows] - mean)
    return mean + cross @ solved


def _regularized(gram: NDArray[np.float64]) -> NDArray[np.float64]:
    n = len(gram)
    ridge = RIDGE * max(float(np.trace(gram)), 1e-30) / n
    return gram + ridge * np.eye(n)
