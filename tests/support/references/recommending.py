"""Slow float64 references for priors from records: loops over dense tables, NaN in the holes."""

from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray
from scipy.stats import multivariate_normal, rankdata

Array = NDArray[np.float64]
NORMAL = NormalDist()


def triples(table: Array) -> tuple[NDArray[np.int32], NDArray[np.int32], Array]:
    """Model, task and value of every record of a table [M, T]."""
    model, task = np.nonzero(np.isfinite(table))
    return model.astype(np.int32), task.astype(np.int32), table[model, task]


def normal_scores_of(table: Array) -> Array:
    """Phi^-1((rank - 1/2)/n) of every column, brought to unit deviation."""
    found = np.full(table.shape, np.nan)
    for t, column in enumerate(table.T):
        there = np.flatnonzero(np.isfinite(column))
        ranks = rankdata(column[there])
        scores = np.array([NORMAL.inv_cdf((r - 0.5) / len(there)) for r in ranks])
        deviation = np.sqrt(np.mean(scores**2)) if len(there) else 0.0
        found[there, t] = scores / deviation if deviation > 1e-12 else 0.0
    return found


def calibrated(scores: Array, rounds: int) -> Array:
    """Z of the module's formula, a task and a model at a time."""
    M, T = scores.shape
    there = np.isfinite(scores)
    z = scores.copy()
    for _ in range(rounds):
        q = np.array([z[m, there[m]].sum() / (there[m].sum() + 1) for m in range(M)])
        v = np.mean([(z[m, t] - q[m]) ** 2 for m in range(M) for t in range(T) if there[m, t]])
        for t in range(T):
            mine = q[there[:, t]]
            if len(mine):
                z[:, t] = mine.mean() + scores[:, t] * np.sqrt(mine.var() + v)
        z = z / np.sqrt(np.mean(z[there] ** 2))
    return z


def moved(z: Array, constant: Array, weights: Array, others: Array) -> tuple[Array, Array]:
    """mu [M] and v [M] of one task with weights w_t; `others`: sigma^2, a, b."""
    M, T = z.shape
    sigma2, a, b = others
    mean, variance = np.zeros(M), np.zeros(M)
    for m in range(M):
        near = total = count = 0.0
        for t in range(T):
            if np.isfinite(z[m, t]):
                near += weights[t]
                total += weights[t] * (z[m, t] - constant[m])
                count += 1
        mean[m] = constant[m] + total / (near + 1)
        variance[m] = sigma2 * (a + (1 - a) / (near + 1)) + b / (count + 1)
    return mean, variance


def without_group(z: Array, group: NDArray[np.int64], g: int) -> Array:
    """The table without the results of the tasks of a group."""
    return np.where(group[None] == g, np.nan, z)


def constant_order(z: Array, before: Array) -> Array:
    """(sum of Z + q0)/(n + 1)."""
    return (np.nansum(z, 1) + before) / (np.isfinite(z).sum(1) + 1)


def factor_steps(
    table: Array, loadings: Array, own: Array, steps: int, steady: float, least: float
) -> tuple[Array, Array]:
    """Expectation-maximisation of factor analysis with holes, on residuals [M, T]."""
    M, T = table.shape
    rank = loadings.shape[1]
    there = np.isfinite(table)
    for _ in range(steps):
        means, moments = np.zeros((T, rank)), np.zeros((T, rank, rank))
        for t in range(T):
            at = there[:, t]
            L, psi = loadings[at], own[at]
            covariance = np.linalg.inv(np.eye(rank) + L.T @ np.diag(1 / psi) @ L)
            means[t] = covariance @ L.T @ (table[at, t] / psi)
            moments[t] = covariance + np.outer(means[t], means[t])
        new, rest = np.zeros_like(loadings), np.zeros(M)
        for m in range(M):
            at = there[m]
            cross = (table[m, at, None] * means[at]).sum(0)
            whole = moments[at].sum(0) + max(steady, 1e-9) * np.eye(rank)
            new[m] = np.linalg.solve(whole, cross)
            rest[m] = (table[m, at] ** 2).sum() - new[m] @ cross
        mean = rest.sum() / there.sum()
        own = np.maximum((rest + steady * mean) / np.maximum(there.sum(1) + steady, 1e-12), least)
        loadings = new
    return loadings, own


def log_likelihood(rows: Array, covariance: Array) -> float:
    """Mean over rows of ln N(row | 0, covariance)."""
    return float(np.mean(multivariate_normal(np.zeros(len(covariance)), covariance).logpdf(rows)))


def surprise_covariance(
    loadings: Array, own: Array, facts: Array, order: Array, moved: Array, weights: Array
) -> Array:
    """a (L L^T + diag(psi)) + f (P P^T + diag(1 - |p|^2)) + c u u^T + b w w^T + diag(o)."""
    a, f, c, b, o = weights
    M = len(own)
    rest = np.zeros(M) if facts.shape[1] == 0 else 1 - (facts**2).sum(1)
    return np.asarray(
        a * (loadings @ loadings.T + np.diag(own))
        + f * (facts @ facts.T + np.diag(rest))
        + c * np.outer(order, order)
        + b * np.outer(moved, moved)
        + o * np.eye(M)
    )


def shown_results(
    results: Array, errors: Array, expected: float, seen: float, usual: float, ranks: float
) -> tuple[Array, Array, float, float]:
    """Values, variances (without link), unit and origin of p > 2 results whose order counts."""
    p = len(results)
    share = p / (p + ranks)
    plain = np.array([NORMAL.inv_cdf((k - 0.5) / p) for k in range(1, p + 1)])
    scores = np.array([NORMAL.inv_cdf((r - 0.5) / p) for r in rankdata(results)])
    scores = scores / plain.std(ddof=1)
    linear = (results - results.mean()) / results.std(ddof=1)
    values = np.sqrt(expected) * (share * scores + (1 - share) * linear)
    size = max(seen, min(usual, errors.min()))
    gap = values - values.mean()
    unit = float(((results - results.mean()) * gap).sum() / (gap**2).sum())
    return values, (errors / size) ** 2, unit, float(results.mean() - unit * values.mean())
