"""Several metrics of a zoo made into one score per model: Copeland, Borda, mean z-score.

All three read a table [..., K metrics, M models] in which larger is better and a value that is not
finite means that the model has no such metric; leading axes are tasks, each on its own.
"""

from collections.abc import Callable, Mapping

import numpy as np
from jaxtyping import Bool, Float, Float64, Int32
from numpy.typing import ArrayLike

from spider_jax.errors import InputError

PAIRS_AT_ONCE = 1 << 22


def copeland(table: ArrayLike) -> Float64[np.ndarray, "..."]:
    """Copeland's score: opponents beaten minus opponents lost to.

    s_i = sum_j sgn( #{k: x_ki > x_kj} - #{k: x_ki < x_kj} ), over the metrics k that both have.

    Ties: a metric on which two models are equal votes for neither. A pair with as many metrics for
    one as for the other (or with none in common) is a draw and counts 0, so a model without metrics
    scores 0. Scores are whole numbers and often equal, so the order that they give has ties.
    Cost: time O(K M^2), memory O(K M + M) beyond a fixed block.

    Args:
        table: real [..., K, M], larger is better, not finite where a model has no such metric.

    Returns:
        float64 [..., M] in [1 - M, M - 1]; equal columns have equal scores.

    Raises:
        InputError: a table of fewer than two axes, or without models.

    References:
        Copeland (1951), A reasonable social welfare function.

    >>> copeland([[0.9, 0.8, 0.7], [0.9, 0.8, 0.9]]).tolist()  # 0 ties with 2 on metric 1
    [2.0, -1.0, -1.0]
    """
    values, known = _read(table)
    metrics = np.moveaxis(np.where(known, values, np.nan), -2, 0)  # NaN wins no comparison
    models = values.shape[-1]
    step = max(1, PAIRS_AT_ONCE // metrics[0].size) if metrics.size else models
    score = np.empty((*values.shape[:-2], models))
    for start in range(0, models, step):
        block = slice(start, start + step)
        votes = sum(_duels(metric[..., block], metric) for metric in metrics)
        score[..., block] = np.sign(votes).sum(-1)
    return score


def borda(table: ArrayLike) -> Float64[np.ndarray, "..."]:
    """Borda's score: the mean share of opponents beaten.

    s_i = mean over the metrics k of i of ( #{j: x_kj < x_ki} + #{j != i: x_kj = x_ki}/2 )/(n_k - 1)
    with n_k the models that have metric k.

    Ties: equal models share the points between them, half a point for each pair. A metric that
    only one model has compares nothing and is left out.
    Cost: time O(K M log M).

    Args:
        table: real [..., K, M], larger is better, not finite where a model has no such metric.

    Returns:
        float64 [..., M] in [0, 1]; NaN for a model without a metric that compares it.

    Raises:
        InputError: a table of fewer than two axes, or without models.

    References:
        de Borda (1784), Memoire sur les elections au scrutin.

    >>> borda([[0.9, 0.8, 0.7], [0.9, 0.8, 0.9]]).tolist()
    [0.875, 0.25, 0.375]
    """
    from scipy.stats import rankdata  # slow to import, and only needed here

    values, known = _read(table)
    places = rankdata(np.where(known, values, np.nan), axis=-1, nan_policy="omit")
    others = known.sum(-1, keepdims=True) - 1
    # The average place among equals, from 0, is the number beaten plus half of the other equals.
    return _mean_of_known((places - 1) / np.maximum(others, 1), known & (others > 0))


def mean_z(table: ArrayLike) -> Float64[np.ndarray, "..."]:
    """Mean z-score: how many standard deviations above the zoo's mean, averaged over metrics.

    s_i = mean over the metrics k of i of (x_ki - mean_k)/sd_k, with the mean and the population
    standard deviation (1/n) over the models that have metric k.

    Ties: equal values have equal z-scores. A metric whose values are all equal, or that only one
    model has, counts as 0 for those that have it, so it pulls them towards the mean.
    Distances: unlike the scores of Copeland and Borda this one keeps them, so that one far outlier
    flattens all others.
    Cost: time O(K M).

    Args:
        table: real [..., K, M], larger is better, not finite where a model has no such metric.

    Returns:
        float64 [..., M]; NaN for a model without metrics.

    Raises:
        InputError: a table of fewer than two axes, or without models.

    >>> mean_z([[3.0, 1.0], [7.0, 7.0]]).tolist()
    [0.5, -0.5]
    """
    values, known = _read(table)
    count = np.maximum(known.sum(-1, keepdims=True), 1)
    mean = np.sum(values, -1, keepdims=True, where=known) / count
    centred = np.where(known, values - mean, 0.0)
    sd = np.sqrt(np.sum(centred**2, -1, keepdims=True) / count)
    # Asked of the values, not of sd: rounding of the mean leaves equal values a tiny sd.
    low = np.min(values, -1, keepdims=True, where=known, initial=np.inf)
    high = np.max(values, -1, keepdims=True, where=known, initial=-np.inf)
    z = np.divide(centred, sd, out=np.zeros_like(centred), where=known & (low < high))
    return _mean_of_known(z, known)


AGGREGATES: Mapping[str, Callable[[ArrayLike], Float64[np.ndarray, "..."]]] = {
    "copeland": copeland,
    "borda": borda,
    "mean_z": mean_z,
}


def _read(
    table: ArrayLike,
) -> tuple[Float64[np.ndarray, "*tasks K M"], Bool[np.ndarray, "*tasks K M"]]:
    """Values and whether they are known; a value that is not known is 0."""
    values = np.asarray(table, np.float64)
    if values.ndim < 2 or values.shape[-1] == 0:
        raise InputError(
            f"table must be [..., K metrics, M models] with M > 0, got shape {values.shape}: "
            "give one row per metric"
        )
    known = np.isfinite(values)
    return np.where(known, values, 0.0), known


def _duels(
    mine: Float64[np.ndarray, "*tasks m"], others: Float64[np.ndarray, "*tasks M"]
) -> Int32[np.ndarray, "*tasks m M"]:
    """+1 where mine is larger, -1 where it is smaller."""
    one, other = mine[..., :, None], others[..., None, :]
    return (one > other).astype(np.int32) - (one < other)


def _mean_of_known(
    values: Float64[np.ndarray, "*tasks K M"], known: Bool[np.ndarray, "*tasks K M"]
) -> Float64[np.ndarray, "*tasks M"]:
    """Mean over metrics; NaN where a model has none."""
    count = known.sum(-2)
    total = np.sum(values, -2, where=known)
    mean = np.full(total.shape, np.nan)
    np.divide(total, count, out=mean, where=count > 0)
    return mean


def z_scores(values: Float[np.ndarray, "*any M"]) -> Float64[np.ndarray, "*any M"]:
    """(x - mean)/sd along the last axis; constant values become 0.

    Args:
        values: finite numbers.

    Returns:
        z-scores, with the population standard deviation (1/M).

    >>> z_scores(np.array([1.0, 3.0])).tolist(), z_scores(np.array([2.0, 2.0])).tolist()
    ([-1.0, 1.0], [0.0, 0.0])
    """
    values = np.asarray(values, np.float64)
    sd = values.std(-1, keepdims=True)
    return (values - values.mean(-1, keepdims=True)) / np.where(sd > 0, sd, 1.0)
