"""PACTran-Gamma: as PACTran-Dirichlet, with gamma priors in place of the Dirichlet."""

import numpy as np
from numpy.typing import ArrayLike

from spider_jax.metrics.methods.pactran_dirichlet import fit_posterior
from spider_jax.metrics.shared.inputs import check_labels, check_probabilities


def pactran_gamma(
    *, probabilities: ArrayLike, labels: ArrayLike, alpha: float = 1.0, steps: int = 10
) -> float:
    """Bound, per sample, on the log evidence of labels whose class weights are Gamma(a0, 1).

    a0_c = alpha n_c/N, q = P, then `steps` times A[c, z] = a0_c + sum_{n: y_n = c} q[n, z] and
    q[n, :] = softmax_z(ln P[n, z] + digamma(A[y_n, z])); l_n = sum_z P[n, z] sum_c A[c, z]. Score =
    -(sum_{c,z} [lnG(a0_c) - lnG(A)] + KL(q, P) + sum_n [ln l_n - 1]) / N.

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
        divided by N C instead of N, plus 1, and forms an array [N, C, Z] in every step.
    """
    from scipy.special import gammaln

    P = check_probabilities(probabilities)
    y = check_labels(labels, len(P))
    prior, A, divergence, source = fit_posterior(P, y, alpha, steps, normalize=False)
    complexity = P.shape[1] * gammaln(prior).sum() - gammaln(A).sum()
    expected = np.log(source @ A.sum(0)).sum() - len(P)
    return float(-(complexity + divergence + expected) / len(P))
