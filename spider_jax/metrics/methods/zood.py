"""ZooD: how well a model's features carry over to a domain that they were not fitted on."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int
from numpy.typing import ArrayLike

from spider_jax.errors import InputError
from spider_jax.metrics.methods.logme import NO_RESIDUAL, TINY, max_evidence
from spider_jax.metrics.shared.inputs import check_features, check_finite_rows, check_targets
from spider_jax.metrics.shared.statistics import BLOCK_NUMBERS, RANK_TOLERANCE, Statistics
from spider_jax.runtime.buckets import CLASS_BUCKET, ROW_BUCKET, pad, run

NOISE_FLOOR = 1e-6  # least noise, of a column's mean square: exact fits would predict without bound
VARIANCE_FLOOR = 1e-6  # least mean variance of the others, of that of all rows
KEPT_NUMBERS = 1 << 27  # 1 GB of Gram matrices stay in memory; with more, domains are read again


class ShiftScore(NamedTuple):
    """ZooD and what it is made of, one entry per held-out domain.

    Attributes:
        score: mean over domains of evidence + density.
        domains: the values of `domains` that could be held out.
        evidence: log predictive density of the domain's labels, per row, mean over label columns.
        density: log density of the domain's features, per row and column.
    """

    score: float
    domains: tuple[int, ...]
    evidence: Float64[np.ndarray, " K"]
    density: Float64[np.ndarray, " K"]


def zood(
    features: ArrayLike, labels: ArrayLike, *, domains: ArrayLike, standardize: bool = False
) -> float:
    """Discriminability and stability under shift: leave one domain out, predict it from the others.

    The mean over domains i of ln p(y_i | F_i, F_-i, y_-i)/n_i + ln p(F_i | F_-i)/(n_i D): the first
    is the predictive density of the Bayesian linear model of `logme` (t and beta of largest
    evidence on the other domains, mean over label columns), the second that of a Gaussian with the
    others' mean and covariance (shrunk to a multiple of the identity as OAS has it), of features
    scaled to mean variance 1 over all rows.

    Range: any real number; larger is better. It compares models on one task.
    Cost: one pass over the features; then 2K + 1 eigendecompositions of min(N, D) for K domains.
    N < D: exact, from the Gram matrix of rows.
    A class that the other domains lack, or that is all they have: left out of that domain's mean.
    A domain of one row: as any other. One whose others are a single row: left out.
    A constant feature: a bias in the first part, no effect on the order in the second.
    Labels that the others' features explain exactly: noise of 1e-6 of their mean square is
    assumed, at the same prior of the weights.

    Args:
        features: [N, D] numbers, as extracted.
        labels: [N] int classes, or [N, K] / [N] float regression targets, or [N, K] bool.
        domains: [N] int, which rows come from where; at least two values.
        standardize: standardise the columns of the features first.

    Returns:
        The score, a float, in float64.

    Raises:
        InputError: shapes that do not match, values that are not finite, one class or one domain
            only.

    References:
        Dong et al., "ZooD: exploiting model zoo for out-of-distribution generalization", NeurIPS
        2022. The paper adds both log densities as they are; here each is per row, and the second
        per column, so that wide models and large domains do not outweigh the labels.
    """
    return fit_zood(features, labels, domains=domains, standardize=standardize).score


def fit_zood(
    features: ArrayLike, labels: ArrayLike, *, domains: ArrayLike, standardize: bool = False
) -> ShiftScore:
    """`zood` with its two parts for every domain.

    Args:
        features: as in `zood`.
        labels: as in `zood`.
        domains: as in `zood`.
        standardize: as in `zood`.

    Returns:
        The score and its parts.

    Raises:
        InputError: as `zood`.
    """
    F = check_features(features)
    given = Statistics(F, check_targets(labels, len(F)), standardize=standardize)
    return zood_of(given, check_domains(domains, len(F)))


def check_domains(domains: ArrayLike, n: int) -> Int[np.ndarray, " N"]:
    """`domains` as an array.

    Args:
        domains: [N] int.
        n: N, the rows of the features.

    Returns:
        The array.

    Raises:
        InputError: another shape, not integers, or one domain only.
    """
    d = np.asarray(domains)
    if d.shape != (n,) or d.dtype.kind not in "iub":
        raise InputError(
            f"domains must be int, one per row of features (N={n}), got {d.dtype} {d.shape}"
        )
    if len(np.unique(d)) < 2:
        raise InputError(f"domains must have at least two values, got only {int(d[0])}")
    return d


def zood_of(given: Statistics, domains: Int[np.ndarray, " N"]) -> ShiftScore:
    """ZooD of shared statistics.

    Args:
        given: statistics of features and labels.
        domains: as `check_domains` gives them.

    Returns:
        The score and its parts.

    Raises:
        InputError: no domain can be held out: the others are a single row, or lack its classes.
    """
    everything, held = (_tall if given.tall else _wide)(given, domains)
    found = []
    for name, one in held:
        if one.rest.n < 2 or not one.known.any():
            continue
        found.append((name, _evidence(everything, one), _density(one, given.width)))
    if not found:
        raise InputError(
            "no domain can be held out: the others have one row, or one class, or none of its own"
        )
    names, evidence, density = zip(*found, strict=True)
    parts = np.array(evidence), np.array(density)
    return ShiftScore(float((parts[0] + parts[1]).mean()), names, *parts)


class _Labelled(NamedTuple):
    """Labels in the singular vectors of raw features, as `logme` needs them.

    Attributes:
        n: rows.
        s: squared singular values; rounding is 0.
        x2: squares of the labels in them.
        total: |y|^2 of every column.
    """

    n: int
    s: Float64[np.ndarray, " k"]
    x2: Float64[np.ndarray, "k C"]
    total: Float64[np.ndarray, " C"]


class _HeldOut(NamedTuple):
    """One domain and all others.

    Attributes:
        n: rows of the domain.
        rest: labels of the others.
        known: the label columns that the others say anything about.
        variances: eigenvalues of the others' covariance.
        along: squares of the domain's deviations from the others' mean, along its eigenvectors.
        square: their sum over all directions.
        variance: mean variance of a column over all rows.
    """

    n: int
    rest: _Labelled
    known: Bool[np.ndarray, " C"]
    variances: Float64[np.ndarray, " k"]
    along: Float64[np.ndarray, " k"]
    square: float
    variance: float


# ---- the two parts -----------------------------------------------------------------------------


def _evidence(everything: _Labelled, held: _HeldOut) -> float:
    """ln p(y_i | y_-i) = ln p(y) - ln p(y_-i), both at the t and beta of the others."""
    rest, C = held.rest, len(held.known)
    s, x2 = pad(rest.s, ROW_BUCKET), pad(rest.x2, ROW_BUCKET, CLASS_BUCKET)
    total = pad(rest.total, CLASS_BUCKET)
    log_t = run(max_evidence, s, x2, total, np.float64(rest.n))[1][:C]
    # Where the others interpolate, t and the noise fall to 0 together; t beta has a limit.
    error = np.where(held.known, np.maximum(_error(rest, log_t)[0], TINY), 1)
    floored = np.where(held.known, np.maximum(error, NOISE_FLOOR * rest.total), 1)
    beta, log_t = rest.n / floored, log_t + np.log(floored / error)
    gain = _log_density(everything, log_t, beta) - _log_density(rest, log_t, beta)
    return float(gain[held.known].mean() / held.n)


def _error(
    y: _Labelled, log_t: Float64[np.ndarray, " C"]
) -> tuple[Float64[np.ndarray, " C"], Float64[np.ndarray, " C"]]:
    """S(t) = sum_i x_i^2/(1 + s_i/t) + r, and sum_i ln(1 + s_i/t)."""
    ratio = y.s[:, None] * np.exp(-log_t)
    residual = y.total - y.x2.sum(0)
    residual = np.where(residual < NO_RESIDUAL * y.total, 0.0, residual)
    return (y.x2 / (1 + ratio)).sum(0) + residual, np.log1p(ratio).sum(0)


def _log_density(
    y: _Labelled, log_t: Float64[np.ndarray, " C"], beta: Float64[np.ndarray, " C"]
) -> Float64[np.ndarray, " C"]:
    """ln N(y; 0, (I + F F^T/t)/beta) of every column."""
    error, log_det = _error(y, log_t)
    return 0.5 * (y.n * np.log(beta / (2 * np.pi)) - log_det - beta * error)


def _density(held: _HeldOut, width: int) -> float:
    """ln p(F_i | F_-i) per row and column, of features scaled to mean variance 1."""
    if held.variance == 0:
        return 0.0
    mean = max(held.variances.sum() / width, VARIANCE_FLOOR * held.variance)
    square = (held.variances**2).sum() / width**2
    spread = (held.rest.n + 1) * (square - mean**2 / width)
    shrink = min(1.0, (square + mean**2) / spread) if spread > 0 else 1.0
    sizes, outside = (1 - shrink) * held.variances + shrink * mean, shrink * mean
    others = width - len(sizes)  # directions in which the other domains do not vary
    log_det = np.log(sizes).sum() + others * np.log(outside)
    distance = (held.along / sizes).sum()
    if others:
        distance += max(held.square - held.along.sum(), 0) / outside
    scaled = log_det / width - np.log(held.variance) + distance / (held.n * width)
    return float(-0.5 * (np.log(2 * np.pi) + scaled))


def _shown(columns: Float64[np.ndarray, "n C"], classes: bool) -> Bool[np.ndarray, " C"]:
    """Columns with an entry but 0; of classes, those that are not all there is either."""
    total = (columns**2).sum(0)
    return (total > 0) & ((total < len(columns)) | (not classes))


# ---- more columns than rows: the Gram matrix of rows -------------------------------------------


def _wide(
    given: Statistics, domains: Int[np.ndarray, " N"]
) -> tuple[_Labelled, Iterator[tuple[int, _HeldOut]]]:
    raw, Y = given.raw.gram, given.targets()

    def held() -> Iterator[tuple[int, _HeldOut]]:
        gram = given.centred.gram
        variance = np.trace(gram) / (given.n * given.width)
        for name in np.unique(domains):
            own, rest = domains == name, domains != name
            known = _shown(Y[rest], given.labels.ndim == 1)
            directions = _directions(gram[np.ix_(rest, rest)], gram[np.ix_(own, rest)])
            square = np.diagonal(gram)[own] - 2 * gram[np.ix_(own, rest)].mean(1)
            square = float((square + gram[np.ix_(rest, rest)].mean()).sum())
            labelled = _labelled(raw[np.ix_(rest, rest)], Y[rest])
            n = int(own.sum())
            yield int(name), _HeldOut(n, labelled, known, *directions, square, float(variance))

    return _labelled(raw, Y), held()


def _labelled(gram: Float64[np.ndarray, "n n"], Y: Float64[np.ndarray, "n C"]) -> _Labelled:
    s, U = np.linalg.eigh(gram)
    alive = s > RANK_TOLERANCE * s[-1]
    x2 = np.where(alive[:, None], (U.T @ Y) ** 2, 0)
    return _Labelled(len(Y), np.where(alive, s, 0), x2, (Y**2).sum(0))


def _directions(
    gram: Float64[np.ndarray, "n n"], cross: Float64[np.ndarray, "m n"]
) -> tuple[Float64[np.ndarray, " k"], Float64[np.ndarray, " k"]]:
    """Variances of the others, and squares of the domain's deviations along their directions."""
    mean = gram.mean(0)
    s, U = np.linalg.eigh(gram - mean - mean[:, None] + mean.mean())
    alive = s > RANK_TOLERANCE * s[-1]
    s, U = s[alive], U[:, alive]
    along = (cross - cross.mean(1)[:, None] - mean + mean.mean()) @ (U / np.sqrt(s))
    return s / len(gram), (along**2).sum(0)


# ---- more rows than columns: sums of every domain; the others are the total without them --------


class _Sums(NamedTuple):
    """Sums over some rows of features b about a pivot, and of their labels y.

    Attributes:
        n: rows.
        shift: sum of b.
        gram: sum of b b^T.
        cross: sum of b y^T.
        columns: sum of y.
        total: sum of y^2.
    """

    n: int
    shift: Float64[np.ndarray, " D"]
    gram: Float64[np.ndarray, "D D"]
    cross: Float64[np.ndarray, "D C"]
    columns: Float64[np.ndarray, " C"]
    total: Float64[np.ndarray, " C"]

    def added(self, other: "_Sums", sign: int = 1) -> "_Sums":
        return _Sums(
            self.n + sign * other.n,
            self.shift + sign * other.shift,
            self.gram + sign * other.gram,
            self.cross + sign * other.cross,
            self.columns + sign * other.columns,
            self.total + sign * other.total,
        )


def _sums(
    given: Statistics, rows: Int[np.ndarray, " n"], pivot: Float64[np.ndarray, " D"]
) -> _Sums:
    D, C, size = given.width, given.classes, max(1, BLOCK_NUMBERS // given.width)
    shift, gram, cross = np.zeros(D), np.zeros((D, D)), np.zeros((D, C))
    for start in range(0, len(rows), size):
        some = rows[start : start + size]
        block = given.take(some) - pivot
        check_finite_rows(block, some)
        shift += block.sum(0)
        gram += block.T @ block
        cross += block.T @ given.targets(some)
    Y = given.targets(rows)
    return _Sums(len(rows), shift, gram, cross, Y.sum(0), (Y**2).sum(0))


def _tall(
    given: Statistics, domains: Int[np.ndarray, " N"]
) -> tuple[_Labelled, Iterator[tuple[int, _HeldOut]]]:
    pivot = given.take(np.zeros(1, np.int64))[0]
    names = np.unique(domains)
    keep = len(names) * given.width**2 <= KEPT_NUMBERS
    kept, total = {}, None
    for name in names:
        own = _sums(given, np.flatnonzero(domains == name), pivot)
        total = own if total is None else total.added(own)
        if keep:
            kept[name] = own
    assert total is not None

    def held() -> Iterator[tuple[int, _HeldOut]]:
        variance = (np.trace(total.gram) - total.shift @ total.shift / given.n) / given.n
        for name in names:
            own = kept.pop(name, None) or _sums(given, np.flatnonzero(domains == name), pivot)
            rest = total.added(own, -1)
            known = rest.total > 1e-9 * total.total
            if given.labels.ndim == 1:
                known &= rest.columns < rest.n
            directions = _tall_directions(rest, own)
            labelled = _labelled_sums(rest, pivot)
            average = max(float(variance), 0.0) / given.width
            yield int(name), _HeldOut(own.n, labelled, known, *directions, average)

    return _labelled_sums(total, pivot), held()


def _labelled_sums(given: _Sums, pivot: Float64[np.ndarray, " D"]) -> _Labelled:
    """The spectrum of the raw features: sum f f^T = sum (b + p)(b + p)^T."""
    moved = np.outer(given.shift + given.n * pivot / 2, pivot)
    s, V = np.linalg.eigh(given.gram + moved + moved.T)
    alive = s > RANK_TOLERANCE * s[-1]
    x = V.T @ (given.cross + np.outer(pivot, given.columns))
    x2 = np.where(alive[:, None], x**2, 0) / np.where(alive, s, 1)[:, None]
    return _Labelled(given.n, np.where(alive, s, 0), x2, np.maximum(given.total, 0))


def _tall_directions(
    rest: _Sums, own: _Sums
) -> tuple[Float64[np.ndarray, " k"], Float64[np.ndarray, " k"], float]:
    mean = rest.shift / rest.n
    variances, V = np.linalg.eigh(rest.gram / rest.n - np.outer(mean, mean))
    variances = np.where(variances > RANK_TOLERANCE * variances[-1], variances, 0)
    moved = np.outer(own.shift - own.n * mean / 2, mean)
    apart = own.gram - moved - moved.T
    along = np.maximum(np.einsum("dk,dk->k", V, apart @ V), 0)
    return variances, along, float(np.trace(apart))
