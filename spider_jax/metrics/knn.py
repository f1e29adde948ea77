"""kNN: leave-one-out accuracy of the k nearest neighbours."""

from functools import partial

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
    hits = 0.0
    for mine, block in given.blocks():
        block = _unit(block)
        itself = np.arange(mine.start, mine.stop)
        near, where = _neighbours(given, block, itself, k + 1, np.dtype(np.float32))
        with np.errstate(invalid="ignore"):  # infinity - infinity where fewer than k + 1 are there
            doubtful = np.flatnonzero((near[:, :-1] - near[:, 1:] < ROUNDING).any(1))
        near, where = near[:, :k].astype(np.float64), where[:, :k].copy()
        if len(doubtful):
            rows = block[doubtful], itself[doubtful]
            near[doubtful], where[doubtful] = _neighbours(given, *rows, k, np.dtype(np.float64))
        heard = given.targets(where.ravel()).reshape(*where.shape, -1)
        with jax.enable_x64(True):
            hits += float(_vote(near, heard, given.targets(mine)))
    return hits


def _neighbours(
    given: Statistics,
    block: Float64,
    itself: NDArray[np.int64],
    k: int,
    dtype: np.dtype[np.generic],
) -> tuple[NDArray[np.floating], NDArray[np.int64]]:
    """The k rows most similar to every row of a block, itself left out, and their similarity."""
    rows = pad(block, ROW_BUCKET, 1).astype(dtype)
    own = pad(itself + 1, ROW_BUCKET) - 1
    with jax.enable_x64(True):
        near = jnp.full((len(rows), k), -jnp.inf, dtype)
        where = jnp.zeros((len(rows), k), jnp.int64)
        for theirs, other in given.blocks():
            unit = _unit(other).astype(dtype)
            near, where = _merge(rows, unit, own, np.int64(theirs.start), near, where, k=k)
        return np.asarray(near)[: len(block)], np.asarray(where)[: len(block)]


def _unit(block: Float64) -> Float64:
    lengths = np.sqrt(np.einsum("nd,nd->n", block, block))
    return block / np.where(lengths > 0, lengths, 1)[:, None]


@partial(jax.jit, static_argnames="k")
def _merge(
    mine: Float[Array, "a D"],
    theirs: Float[Array, "b D"],
    own: Int[Array, " a"],
    start: Int[Array, ""],
    near: Float[Array, "a k"],
    where: Int[Array, "a k"],
    *,
    k: int,
) -> tuple[Float[Array, "a k"], Int[Array, "a k"]]:
    """The k nearest so far and those of one more block; earlier rows win ties."""
    similarity = jnp.matmul(mine, theirs.T, precision=jax.lax.Precision.HIGHEST)
    values, at = nearest(similarity, min(k + 1, len(theirs)))
    places = start + at.astype(
        start.dtype
    )  # a row is taken off its k + 1 nearest: cheaper than off all similarities
    values = jnp.where(places == own[:, None], -jnp.inf, values)
    values, at = jnp.concatenate([near, values], 1), jnp.concatenate([where, places], 1)
    values, chosen = nearest(values, k)
    return values, jnp.take_along_axis(at, chosen, axis=1)


@jax.jit
def _vote(
    near: Float[Array, "b k"], heard: Float[Array, "b k C"], own: Float[Array, "b C"]
) -> Float[Array, ""]:
    return _named(near, heard, own).sum()
