"""LEEP: log expected empirical prediction."""

import numpy as np
from numpy.typing import ArrayLike

from spider_jax.metrics.inputs import check_labels, check_probabilities, one_hot


def leep(*, probabilities: ArrayLike, labels: ArrayLike) -> float:
    """mean_n ln sum_z p(y_n|z) P[n, z], p(c|z) = sum_{n: y_n = c} P[n, z] / sum_n P[n, z].

    Range: (-inf, 0]; larger is better; depends on C, so it does not compare across tasks.
    Cost: O(N Z C), two matrix products. A source class that is never predicted adds nothing
    (published code divides by its zero sum). A class of one sample: as any other.

    Args:
        probabilities: [N, Z] the source head's softmax. labels: [N] int.

    Returns:
        The score in nats, a float.

    Raises:
        InputError: shapes that do not match, rows that are no distribution, one class only.

    References:
        Nguyen et al., "LEEP: a new measure to evaluate transferability", ICML 2020.
    """
    P = check_probabilities(probabilities).astype(np.float64, copy=False)
    Y = one_hot(check_labels(labels, len(P)))
    total = P.sum(0)
    given = (Y.T @ P) / np.where(total > 0, total, 1.0)
    expected = ((P @ given.T) * Y).sum(1)
    return float(np.log(expected).mean())
