"""LogME: log maximum evidence of a Bayesian linear model on the features."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpy.typing import ArrayLike, NDArray

from spider_jax.errors import InputError
from spider_jax.metrics.statistics import (
    Statistics,
    check_features,
    check_labels,
    evaluate,
    one_hot,
)

LOG_T_RANGE = float(np.log(1e12))
GRID = 257
BUMPS = 2
GOLDEN_STEPS = 28
NO_RESIDUAL = 1e-12
TINY = float(np.finfo(np.float64).tiny)


def logme(features: ArrayLike, labels: ArrayLike, *, standardize: bool = False) -> float:
    """Mean over label columns of the maximised log evidence per sample.

    max over t of L(t)/N = -1/2 ln(2 pi S(t)/N) - 1/2 - (1/2N) sum_i ln(1 + s_i/t),
    S(t) = sum_i x_i^2/(1 + s_i/t) + r, with F F^T = U diag(s) U^T, x = U^T y, r = |y|^2 - |x|^2 and
    t = alpha/beta in [1e-12, 1e12] s_max, or t = infinity (the features say nothing).

    Range: any real number; larger is better; the mean over classes compares models on one task,
    not tasks with each other. Cost: O(N D min(N, D)) once, then O(N C) per value of t.
    N < D: exact (the number of columns cancels). A class of one sample: as any other. A constant
    feature: a bias, as in the model. A label that is linear in fewer than N features interpolates:
    its maximum is at the lower end of the range of t, large and finite.

    Args:
        features: [N, D] numbers, as extracted (no centring).
        labels: [N] int classes, or [N, K] / [N] float regression targets, or [N, K] bool.
        standardize: standardise the columns of the features first.

    Returns:
        The score, a float. Columns without a positive entry are left out of the mean.

    Raises:
        InputError: shapes that do not match, values that are not finite, one class only.

    References:
        You et al., "LogME", ICML 2021. The published code computes ln det over min(N, D) terms
        but D ln alpha, which is wrong where N < D; here the D cancels.
    """
    F = check_features(features)
    return float(evaluate(logme_core, F, _targets(labels, len(F)), standardize=standardize))


def _targets(labels: ArrayLike, n: int) -> NDArray[np.float64]:
    y = np.asarray(labels)
    if y.ndim == 1 and y.dtype.kind in "iub":
        return one_hot(check_labels(y, n))
    if y.ndim not in (1, 2) or 0 in y.shape[1:] or y.dtype.kind not in "fiub":
        raise InputError(f"labels must be int [N] or numbers [N, K], got {y.dtype} {y.shape}")
    if len(y) != n:
        raise InputError(f"labels must have one entry per row of features (N={n}), got {len(y)}")
    Y = y.astype(np.float64).reshape(n, -1)
    if not np.isfinite(Y).all():
        raise InputError("labels must be finite, got NaN or infinity")
    return Y


def logme_core(given: Statistics) -> Float[Array, ""]:
    """LogME of padded statistics: the mean of `max_evidence` over the columns that have labels."""
    x = given.raw.U.T @ given.targets
    total = (given.targets**2).sum(0)
    evidence = max_evidence(given.raw.s, x**2, total, given.n)
    present = total > 0
    count = present.sum().astype(evidence.dtype)
    return jnp.where(present, evidence, 0.0).sum() / jnp.maximum(count, 1)


def max_evidence(
    s: Float[Array, " k"],
    x2: Float[Array, "k C"],
    total: Float[Array, " C"],
    n: Float[Array, ""],
) -> Float[Array, " C"]:
    """max over t of L(t)/N per column: a grid in ln t, then golden sections at its best bumps.

    A fixed number of steps for every column, so that it runs under vmap at one speed.
    """
    residual = total - x2.sum(0)
    residual = jnp.where(residual < NO_RESIDUAL * total, 0.0, residual)
    total = jnp.where(total > 0, total, 1.0)
    s_max = jnp.max(s)
    centre = jnp.log(jnp.where(s_max > 0, s_max, 1.0))

    def evidence(u: Float[Array, " C"]) -> Float[Array, " C"]:
        ratio = s[:, None] * jnp.exp(-u)[None]  # s_i / t
        S = (x2 / (1 + ratio)).sum(0) + residual
        return _gaussian(S, n) - jnp.log1p(ratio).sum(0) / (2 * n)

    offsets = jnp.linspace(-LOG_T_RANGE, LOG_T_RANGE, GRID)
    values = _on_grid(s, x2, residual, n, centre + offsets)
    best = jnp.maximum(values.max(0), _gaussian(total, n))  # t = infinity: no signal
    for start in _bumps(values):
        low = centre + offsets[jnp.maximum(start - 1, 0)]
        high = centre + offsets[jnp.minimum(start + 1, GRID - 1)]
        best = jnp.maximum(best, _golden_section(evidence, low, high))
    return best


def _gaussian(S: Float[Array, "*b C"], n: Float[Array, ""]) -> Float[Array, "*b C"]:
    return -0.5 * jnp.log(2 * jnp.pi * jnp.maximum(S, TINY) / n) - 0.5


def _on_grid(
    s: Float[Array, " k"],
    x2: Float[Array, "k C"],
    residual: Float[Array, " C"],
    n: Float[Array, ""],
    u: Float[Array, " G"],
) -> Float[Array, "G C"]:
    """The evidence at one grid of ln t for all columns: one matrix product."""
    ratio = s[None] * jnp.exp(-u)[:, None]
    S = (1 / (1 + ratio)) @ x2 + residual[None]
    return _gaussian(S, n) - jnp.log1p(ratio).sum(1)[:, None] / (2 * n)


def _bumps(values: Float[Array, "G C"]) -> list[Array]:
    """Grid indices [C] of the highest local maxima of each column."""
    wall = jnp.full_like(values[:1], -jnp.inf)
    around = jnp.concatenate([wall, values, wall])
    is_bump = (values >= around[:-2]) & (values >= around[2:])
    heights = jnp.where(is_bump, values, -jnp.inf)
    return list(jax.lax.top_k(heights.T, BUMPS)[1].T)


def _golden_section(
    f: Callable[[Array], Array], low: Float[Array, " C"], high: Float[Array, " C"]
) -> Float[Array, " C"]:
    """max of f [C] -> [C] over [low, high] per column, f unimodal there; one call a step."""

    def narrow(_: object, state: tuple[Array, ...]) -> tuple[Array, ...]:
        low, high, inner, value = state
        other = low + high - inner  # the mirror of a golden point is the other golden point
        found = f(other)
        better = found > value
        keep, drop = jnp.where(better, other, inner), jnp.where(better, inner, other)
        value = jnp.maximum(value, found)
        return jnp.where(drop < keep, drop, low), jnp.where(drop < keep, high, drop), keep, value

    inner = low + (5**0.5 - 1) / 2 * (high - low)
    state = (low, high, inner, f(inner))
    return jax.lax.fori_loop(0, GOLDEN_STEPS, narrow, state)[3]
