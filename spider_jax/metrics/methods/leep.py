"""LEEP: log expected empirical prediction."""

import numpy as np
from numpy.typing import ArrayLike

from spider_jax.metrics.shared.inputs import check_labels, probability_blocks, probability_matrix


def leep(*, probabilities: ArrayLike, labels: ArrayLike) -> float:
    """Log expected empirical prediction: how well the source head's classes predict the labels.

    mean_n ln sum_z p(y_n|z) P[n, z], p(c|z) = sum_{n: y_n = c} P[n, z] / sum_n P[n, z].

    Range: (-inf, 0]; larger is better. It depends on C, so it does not compare across tasks.
    Cost: O(N Z), two passes.
    A source class that is never predicted: adds nothing (published code divides by its zero sum).
    A class of one sample: as any other.

    Args:
        probabilities: [N, Z] the source head's softmax.
        labels: [N] int.

    Returns:
        The score in nats, a float.

    Raises:
        InputError: shapes that do not match, rows that are no distribution, one class only.

    References:
        Nguyen et al., "LEEP: a new measure to evaluate transferability", ICML 2020.
    """
    from scipy.sparse import csc_array

    P = probability_matrix(probabilities).astype(np.float64, copy=False)
    y = check_labels(labels, len(P))
    # sums by class: a sparse one-hot matrix saves the factor C of a dense product
    chosen = csc_array((np.ones(len(y)), y, np.arange(len(y) + 1)), shape=(y.max() + 1, len(y)))
    joint = chosen @ P
    with np.errstate(invalid="ignore"):  # the second pass refuses infinities
        total = joint.sum(0)
        given = joint / np.where(total > 0, total, 1.0)
        expected = [np.vecdot(block, given[y[where]]) for where, block in probability_blocks(P)]
    return float(np.log(np.concatenate(expected)).mean())
