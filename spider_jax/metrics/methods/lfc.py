"""LFC: label-feature correlation, the alignment of the kernels of features and of labels."""

import numpy as np
from numpy.typing import ArrayLike

from spider_jax.metrics.shared.inputs import check_features, check_labels
from spider_jax.metrics.shared.statistics import Statistics


def lfc(features: ArrayLike, labels: ArrayLike) -> float:
    """Label-feature correlation: Pearson's, of the inner products of rows with equality of labels.

    Over all N^2 entries of K = F F^T and S_ij = 1 if y_i = y_j, else -1. There is no N x N matrix
    where N > D: with G = F_c F_c^T and a = F_c mean, F_c the centred features, K minus its mean is
    G + a 1^T + 1 a^T, so that its squared norm is |F_c^T F_c|^2 + 2 N |a|^2 and its product with S
    is 2 sum_c (y_c^T G y_c + 2 n_c a.y_c), without cancellation.

    Range: [-1, 1]; larger is better. A correlation, but its maximum depends on the number and the
    sizes of the classes, so it compares tasks only roughly.
    Cost: O(N D min(N, D)), no decomposition.
    N < D: no special case.
    A class of one sample: as any other.
    A constant feature: adds the same to every entry, so it has no effect. All features constant: 0.

    Args:
        features: [N, D] numbers, as extracted (no centring).
        labels: [N] int.

    Returns:
        The score, a float.

    Raises:
        InputError: shapes that do not match, values that are not finite, one class only.

    References:
        Deshpande et al., "A linearized framework and a new benchmark for model selection for
        fine-tuning", 2021. Published code builds both N x N matrices, of 45,000 rows at most.
    """
    F = check_features(features)
    return lfc_of(Statistics(F, check_labels(labels, len(F))))


def lfc_of(given: Statistics) -> float:
    """LFC of shared statistics.

    Args:
        given: statistics of features and classes.

    Returns:
        The score.
    """
    (gram, left, right), (mean, _, cross, offset, _) = given.centred, given.moments
    counts, n = given.total, given.n
    if given.tall:
        pulled, pull = cross.T @ mean, mean @ gram @ mean  # a.y_c and |a|^2, a = F_c mean
    else:
        pulled, pull = given.targets().T @ offset, offset @ offset
    product = 2 * (left * right).sum() + 4 * counts @ pulled
    of_features = np.vdot(gram, gram) + 2 * n * pull
    of_labels = 4 * (counts @ counts) * (counts @ (n - counts)) / n**2
    if of_features <= 0 or of_labels <= 0:
        return 0.0
    return float(np.clip(product / np.sqrt(of_features) / np.sqrt(of_labels), -1, 1))
