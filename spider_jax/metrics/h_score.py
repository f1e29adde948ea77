"""Shrunk H-Score: between-class covariance against a Ledoit-Wolf covariance."""

import jax.numpy as jnp
from jaxtyping import Array, Float
from numpy.typing import ArrayLike

from spider_jax.metrics.statistics import (
    Statistics,
    check_features,
    check_labels,
    evaluate,
    one_hot,
)


def h_score_shrunk(features: ArrayLike, labels: ArrayLike, *, standardize: bool = False) -> float:
    """tr(cov_a^-1 (1 - a) cov(E[F|y])), cov_a = (1 - a) cov + a (tr cov / D) I.

    a is the Ledoit-Wolf shrinkage; both covariances are of centred features, with 1/N.

    Range: [0, C - 1]; larger is better; its maximum depends on C, so it does not compare tasks.
    Cost: O(N D min(N, D)). N < D: well-defined through the shrinkage (the unshrunk form reaches
    C - 1 on pure noise). A class of one sample: its mean is that sample. A constant feature: 0
    variance, only the shrinkage target counts it. All features constant: 0.

    Args:
        features: [N, D] numbers. labels: [N] int.
        standardize: standardise the columns of the features first.

    Returns:
        The score, a float.

    Raises:
        InputError: shapes that do not match, values that are not finite, one class only.

    References:
        Bao et al., "An information-theoretic approach to transferability", ICIP 2019; Ibrahim et
        al., "Newer is not always better", 2021; Ledoit and Wolf, 2004. Published code mixes 1/N
        and 1/(N - 1), which multiplies the score by N/(N - 1).
    """
    F = check_features(features)
    Y = one_hot(check_labels(labels, len(F)))
    return float(evaluate(h_score_core, F, Y, standardize=standardize))


def h_score_core(given: Statistics) -> Float[Array, ""]:
    """Shrunk H-Score of padded statistics, in the eigenbasis of the covariance."""
    s, U = given.centred
    counts = given.targets.sum(0)
    shrinkage, target = _ledoit_wolf(s, U, given.n, given.width)
    # V^T (centred mean of class c) = sqrt(s) U^T y_c / n_c
    means2 = s[:, None] * (U.T @ given.targets) ** 2 / jnp.maximum(counts, 1)[None]
    between = means2.sum(1) / given.n
    within = (1 - shrinkage) * s / given.n + shrinkage * target
    ratio = between / jnp.where(within > 0, within, 1.0)
    return ((1 - shrinkage) * jnp.where(s > 0, ratio, 0.0)).sum()


def _ledoit_wolf(
    s: Float[Array, " k"], U: Float[Array, "N k"], n: Float[Array, ""], width: Float[Array, ""]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Shrinkage min(b2, d2)/d2 and the target variance tr(S)/D, from the spectrum."""
    target = s.sum() / n / width
    norm = (s**2).sum() / n**2  # ||S||_F^2
    distance = norm - width * target**2
    lengths = U**2 @ s  # |f_n|^2
    spread = ((lengths**2).sum() - n * norm) / n**2
    flat = distance <= 1e-15 * norm
    shrinkage = jnp.clip(spread / jnp.where(flat, 1.0, distance), 0.0, 1.0)
    return jnp.where(flat, 0.0, shrinkage), target
