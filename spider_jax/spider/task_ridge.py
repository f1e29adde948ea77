"""The task ridge: models' scores by a linear regression on how the extractor's features spread.

Ridge regression from the description of a task (`tasks.description`) to the target scores is a
weighted sum of the training tasks' targets: its weights are what is kept.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int64
from numpy.typing import NDArray

from spider_jax.runtime.blas import one_blas_thread
from spider_jax.tasks.description import Design

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
