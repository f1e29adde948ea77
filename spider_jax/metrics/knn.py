"""kNN: leave-one-out accuracy of the k nearest neighbours."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int
from numpy.typing import ArrayLike, NDArray

from spider_jax.errors import InputError
from spider_jax.metrics.compiled import CLASS_BUCKET, ROW_BUCKET, pad, run
from spider_jax.metrics.inputs import Float64, check_features, check_labels, stratified_rows
from spider_jax.metrics.statistics import Statistics

ROUNDING = 1e-5  # float32 similarities of unit rows are good to about 1e-6
BLOCK = 1024  # rows of a block
KEPT = 1 << 28  # numbers: unit rows up to 1 GB stay in memory, more are read for every block


def knn(
    features: ArrayLike,
    labels: ArrayLike,
    *,
    k: int = 5,
    samples: int = 20_000,
    seed: int = 0,
    standardize: bool = False,
) -> float:
    """Leave-one-out accuracy of the k nearest neighbours in cosine similarity.

    Each row is named by the majority of its k nearest other rows (itself never among them). Equal
    similarity: the smaller row. Equal votes: the larger summed similarity, then the smaller class.

    Range: [0, 1]; larger is better; an accuracy, so it compares across tasks as accuracies do.
    Cost: O(n^2 D) for n = min(N, samples) rows, in blocks where N > D. N < D: no special case. A
    class of one sample: that row is always missed. A constant feature: shifts every similarity
    (standardise to remove it). A zero row: similarity 0.

    Args:
        features: [N, D] numbers. labels: [N] int.
        k: neighbours; where k > N - 1 all others vote.
        samples: rows to compare at most, of every class its share. seed: of their choice.
        standardize: standardise the columns of the features first.

    Returns:
        The accuracy, a float.

    Raises:
        InputError: k < 1, samples < 2, shapes that do not match, values that are not finite, one
            class only.

    References:
        "kNN as a simple and effective estimator of transferability", arXiv 2503.18528. In
        published code (dbolya/parc) a row can be its own neighbour where rows are equal.
    """
    F = check_features(features)
    given = Statistics(F, check_labels(labels, len(F)), standardize=standardize)
    return knn_of(given, k=k, samples=samples, seed=seed)


def knn_of(given: Statistics, *, k: int = 5, samples: int = 20_000, seed: int = 0) -> float:
    """kNN of shared statistics: from the Gram matrix of rows where that is the smaller side."""
    if k < 1:
        raise InputError(f"k must be at least 1, got {k}")
    if samples < 2:
        raise InputError(f"samples must be at least 2, got {samples}")
    if given.n > samples:
        given = given.subset(stratified_rows(np.asarray(given.labels, np.int64), samples, seed))
    k = min(k, given.n - 1)
    if given.tall:
        return float(_hits_in_blocks(given, k) / given.n)
    gram = pad(given.raw.gram, ROW_BUCKET, ROW_BUCKET)
    targets = pad(given.targets(), ROW_BUCKET, CLASS_BUCKET)
    rows = np.arange(len(gram)) < given.n
    return float(run(knn_core, gram, targets, rows, np.float64(given.n), k=k))


def knn_core(
    gram: Float[Array, "N N"],
    targets: Float[Array, "N C"],
    rows: Bool[Array, " N"],
    n: Float[Array, ""],
    *,
    k: int = 5,
) -> Float[Array, ""]:
    """Leave-one-out kNN accuracy of padded inner products of rows."""
    lengths = jnp.sqrt(jnp.diagonal(gram))
    lengths = jnp.where(lengths > 0, lengths, 1.0)
    similarity = gram / (lengths[:, None] * lengths[None])
    itself = jnp.eye(len(lengths), dtype=bool)
    near, where = nearest(jnp.where(rows[None] & ~itself, similarity, -jnp.inf), k)
    hit = _named(near, targets[where], targets)
    return jnp.where(rows, hit, 0.0).sum() / n


def nearest(
    similarity: Float[Array, "b N"], k: int
) -> tuple[Float[Array, "b k"], Int[Array, "b k"]]:
    """The k largest of every row and where they stand; of equals, the first."""
    if similarity.dtype == jnp.float32:  # in float64 XLA's top_k sorts every row: 6 x k passes
        return tuple(jax.lax.top_k(similarity, k))  # type: ignore[return-value]
    values, where = [], []
    places = jnp.arange(similarity.shape[1])
    for _ in range(k):
        values.append(similarity.max(1))
        where.append(similarity.argmax(1))
        similarity = jnp.where(places[None] == where[-1][:, None], -jnp.inf, similarity)
    return jnp.stack(values, 1), jnp.stack(where, 1)


def _named(
    near: Float[Array, "b k"], heard: Float[Array, "b k C"], own: Float[Array, "b C"]
) -> Float[Array, " b"]:
    """1 where the vote of the neighbours names the own class, both one-hot."""
    there = jnp.isfinite(near)[..., None]
    heard = jnp.where(there, heard, 0)
    votes = heard.sum(1)
    weight = (heard * jnp.where(there, near[..., None], 0)).sum(1)
    most = votes == votes.max(1, keepdims=True)
    winner = jnp.where(most, weight, -jnp.inf).argmax(1)
    return jnp.take_along_axis(own, winner[:, None], axis=1)[:, 0]


# ---- more rows than columns --------------------------------------------------------------------


def _hits_in_blocks(given: Statistics, k: int) -> float:
    """How many rows are named rightly: blocks of rows against blocks, no N x N matrix.

    In float32 first; where two of the first k + 1 neighbours are closer than its rounding, the row
    is done again in float64.
    """
    near, where = _all_neighbours(given, k + 1)
    with np.errstate(invalid="ignore"):  # infinity - infinity where fewer than k + 1 are there
        doubtful = np.flatnonzero((near[:, :-1] - near[:, 1:] < ROUNDING).any(1))
    near, where, hits = near[:, :k].astype(np.float64), where[:, :k], 0.0
    with jax.enable_x64(True):
        for start in range(0, len(doubtful), BLOCK):
            rows = doubtful[start : start + BLOCK]
            near[rows], where[rows] = _exact_neighbours(given, rows, k)
        for start in range(0, given.n, BLOCK):
            mine = slice(start, start + BLOCK)
            heard = given.targets(where[mine].ravel()).reshape(-1, k, given.classes)
            hits += float(_vote(near[mine], heard, given.targets(mine)))
    return hits


def _all_neighbours(given: Statistics, k: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The k nearest of every row, [N, k] each, in float32; a block against itself and later ones.

    One product serves both blocks of a pair. Blocks come in order, so earlier rows win ties.
    """
    kept = list(_unit_blocks(given, 0)) if given.n * given.width <= KEPT else None
    starts = np.arange(0, given.n, BLOCK, dtype=np.int32)
    nothing = jnp.full((BLOCK, k), -jnp.inf, jnp.float32), jnp.zeros((BLOCK, k), jnp.int32)
    best = [nothing for _ in starts]
    for i, first in enumerate(starts):
        later = _unit_blocks(given, int(first)) if kept is None else iter(kept[i:])
        mine = next(later)
        real = given.n - first if i == len(starts) - 1 else None
        best[i] = _merge(mine, first, best[i], real)
        for j, theirs in enumerate(later, i + 1):
            real = given.n - starts[j] if j == len(starts) - 1 else None
            best[i], best[j] = _merge_both(mine, theirs, first, starts[j], best[i], best[j], real)
    near, where = (np.concatenate([np.asarray(b[part]) for b in best]) for part in (0, 1))
    return near[: given.n], where[: given.n].astype(np.int64)


def _unit_blocks(given: Statistics, first: int) -> Iterator[Array]:
    """Unit rows from row `first` on, float32, the last block padded with zeros."""
    for _, block in given.blocks(BLOCK, first):
        rows = np.zeros((BLOCK, given.width), np.float32)
        np.multiply(block, _inverse_lengths(block), out=rows[: len(block)], casting="same_kind")
        yield jnp.asarray(rows)


def _unit(block: Float64) -> Float64:
    return block * _inverse_lengths(block)


def _inverse_lengths(block: Float64) -> Float64:
    lengths = np.sqrt(np.einsum("nd,nd->n", block, block))
    return np.where(lengths > 0, 1 / np.where(lengths > 0, lengths, 1), 0)[:, None]


Best = tuple[Array, Array]  # similarities [b, k] float32, rows [b, k] int32


@jax.jit
def _merge(mine: Float[Array, "b D"], first: Any, best: Best, real: Any) -> Best:
    """The nearest so far and those of the own block; real: rows that are no padding, if not all."""
    return _join(_products(mine, mine), first, first, best, real)


@jax.jit
def _merge_both(
    mine: Float[Array, "b D"],
    theirs: Float[Array, "b D"],
    first: Any,
    start: Any,
    best: Best,
    their_best: Best,
    real: Any,
) -> tuple[Best, Best]:
    """`_merge` of two blocks with each other."""
    similarity = _products(mine, theirs)
    return (
        _join(similarity, first, start, best, real),
        _join(similarity.T, start, first, their_best, None),
    )


def _products(mine: Float[Array, "a D"], theirs: Float[Array, "b D"]) -> Float[Array, "a b"]:
    return jnp.matmul(mine, theirs.T, precision=jax.lax.Precision.HIGHEST)


def _join(similarity: Float[Array, "a b"], first: Any, start: Any, best: Best, real: Any) -> Best:
    """The best so far and those of similarities of rows from `first` with rows from `start`."""
    k = best[0].shape[1]
    if real is not None:  # padding has similarity 0, which may be more than a row has
        there = jnp.arange(similarity.shape[1], dtype=jnp.int32) < real
        similarity = jnp.where(there[None], similarity, -jnp.inf)
    values, at = nearest(similarity, min(k + 1, similarity.shape[1]))
    # a row is taken off its k + 1 nearest: cheaper than off all similarities
    own = first + jnp.arange(len(similarity), dtype=jnp.int32)
    values = jnp.where(start + at == own[:, None], -jnp.inf, values)
    values, places = jnp.hstack([best[0], values]), jnp.hstack([best[1], start + at])
    values, chosen = nearest(values, k)
    return values, jnp.take_along_axis(places, chosen, axis=1)


def _exact_neighbours(
    given: Statistics, rows: NDArray[np.int64], k: int
) -> tuple[Float64, NDArray[np.int64]]:
    """The k nearest of some rows in float64."""
    mine = _unit(given.take(rows))
    similarity = np.concatenate(
        [mine @ block.T * _inverse_lengths(block).T for _, block in given.blocks()], axis=1
    )
    similarity[np.arange(len(rows)), rows] = -np.inf
    order = np.argsort(-similarity, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(similarity, order, axis=1), order


@jax.jit
def _vote(
    near: Float[Array, "b k"], heard: Float[Array, "b k C"], own: Float[Array, "b C"]
) -> Float[Array, ""]:
    return _named(near, heard, own).sum()
