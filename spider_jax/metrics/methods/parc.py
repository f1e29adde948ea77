"""PARC: do rows that are alike in the features belong to the same class?"""

from typing import Any

import numpy as np
from jaxtyping import Float64, Int, UInt64
from numpy.typing import ArrayLike

from spider_jax.errors import InputError
from spider_jax.metrics.shared.inputs import (
    check_features,
    check_finite_rows,
    check_labels,
    stratified_rows,
)
from spider_jax.metrics.shared.statistics import Statistics

# Correlations are counted in steps of 2^-36. So rounding breaks no tie of equal rows, and the label
# of a pair fits beside its step in one integer: one sort serves both.
STEPS = 1 << 36
ROUNDING = 1e-12
BLOCK_NUMBERS = 1 << 20  # of correlations at a time


def parc(
    features: ArrayLike,
    labels: ArrayLike,
    *,
    components: int | None = 32,
    samples: int = 5000,
    seed: int = 0,
    compat: str | None = None,
) -> float:
    """Spearman's correlation over pairs of rows: distances of features with those of labels.

    Over pairs i < j of 1 - cos(z_i, z_j) and 1 - corr(onehot y_i, onehot y_j). z: principal
    coordinates of the rows, each column z-scored; ranks of equal distances are averaged. Without
    components z are the features, z-scored, and their correlation takes the place of the cosine.

    Range: [-1, 1]; larger is better. A correlation, but its maximum depends on the sizes of the
    classes, so it compares tasks only roughly.
    Cost: O(N D min(N, D)) for the coordinates, then O(n^2 (k + log n)) for n = min(N, samples)
    rows, in 8 bytes per pair.
    N < D: no special case.
    A class of one sample: all its pairs differ.
    A constant feature: no effect on principal coordinates; without them a column of zeros. All
    features constant: 0.
    Version 2 (cosines in place of correlations of principal coordinates): a correlation centres
    each row over its coordinates, so it changes with their signs, which are arbitrary.

    Args:
        features: [N, D] numbers.
        labels: [N] int.
        components: k, how many leading principal coordinates to use, fewer where the rank is lower;
            None: the features themselves.
        samples: how many rows to compare at most, with every class in its share.
        seed: of their choice, where N > samples.
        compat: "published" gives the number of the public code instead: correlations, which
            depend on the signs of the principal coordinates.

    Returns:
        The score, a float. Correlations within 1.5e-11 of each other may count as equal.

    Raises:
        InputError: components < 1, samples < 2, an unknown compat, shapes that do not match, values
            that are not finite, one class only.

    References:
        Bolya et al., "Scalable diverse model selection for accessible transfer learning", NeurIPS
        2021. The published code (dbolya/parc) gives 100 times this number, of 500 rows that the
        caller draws; rounding splits its two label distances into several, which costs up to
        2.5e-3. In SFDA's copy a subset keeps the labels of other rows.
    """
    F = check_features(features)
    given = Statistics(F, check_labels(labels, len(F)))
    return parc_of(given, components=components, samples=samples, seed=seed, compat=compat)


def parc_of(
    given: Statistics,
    *,
    components: int | None = 32,
    samples: int = 5000,
    seed: int = 0,
    compat: str | None = None,
) -> float:
    """PARC of shared statistics.

    Args:
        given: statistics of features and classes.
        components: as in `parc`.
        samples: as in `parc`.
        seed: as in `parc`.
        compat: as in `parc`.

    Returns:
        The score.

    Raises:
        InputError: components < 1, samples < 2, an unknown compat, or rows that are not finite.
    """
    if components is not None and components < 1:
        raise InputError(f"components must be at least 1 or None, got {components}")
    if samples < 2:
        raise InputError(f"samples must be at least 2, got {samples}")
    if compat not in (None, "published"):
        raise InputError(f'compat must be "published" or None, got {compat!r}')
    labels: Any = given.labels
    rows = stratified_rows(labels, samples, seed)
    if components is None:
        Z = given.take(rows)
        check_finite_rows(Z, rows)
    else:
        Z = given.coordinates(components)[rows]
    centred = components is None or compat is not None
    return spearman_of_pairs(_unit_rows(_z_scored(Z), centred), labels[rows])


def _z_scored(Z: Float64[np.ndarray, "n k"]) -> Float64[np.ndarray, "n k"]:
    """Columns of mean 0 and variance 1; constant columns become zeros."""
    Z = Z - Z[:1]  # a constant column is exactly 0
    Z -= Z.mean(0)
    sd = np.sqrt(np.einsum("nk,nk->k", Z, Z) / len(Z))
    alive = sd > ROUNDING * sd.max(initial=0)
    return Z * np.where(alive, 1 / np.where(alive, sd, 1), 0)


def _unit_rows(Z: Float64[np.ndarray, "n k"], centred: bool) -> Float64[np.ndarray, "n k"]:
    """Rows whose inner products are cosines, or correlations; a row without spread becomes 0."""
    if not Z.shape[1]:
        return Z
    size = np.einsum("nk,nk->n", Z, Z)
    Z = Z - Z.mean(1, keepdims=True) if centred else Z
    square = np.einsum("nk,nk->n", Z, Z)
    alive = square > ROUNDING**2 * np.maximum(size, size.mean())
    return Z * np.where(alive, 1 / np.sqrt(np.where(alive, square, 1)), 0)[:, None]


def spearman_of_pairs(unit: Float64[np.ndarray, "n k"], labels: Int[np.ndarray, " n"]) -> float:
    """Spearman's correlation of "the same class" and u_i.u_j over all pairs of rows.

    With p of M pairs of the same class and R the sum of their ranks, t the sizes of the ties:
    (R/M - p (M + 1)/2) / sqrt(p (1 - p) var), 12 M var = M^3 - M - sum (t^3 - t).

    Args:
        unit: u, rows of length 1 or 0.
        labels: the class of every row.

    Returns:
        The correlation; 0 where one side is constant.
    """
    keys = _pair_keys(unit, labels)
    keys.sort()
    pairs, same = float(len(keys)), np.flatnonzero(keys & 1)
    share = len(same) / max(pairs, 1)
    tied, tied_same = _ties(keys, same)
    cubes = pairs**3 - pairs - (tied**3 - tied).sum()
    if not 0 < share < 1 or cubes <= 0:
        return 0.0
    # in a tie the pairs of the same class stand last: correct their ranks to the mean of the tie
    ranks = float(same.sum()) + len(same) - (tied_same * (tied - tied_same)).sum() / 2
    above = ranks / pairs - share * (pairs + 1) / 2
    return float(above / np.sqrt(share * (1 - share) * cubes / 12 / pairs))


def _pair_keys(
    unit: Float64[np.ndarray, "n k"], labels: Int[np.ndarray, " n"]
) -> UInt64[np.ndarray, " p"]:
    """Of every pair: twice the step of its correlation, plus 1 if the classes are equal."""
    n = len(unit)
    keys, end = np.empty(n * (n - 1) // 2, np.uint64), 0
    size = max(1, BLOCK_NUMBERS // n)
    for start in range(0, n, size):
        mine = slice(start, min(start + size, n))
        steps = (unit[mine] * STEPS) @ unit[start:].T
        steps += STEPS + 0.5
        block = steps.astype(np.uint64)
        block <<= 1
        block |= labels[mine, None] == labels[None, start:]
        for i, row in enumerate(block):
            keys[end : end + n - start - i - 1] = row[i + 1 :]
            end += n - start - i - 1
    return keys


def _ties(
    keys: UInt64[np.ndarray, " p"], same: Int[np.ndarray, " s"]
) -> tuple[Float64[np.ndarray, " t"], Float64[np.ndarray, " t"]]:
    """Of every run of equal correlations in sorted keys: its length, and how many are of `same`."""
    equal = np.flatnonzero((keys[1:] ^ keys[:-1]) < 2)  # they differ in the label at most
    breaks = np.flatnonzero(np.diff(equal) > 1)
    first = equal[np.concatenate([np.zeros(min(1, len(equal)), np.int64), breaks + 1])]
    last = equal[np.concatenate([breaks, np.arange(len(equal))[-1:]])] + 1
    inside = np.searchsorted(same, last, side="right") - np.searchsorted(same, first)
    return (last - first + 1).astype(np.float64), inside.astype(np.float64)
