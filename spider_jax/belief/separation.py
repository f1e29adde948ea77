"""Which models of an order a posterior can tell apart."""

from statistics import NormalDist

import numpy as np
from jaxtyping import Float64, Int

from spider_jax.belief.gaussian import Posterior

ALL_PAIRS = 4096  # models of which every pair is compared


def separated(
    posterior: Posterior, order: Int[np.ndarray, " M"], level: float
) -> tuple[Int[np.ndarray, "M 2"], float]:
    """The places that every model may hold.

    A model stands behind all that are better with probability `level`, and before all that are
    worse with it. With more than ALL_PAIRS models one gap is taken for all pairs.

    Args:
        posterior: of the M models.
        order: their positions, the best first.
        level: above a half.

    Returns:
        First and last place, from 1, in the order given; and the median gap that separates a pair,
        in standard units.
    """
    M, z = len(order), NormalDist().inv_cdf(level)
    mean = posterior.mean[order]
    own = np.arange(1, M + 1)
    if M > ALL_PAIRS:
        some = order[np.linspace(0, M - 1, ALL_PAIRS // 4).astype(np.int64)]
        limit = z * _median(_gap_deviations(posterior, some))
        first = 1 + np.searchsorted(-mean, -mean - limit, side="right")
        last = np.searchsorted(-mean, -mean + limit, side="left")
        places = np.stack([np.minimum(first, own), np.maximum(last, own)], 1)
        return places.astype(np.int64), limit
    deviation = _gap_deviations(posterior, order)
    gap = mean[:, None] - mean[None]
    first = 1 + (gap < -z * deviation).sum(1)
    last = M - (gap > z * deviation).sum(1)
    return np.stack([first, last], 1), z * _median(deviation)


def _gap_deviations(
    posterior: Posterior, models: Int[np.ndarray, " c"]
) -> Float64[np.ndarray, "c c"]:
    """Standard deviation of the difference of every two models."""
    covariance = posterior.covariance(models)
    own = np.diagonal(covariance)
    return np.asarray(np.sqrt(np.maximum(own[:, None] + own[None] - 2 * covariance, 0)))


def _median(deviation: Float64[np.ndarray, "c c"]) -> float:
    """Over pairs of different models."""
    c = len(deviation)
    return float(np.median(deviation[~np.eye(c, dtype=bool)] if c > 1 else deviation))
