"""How results of models go together on a task, by how past tasks differ from the past means."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from spider_jax.belief.factors import Factors, fit_factors
from spider_jax.records.noise import measure_spread
from spider_jax.records.performance import PastResults, masked_mean
from spider_jax.selection.knowledge import Knowledge

PARTS = 5  # of the tasks, that are left out in turn to choose the number of factors
PLAIN = ((1.0, 1.0),)  # no widening
FEWEST_RESULTS = 2  # of a model that has a covariance of its own


def forms(past: PastResults) -> tuple[Knowledge, ...]:
    """Covariances that may hold, the simplest first: alike, of own variances, with factors.

    Args:
        past: results; holes are left out.

    Returns:
        Three, widened by 1; the same one where too little is known.
    """
    simple = alike(past)
    found = _residuals(past)
    if min(found.rows.shape) < 2:
        return simple, simple, simple
    weights = np.ones(len(found.rows))
    parts = [np.arange(len(weights)) % PARTS == part for part in range(min(PARTS, len(weights)))]
    return (
        simple,
        _with_factors(simple, found, fit_factors(found.rows, weights, [])),
        _with_factors(simple, found, fit_factors(found.rows, weights, parts)),
    )


def alike(past: PastResults) -> Knowledge:
    """All models alike and independent, those of few results the less certain.

    The mean of n results is wrong by tau^2/n, so that d = (1 + 1/n)/(1 + 1/N), N that of the model
    with most results. The prior of a model without results is wrong by as much as models differ.

    Args:
        past: results; holes are left out.

    Returns:
        The covariance, widened by 1.
    """
    counts = np.isfinite(past.accuracies).sum(1)
    most, tau2 = counts.max(initial=1), measure_spread(past).between
    means = past.mean_accuracies()[counts > 0]
    unknown = 1 + (float(means.var()) / tau2 if tau2 > 0 else 1.0)
    own = (1 + 1 / np.maximum(counts, 1)) / (1 + 1 / max(most, 1))
    named = zip(past.models, np.minimum(own, unknown).tolist(), counts, strict=True)
    return Knowledge({}, {model: d for model, d, count in named if count > 0}, unknown, PLAIN)


class _Residuals(NamedTuple):
    """How results differ from the past means, in units of a task's spread.

    Attributes:
        rows: a task each; 0 in a hole.
        models: names of the columns, models with FEWEST_RESULTS at least.
    """

    rows: Float64[np.ndarray, "T m"]
    models: tuple[str, ...]


def _residuals(past: PastResults) -> _Residuals:
    """A hole counts as 0 and the model's other results for it: variances hold, covariances shrink.

    cov_ij becomes cov_ij n_ij/sqrt(n_i n_j), n_ij the tasks on which both are known.
    """
    known = np.isfinite(past.accuracies)
    models = np.flatnonzero(known.sum(1) >= FEWEST_RESULTS)
    names = tuple(past.models[i] for i in models)
    tasks = np.flatnonzero(known[models].sum(0) >= FEWEST_RESULTS)
    given = past.accuracies[np.ix_(models, tasks)]
    centred = given - masked_mean(given, 0)
    gaps = centred - masked_mean(centred, 1)[:, None]
    count = np.isfinite(gaps).sum(1)
    gaps = gaps * np.sqrt(count / np.maximum(count - 1, 1))[:, None]
    spread = np.sqrt(masked_mean(gaps**2, 0))
    use = spread > 0
    rows = np.nan_to_num(gaps[:, use] / spread[use])
    filled = rows * np.sqrt(use.sum() / np.maximum(np.isfinite(gaps[:, use]).sum(1), 1))[:, None]
    return _Residuals(filled.T, names)


def _with_factors(simple: Knowledge, given: _Residuals, found: Factors) -> Knowledge:
    """The covariance with factors, whose differences between models vary by 1 in the mean."""
    L, own = found.loadings, found.own
    M = len(own)
    shared = (L**2).sum() - (L.sum(0) ** 2).sum() / M
    size = (shared + own.sum() * (1 - 1 / M)) / (M - 1)
    more = np.array([simple.own[model] - 1 for model in given.models])
    loadings = zip(given.models, (L / np.sqrt(size)).tolist(), strict=True)
    owns = zip(given.models, (own / size + more).tolist(), strict=True)
    return Knowledge(
        {model: tuple(row) for model, row in loadings} if L.shape[1] else {},
        simple.own | dict(owns),
        simple.unknown,
        PLAIN,
    )
