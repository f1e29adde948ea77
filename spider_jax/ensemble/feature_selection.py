"""Which columns of concatenated features say something: a Bayesian spike-and-slab linear model."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float64, Num

from spider_jax.errors import InputError
from spider_jax.runtime.buckets import CLASS_BUCKET, ROW_BUCKET, pad, run

BLOCK = 64  # columns that are updated on one product with the residual
SWEEPS = 100
SETTLED = 1e-3  # largest change of an inclusion probability that ends the sweeps
WARM_UP = 2  # sweeps before the prior is learned
EXPECTED = 10  # informative columns that the prior begins with
KEEP_FROM = 0.5
TINY = 1e-12


class SelectedFeatures(NamedTuple):
    """The columns that are kept, and how sure that is.

    Attributes:
        inclusion: q(z_j = 1) of every column.
        kept: which of them exceed 1/2.
        false_share: expected share of the kept columns that say nothing: the mean of 1 - q.
        noise: variance of the labels that is not explained, share of all.
    """

    inclusion: Float64[np.ndarray, " D"]
    kept: Bool[np.ndarray, " D"]
    false_share: float
    noise: float


def select_features(
    features: Num[np.ndarray, "N D"], Y: Float64[np.ndarray, "N C"]
) -> SelectedFeatures:
    """Columns with q(z_j = 1) > 1/2 in y_c = sum_j z_j w_jc f_j + e_c, z_j ~ Bernoulli(pi).

    w_jc ~ N(0, v sigma_c^2) where z_j = 1, e_c ~ N(0, sigma_c^2), pi ~ Beta(1, D); a column is kept
    or dropped for all labels at once. Mean-field coordinate ascent, q(w, z) = prod q(z_j)
    q(w_j | z_j); pi, v and sigma_c are those of largest bound (EM). Columns are standardised.
    Labels are replaced by their whitened principal columns: C one-hot columns hold C - 1 numbers.
    Cost: O(N D C) a sweep, compiled, in blocks of columns; at most 100 sweeps.

    Args:
        features: of the rows that may be learned from.
        Y: their labels as columns.

    Returns:
        The columns.

    Raises:
        InputError: labels that do not vary.

    References:
        Carbonetto and Stephens, "Scalable variational inference for Bayesian variable selection",
        Bayesian Analysis 7, 2012; Dong et al., "ZooD", NeurIPS 2022.
    """
    F = np.asarray(features, np.float64)
    n, D = F.shape
    sd = F.std(0)
    alive = sd > 1e-6 * sd.max(initial=0)
    X = np.where(alive, (F - F.mean(0)) / np.where(alive, sd, 1), 0)
    T = _whitened(Y)
    blocks = pad(X, ROW_BUCKET, BLOCK)
    blocks = blocks.reshape(len(blocks), -1, BLOCK).transpose(1, 0, 2)
    padded, sizes = pad(T, ROW_BUCKET, CLASS_BUCKET), (np.float64(n), np.float64(T.shape[1]))
    inclusion, noise = run(spike_slab_core, blocks, padded, *sizes)
    inclusion, noise = np.asarray(inclusion).reshape(-1)[:D], noise[: T.shape[1]]
    kept = inclusion > KEEP_FROM
    false = float((1 - inclusion[kept]).mean()) if kept.any() else 0.0
    return SelectedFeatures(inclusion, kept, false, float(noise.mean()))


def _whitened(Y: Float64[np.ndarray, "N C"]) -> Float64[np.ndarray, "N r"]:
    """Uncorrelated columns of variance 1 that span the centred labels."""
    left, s, _ = np.linalg.svd(Y - Y.mean(0), full_matrices=False)
    alive = s > 1e-9 * max(s[0], TINY)
    if s[0] == 0:
        raise InputError("labels must vary: every row has the same")
    return np.asarray(left[:, alive] * np.sqrt(len(Y)))


class _Fit(NamedTuple):
    """The state of the ascent.

    Attributes:
        gamma: q(z_j = 1).
        mu: mean of w_jc where z_j = 1.
        residual: T - X (gamma mu).
        noise: sigma_c^2.
        slab: v.
        prior: pi.
        sweep: how many are done.
        change: largest of gamma in the last.
    """

    gamma: Float[Array, "b B"]
    mu: Float[Array, "b B r"]
    residual: Float[Array, "N r"]
    noise: Float[Array, " r"]
    slab: Float[Array, ""]
    prior: Float[Array, ""]
    sweep: Array
    change: Array


def spike_slab_core(
    X: Float[Array, "b N B"],
    T: Float[Array, "N r"],
    n: Float[Array, ""],
    ranks: Float[Array, ""],
) -> tuple[Float[Array, "b B"], Float[Array, " r"]]:
    """Inclusion probabilities and noise from standardised columns in blocks, padded.

    Args:
        X: columns of squared length n, or 0 for constants and padding.
        T: labels of mean 0 and variance 1; 0 in padding.
        n: rows that are real.
        ranks: label columns that are real.

    Returns:
        q(z_j = 1) of every column, and sigma_c^2 of every label column.
    """
    real = jnp.einsum("bnk,bnk->bk", X, X) > 0.5 * n
    grams = jnp.einsum("bnk,bnl->bkl", X, X)
    count = real.sum().astype(X.dtype)

    def more(fit: _Fit) -> Array:
        return (fit.sweep < SWEEPS) & ((fit.change > SETTLED) | (fit.sweep <= WARM_UP + 1))

    def sweep(fit: _Fit) -> _Fit:
        precise = n + 1 / fit.slab  # of w_jc, in units of 1/sigma_c^2
        prior_odds = jnp.log(fit.prior) - jnp.log1p(-fit.prior)
        odds = prior_odds - 0.5 * ranks * jnp.log(n * fit.slab + 1)

        def one_block(residual: Array, block: tuple[Array, ...]) -> tuple[Array, tuple[Array, ...]]:
            x, gram, gamma, mu, there = block
            start = x.T @ residual

            def one(j: Array, now: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
                gamma, mu, moved = now
                own = start[j] - gram[j] @ moved + n * gamma[j] * mu[j]
                new_mu = own / precise
                said = (own**2 / (2 * fit.noise * precise)).sum()
                new_gamma = jnp.where(there[j], jax.nn.sigmoid(odds + said), 0.0)
                step = new_gamma * new_mu - gamma[j] * mu[j]
                return (
                    gamma.at[j].set(new_gamma),
                    mu.at[j].set(new_mu),
                    moved.at[j].add(step),
                )

            none = jnp.zeros_like(mu)
            gamma, mu, moved = jax.lax.fori_loop(0, BLOCK, one, (gamma, mu, none))
            return residual - x @ moved, (gamma, mu)

        residual, (gamma, mu) = jax.lax.scan(
            one_block, fit.residual, (X, grams, fit.gamma, fit.mu, real)
        )
        number = jnp.maximum(gamma.sum(), TINY)
        square = jnp.einsum("bk,bkr->r", gamma, mu**2)
        doubt = n * jnp.einsum("bk,bkr->r", gamma * (1 - gamma), mu**2)
        # E|T - X w|^2 + E|w|^2/v, where var(w_jc) = sigma_c^2/precise
        error = (residual**2).sum(0) + doubt + square / fit.slab
        noise = jnp.maximum(error / n, 1e-6)  # the variances of w cancel N + sum gamma to n
        slab = ((square / noise).sum() / ranks + number / precise) / number
        warm = fit.sweep >= WARM_UP
        # Columns of noise hold pi of inclusion each, which feeds pi: Beta(1, D) takes it out.
        prior = jnp.clip(gamma.sum() / (2 * count), 1 / (10 * count), 0.5)
        return _Fit(
            gamma,
            mu,
            residual,
            noise,
            jnp.where(warm, jnp.clip(slab, 1 / n, 1e3), fit.slab),
            jnp.where(warm, prior, fit.prior),
            fit.sweep + 1,
            jnp.abs(gamma - fit.gamma).max(),
        )

    b, _, B = X.shape
    start = _Fit(
        jnp.zeros((b, B), X.dtype),
        jnp.zeros((b, B, T.shape[1]), X.dtype),
        T,
        jnp.ones(T.shape[1], X.dtype),
        jnp.asarray(1 / EXPECTED, X.dtype),
        jnp.minimum(EXPECTED / jnp.maximum(count, 1), 0.1),
        jnp.asarray(0),
        jnp.asarray(jnp.inf, X.dtype),
    )
    last = jax.lax.while_loop(more, sweep, start)
    return last.gamma, last.noise
