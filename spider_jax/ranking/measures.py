"""How well a ranking agrees with the truth, and how sure one can be of a mean over tasks.

Every measure is `measure(truth, scores)`: two finite [M] arrays, one value per model, larger is
better in both. Only `regret` is better when smaller.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int
from numpy.typing import ArrayLike

from spider_jax.errors import InputError


def weighted_tau(truth: ArrayLike, scores: ArrayLike, *, rank: bool | None = True) -> float:
    """Weighted Kendall tau: pairs in the same order minus pairs in the other; the top weighs more.

    tau = <x,y> / sqrt(<x,x> <y,y>),
    <x,y> = sum_{i<j} sgn(x_i - x_j) sgn(y_i - y_j) (1/(r_i + 1) + 1/(r_j + 1)), r the place from 0.

    Two conventions are in use and differ by several hundredths, so say which one you report.
    rank=True, SciPy's default, is the mean of the tau with places by truth (ties by scores) and of
    the tau with places by scores (ties by truth); it is symmetric. rank=None takes the places by
    the first argument alone, the truth, as the published tables of transferability metrics do.

    Ties: a pair that is tied in either adds nothing to <x,y>. A pair that is tied in one only still
    counts in the other's norm (as in tau-b), so 1 is reached only where both have the same ties.
    The order in which models are given never matters.

    Args:
        truth: real [M], for instance the accuracies.
        scores: real [M].
        rank: True or None, see above.

    Returns:
        In [-1, 1]; NaN where truth or scores are constant (or M = 1): there is no order to agree
        with. It compares across tasks and across zoos of like size.

    Raises:
        InputError: not two finite [M] arrays, or another rank.

    References:
        Vigna (2015), A weighted correlation index for rankings with ties (WWW).

    >>> weighted_tau([3, 2, 1], [30, 20, 10])
    1.0
    """
    if rank is not True and rank is not None:
        raise InputError(f"rank must be True (both directions) or None (by truth), got {rank!r}")
    x, y = _read_pair(truth, scores)
    if _is_constant(x) or _is_constant(y):
        return float("nan")
    from scipy import stats  # two thirds of a second that a ranking need not wait for

    return float(stats.weightedtau(x, y, rank=rank).statistic)


def pearson(truth: ArrayLike, scores: ArrayLike) -> float:
    """Pearson's correlation: cov(x, y)/(sd x sd y); how linear, not only how ordered.

    Args:
        truth: real [M].
        scores: real [M].

    Returns:
        In [-1, 1]; NaN where truth or scores are constant (or M = 1).

    Raises:
        InputError: not two finite [M] arrays.

    >>> round(pearson([1, 2, 3], [-2, -4, -6]), 6)
    -1.0
    """
    x, y = _read_pair(truth, scores)
    if _is_constant(x) or _is_constant(y):
        return float("nan")
    from scipy import stats

    return float(stats.pearsonr(x, y).statistic)


def spearman(truth: ArrayLike, scores: ArrayLike) -> float:
    """Spearman's correlation: Pearson's of the places; every place weighs the same.

    Ties share the mean of their places.

    Args:
        truth: real [M].
        scores: real [M].

    Returns:
        In [-1, 1]; NaN where truth or scores are constant (or M = 1).

    Raises:
        InputError: not two finite [M] arrays.

    >>> round(spearman([1, 2, 3], [10, 100, 50]), 6)
    0.5
    """
    x, y = _read_pair(truth, scores)
    if _is_constant(x) or _is_constant(y):
        return float("nan")
    from scipy import stats

    return float(stats.spearmanr(x, y).statistic)


def regret(truth: ArrayLike, scores: ArrayLike, *, k: int = 1) -> float:
    """What is lost by trying only the k models with the best scores: smaller is better.

    max_m truth_m - max over the k best by score of truth_m.

    Ties: equal scores keep model order, so the result of a constant score is that of the first k
    models. A model that is as good as the best one has no regret.

    Args:
        truth: real [M]; regret has its unit (a fraction for accuracies).
        scores: real [M].
        k: how many models are tried, at least 1; above M it counts as M.

    Returns:
        At least 0; 0 when one of the k is a best model.

    Raises:
        InputError: not two finite [M] arrays, or k < 1.

    >>> regret([0.5, 1.0, 0.75], [3, 1, 2]), regret([0.5, 1.0, 0.75], [3, 1, 2], k=2)
    (0.5, 0.25)
    """
    x, y = _read_pair(truth, scores)
    return float(x.max() - x[_best(y, k)].max())


def top_k_hits(truth: ArrayLike, scores: ArrayLike, *, k: int = 3) -> float:
    """The share of the k models with the best scores that belong to the true k best.

    #{m among the k best by score: truth_m >= k-th largest truth} / k.

    Ties: a model tied with the k-th true best is a hit, so the true set may hold more than k models
    but the share stays at most 1; equal scores keep model order.

    Args:
        truth: real [M].
        scores: real [M].
        k: size of both sets, at least 1; above M it counts as M.

    Returns:
        In [0, 1]. A random order gets about k/M, so it compares only at equal k and M.

    Raises:
        InputError: not two finite [M] arrays, or k < 1.

    >>> top_k_hits([4, 3, 2, 1], [9, 1, 8, 2], k=2)
    0.5
    """
    x, y = _read_pair(truth, scores)
    chosen = _best(y, k)
    kth_best = np.sort(x)[-len(chosen)]
    return float(np.mean(x[chosen] >= kth_best))


MEASURES: Mapping[str, Callable[[ArrayLike, ArrayLike], float]] = {
    "weighted_tau": weighted_tau,
    "pearson": pearson,
    "spearman": spearman,
    "regret": regret,
    "top_k_hits": top_k_hits,
}


class Interval(NamedTuple):
    """A mean over tasks, and its bootstrap interval.

    Attributes:
        mean: over the tasks.
        low: lower end of the interval.
        high: upper end of the interval.
    """

    mean: float
    low: float
    high: float


class PairedDifference(NamedTuple):
    """The mean of a - b over tasks, its bootstrap interval, and whether it is a tie.

    Attributes:
        mean: of the differences.
        low: lower end of the interval.
        high: upper end of the interval.
        tie: whether the interval holds 0, or is not known.
    """

    mean: float
    low: float
    high: float
    tie: bool


def bootstrap_interval(
    values: ArrayLike, *, level: float = 0.95, resamples: int = 10_000, seed: int = 0
) -> Interval:
    """Percentile bootstrap of a mean over tasks.

    The mean of T values drawn with replacement, `resamples` times; low and high are the
    (1 - level)/2 and (1 + level)/2 quantiles of these means. It says how the mean would move with
    other tasks like these, and is somewhat too narrow below about ten tasks.

    Args:
        values: real [T], one value per task.
        level: the share of resampled means inside the interval, in (0, 1).
        resamples: how many, at least 1; memory is resamples x T numbers.
        seed: the same seed and values give the same interval.

    Returns:
        (mean, low, high). All NaN where a value is NaN: it stays visible. With one task low and
        high are NaN, because one value does not show how values differ.

    Raises:
        InputError: not a [T] array with T > 0, or level or resamples out of range.

    References:
        Efron, Tibshirani (1993), An introduction to the bootstrap, chapter 13.

    >>> bootstrap_interval([0.25, 0.75])
    Interval(mean=0.5, low=0.25, high=0.75)
    """
    values = _read_vector("values", values)
    if not 0 < level < 1:
        raise InputError(f"level must lie between 0 and 1, got {level}: 0.95 is usual")
    if resamples < 1:
        raise InputError(f"resamples must be at least 1, got {resamples}: 10000 is usual")
    mean, T = float(values.mean()), len(values)
    if T == 1 or np.isnan(mean):
        return Interval(mean, float("nan"), float("nan"))
    drawn = np.random.default_rng(seed).integers(T, size=(resamples, T))
    low, high = np.quantile(values[drawn].mean(axis=1), [(1 - level) / 2, (1 + level) / 2])
    return Interval(mean, float(low), float(high))


def paired_difference(
    a: ArrayLike, b: ArrayLike, *, level: float = 0.95, resamples: int = 10_000, seed: int = 0
) -> PairedDifference:
    """Whether method a is better than method b on the same tasks: bootstrap of the mean of a - b.

    The differences do not depend on how hard each task is, as two separate intervals would.

    Args:
        a: real [T], a's value on each task.
        b: real [T], b's value on the same tasks in the same order.
        level: as in `bootstrap_interval`.
        resamples: as in `bootstrap_interval`.
        seed: as in `bootstrap_interval`.

    Returns:
        (mean, low, high, tie); tie where the interval holds 0 or is not known (NaN, or one task).

    Raises:
        InputError: a and b are not [T] arrays of one length, or as in `bootstrap_interval`.

    >>> paired_difference([0.5, 0.75, 1.0], [0.25, 0.5, 0.5]).tie
    False
    """
    a, b = _read_vector("a", a), _read_vector("b", b)
    if len(a) != len(b):
        raise InputError(f"a and b must cover the same tasks, got {len(a)} and {len(b)} values")
    mean, low, high = bootstrap_interval(a - b, level=level, resamples=resamples, seed=seed)
    return PairedDifference(mean, low, high, tie=not (low > 0 or high < 0))


def _read_vector(what: str, values: ArrayLike) -> Float64[np.ndarray, " n"]:
    vector = np.array(values, np.float64)  # a copy, since SciPy refuses read-only arrays
    if vector.ndim != 1 or len(vector) == 0:
        raise InputError(f"{what} must be a vector with at least one value, got {vector.shape}")
    return vector


def _read_pair(
    truth: ArrayLike, scores: ArrayLike
) -> tuple[Float64[np.ndarray, " M"], Float64[np.ndarray, " M"]]:
    x, y = _read_vector("truth", truth), _read_vector("scores", scores)
    if len(x) != len(y):
        raise InputError(
            f"scores must have one value per model of truth (M={len(x)}), got {len(y)}"
        )
    for what, values in (("truth", x), ("scores", y)):
        bad = np.flatnonzero(~np.isfinite(values))
        if len(bad):
            raise InputError(
                f"{what} must be finite, got {values[bad[0]]} at model {bad[0]} "
                f"({len(bad)} of {len(values)}): leave such models out of both"
            )
    return x, y


def _is_constant(values: Float64[np.ndarray, " M"]) -> bool:
    return bool(values.min() == values.max())


def _best(scores: Float64[np.ndarray, " M"], k: int) -> Int[np.ndarray, " k"]:
    """Positions of the k best, best first, equal scores in model order."""
    if k < 1:
        raise InputError(f"k must be at least 1, got {k}")
    return np.argsort(-scores, kind="stable")[:k]
