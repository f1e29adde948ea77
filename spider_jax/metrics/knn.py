"""kNN: leave-one-out accuracy of the k nearest neighbours."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int
from numpy.typing import ArrayLike, NDArray

from spider_jax.errors import InputError
from spider_jax.metrics.compiled import CLASS_BUCKET, ROW_BUCKET, pad, run
from spider_jax.metrics.inputs import check_features, check_labels
from spider_jax.metrics.statistics import Statistics


def knn(features: ArrayLike, labels: ArrayLike, *, k: int = 5, standardize: bool = False) -> float:
    """Leave-one-out accuracy of the k nearest neighbours in cosine similarity.

    Each row is named by the majority of its k nearest other rows (itself never among them). Equal
    similarity: the smaller row. Equal votes: the larger summed similarity, then the smaller class.

    Range: [0, 1]; larger is better; an accuracy, so it compares across tasks as accuracies do.
    Cost: O(N^2 D), in blocks of rows. N < D: no special case. A class of one sample: that row is
    always missed. A constant feature: shifts every similarity (standardise to remove it). A zero
    row: similarity 0.

    Args:
        features: [N, D] numbers. labels: [N] int.
        k: neighbours; where k > N - 1 all others vote.
        standardize: standardise the columns of the features first.

    Returns:
        The accuracy, a float.

    Raises:
        InputError: k < 1, shapes that do not match, values that are not finite, one class only.

    References:
        "kNN as a simple and effective estimator of transferability", arXiv 2503.18528. In
        published code (dbolya/parc) a row can be its own neighbour where rows are equal.
    """
    if k < 1:
        raise InputError(f"k must be at least 1, got {k}")
    F = check_features(features)
    return knn_of(Statistics(F, check_labels(labels, len(F)), standardize=standardize), k=k)


def knn_of(given: Statistics, *, k: int = 5) -> float:
    """kNN of shared statistics: from the Gram matrix of rows where that is the smaller side."""
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


# ---- more rows than fit beside each other ------------------------------------------------------


def _hits_in_blocks(given: Statistics, k: int) -> float:
    """How many rows are named rightly: blocks against blocks, in the features' dtype."""
    dtype = np.float64 if given.dtype == np.float64 else np.float32
    hits = 0.0
    with jax.enable_x64(True):
        for mine, block in given.blocks():
            block = _unit(block).astype(dtype)
            best = np.full((len(block), k), -np.inf, dtype), np.full((len(block), k), -1)
            for theirs, other in given.blocks():
                start = mine.start, theirs.start
                best = _merge(block, _unit(other).astype(dtype), *start, *best, k=k)
            near, where = best
            heard, own = (given.targets(at) for at in (np.asarray(where).ravel(), mine))
            heard = heard.reshape(*where.shape, -1).astype(dtype)
            hits += float(_vote(near, heard, own.astype(dtype)))
    return hits


def _unit(block: NDArray[np.float64]) -> NDArray[np.float64]:
    lengths = np.sqrt(np.einsum("nd,nd->n", block, block))
    return block / np.where(lengths > 0, lengths, 1)[:, None]


@partial(jax.jit, static_argnames="k")
def _merge(
    mine: Float[Array, "a D"],
    theirs: Float[Array, "b D"],
    first: Int[Array, ""] | int,
    other: Int[Array, ""] | int,
    near: Float[Array, "a k"],
    where: Int[Array, "a k"],
    *,
    k: int,
) -> tuple[Float[Array, "a k"], Int[Array, "a k"]]:
    """The k nearest so far and those of one more block; earlier rows win ties."""
    similarity = jnp.matmul(mine, theirs.T, precision=jax.lax.Precision.HIGHEST)
    places = other + jnp.arange(len(theirs))
    itself = places[None] == (first + jnp.arange(len(mine)))[:, None]
    values, at = nearest(jnp.where(itself, -jnp.inf, similarity), min(k, len(theirs)))
    values, at = jnp.concatenate([near, values], 1), jnp.concatenate([where, places[at]], 1)
    values, chosen = nearest(values, k)
    return values, jnp.take_along_axis(at, chosen, axis=1)


@jax.jit
def _vote(
    near: Float[Array, "b k"], heard: Float[Array, "b k C"], own: Float[Array, "b C"]
) -> Float[Array, ""]:
    return _named(near, heard, own).sum()
