"""A calibrated linear head on a model's features, and what it says of rows it has not seen."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int, Num, Shaped

from spider_jax.ensemble.calibration import Columns, fit_temperature, predictions_of
from spider_jax.metrics.shared.folds import grouped_parts, stratified_folds

FOLDS = 10
PENALTIES = tuple(float(p) for p in 10.0 ** np.arange(-3, 3))  # of the mean eigenvalue
RANK_TOLERANCE = 1e-10


class Head(NamedTuple):
    """Linear scores on raw features, and the temperature that makes predictions of them.

    Attributes:
        weights: one column per class, label or target.
        bias: one per column.
        temperature: of `predictions_of`.
    """

    weights: Float64[np.ndarray, "D C"]
    bias: Float64[np.ndarray, " C"]
    temperature: float


class FittedHead(NamedTuple):
    """A head on all rows, and predictions of every row by the head without its fold.

    Attributes:
        head: fitted to all rows.
        left_out: predictions of every row; of a head that has not seen its fold.
    """

    head: Head
    left_out: Columns


def folds_of(
    kind: str,
    labels: Shaped[np.ndarray, "N ..."],
    groups: Int[np.ndarray, " N"] | None,
    seed: int,
) -> Int[np.ndarray, " N"]:
    """The fold of every row: no group in two folds, else every class in its share.

    Args:
        kind: of the task.
        labels: of the rows.
        groups: which rows belong together; None where each is its own.
        seed: of the folds.

    Returns:
        Numbers from 0.
    """
    rng = np.random.default_rng(seed)
    if groups is not None:
        return grouped_parts(groups, (1.0,) * FOLDS, rng)
    classes = labels if kind == "classification" else np.zeros(len(labels), np.int64)
    return stratified_folds(classes, min(FOLDS, len(labels)), rng)


def fit_head(
    features: Num[np.ndarray, "N D"], Y: Columns, fold: Int[np.ndarray, " N"], kind: str
) -> FittedHead:
    """Ridge regression on standardised features, calibrated on folds that it has not seen.

    Penalty and temperature are those of least squared error and least loss over left-out folds.
    Columns are standardised by all rows: that reads no label.

    Args:
        features: of all rows that may be learned from.
        Y: their labels, as `columns_of` gives them.
        fold: of every row.
        kind: of the task.

    Returns:
        The head and its left-out predictions.
    """
    F = np.asarray(features, np.float64)
    mean, sd = F.mean(0), F.std(0)
    alive = sd > 1e-6 * sd.max(initial=0)
    scale = np.where(alive, 1 / np.where(alive, sd, 1), 0)
    Z = (F - mean) * scale
    s, U, V = _thin_svd(Z)
    unit = s.sum() / len(F) or 1.0
    tried = [(p, _left_out(U, s / (s + p * unit), Y, fold)) for p in PENALTIES]
    penalty, scores = min(tried, key=lambda one: float(((one[1] - Y) ** 2).sum()))
    temperature = fit_temperature(kind, scores, Y)
    weights = V @ ((np.sqrt(s) / (s + penalty * unit))[:, None] * (U.T @ Y)) * scale[:, None]
    head = Head(weights, Y.mean(0) - mean @ weights, temperature)
    return FittedHead(head, predictions_of(kind, scores, temperature))


def _thin_svd(
    Z: Float64[np.ndarray, "N D"],
) -> tuple[Float64[np.ndarray, " k"], Float64[np.ndarray, "N k"], Float64[np.ndarray, "D k"]]:
    """Squared singular values and vectors, from the smaller Gram matrix."""
    tall = len(Z) > Z.shape[1]
    s, basis = np.linalg.eigh(Z.T @ Z if tall else Z @ Z.T)
    alive = s > RANK_TOLERANCE * max(s.max(initial=0), np.finfo(float).tiny)
    s, basis = s[alive], basis[:, alive]
    other = (Z if tall else Z.T) @ (basis / np.sqrt(s))
    return (s, other, basis) if tall else (s, basis, other)


def _left_out(
    U: Float64[np.ndarray, "N k"],
    keep: Float64[np.ndarray, " k"],
    Y: Columns,
    fold: Int[np.ndarray, " N"],
) -> Columns:
    """Scores of every row by the fit without its fold: y_g - (I - H_gg)^-1 (y - H y)_g.

    H = U diag(keep) U^T + 1/N. Of I - V K V^T and K^-1 - V^T V (Woodbury) the smaller is solved.
    """
    U = np.hstack([np.full((len(U), 1), 1 / np.sqrt(len(U))), U])  # the intercept
    keep = np.concatenate([[1.0], keep])
    error = Y - (U * keep) @ (U.T @ Y)
    found = np.empty_like(Y)
    for one in np.unique(fold):
        rows = fold == one
        V, e = U[rows], error[rows]
        if len(V) <= len(keep):
            e = np.linalg.solve(np.eye(len(V)) - (V * keep) @ V.T, e)
        else:
            e = e + V @ np.linalg.solve(np.diag(1 / keep) - V.T @ V, V.T @ e)
        found[rows] = Y[rows] - e
    return found
