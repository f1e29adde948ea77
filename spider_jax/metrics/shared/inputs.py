"""What a metric accepts: its inputs are checked once, labels are encoded as 0..C-1."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Float64, Int, Shaped
from numpy.typing import ArrayLike

from spider_jax.errors import InputError

CACHED_NUMBERS = 1 << 16  # 512 KB in float64: a block stays in the second-level cache


def check_features(features: ArrayLike) -> Shaped[np.ndarray, "N D"]:
    """`features` as an array of numbers; their values are checked later, where they are read.

    Args:
        features: [N, D] numbers or booleans; a memmap stays one.

    Returns:
        The array, in its own dtype.

    Raises:
        InputError: another rank, or no row or column.
    """
    F = np.asanyarray(features)
    if F.ndim != 2 or 0 in F.shape or F.dtype.kind not in "fiub":
        raise InputError(f"features must be numbers [N, D], got {F.dtype} {F.shape}")
    return F


def check_finite_rows(block: Float64[np.ndarray, "b D"], rows: Int[np.ndarray, " b"]) -> None:
    """Refuse rows with a value that is NaN or infinite.

    Args:
        block: some rows of the features.
        rows: where each of them stands in the file, for the message.

    Raises:
        InputError: a value that is not finite; the message counts the rows and names the first.
    """
    if np.isfinite(block.sum()):  # one cheap pass: a NaN or an infinity survives any sum
        return
    bad = ~np.isfinite(block).all(1)
    if bad.any():
        raise InputError(
            f"features must be finite, got NaN or infinity in {bad.sum()} rows. "
            f"First row: {int(rows[bad.argmax()])}"
        )


def finite_features(features: ArrayLike) -> Float64[np.ndarray, "N D"]:
    """`features` as finite float64 in memory.

    Args:
        features: [N, D] numbers or booleans.

    Returns:
        The array.

    Raises:
        InputError: not numbers [N, D], or values that are not finite.
    """
    F = np.asarray(check_features(features), np.float64)
    check_finite_rows(F, np.arange(len(F)))
    return F


def check_labels(labels: ArrayLike, n: int) -> Int[np.ndarray, " N"]:
    """`labels` encoded as 0..C-1, in sorted order.

    Args:
        labels: [N] int.
        n: N, the rows of the features.

    Returns:
        The encoded classes, each of which occurs.

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


def check_targets(labels: ArrayLike, n: int) -> Int[np.ndarray, " N"] | Float64[np.ndarray, "N K"]:
    """`labels` as classes or as columns of targets.

    Args:
        labels: [N] int classes, or [N, K] or [N] numbers, or [N, K] booleans.
        n: N, the rows of the features.

    Returns:
        Classes as `check_labels` gives them, or the targets as columns.

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


def check_probabilities(probabilities: ArrayLike) -> Float[np.ndarray, "N Z"]:
    """`probabilities` as float32 or float64, with rows that sum to 1.

    Args:
        probabilities: [N, Z] numbers.

    Returns:
        The array.

    Raises:
        InputError: another rank, values that are not finite or negative, rows off 1 by over 1e-2.
    """
    P = probability_matrix(probabilities)
    for _ in probability_blocks(P):
        pass
    return P


def probability_matrix(probabilities: ArrayLike) -> Float[np.ndarray, "N Z"]:
    """`probabilities` as float32 or float64; their values are checked later, where they are read.

    Args:
        probabilities: [N, Z] numbers.

    Returns:
        The array.

    Raises:
        InputError: not numbers, or another rank.
    """
    P = np.asarray(probabilities)
    if P.ndim != 2 or 0 in P.shape or P.dtype.kind not in "fiub":
        raise InputError(f"probabilities must be numbers [N, Z], got {P.dtype} {P.shape}")
    return P if P.dtype == np.float32 else P.astype(np.float64, copy=False)


def probability_blocks(
    P: Float[np.ndarray, "N Z"],
) -> Iterator[tuple[slice, Float[np.ndarray, "_ Z"]]]:
    """Checked rows in blocks that stay in the processor's cache.

    What a metric computes from a block then needs no second pass over the memory.

    Args:
        P: as `probability_matrix` gives it.

    Yields:
        Where the rows of a block stand, and the rows.

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


def _no_softmax(P: Float[np.ndarray, "N Z"]) -> InputError:
    off = ~((P.min(1) >= 0) & (np.abs(P.sum(1) - 1) <= 1e-2))
    return InputError(
        f"probabilities must be a softmax in every row, {off.sum()} are not. "
        f"First row: {int(np.flatnonzero(off)[0])}"
    )


def one_hot(
    labels: Int[np.ndarray, " N"], classes: int | None = None
) -> Float64[np.ndarray, "N C"]:
    """Classes as columns of 0 and 1.

    Args:
        labels: classes 0..C-1.
        classes: C; by default the largest label + 1.

    Returns:
        One column per class.
    """
    columns = np.zeros((len(labels), labels.max() + 1 if classes is None else classes))
    columns[np.arange(len(labels)), labels] = 1
    return columns


def stratified_rows(
    labels: Int[np.ndarray, " N"], samples: int, seed: int
) -> Int[np.ndarray, " n"]:
    """Some of the rows, with every class in its share, rounded up or down.

    Args:
        labels: classes 0..C-1.
        samples: how many rows at most.
        seed: of the choice.

    Returns:
        Positions of n = min(N, samples) rows, in order.
    """
    n = len(labels)
    if n <= samples:
        return np.arange(n)
    shuffled = np.random.default_rng(seed).permutation(n)
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    return np.sort(by_class[np.arange(samples) * n // samples])
