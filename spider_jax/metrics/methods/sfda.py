"""SFDA: self-challenging Fisher discriminant analysis."""

from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float64, Int
from numpy.typing import ArrayLike

from spider_jax.metrics.shared.discriminant import (
    LEAST_SHRINKAGE,
    Discriminant,
    fit_discriminant,
    own,
    posterior,
    shrinkage,
)
from spider_jax.metrics.shared.inputs import check_features, check_labels, one_hot
from spider_jax.metrics.shared.statistics import Statistics
from spider_jax.runtime.blas import one_blas_thread

RATE = 5.0  # of the shrinkage in the largest eigenvalue
FULL_BELOW = 128  # below this size all eigenvalues cost less than Lanczos
# Below this share of the variance S_w = cov - between is summed from the rows: no cancellation.
SMALL_WITHIN = 0.1
# Matrices up to this side are factored by one thread: two take 1.5 to 10 times as long [measured].
ONE_THREAD_UP_TO = 1024


def sfda(features: ArrayLike, labels: ArrayLike) -> float:
    """Self-challenging Fisher discriminant: mean posterior of rows that a first fit made harder.

    mean_n p'(y_n|x'_n), with x'_n = p_n x_n + (1 - p_n) o_{y_n}, p_n = p(y_n|x_n), o_c the mean of
    the other classes' means, and p' the posterior of the rows x', with the same l. The posterior:
    p(c|x) = softmax_c(m_c^T W^-1 x - 1/2 m_c^T W^-1 m_c + ln n_c/N), W = (1 - l) S_w +
    l tr(S_w)/D I, l = max(exp(-5 max eig S_w), 1e-10), S_w the within-class covariance (1/N).

    Range: (0, 1]; larger is better. A mean probability: it compares across tasks as accuracies do.
    Cost: O(N D min(N, D)), three passes over the features, no full eigendecomposition.
    N <= D: well-defined through the shrinkage, in N rotated coordinates; but where S_w is singular
    and l = 1e-10 (an eigenvalue of S_w over 4.6) the classes separate perfectly: 1 for any model.
    So l, and the score, depend on the scale of the features.
    A class of one sample: its mean is that sample.
    A constant feature: counts in D only. Every row its class mean: W = tr(cov)/D I. All features
    constant: sum_c (n_c/N)^2.

    Args:
        features: [N, D] numbers.
        labels: [N] int.

    Returns:
        The score, a float.

    Raises:
        InputError: shapes that do not match, values that are not finite, one class only.

    References:
        Shao et al., "Not all models are equal: predicting model transferability in a
        self-challenging Fisher space", ECCV 2022. The published code takes 3 power iterations for
        the largest eigenvalue (here exact), applies softmax twice and without a shift (here once,
        shifted), and overwrites its input (here not).
    """
    F = check_features(features)
    return sfda_of(Statistics(F, check_labels(labels, len(F))))


def sfda_of(given: Statistics) -> float:
    """SFDA of shared statistics.

    Args:
        given: statistics of features and classes.

    Returns:
        The score.
    """
    small = min(given.n, given.width) <= ONE_THREAD_UP_TO
    with one_blas_thread() if small else nullcontext():
        return _score(given)


def _score(given: Statistics) -> float:
    rows = _tall_rows(given) if given.tall else _wide_rows(given)
    within = rows.within()
    shrink = _shrinkage(within) if within.any() else 1.0
    first = rows.fit(rows.means, within, shrink)
    mixed = _mix(rows, first)
    second = rows.fit(mixed.means, mixed.within, shrink)
    total = 0.0
    for where, residual in rows.residuals():
        y = rows.labels[where]
        hard = _mixed(mixed, residual, y, mixed.confidence[where]) - mixed.shift[y]
        total += own(posterior(second, hard, y), y).sum()
    return float(total / given.n)


class _Rows(NamedTuple):
    """The centred rows, in k coordinates of the same inner products.

    Attributes:
        given: statistics of features and classes.
        coordinates: of the rows; None where the features themselves are read.
        means: of the classes.
        cov: covariance of the rows, where it is known.
        size: mean |f|^2 of the rows as they came.
    """

    given: Statistics
    coordinates: Float64[np.ndarray, "N k"] | None
    means: Float64[np.ndarray, "C k"]
    cov: Float64[np.ndarray, "k k"] | None
    size: float

    @property
    def labels(self) -> Int[np.ndarray, " N"]:
        """Classes 0..C-1."""
        labels: Any = self.given.labels
        return labels

    def residuals(self) -> Iterator[tuple[slice, Float64[np.ndarray, "_ k"]]]:
        """Blocks of rows minus the mean of their class."""
        if self.coordinates is not None:
            yield slice(0, self.given.n), self.coordinates - self.means[self.labels]
            return
        origin = self.means + self.given.moments.mean
        for where, block in self.given.blocks():
            yield where, block - origin[self.labels[where]]

    def within(self) -> Float64[np.ndarray, "k k"]:
        """S_w."""
        if self.cov is not None:
            scaled = self.means * np.sqrt(self.given.total / self.given.n)[:, None]
            within = self.cov - scaled.T @ scaled
            if np.trace(within) > SMALL_WITHIN * np.trace(self.cov):
                return within
        k = self.means.shape[1]
        return sum((r.T @ r for _, r in self.residuals()), np.zeros((k, k))) / self.given.n

    def fit(
        self, means: Float64[np.ndarray, "C k"], within: Float64[np.ndarray, "k k"], shrink: float
    ) -> Discriminant:
        """The posterior of class means and a within-class covariance."""
        counts, width = self.given.total, self.given.width
        return fit_discriminant(means, counts, within, shrink=shrink, width=width, size=self.size)


def _tall_rows(given: Statistics) -> _Rows:
    moments = given.moments
    size = float(np.trace(moments.gram) / given.n + moments.mean @ moments.mean)
    return _Rows(given, None, moments.cross.T / given.total[:, None], moments.gram / given.n, size)


def _wide_rows(given: Statistics) -> _Rows:
    """N <= D: F - mean = R^T Q^T, so the rows of R^T [N, N] have the same inner products."""
    F = np.concatenate([block for _, block in given.blocks()])
    size = float(np.einsum("nd,nd->", F, F) / given.n)
    F -= given.moments.mean
    Z = np.ascontiguousarray(np.asarray(np.linalg.qr(F.T, mode="r")).T)
    return _Rows(given, Z, given.targets().T @ Z / given.total[:, None], None, size)


def _shrinkage(within: Float64[np.ndarray, "k k"]) -> float:
    """max(exp(-5 largest eigenvalue), 1e-10); a bound of the eigenvalue often decides it."""
    from scipy.sparse.linalg import eigsh

    bound = np.sqrt(np.einsum("ij,ij->j", within, within).max())  # |S e_j| <= the largest
    if RATE * bound >= -np.log(LEAST_SHRINKAGE):
        return LEAST_SHRINKAGE
    if len(within) < FULL_BELOW:
        return shrinkage(RATE * np.linalg.eigvalsh(within)[-1])
    start = within @ np.random.default_rng(0).standard_normal(len(within))
    largest = eigsh(within, k=1, which="LA", v0=start, tol=1e-12, return_eigenvectors=False)
    return shrinkage(RATE * float(largest[0]))


# ---- the mixed rows ----------------------------------------------------------------------------


class _Mixed(NamedTuple):
    """The rows x' = p x + (1 - p) o_y, and how to compute them.

    Attributes:
        means: of their classes.
        within: their S_w.
        confidence: p of every row.
        toward: o_c - m_c.
        central: p at the class mean, whose mixed row is the origin that S_w is summed about.
        shift: from that origin to the class mean of the rows x'.
    """

    means: Float64[np.ndarray, "C k"]
    within: Float64[np.ndarray, "k k"]
    confidence: Float64[np.ndarray, " N"]
    toward: Float64[np.ndarray, "C k"]
    central: Float64[np.ndarray, " C"]
    shift: Float64[np.ndarray, "C k"]


def _mixed(
    mixed: _Mixed,
    residual: Float64[np.ndarray, "n k"],
    y: Int[np.ndarray, " n"],
    p: Float64[np.ndarray, " n"],
) -> Float64[np.ndarray, "n k"]:
    """Mixed rows, about the mixed mean of their class."""
    return p[:, None] * residual + (mixed.central[y] - p)[:, None] * mixed.toward[y]


def _mix(rows: _Rows, first: Discriminant) -> _Mixed:
    """ConfMix: a row moves to the mean of the other classes by 1 - p(own class | row)."""
    given, means = rows.given, rows.means
    C, k = means.shape
    toward = (means.sum(0) - means) / (C - 1) - means
    classes = np.arange(C)
    central = own(posterior(first, np.zeros((C, k)), classes), classes)
    gram, sums, p = np.zeros((k, k)), np.zeros((C, k)), np.zeros(given.n)
    mixed = _Mixed(means, gram, p, toward, central, sums)
    for where, residual in rows.residuals():
        y = rows.labels[where]
        p[where] = own(posterior(first, residual, y), y)
        hard = _mixed(mixed, residual, y, p[where])
        gram += hard.T @ hard
        sums += one_hot(y, C).T @ hard
    shift = sums / given.total[:, None]
    gram -= sums.T @ shift
    new_means = means + (1 - central)[:, None] * toward + shift
    return mixed._replace(means=new_means, within=gram / given.n, shift=shift)
