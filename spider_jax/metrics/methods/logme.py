"""LogME: log maximum evidence of a Bayesian linear model on the features."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float64
from numpy.typing import ArrayLike

from spider_jax.errors import InputError
from spider_jax.metrics.shared.inputs import check_features, check_targets
from spider_jax.metrics.shared.statistics import Spectrum, Statistics
from spider_jax.runtime.buckets import CLASS_BUCKET, ROW_BUCKET, pad, run

LOG_T_RANGE = float(np.log(1e12))
GRID = 257
BUMPS = 2
NEWTON_STEPS = 12
NO_RESIDUAL = 1e-12
TINY = float(np.finfo(np.float64).tiny)
STATES = ("interior", "no signal", "interpolates", "empty")


class LogMEFit(NamedTuple):
    """The Bayesian linear model behind the score, one column per class or target.

    Attributes:
        score: mean evidence of the columns that are not empty.
        evidence: log evidence per sample of every column.
        ratio: t = alpha/beta of every column, infinite without signal.
        states: of every column: "interior", "no signal" (the best weights are 0), "interpolates"
            (the features explain the column exactly: the evidence has no bound and is cut at the
            lower end of the range of t), or "empty" (no entry but 0: left out).
        posterior_mean: weights on the raw features: F @ posterior_mean.T predicts the columns.
    """

    score: float
    evidence: Float64[np.ndarray, " C"]
    ratio: Float64[np.ndarray, " C"]
    states: tuple[str, ...]
    posterior_mean: Float64[np.ndarray, "C D"]


def logme(
    features: ArrayLike,
    labels: ArrayLike,
    *,
    standardize: bool = False,
    compat: str | None = None,
) -> float:
    """Log maximum evidence: how well a Bayesian linear model on the features explains the labels.

    The mean over label columns of max over t of L(t)/N =
    -1/2 ln(2 pi S(t)/N) - 1/2 - (1/2N) sum_i ln(1 + s_i/t), S(t) = sum_i x_i^2/(1 + s_i/t) + r,
    with F F^T = U diag(s) U^T, x = U^T y, r = |y|^2 - |x|^2 and t = alpha/beta in
    [1e-12, 1e12] s_max, or t = infinity (the features say nothing).

    Range: any real number; larger is better. The mean over classes compares models on one task, not
    tasks with each other.
    Cost: O(N D min(N, D)) once, then O(min(N, D) C) per value of t.
    N < D: exact (the number of columns cancels).
    A class of one sample: as any other.
    A constant feature: a bias, as in the model.
    A label that is linear in fewer than N features: it interpolates, and its maximum is at the
    lower end of the range of t, large and finite. `fit_logme` says so, as it does of a label about
    which the features say nothing.

    Args:
        features: [N, D] numbers, as extracted (no centring).
        labels: [N] int classes, or [N, K] / [N] float regression targets, or [N, K] bool.
        standardize: standardise the columns of the features first.
        compat: "published" gives the number of the public fixed-point code instead, for
            comparison with published tables only: where N < D it is wrong, see below.

    Returns:
        The score, a float. Columns without an entry but 0 are left out of the mean. In float64;
        from float32 features as exact as they are (1e-4 of the exact features' score).

    Raises:
        InputError: shapes that do not match, values that are not finite, one class only, an
            unknown compat.

    References:
        You et al., "LogME", ICML 2021. The published code (thuml/LogME, `_fit_fixed_point`, and its
        copies) computes ln det over min(N, D) terms but D ln alpha, which favours wide models
        where N < D; here the D cancels. It stops at most 11 steps from alpha = beta = 1, short of
        the maximum by up to 2.8e-3 [23 models on 14 tasks of 320 rows].
    """
    if compat not in (None, "published"):
        raise InputError(f'compat must be "published" or None, got {compat!r}')
    given = _statistics(features, labels, standardize)
    return logme_of(given) if compat is None else published_logme(given)


def fit_logme(features: ArrayLike, labels: ArrayLike, *, standardize: bool = False) -> LogMEFit:
    """The model of `logme`: evidence and state of every column, and its posterior mean.

    m = V diag(sqrt(s)/(t + s)) x at the t of largest evidence; 0 where there is no signal.
    Cost: that of `logme`, and O(N D C) more.

    Args:
        features: as in `logme`.
        labels: as in `logme`.
        standardize: as in `logme`; the weights are then those of the standardised features.

    Returns:
        The model.

    Raises:
        InputError: as `logme`.
    """
    given = _statistics(features, labels, standardize)
    evidence, log_t, states = _fit(given)
    kept = evidence[[state != "empty" for state in states]]
    score = float(kept.mean()) if len(kept) else 0.0
    return LogMEFit(score, evidence, np.exp(log_t), states, _posterior_mean(given, log_t))


def _statistics(features: ArrayLike, labels: ArrayLike, standardize: bool) -> Statistics:
    F = check_features(features)
    return Statistics(F, check_targets(labels, len(F)), standardize=standardize)


def logme_of(given: Statistics) -> float:
    """LogME of shared statistics.

    Args:
        given: statistics of features and labels.

    Returns:
        The score.
    """
    spectrum = _padded(given.raw_spectrum)
    total = pad(given.total, CLASS_BUCKET)
    return float(run(logme_core, spectrum.s, spectrum.x, total, np.float64(given.n)))


def _padded(spectrum: Spectrum) -> Spectrum:
    s, x, basis = spectrum
    return Spectrum(pad(s, ROW_BUCKET), pad(x, ROW_BUCKET, CLASS_BUCKET), basis)


def logme_core(
    s: Float[Array, " k"], x: Float[Array, "k C"], total: Float[Array, " C"], n: Float[Array, ""]
) -> Float[Array, ""]:
    """LogME of a spectrum, padded: the mean of `max_evidence` over the columns that have labels.

    Args:
        s: eigenvalues, as in `Spectrum`.
        x: labels in the eigenvectors, as in `Spectrum`.
        total: |y|^2 of every column; 0 for padding.
        n: N, without padding.

    Returns:
        The score.
    """
    evidence, _ = max_evidence(s, x**2, total, n)
    present = total > 0
    count = present.sum().astype(evidence.dtype)
    return jnp.where(present, evidence, 0.0).sum() / jnp.maximum(count, 1)


def max_evidence(
    s: Float[Array, " k"],
    x2: Float[Array, "k C"],
    total: Float[Array, " C"],
    n: Float[Array, ""],
) -> tuple[Float[Array, " C"], Float[Array, " C"]]:
    """max over t of L(t)/N of every column: a grid first, then Newton steps at its best maxima.

    The number of steps is the same for every column, so that it runs under vmap at one speed.

    Args:
        s: eigenvalues, as in `Spectrum`.
        x2: squares of x, as in `Spectrum`.
        total: |y|^2 of every column.
        n: N, without padding.

    Returns:
        The evidence and its ln t, infinite without signal.
    """
    residual = total - x2.sum(0)
    residual = jnp.where(residual < NO_RESIDUAL * total, 0.0, residual)
    total = jnp.where(total > 0, total, 1.0)
    s_max = jnp.max(s)
    grid = jnp.log(jnp.where(s_max > 0, s_max, 1.0)) + jnp.linspace(-LOG_T_RANGE, LOG_T_RANGE, GRID)
    values = _on_grid(s, x2, residual, n, grid)
    best, at = _gaussian(total, n), jnp.full_like(total, jnp.inf)  # t = infinity: no signal
    at = jnp.where(values.max(0) > best, grid[values.argmax(0)], at)
    best = jnp.maximum(best, values.max(0))
    for bump in _bumps(values):
        low, high = grid[jnp.maximum(bump - 1, 0)], grid[jnp.minimum(bump + 1, GRID - 1)]
        u = _stationary(s, x2, residual, n, low, high)
        value = _evidence(s, x2, residual, n, u)
        at, best = jnp.where(value > best, u, at), jnp.maximum(best, value)
    return best, at


def _gaussian(S: Float[Array, "*b C"], n: Float[Array, ""]) -> Float[Array, "*b C"]:
    return -0.5 * jnp.log(2 * jnp.pi * jnp.maximum(S, TINY) / n) - 0.5


def _on_grid(
    s: Float[Array, " k"],
    x2: Float[Array, "k C"],
    residual: Float[Array, " C"],
    n: Float[Array, ""],
    u: Float[Array, " G"],
) -> Float[Array, "G C"]:
    """The evidence of all columns on one grid u of ln t: one matrix product."""
    ratio = s[None] * jnp.exp(-u)[:, None]
    S = (1 / (1 + ratio)) @ x2 + residual[None]
    return _gaussian(S, n) - jnp.log1p(ratio).sum(1)[:, None] / (2 * n)


def _evidence(
    s: Float[Array, " k"],
    x2: Float[Array, "k C"],
    residual: Float[Array, " C"],
    n: Float[Array, ""],
    u: Float[Array, " C"],
) -> Float[Array, " C"]:
    """The evidence of every column at its own u = ln t."""
    ratio = s[:, None] * jnp.exp(-u)[None]
    S = (x2 / (1 + ratio)).sum(0) + residual
    return _gaussian(S, n) - jnp.log1p(ratio).sum(0) / (2 * n)


def _bumps(values: Float[Array, "G C"]) -> list[Array]:
    """Grid indices [C] of the highest local maxima of each column."""
    wall = jnp.full_like(values[:1], -jnp.inf)
    around = jnp.concatenate([wall, values, wall])
    is_bump = (values >= around[:-2]) & (values >= around[2:])
    left, found = jnp.where(is_bump, values, -jnp.inf), []
    for _ in range(BUMPS):
        found.append(left.argmax(0))
        left = jnp.where(jnp.arange(GRID)[:, None] == found[-1][None], -jnp.inf, left)
    return found


def _stationary(
    s: Float[Array, " k"],
    x2: Float[Array, "k C"],
    residual: Float[Array, " C"],
    n: Float[Array, ""],
    low: Float[Array, " C"],
    high: Float[Array, " C"],
) -> Float[Array, " C"]:
    """Where the slope of the evidence in u = ln t crosses 0 downwards: Newton inside a bracket.

    With a_i = 1/(1 + s_i/t), da/du = a (1 - a); the slope is (sum (1 - a) / N - S'/S) / 2.
    """
    u = (low + high) / 2
    for _ in range(NEWTON_STEPS):
        a = 1 / (1 + s[:, None] * jnp.exp(-u)[None])
        bend = a * (1 - a)
        S = jnp.maximum((x2 * a).sum(0) + residual, TINY)
        first, second = (x2 * bend).sum(0) / S, (x2 * bend * (1 - 2 * a)).sum(0) / S
        slope = (1 - a).sum(0) / n - first
        curvature = first**2 - second - bend.sum(0) / n
        low, high = jnp.where(slope > 0, u, low), jnp.where(slope > 0, high, u)
        step = u - slope / jnp.where(curvature < 0, curvature, 1.0)
        inside = (curvature < 0) & (step >= low) & (step <= high)
        u = jnp.where(inside, step, (low + high) / 2)
    return u


# ---- what is behind the score ------------------------------------------------------------------


def _fit(
    given: Statistics,
) -> tuple[Float64[np.ndarray, " C"], Float64[np.ndarray, " C"], tuple[str, ...]]:
    """Evidence, ln t and the state of every column."""
    s, x, _ = _padded(given.raw_spectrum)
    total, C = pad(given.total, CLASS_BUCKET), given.classes
    evidence, log_t = (a[:C] for a in run(max_evidence, s, x**2, total, np.float64(given.n)))
    s_max = s.max() if s.max() > 0 else 1.0
    at_low = log_t < np.log(s_max) - LOG_T_RANGE + 2 * LOG_T_RANGE / (GRID - 1)
    at_high = log_t > np.log(s_max) + LOG_T_RANGE - 2 * LOG_T_RANGE / (GRID - 1)
    state = np.where(at_low, 2, np.where(at_high, 1, 0))
    state = np.where(given.total > 0, state, 3)
    return evidence, log_t, tuple(STATES[i] for i in state)


def _posterior_mean(
    given: Statistics, log_t: Float64[np.ndarray, " C"]
) -> Float64[np.ndarray, "C D"]:
    """The weights of every column on the raw features."""
    s, x, basis = given.raw_spectrum
    with np.errstate(over="ignore"):
        weight = x / (s[:, None] + np.exp(log_t)[None])
    if given.tall:
        return np.asarray((basis @ (np.sqrt(s)[:, None] * weight)).T)
    dual = basis @ weight
    return np.asarray(sum(dual[where].T @ block for where, block in given.blocks()))


def published_logme(given: Statistics) -> float:
    """The number of the public fixed-point code, for all columns at once; see `logme`.

    Args:
        given: statistics of features and labels.

    Returns:
        The published score.
    """
    s, x, _ = given.raw_spectrum
    s, x2 = s[s > 0][:, None], x[s > 0] ** 2
    n, residual = given.n, given.total - x2.sum(0)
    alpha, beta, running = (
        np.ones(given.classes),
        np.ones(given.classes),
        np.ones(given.classes) > 0,
    )
    m2, left = np.zeros(given.classes), np.zeros(given.classes)
    for _ in range(11):
        t = alpha / beta
        gamma = (s / (s + t)).sum(0)
        m2 = np.where(running, (s * x2 / (t + s) ** 2).sum(0), m2)
        left = np.where(running, (x2 / (1 + s / t) ** 2).sum(0) + residual, left)
        alpha = np.where(running, gamma / (m2 + 1e-5), alpha)
        beta = np.where(running, (n - gamma) / (left + 1e-5), beta)
        running = running & (np.abs(alpha / beta - t) / t > 1e-3)
    log_det = np.log(alpha + beta * s).sum(0)
    evidence = given.width * np.log(alpha) + n * np.log(beta) - log_det - beta * left - alpha * m2
    return float((evidence / n - np.log(2 * np.pi)).mean() / 2)
