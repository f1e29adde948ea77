"""What a metric accepts: checks at the edge, labels re-encoded, one line for what is refused."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spider_jax.errors import InputError

Float64 = NDArray[np.float64]

CACHED_NUMBERS = 1 << 16  # 512 KB in float64: a block stays in the second-level cache


def check_features(features: ArrayLike) -> NDArray[np.generic]:
    """`features` as an array of numbers [N, D]; a memmap stays one, values are checked when read.

    Raises:
        InputError: another rank, or no row or column.
    """
    F = np.asanyarray(features)
    if F.ndim != 2 or 0 in F.shape or F.dtype.kind not in "fiub":
        raise InputError(f"features must be numbers [N, D], got {F.dtype} {F.shape}")
    return F


def check_finite_rows(block: Float64, rows: NDArray[np.int64]) -> None:
    """Raise InputError if a value of the rows is NaN or infinite; rows: where they stand, [b]."""
    if np.isfinite(block.sum()):  # one cheap pass: a NaN or an infinity survives any sum
        return
    bad = ~np.isfinite(block).all(1)
    if bad.any():
        raise InputError(
            f"features must be finite, got NaN or infinity in {bad.sum()} rows. "
            f"First row: {int(rows[bad.argmax()])}"
        )


def finite_features(features: ArrayLike) -> Float64:
    """`features` as finite float64 [N, D] in memory.

    Raises:
        InputError: not numbers [N, D], or values that are not finite.
    """
    F = np.asarray(check_features(features), np.float64)
    check_finite_rows(F, np.arange(len(F)))
    return F


def check_labels(labels: ArrayLike, n: int) -> NDArray[np.int64]:
    """`labels` as int [N] re-encoded to 0..C-1 in sorted order.

    Raises:
        InputError: another length, not integers, or fewer than two classes.
    """
    y = np.asarray(labels)
    if y.ndim != 1 or y.dtype.kind not in "iub":
        raise InputError(f"labels must be int [N], got {y.dtype} {y.shape}")
    if len(y) != n:
        raise InputError(f"labels must have one entry per row of features (N={n}), got {len(y)}")
    found, encoded = np.unique(y, return_inverse=True)
    if len(found) < 2:
        raise InputError(f"labels must have at least two classes, got only {found.tolist()}")
    return encoded


def check_targets(labels: ArrayLike, n: int) -> NDArray[np.int64] | Float64:
    """Classes int [N] as `check_labels` gives them, else columns of targets float64 [N, K].

    Raises:
        InputError: another shape or length, values that are not finite, one class only.
    """
    y = np.asarray(labels)
    if y.ndim == 1 and y.dtype.kind in "iub":
        return check_labels(y, n)
    if y.ndim not in (1, 2) or 0 in y.shape[1:] or y.dtype.kind not in "fiub":
        raise InputError(f"labels must be int [N] or numbers [N, K], got {y.dtype} {y.shape}")
    if len(y) != n:
        raise InputError(f"labels must have one entry per row of features (N={n}), got {len(y)}")
    Y = y.astype(np.float64).reshape(n, -1)
    if not np.isfinite(Y).all():
        raise InputError("labels must be finite, got NaN or infinity")
    return Y


def check_probabilities(probabilities: ArrayLike) -> NDArray[np.floating]:
    """`probabilities` as float32 or float64 [N, Z] with rows that sum to 1.

    Raises:
        InputError: another rank, values that are not finite or negative, rows off 1 by over 1e-2.
    """
    P = probability_matrix(probabilities)
    for _ in probability_blocks(P):
        pass
    return P


def probability_matrix(probabilities: ArrayLike) -> NDArray[np.floating]:
    """`probabilities` as float32 or float64 [N, Z]; values are checked when read.

    Raises:
        InputError: not numbers, or another rank.
    """
    P = np.asarray(probabilities)
    if P.ndim != 2 or 0 in P.shape or P.dtype.kind not in "fiub":
        raise InputError(f"probabilities must be numbers [N, Z], got {P.dtype} {P.shape}")
    return P if P.dtype == np.float32 else P.astype(np.float64, copy=False)


def probability_blocks(
    P: NDArray[np.floating],
) -> Iterator[tuple[slice, NDArray[np.floating]]]:
    """Checked rows in blocks that stay in the cache: where they stand, and they.

    What a metric does to a block costs no second pass over the memory.

    Raises:
        InputError: as `check_probabilities`.
    """
    ones, size = np.ones(P.shape[1], P.dtype), max(1, CACHED_NUMBERS // P.shape[1])
    for start in range(0, len(P), size):
        where = slice(start, start + size)
        block = P[where]
        total = block @ ones  # a product is the cheapest sum there is
        if block.min() < 0 or not (np.abs(total - 1) <= 1e-2).all():
            raise _no_softmax(P)
        yield where, block


def _no_softmax(P: NDArray[np.floating]) -> InputError:
    off = ~((P.min(1) >= 0) & (np.abs(P.sum(1) - 1) <= 1e-2))
    return InputError(
        f"probabilities must be a softmax in every row, {off.sum()} are not. "
        f"First row: {int(np.flatnonzero(off)[0])}"
    )


def one_hot(labels: NDArray[np.int64], classes: int | None = None) -> Float64:
    """[N] classes 0..C-1 as 0/1 columns [N, C]."""
    columns = np.zeros((len(labels), labels.max() + 1 if classes is None else classes))
    columns[np.arange(len(labels)), labels] = 1
    return columns


def stratified_rows(labels: NDArray[np.int64], samples: int, seed: int) -> NDArray[np.int64]:
    """At most `samples` rows in order, of every class its share rounded up or down."""
    n = len(labels)
    if n <= samples:
        return np.arange(n)
    shuffled = np.random.default_rng(seed).permutation(n)
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    return np.sort(by_class[np.arange(samples) * n // samples])
