"""kNN: leave-one-out accuracy of the k nearest neighbours."""

from collections.abc import Iterator

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float32, Float64, Int
from numpy.typing import ArrayLike

from spider_jax.errors import InputError
from spider_jax.metrics.shared.inputs import (
    CACHED_NUMBERS,
    check_features,
    check_labels,
    stratified_rows,
)
from spider_jax.metrics.shared.statistics import Statistics

ROUNDING = 1e-5  # float32 similarities of unit rows are good to about 1e-6
BLOCK = 1024  # rows of a block
MANY = 100  # neighbours: more are found by sorting
KEPT = 1 << 28  # numbers: unit rows up to 1 GB stay in memory, more are read for every block

# Similarities, the largest first, and the rows where they stand.
Neighbours = tuple[Float[np.ndarray, "N k"], Int[np.ndarray, "N k"]]


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

    Each row gets the class of the majority of its k nearest other rows (itself never among them).
    Equal similarity: the smaller row. Equal votes: the larger summed similarity, then the smaller
    class.

    Range: [0, 1]; larger is better. It compares across tasks as accuracies do.
    Cost: O(n^2 D) for n = min(N, samples) rows, in blocks where N > D.
    N < D: no special case.
    A class of one sample: that row is always missed.
    A constant feature: shifts every similarity (standardise to remove it). A zero row: its
    similarities are 0.

    Args:
        features: [N, D] numbers.
        labels: [N] int.
        k: neighbours; where k > N - 1 all others vote.
        samples: how many rows to compare at most, with every class in its share.
        seed: of their choice, where N > samples.
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
    """kNN of shared statistics; from the Gram matrix of rows where that is the smaller side.

    Args:
        given: statistics of features and classes.
        k: as in `knn`.
        samples: as in `knn`.
        seed: as in `knn`.

    Returns:
        The accuracy.

    Raises:
        InputError: k < 1, or samples < 2.
    """
    if k < 1:
        raise InputError(f"k must be at least 1, got {k}")
    if samples < 2:
        raise InputError(f"samples must be at least 2, got {samples}")
    if given.n > samples:
        given = given.subset(stratified_rows(np.asarray(given.labels, np.int64), samples, seed))
    k = min(k, given.n - 1)
    near, where = _near_by_blocks(given, k) if given.tall else _near_by_gram(given.raw.gram, k)
    return float(_named_rightly(near, where, np.asarray(given.labels), given.classes).mean())


def knn_core(
    gram: Float[Array, "N N"],
    targets: Float[Array, "N C"],
    rows: Bool[Array, " N"],
    n: Float[Array, ""],
    *,
    k: int = 5,
) -> Float[Array, ""]:
    """Leave-one-out kNN accuracy from inner products of rows, padded.

    Args:
        gram: inner products of the rows.
        targets: one-hot classes.
        rows: which rows are real.
        n: how many rows are real.
        k: neighbours.

    Returns:
        The accuracy.
    """
    lengths = jnp.sqrt(jnp.diagonal(gram))
    lengths = jnp.where(lengths > 0, lengths, 1.0)
    similarity = gram / (lengths[:, None] * lengths[None])
    itself = jnp.eye(len(lengths), dtype=bool)
    near, where = _nearest_of_each(jnp.where(rows[None] & ~itself, similarity, -jnp.inf), k)
    hit = _named(near, targets[where], targets)
    return jnp.where(rows, hit, 0.0).sum() / n


def _nearest_of_each(
    similarity: Float[Array, "N N"], k: int
) -> tuple[Float[Array, "N k"], Int[Array, "N k"]]:
    """`nearest` in XLA, whose own top_k sorts every row in float64: 6 x k passes."""
    values, where = [], []
    places = jnp.arange(similarity.shape[1])
    for _ in range(k):
        values.append(similarity.max(1))
        where.append(similarity.argmax(1))
        similarity = jnp.where(places[None] == where[-1][:, None], -jnp.inf, similarity)
    return jnp.stack(values, 1), jnp.stack(where, 1)


def _named(
    near: Float[Array, "b k"], classes: Float[Array, "b k C"], own: Float[Array, "b C"]
) -> Float[Array, " b"]:
    """1 where the vote of the neighbours names the own class, both one-hot."""
    there = jnp.isfinite(near)[..., None]
    classes = jnp.where(there, classes, 0)
    votes = classes.sum(1)
    weight = (classes * jnp.where(there, near[..., None], 0)).sum(1)
    most = votes == votes.max(1, keepdims=True)
    winner = jnp.where(most, weight, -jnp.inf).argmax(1)
    return jnp.take_along_axis(own, winner[:, None], axis=1)[:, 0]


# ---- on the host: NumPy alone, because XLA's threads and those of NumPy's BLAS slow each other


def nearest(similarity: Float[np.ndarray, "N M"], k: int) -> Neighbours:
    """The k largest of every row and where they stand; of equals, the first.

    A pass for each of a few neighbours takes a tenth of the time of a sort.

    Args:
        similarity: of every row with M others; it is overwritten.
        k: how many, at most M.

    Returns:
        Similarities, the largest first, and their columns.
    """
    if k > MANY:
        order = np.argsort(-similarity, axis=1, kind="stable")[:, :k]
        return np.take_along_axis(similarity, order, axis=1), order
    rows = np.arange(len(similarity))
    near, where = np.empty((k, len(rows)), similarity.dtype), np.empty((k, len(rows)), np.int64)
    for i in range(k):
        where[i] = similarity.argmax(1)
        near[i] = similarity[rows, where[i]]
        similarity[rows, where[i]] = -np.inf
    return near.T, where.T


def _named_rightly(
    near: Float[np.ndarray, "N k"],
    where: Int[np.ndarray, "N k"],
    labels: Int[np.ndarray, " N"],
    classes: int,
) -> Bool[np.ndarray, " N"]:
    """Whether the vote of the neighbours names the own class."""
    n = len(where)
    ballot = (np.arange(n)[:, None] * classes + labels[where]).ravel()
    votes = np.bincount(ballot, minlength=n * classes).reshape(n, classes)
    weight = np.bincount(ballot, near.ravel(), n * classes).reshape(n, classes)
    most = votes == votes.max(1, keepdims=True)
    return np.where(most, weight, -np.inf).argmax(1) == labels


def _near_by_gram(gram: Float64[np.ndarray, "N N"], k: int) -> Neighbours:
    """The k nearest of every row from inner products of rows, in blocks that stay in the cache."""
    n, size = len(gram), max(1, CACHED_NUMBERS // len(gram))
    lengths = np.sqrt(np.diagonal(gram))
    lengths = np.where(lengths > 0, lengths, 1.0)
    near, where = np.empty((n, k)), np.empty((n, k), np.int64)
    for start in range(0, n, size):
        mine = slice(start, start + size)
        similarity = gram[mine] / (lengths[mine, None] * lengths)
        _leave_out_itself(similarity, start)
        near[mine], where[mine] = nearest(similarity, k)
    return near, where


def _leave_out_itself(similarity: Float[np.ndarray, "b N"], first: int) -> None:
    """No row is its own neighbour; row i of the block stands at first + i."""
    rows = np.arange(len(similarity))
    similarity[rows, first + rows] = -np.inf


def _near_by_blocks(given: Statistics, k: int) -> Neighbours:
    """The k nearest of every row, without an N x N matrix.

    They are found in float32 first. Where two of the first k + 1 neighbours of a row are closer
    than its rounding, the row is done again in float64.
    """
    near, where = _near_in_float32(given, k + 1)
    with np.errstate(invalid="ignore"):  # infinity - infinity where fewer than k + 1 are there
        doubtful = np.flatnonzero((near[:, :-1] - near[:, 1:] < ROUNDING).any(1))
    near, where = near[:, :k].astype(np.float64), where[:, :k]
    for start in range(0, len(doubtful), BLOCK):
        rows = doubtful[start : start + BLOCK]
        near[rows], where[rows] = _exact_neighbours(given, rows, k)
    return near, where


def _near_in_float32(given: Statistics, k: int) -> Neighbours:
    """The k nearest of every row: each block is compared with itself and with later ones.

    One product serves both blocks of a pair. Blocks come in order, so earlier rows win ties.
    """
    kept = list(_unit_blocks(given, 0)) if given.n * given.width <= KEPT else None
    best = np.full((given.n, k), -np.inf, np.float32), np.zeros((given.n, k), np.int64)
    for i, first in enumerate(range(0, given.n, BLOCK)):
        later = _unit_blocks(given, first) if kept is None else iter(kept[i:])
        mine = next(later)
        similarity = mine @ mine.T
        _leave_out_itself(similarity, 0)
        _join(similarity, first, first, best)
        for j, theirs in enumerate(later, 1):
            similarity = mine @ theirs.T
            across = similarity.T.copy()
            _join(similarity, first, first + j * BLOCK, best)
            _join(across, first + j * BLOCK, first, best)
    return best


def _join(similarity: Float[np.ndarray, "b m"], first: int, start: int, best: Neighbours) -> None:
    """Take the similarities of rows from `first` with rows from `start` into the best so far."""
    near, where = (part[first : first + len(similarity)] for part in best)
    k = near.shape[1]
    values, at = nearest(similarity, min(k, similarity.shape[1]))
    values, places = np.hstack([near, values]), np.hstack([where, start + at])
    near[:], chosen = nearest(values, k)
    where[:] = np.take_along_axis(places, chosen, axis=1)


def _unit_blocks(given: Statistics, first: int) -> Iterator[Float32[np.ndarray, "_ D"]]:
    """Unit rows from row `first` on."""
    for _, block in given.blocks(BLOCK, first):
        rows = np.empty(block.shape, np.float32)
        np.multiply(block, _inverse_lengths(block), out=rows, casting="same_kind")
        yield rows


def _inverse_lengths(block: Float64[np.ndarray, "b D"]) -> Float64[np.ndarray, "b 1"]:
    lengths = np.sqrt(np.einsum("nd,nd->n", block, block))
    return np.where(lengths > 0, 1 / np.where(lengths > 0, lengths, 1), 0)[:, None]


def _exact_neighbours(given: Statistics, rows: Int[np.ndarray, " N"], k: int) -> Neighbours:
    """The k nearest of some rows in float64."""
    mine = given.take(rows)
    mine *= _inverse_lengths(mine)
    similarity = np.concatenate(
        [mine @ block.T * _inverse_lengths(block).T for _, block in given.blocks()], axis=1
    )
    similarity[np.arange(len(rows)), rows] = -np.inf
    return nearest(similarity, k)
