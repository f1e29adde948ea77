"""Trend mining: which final score followed a validation score in the past, for every model."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float64, Int

from spider_jax.runtime.buckets import run


def cluster_line(values: Float[Array, " n"], k: int) -> Int[Array, " n"]:
    """The partition of numbers into at most k clusters of least squared error, exactly.

    In one dimension an optimal cluster is an interval of the sorted values, so
    cost_k(j) = min_i cost_{k-1}(i) + SSE(i..j) by dynamic programming: O(k n^2), no restarts, the
    same answer every time. Equal numbers stay in one cluster.

    Args:
        values: numbers; those that are not finite belong to no cluster.
        k: at most so many clusters; static.

    Returns:
        The cluster of every number, counted from the least value; n for a number without one.
    """
    n = values.shape[0]
    known = jnp.isfinite(values)
    order = jnp.argsort(jnp.where(known, values, jnp.inf), stable=True)
    count = known.sum()
    line = jnp.where(jnp.arange(n) < count, values[order], 0.0)
    mean = line.sum() / jnp.maximum(count, 1).astype(line.dtype)
    line = jnp.where(jnp.arange(n) < count, line - mean, 0.0)
    starts = _segment_starts(line, count, k)
    labels = (jnp.arange(n)[:, None] >= starts[None]).sum(1) - 1
    labels = jnp.where(jnp.arange(n) < count, labels, n)
    return jnp.zeros(n, labels.dtype).at[order].set(labels)


def _segment_starts(line: Float[Array, " n"], count: Array, k: int) -> Int[Array, " k"]:
    """Where the clusters of the first `count` sorted values begin; unused ones at n."""
    n = line.shape[0]
    ends = jnp.arange(n + 1)
    sums, squares = (jnp.pad(jnp.cumsum(x), (1, 0)) for x in (line, line**2))
    length = ends[None, :] - ends[:, None]  # of the segment [i, j)
    between = sums[None, :] - sums[:, None]
    rows = jnp.maximum(length, 1).astype(line.dtype)
    error = squares[None, :] - squares[:, None] - between**2 / rows
    fresh = jnp.concatenate([jnp.array([True]), line[1:] > line[:-1], jnp.array([False])])
    error = jnp.where((length > 0) & fresh[:, None], jnp.maximum(error, 0.0), jnp.inf)
    best = jnp.where(ends == 0, 0.0, jnp.inf).astype(line.dtype)
    chosen = []
    for _ in range(k):
        total = best[:, None] + error
        start = total.argmin(0)
        # a further cluster only where it helps: fewer values than clusters leave some unused
        better = total.min(0) < best
        chosen.append(jnp.where(better, start, n + 1))
        best = jnp.where(better, total.min(0), best)
    found, end = [], count
    for step in reversed(chosen):
        start = step[end]
        used = (start <= n) & (end > 0)
        found.append(jnp.where(used, start, n))
        end = jnp.where(used, start, end)
    return jnp.array(found[::-1])


def _trend(
    past: Float[Array, " T"], final: Float[Array, " T"], k: int
) -> tuple[Float[Array, " k"], Float[Array, " k"]]:
    """Centres and mean final scores of the clusters of one model's past scores."""
    both = jnp.isfinite(past) & jnp.isfinite(final)
    labels = cluster_line(jnp.where(both, past, jnp.nan), k)
    member = labels[None] == jnp.arange(k)[:, None]
    count = member.sum(1).astype(past.dtype)

    def average(x: Array) -> Array:
        mean = jnp.where(member, x[None], 0.0).sum(1) / jnp.maximum(count, 1.0)
        return jnp.where(count > 0, mean, jnp.nan)

    return average(past), average(final)


def _trends(
    curves: Float[Array, "M T E"], accuracies: Float[Array, "M T"], *, k: int
) -> tuple[Float[Array, "M E k"], Float[Array, "M E k"]]:
    by_epoch = jax.vmap(partial(_trend, k=k), (1, None))
    return jax.vmap(by_epoch, (0, 0))(curves, accuracies)


def mine_trends(
    curves: Float64[np.ndarray, "M T E"], accuracies: Float64[np.ndarray, "M T"], *, k: int = 4
) -> tuple[Float64[np.ndarray, "M E k"], Float64[np.ndarray, "M E k"]]:
    """The trends of every model at every epoch: clusters of past scores, and their final scores.

    Args:
        curves: validation scores on past tasks, NaN where missing.
        accuracies: final scores, NaN where missing.
        k: trends per model and epoch; 4 is published.

    Returns:
        (centres, finals): mean validation score and mean final score of each cluster, NaN for
        clusters that are not needed.
    """
    centres, finals = run(_trends, curves, accuracies, k=k)
    return centres, finals


def predict_final(
    centres: Float64[np.ndarray, "*any k"],
    finals: Float64[np.ndarray, "*any k"],
    validation: Float64[np.ndarray, "*any"],
) -> Float64[np.ndarray, "*any"]:
    """Final score of the trend whose centre is nearest to a validation score.

    Args:
        centres: from `mine_trends`.
        finals: from `mine_trends`.
        validation: scores on the target of the same models at the same epochs.

    Returns:
        Predicted final scores; NaN where a model has no trend.
    """
    gaps = np.abs(centres - validation[..., None])
    nearest = np.nan_to_num(gaps, nan=np.inf).argmin(-1)
    return np.take_along_axis(finals, nearest[..., None], -1)[..., 0]


def _all_predictions(
    curves: Float[Array, "M T E"], accuracies: Float[Array, "M T"], *, k: int
) -> Float[Array, "M T E"]:
    T = curves.shape[1]

    def target(t: Array) -> Array:
        past = jnp.where(jnp.arange(T)[None] == t, jnp.nan, accuracies)
        centres, finals = _trends(curves, past, k=k)
        gaps = jnp.abs(centres - curves[:, t][..., None])
        nearest = jnp.where(jnp.isfinite(gaps), gaps, jnp.inf).argmin(-1)
        return jnp.take_along_axis(finals, nearest[..., None], -1)[..., 0]

    return jnp.moveaxis(jax.lax.map(target, jnp.arange(T)), 0, 1)


def trend_predictions(
    curves: Float64[np.ndarray, "M T E"], accuracies: Float64[np.ndarray, "M T"], *, k: int = 4
) -> Float64[np.ndarray, "M T E"]:
    """Every final score as the trends of the other tasks predict it, after every epoch.

    Args:
        curves: as in `mine_trends`.
        accuracies: as in `mine_trends`.
        k: as in `mine_trends`.

    Returns:
        Predicted final scores; a task's own results do not count for its predictions.
    """
    return run(_all_predictions, curves, accuracies, k=k)
