"""Other ways to order models from the same records and results, for `bench/quality/records.py`."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int

from spider_jax.belief.belief import Belief
from spider_jax.belief.gaussian import Posterior, Standings
from spider_jax.recommend.records_prior import RecordsPrior

CONSTANT, PLAIN = "calibrated constant order", "plain constant order"


class Target(NamedTuple):
    """A held-out task.

    Attributes:
        belief: on it, before anything is evaluated, over the models whose results are known.
        prior: what the belief comes from.
        known: positions of these models.
        results: theirs, larger is better.
    """

    belief: Belief
    prior: RecordsPrior
    known: Int[np.ndarray, " n"]
    results: Float64[np.ndarray, " n"]


def rivals(
    target: Target, seen: Belief, places: Int[np.ndarray, " p"]
) -> dict[str, Float64[np.ndarray, " n"]]:
    """Other ways to order the models after the same results, all given them in the same units.

    Args:
        target: the task.
        seen: the belief with the results.
        places: of the evaluated models.
    """
    scaled = target.prior.scaled
    constant = scaled.constant()[target.known]
    z = scaled.table.toarray()[:, target.known]
    there = scaled.known.toarray()[:, target.known]
    used = there.sum(1) > 0
    gaps = np.where(there[used] > 0, z[used] - constant, 0.0)
    moved = target.belief.prior.mean
    found = {
        PLAIN: plain_order(target),
        CONSTANT: constant,
        "moved mean": moved,
    }
    if len(places) < 2:
        return found
    one = seen.posterior.seen[-1]
    values = one.values - one.values.mean()
    residual = values - (constant[places] - constant[places].mean())
    covariance = gaps.T @ gaps / len(gaps)
    own = np.diag(np.diagonal(covariance) * 0.3 + 0.1)
    process = Posterior(_dense(constant, 0.7 * covariance + own)).with_observation(one).mean
    both = Posterior(_dense(moved, 0.7 * covariance + own)).with_observation(one).mean
    return found | {
        "nearest tasks": constant + nearest_tasks(z[used], there[used], gaps, values, places),
        "ridge": constant + ridge(gaps, residual, places),
        "process": process,
        "moved mean and process": both,
        "low rank": Posterior(_low_rank(constant, gaps)).with_observation(one).mean,
    }


def plain_order(target: Target) -> Float64[np.ndarray, " n"]:
    """The mean z-score, not calibrated: of the normal scores within each task.

    Args:
        target: the task.
    """
    scaled = target.prior.scaled
    mean = np.bincount(scaled.task, scaled.z, scaled.tasks)
    count = np.maximum(np.bincount(scaled.task, minlength=scaled.tasks), 1)
    gap = scaled.z - (mean / count)[scaled.task]
    deviation = np.sqrt(np.bincount(scaled.task, gap**2, scaled.tasks) / count)
    score = gap / np.maximum(deviation, 1e-9)[scaled.task]
    found = np.bincount(scaled.model, score, scaled.models) / (scaled.counts + 1)
    return np.asarray(found[target.known])


def nearest_tasks(
    z: Float64[np.ndarray, "T n"],
    there: Float64[np.ndarray, "T n"],
    gaps: Float64[np.ndarray, "T n"],
    values: Float64[np.ndarray, " p"],
    places: Int[np.ndarray, " p"],
) -> Float64[np.ndarray, " n"]:
    """Residuals of the tasks whose results correlate with those seen, weighted by that.

    Args:
        z: standings on past tasks.
        there: 1 where known.
        gaps: z less the constant order, 0 where unknown.
        values: results, centred.
        places: of the evaluated models.
    """
    known = there[:, places]
    count = np.maximum(known.sum(1), 1)
    mean = (z[:, places] * known).sum(1) / count
    centred = (z[:, places] - mean[:, None]) * known
    mine = values * known
    scale = np.sqrt((centred**2).sum(1) * (mine**2).sum(1))
    weight = np.maximum((centred * mine).sum(1) / np.maximum(scale, 1e-9), 0) ** 2
    weight[known.sum(1) < 3] = 0
    return np.asarray(weight @ gaps / (weight @ there + 1))


def ridge(
    gaps: Float64[np.ndarray, "T n"],
    residual: Float64[np.ndarray, " p"],
    places: Int[np.ndarray, " p"],
) -> Float64[np.ndarray, " n"]:
    """Ridge of what was seen over past tasks' residuals, the constant order as its mean.

    Args:
        gaps: residuals on past tasks.
        residual: of the results, centred.
        places: of the evaluated models.
    """
    rows = gaps[:, places].T
    gram = rows @ rows.T
    strength = max(float(np.trace(gram)) / len(places), 1e-6)
    return np.asarray(
        gaps.T @ (rows.T @ np.linalg.solve(gram + strength * np.eye(len(places)), residual))
    )


def _dense(mean: Float64[np.ndarray, " n"], covariance: Float64[np.ndarray, "n n"]) -> Standings:
    root = np.linalg.cholesky(covariance + 1e-8 * np.eye(len(mean)))
    return Standings(mean, root, np.full(len(mean), 1e-9), 1.0)


def _low_rank(mean: Float64[np.ndarray, " n"], gaps: Float64[np.ndarray, "T n"]) -> Standings:
    _, s, v = np.linalg.svd(gaps, full_matrices=False)
    loadings = v[:8].T * s[:8] / np.sqrt(len(gaps))
    own = np.maximum((gaps**2).mean(0) - (loadings**2).sum(1), 0.02)
    return Standings(mean, loadings, own, 1.0)
