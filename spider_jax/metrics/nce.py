"""NCE: negative conditional entropy of the labels given the source head's hard prediction."""

import numpy as np
from numpy.typing import ArrayLike

from spider_jax.metrics.inputs import check_labels, check_probabilities


def nce(*, probabilities: ArrayLike, labels: ArrayLike) -> float:
    """-H(y|z) = sum_{c,z} J ln(J / sum_c J), J[c, z] the share of rows of label c and argmax z.

    Range: [-ln C, 0]; larger is better; depends on C, so it does not compare across tasks.
    Cost: O(N Z). Source classes that are never predicted do not count. A class of one sample: as
    any other.

    Args:
        probabilities: [N, Z] the source head's softmax. labels: [N] int.

    Returns:
        The score in nats, a float.

    Raises:
        InputError: shapes that do not match, rows that are no distribution, one class only.

    References:
        Tran et al., "Transferability and hardness of supervised classification tasks", ICCV 2019.
        Copies that add an epsilon to every cell are biased; here 0 ln 0 = 0.
    """
    P = check_probabilities(probabilities)
    y = check_labels(labels, len(P))
    pairs = np.bincount(y * P.shape[1] + P.argmax(1), minlength=(y.max() + 1) * P.shape[1])
    joint = pairs.reshape(-1, P.shape[1]) / len(P)
    seen = joint > 0
    given = joint / np.where(seen, joint.sum(0), 1.0)
    return float((joint[seen] * np.log(given[seen])).sum())
