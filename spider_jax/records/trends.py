"""Trend mining: what a validation score so far became in the past, for all models at once."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from numpy.typing import NDArray

from spider_jax.runtime.buckets import run

Floats = NDArray[np.float64]


def cluster_line(values: Float[Array, " n"], k: int) -> Int[Array, " n"]:
    """Cluster of every number, exactly: the partition into at most k of least squared error.

    In one dimension an optimal cluster is an interval of the sorted values, so
    cost_k(j) = min_i cost_{k-1}(i) + SSE(i..j) by dynamic programming: O(k n^2), no restarts, the
    same answer every time. Equal numbers are never parted.

    Args:
        values: [n]; NaN (and infinities) take no part.
        k: at most so many clusters; static.

    Returns:
        int [n], numbered from the least value; n for what takes no part.
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


def _trend(past: Array, final: Array, k: int) -> tuple[Array, Array]:
    """Centres and mean final scores [k] of the clusters of one model's past scores [T]."""
    both = jnp.isfinite(past) & jnp.isfinite(final)
    labels = cluster_line(jnp.where(both, past, jnp.nan), k)
    member = labels[None] == jnp.arange(k)[:, None]
    count = member.sum(1).astype(past.dtype)

    def average(x: Array) -> Array:
        mean = jnp.where(member, x[None], 0.0).sum(1) / jnp.maximum(count, 1.0)
        return jnp.where(count > 0, mean, jnp.nan)

    return average(past), average(final)


def _trends(curves: Array, accuracies: Array, *, k: int) -> tuple[Array, Array]:
    by_epoch = jax.vmap(partial(_trend, k=k), (1, None))
    return jax.vmap(by_epoch, (0, 0))(curves, accuracies)


def mine_trends(curves: Floats, accuracies: Floats, *, k: int = 4) -> tuple[Floats, Floats]:
    """The trends of every model at every epoch: clusters of past scores and where they ended.

    Args:
        curves: [M, T, E] validation scores on benchmark tasks, NaN where missing.
        accuracies: [M, T] final scores, NaN where missing.
        k: trends a model and epoch; 4 is published.

    Returns:
        (centres, finals), float64 [M, E, k]: mean past score and mean final score of each cluster,
        NaN for clusters not needed.
    """
    centres, finals = run(_trends, curves, accuracies, k=k)
    return centres, finals


def predict_final(centres: Floats, finals: Floats, validation: Floats) -> Floats:
    """Final score of the trend whose centre is nearest to a validation score.

    Args:
        centres: [..., k] from `mine_trends`. finals: [..., k].
        validation: [...] scores of the target at the same models and epochs.

    Returns:
        float64 [...]; NaN where a model has no trend.
    """
    gaps = np.abs(centres - validation[..., None])
    nearest = np.nan_to_num(gaps, nan=np.inf).argmin(-1)
    return np.take_along_axis(finals, nearest[..., None], -1)[..., 0]


def _all_predictions(curves: Array, accuracies: Array, *, k: int) -> Array:
    T = curves.shape[1]

    def target(t: Array) -> Array:
        past = jnp.where(jnp.arange(T)[None] == t, jnp.nan, accuracies)
        centres, finals = _trends(curves, past, k=k)
        gaps = jnp.abs(centres - curves[:, t][..., None])
        nearest = jnp.where(jnp.isfinite(gaps), gaps, jnp.inf).argmin(-1)
        return jnp.take_along_axis(finals, nearest[..., None], -1)[..., 0]

    return jnp.moveaxis(jax.lax.map(target, jnp.arange(T)), 0, 1)


def trend_predictions(curves: Floats, accuracies: Floats, *, k: int = 4) -> Floats:
    """Every final score as the trends of the other tasks predict it: (model, task, epoch) at once.

    Args:
        curves: [M, T, E]. accuracies: [M, T]. k: as in `mine_trends`.

    Returns:
        float64 [M, T, E]; the target's own column takes no part in its predictions.
    """
    return run(_all_predictions, curves, accuracies, k=k)
