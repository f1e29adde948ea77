"""kNN: how well the k nearest neighbours of a left-out row tell its class or its targets."""

from collections.abc import Iterator
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float64, Int
from numpy.typing import ArrayLike

from spider_jax.errors import InputError
from spider_jax.metrics.shared.inputs import (
    CACHED_NUMBERS,
    check_features,
    check_targets,
    stratified_rows,
)
from spider_jax.metrics.shared.statistics import Statistics

ROUNDING = 1e-5  # float32 similarities of unit rows are good to about 1e-6
BLOCK = 1024  # rows of a block
MANY = 100  # neighbours: more are found by sorting
DISTANCES = ("cosine", "euclidean")
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
    distance: str = "cosine",
) -> float:
    """Leave-one-out accuracy of the k nearest neighbours, or R^2 of their mean in regression.

    Each row gets the class of the majority of its k nearest other rows (itself never among them).
    Equal similarity: the smaller row. Equal votes: the larger summed similarity, then the smaller
    class. Of targets it gets their mean over these rows, and the score is the mean over columns of
    1 - sum_n (y_n - mean_n)^2 / sum_n (y_n - mean y)^2.

    Range: [0, 1], of targets (-inf, 1]; larger is better. It compares across tasks as accuracies
    and R^2 do.
    Cost: O(n^2 D) for n = min(N, samples) rows, in blocks where N > D.
    N < D: no special case.
    A class of one sample: that row is always missed.
    A constant feature: shifts every cosine (standardise to remove it), but no Euclidean distance.
    A zero row: its cosines are 0.
    Columns of targets that are constant are left out.

    Args:
        features: [N, D] numbers.
        labels: [N] int classes, or [N, K] / [N] float regression targets, or [N, K] bool.
        k: neighbours; where k > N - 1 all others vote.
        samples: how many rows to compare at most, with every class in its share.
        seed: of their choice, where N > samples.
        standardize: standardise the columns of the features first.
        distance: "cosine" or "euclidean"; the nearest are those of largest cosine or of smallest
            distance, of which -1/2 its square is the similarity.

    Returns:
        The accuracy or R^2, a float.

    Raises:
        InputError: k < 1, samples < 2, an unknown distance, shapes that do not match, values that
            are not finite, one class only, constant targets only.

    References:
        "kNN as a simple and effective estimator of transferability", arXiv 2503.18528. In
        published code (dbolya/parc) a row can be its own neighbour where rows are equal.
    """
    F = check_features(features)
    given = Statistics(F, check_targets(labels, len(F)), standardize=standardize)
    return knn_of(given, k=k, samples=samples, seed=seed, distance=distance)


def knn_of(
    given: Statistics,
    *,
    k: int = 5,
    samples: int = 20_000,
    seed: int = 0,
    distance: str = "cosine",
) -> float:
    """kNN of shared statistics; from the Gram matrix of rows where that is the smaller side.

    Args:
        given: statistics of features and classes.
        k: as in `knn`.
        samples: as in `knn`.
        seed: as in `knn`.
        distance: as in `knn`.

    Returns:
        The accuracy or R^2.

    Raises:
        InputError: k < 1, samples < 2, an unknown distance, or constant targets only.
    """
    if k < 1:
        raise InputError(f"k must be at least 1, got {k}")
    if samples < 2:
        raise InputError(f"samples must be at least 2, got {samples}")
    if distance not in DISTANCES:
        raise InputError(f"distance must be one of {DISTANCES}, got {distance!r}")
    labels = np.asarray(given.labels)
    if given.n > samples:
        classes = labels if labels.ndim == 1 else np.zeros(given.n, np.int64)
        given = given.subset(stratified_rows(classes.astype(np.int64), samples, seed))
        labels = np.asarray(given.labels)
    k = min(k, given.n - 1)
    if given.tall:
        near, where = _near_by_blocks(given, k, distance)
    elif distance == "cosine":
        near, where = _near_by_gram(given.raw.gram, k)
    else:
        near, where = _near_by_gram(given.centred.gram, k, distance)
    if labels.ndim == 2:
        return _explained(labels[where].mean(1), labels)
    return float(_named_rightly(near, where, labels, given.classes).mean())


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


def _explained(found: Float64[np.ndarray, "N K"], targets: Float64[np.ndarray, "N K"]) -> float:
    """Mean R^2 of the columns that vary."""
    left, whole = ((targets - of) ** 2 for of in (found, targets.mean(0)))
    vary = np.ptp(targets, axis=0) > 0
    if not vary.any():
        raise InputError("labels must vary in at least one column of targets, all are constant")
    return float((1 - left.sum(0)[vary] / whole.sum(0)[vary]).mean())


def _near_by_gram(gram: Float64[np.ndarray, "N N"], k: int, distance: str = "cosine") -> Neighbours:
    """The k nearest of every row from inner products of rows, in blocks that stay in the cache."""
    n, size = len(gram), max(1, CACHED_NUMBERS // len(gram))
    lengths = np.sqrt(np.diagonal(gram))
    lengths = np.where(lengths > 0, lengths, 1.0)
    half = np.diagonal(gram) / 2
    near, where = np.empty((n, k)), np.empty((n, k), np.int64)
    for start in range(0, n, size):
        mine = slice(start, start + size)
        if distance == "cosine":
            similarity = gram[mine] / (lengths[mine, None] * lengths)
        else:
            similarity = gram[mine] - (half[mine, None] + half)
        _leave_out_itself(similarity, start)
        near[mine], where[mine] = nearest(similarity, k)
    return near, where


def _leave_out_itself(similarity: Float[np.ndarray, "b N"], first: int) -> None:
    """No row is its own neighbour; row i of the block stands at first + i."""
    rows = np.arange(len(similarity))
    similarity[rows, first + rows] = -np.inf


class _Rows(NamedTuple):
    """Rows in the form in which they are compared.

    Attributes:
        rows: of length 1 for cosines, about a centre and in its units for distances.
        half: half the squared length of every row; None for cosines.
    """

    rows: Float[np.ndarray, "b D"]
    half: Float[np.ndarray, " b"] | None

    def with_others(self, others: "_Rows") -> Float[np.ndarray, "b m"]:
        """Similarities: cosines, or -1/2 |x - y|^2 = x y - |x|^2 / 2 - |y|^2 / 2."""
        found = self.rows @ others.rows.T
        if self.half is not None and others.half is not None:
            found -= self.half[:, None]
            found -= others.half
        return found


class _Frame(NamedTuple):
    """Where distances are measured from and in what unit, so that float32 holds them.

    Attributes:
        centre: mean of the rows; None for cosines.
        unit: root of their mean squared distance from it.
    """

    centre: Float64[np.ndarray, " D"] | None
    unit: float = 1.0

    @staticmethod
    def of(given: Statistics, distance: str) -> "_Frame":
        """Of the rows, in one pass."""
        if distance == "cosine":
            return _Frame(None)
        pivot = given.take(np.zeros(1, np.int64))[0]
        shift, square = np.zeros(given.width), 0.0
        for _, block in given.blocks():
            moved = block - pivot
            shift += moved.sum(0)
            square += float(np.vdot(moved, moved))
        shift /= given.n
        unit = max(square / given.n - float(shift @ shift), 0.0) ** 0.5
        return _Frame(pivot + shift, unit or 1.0)

    def rows(self, block: Float64[np.ndarray, "b D"], dtype: type[np.floating]) -> _Rows:
        """Rows as they are compared, in that type."""
        rows = np.empty(block.shape, dtype)
        if self.centre is None:
            np.multiply(block, _inverse_lengths(block), out=rows, casting="same_kind")
            return _Rows(rows, None)
        np.divide(block - self.centre, self.unit, out=rows, casting="same_kind")
        return _Rows(rows, np.einsum("nd,nd->n", rows, rows) / 2)


def _near_by_blocks(given: Statistics, k: int, distance: str = "cosine") -> Neighbours:
    """The k nearest of every row, without an N x N matrix.

    They are found in float32 first. Where two of the first k + 1 neighbours of a row are closer
    than its rounding, the row is done again in float64. A cosine is rounded by its own size, 1;
    -1/2 |x - y|^2 by that of its parts, at most 3/2 |x|^2 + |x - y|^2.
    """
    frame = _Frame.of(given, distance)
    near, where, half = _near_in_float32(given, frame, k + 1)
    with np.errstate(invalid="ignore"):  # infinity - infinity where fewer than k + 1 are there
        reach = ROUNDING if half is None else ROUNDING * (3 * half[:, None] - 2 * near[:, :-1])
        doubtful = np.flatnonzero((near[:, :-1] - near[:, 1:] < reach).any(1))
    near, where = near[:, :k].astype(np.float64), where[:, :k]
    for start in range(0, len(doubtful), BLOCK):
        rows = doubtful[start : start + BLOCK]
        near[rows], where[rows] = _exact_neighbours(given, frame, rows, k)
    return near, where


def _near_in_float32(
    given: Statistics, frame: _Frame, k: int
) -> tuple[Float[np.ndarray, "N k"], Int[np.ndarray, "N k"], Float[np.ndarray, " N"] | None]:
    """The k nearest of every row: each block is compared with itself and with later ones.

    One product serves both blocks of a pair. Blocks come in order, so earlier rows win ties.
    """
    kept = list(_blocks(given, frame, 0)) if given.n * given.width <= KEPT else None
    best = np.full((given.n, k), -np.inf, np.float32), np.zeros((given.n, k), np.int64)
    halves = []
    for i, first in enumerate(range(0, given.n, BLOCK)):
        later = _blocks(given, frame, first) if kept is None else iter(kept[i:])
        mine = next(later)
        halves.append(mine.half)
        similarity = mine.with_others(mine)
        _leave_out_itself(similarity, 0)
        _join(similarity, first, first, best)
        for j, theirs in enumerate(later, 1):
            similarity = mine.with_others(theirs)
            across = similarity.T.copy()
            _join(similarity, first, first + j * BLOCK, best)
            _join(across, first + j * BLOCK, first, best)
    known = [half for half in halves if half is not None]
    return *best, np.concatenate(known) if known else None


def _join(similarity: Float[np.ndarray, "b m"], first: int, start: int, best: Neighbours) -> None:
    """Take the similarities of rows from `first` with rows from `start` into the best so far."""
    near, where = (part[first : first + len(similarity)] for part in best)
    k = near.shape[1]
    values, at = nearest(similarity, min(k, similarity.shape[1]))
    values, places = np.hstack([near, values]), np.hstack([where, start + at])
    near[:], chosen = nearest(values, k)
    where[:] = np.take_along_axis(places, chosen, axis=1)


def _blocks(given: Statistics, frame: _Frame, first: int) -> Iterator[_Rows]:
    """Rows from row `first` on, in float32."""
    for _, block in given.blocks(BLOCK, first):
        yield frame.rows(block, np.float32)


def _inverse_lengths(block: Float64[np.ndarray, "b D"]) -> Float64[np.ndarray, "b 1"]:
    lengths = np.sqrt(np.einsum("nd,nd->n", block, block))
    return np.where(lengths > 0, 1 / np.where(lengths > 0, lengths, 1), 0)[:, None]


def _exact_neighbours(
    given: Statistics, frame: _Frame, rows: Int[np.ndarray, " N"], k: int
) -> Neighbours:
    """The k nearest of some rows in float64."""
    mine = given.take(rows)
    if frame.centre is None:
        mine *= _inverse_lengths(mine)
        parts = [mine @ block.T * _inverse_lengths(block).T for _, block in given.blocks()]
    else:
        own = frame.rows(mine, np.float64)
        parts = [own.with_others(frame.rows(b, np.float64)) for _, b in given.blocks()]
    similarity = np.concatenate(parts, axis=1)
    similarity[np.arange(len(rows)), rows] = -np.inf
    return nearest(similarity, k)
