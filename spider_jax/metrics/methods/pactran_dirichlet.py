"""PACTran-Dirichlet: PAC-Bayes evidence of labels that the source classes hand out."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spider_jax.errors import InputError
from spider_jax.metrics.shared.inputs import Float64, check_labels, check_probabilities

SMALLEST = 1e-10  # of a source probability inside a logarithm, as published


def pactran_dirichlet(
    *, probabilities: ArrayLike, labels: ArrayLike, alpha: float = 1.0, steps: int = 10
) -> float:
    """Lower bound, per sample, on the log evidence of labels y ~ p(.|z), p(.|z) ~ Dirichlet(a0).

    a0_c = alpha n_c/N, q = P, then `steps` times A[c, z] = a0_c + sum_{n: y_n = c} q[n, z] and
    q[n, :] = softmax_z(ln P[n, z] + digamma(A[y_n, z]) - digamma(sum_c A[c, z])). Score =
    (sum_z [lnG(sum_c a0_c) - sum_c lnG(a0_c) - lnG(sum_c A) + sum_c lnG(A)] - KL(q, P)) / N.

    Range: any real number; larger is better; depends on C, so it does not compare across tasks.
    Cost: O(N Z) a step. A source class that is never predicted: its probability counts as 1e-10.
    A class of one sample: as any other. Computed in float64; float32 input moves it by 1e-6.

    Args:
        probabilities: [N, Z] the source head's softmax. labels: [N] int.
        alpha: samples that the prior is worth. steps: of the fit; it is not run to convergence.

    Returns:
        The score in nats, a float.

    Raises:
        InputError: shapes that do not match, rows that are no distribution, one class only, an
            option out of its range.

    References:
        Ding et al., "PACTran: PAC-Bayesian metrics for estimating the transferability of
        pretrained models to classification tasks", ECCV 2022. Published code returns the negative,
        divided by N C instead of N, and forms an array [N, C, Z] in every step.
    """
    from scipy.special import gammaln

    P = check_probabilities(probabilities)
    prior, A, divergence, _ = fit_posterior(P, check_labels(labels, len(P)), alpha, steps)
    evidence = P.shape[1] * (gammaln(prior.sum()) - gammaln(prior).sum())
    evidence += gammaln(A).sum() - gammaln(A.sum(0)).sum()
    return float((evidence - divergence) / len(P))


class Posterior(NamedTuple):
    """Which source class z stands behind a row, fitted.

    prior: a0 [C]. counts: A [C, Z] at the start of the last step. divergence: KL(q, P), summed
    over the rows, at its end. source: P [N, Z] in float64, rows in the order of their labels.
    """

    prior: Float64
    counts: Float64
    divergence: float
    source: Float64


def fit_posterior(
    P: NDArray[np.floating],
    y: NDArray[np.int64],
    alpha: float,
    steps: int,
    *,
    normalize: bool = True,
) -> Posterior:
    """`steps` variational steps for classes 0..C-1 that all occur, without ever forming q [N, Z].

    q[n, z] = s[n, z] E[y_n, z] / t_n with E [C, Z] and t = sum_z s E: rows of one class together,
    a step is two products of a matrix with a vector, and ln q - ln s = ln E - ln t.

    Args:
        P: [N, Z]. y: [N]. alpha, steps: as in the metrics, checked here.
        normalize: subtract digamma(sum_c A) (Dirichlet), or not (gamma).

    Raises:
        InputError: alpha that is not positive and finite, steps below 1.
    """
    from scipy.special import digamma

    if not 0 < alpha < np.inf:
        raise InputError(f"alpha must be a positive number, got {alpha}")
    if steps < 1:
        raise InputError(f"steps must be at least 1, got {steps}")
    source = P[np.argsort(y, kind="stable")].astype(np.float64)
    count = np.bincount(y)
    first = np.cumsum(count) - count
    s = np.maximum(source, SMALLEST)
    prior = alpha * count / len(y)
    assigned = np.add.reduceat(source, first, axis=0)
    for _ in range(steps):
        A = prior[:, None] + assigned
        log_E = digamma(A) - (digamma(A.sum(0)) if normalize else 0)
        largest = log_E.max(1)
        E = np.exp(log_E - largest[:, None])
        log_t = 0.0
        for c, rows in enumerate(map(slice, first, first + count)):
            t = s[rows] @ E[c]
            assigned[c] = E[c] * ((1 / t) @ s[rows])
            log_t += np.log(t).sum() + count[c] * largest[c]
    return Posterior(prior, A, float((assigned * log_E).sum() - log_t), source)
