"""Slow float64 references for the belief over models: dense matrices, straight from the formulas.

An observation is (models, values, variances) as in the package; here the unknown levels of the
observations are further variables, after the M standings, and conditioning inverts whole matrices.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

LEVEL_VARIANCE = 1e4
STEADY = 4.0
PLAIN = np.array([0.3, 0.3, 0.7, 0.3, 0.2])


class Conditioned(NamedTuple):
    """M standings, and after them the levels of the observations, given all that was seen."""

    mean: Array
    covariance: Array


def dense_prior(loadings: Array, own: Array, scale: float) -> Array:
    """Scale (L L^T + diag(d)), [M, M]."""
    return scale * (loadings @ loadings.T + np.diag(own))


def conditioned(
    mean: Array, prior: Array, seen: Sequence[tuple[Array, Array, Array]], more_levels: int = 0
) -> Conditioned:
    """Standings and levels given t = H y + O a + e; `more_levels` of which nothing was seen."""
    M, kinds = len(mean), len(seen) + more_levels
    full = np.zeros((M + kinds, M + kinds))
    full[:M, :M] = prior
    full[M:, M:] = LEVEL_VARIANCE * np.eye(kinds)
    start = np.concatenate([mean, np.zeros(kinds)])
    rows, values, noise = [np.zeros((0, M + kinds))], [], []
    for kind, (models, shown, variances) in enumerate(seen):
        for model, value, variance in zip(models, shown, variances, strict=True):
            row = np.zeros((1, M + kinds))
            row[0, model] = row[0, M + kind] = 1
            rows.append(row)
            values.append(value)
            noise.append(variance)
    return conditioned_on(start, full, np.concatenate(rows), np.array(values), np.diag(noise))


def conditioned_on(mean: Array, covariance: Array, H: Array, t: Array, R: Array) -> Conditioned:
    """N(mean, covariance) given t = H x + e, e ~ N(0, R)."""
    if len(t) == 0:
        return Conditioned(mean, covariance)
    gain = covariance @ H.T @ np.linalg.inv(H @ covariance @ H.T + R)
    rest = np.eye(len(mean)) - gain @ H
    # in Joseph's form the result is positive definite whatever was rounded
    return Conditioned(mean + gain @ (t - H @ mean), rest @ covariance @ rest.T + gain @ R @ gain.T)


# ---- the process over tasks -------------------------------------------------------------------


def task_kernel(a: Array, b: Array, hyper: Array) -> Array:
    """s exp(-(a |u - u'|^2 + b |v - v'|^2)), from the differences of every pair."""
    squares = (a[:, None] - b[None]) ** 2
    half = a.shape[1] // 2
    first, second = squares[..., :half].sum(-1), squares[..., half:].sum(-1)
    return np.asarray(hyper[2] * np.exp(-(hyper[0] * first + hyper[1] * second)))


def process_of_tasks(
    rows: Array, targets: Array, constant: Array, asked: Array, hyper: Array
) -> tuple[Array, Array]:
    """Mean [T, M] and variance [T] (without g) of y = c + f at the asked tasks."""
    inverse = np.linalg.inv(task_kernel(rows, rows, hyper) + hyper[3] * np.eye(len(rows)))
    near = task_kernel(asked, rows, hyper)
    mean = constant + near @ inverse @ (targets - constant)
    variance = hyper[2] - np.diagonal(near @ inverse @ near.T)
    return mean, variance


def held_out_objective(
    p: Array,
    rows: Array,
    targets: Array,
    use: Array,
    asked: Array,
    truth: Array,
    whole: Array,
    group: Array,
    weight: Array,
    constants: Array,
) -> float:
    """mean_q w_q (ln v_q + mean_m e_qm^2/v_q)/2 + |p - p0|^2/(2 STEADY G)."""
    hyper, total = np.exp(p), 0.0
    for q, (x, y) in enumerate(zip(asked, truth, strict=True)):
        mine = use[group[q]].astype(bool)
        mean, variance = process_of_tasks(
            rows[mine], targets[mine], constants[group[q]], x[None], hyper
        )
        v = variance[0] + (hyper[4] if whole[q] else hyper[3])
        total += weight[q] * (np.log(v) + np.mean((y - mean[0]) ** 2) / v) / 2
    apart = float(((p - np.log(PLAIN)) ** 2).sum())
    return float(total / np.sum(weight) + apart / (2 * STEADY * len(use)))


# ---- evidence ----------------------------------------------------------------------------------


def seen_spread(size: float, worth: float, values: Array, expected: float) -> float:
    """sqrt of the mean of s^2, that counts `worth`, and var(values)/expected, that counts p - 1."""
    p = len(values)
    if p < 2:
        return size
    found = ((values - values.mean()) ** 2).sum() / (p - 1) / expected
    return float(np.sqrt((worth * size**2 + (p - 1) * found) / (worth + p - 1)))


def expected_sample_variance(mean: Array, covariance: Array) -> float:
    """E of the sample variance of x ~ N(mean, covariance), by its projection."""
    p = len(mean)
    centred = np.eye(p) - 1 / p
    second = covariance + np.outer(mean, mean)
    return float(np.trace(centred @ second) / (p - 1))
