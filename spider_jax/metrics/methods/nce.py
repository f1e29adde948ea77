"""NCE: negative conditional entropy of the labels given the source head's hard prediction."""

import numpy as np
from numpy.typing import ArrayLike

from spider_jax.metrics.shared.inputs import check_labels, probability_blocks, probability_matrix


def nce(*, probabilities: ArrayLike, labels: ArrayLike) -> float:
    """Negative conditional entropy of the labels, given the source head's hard prediction.

    -H(y|z) = sum_{c,z} J ln(J / sum_c J), J[c, z] the share of rows of label c and argmax z.

    Range: [-ln C, 0]; larger is better. It depends on C, so it does not compare across tasks.
    Cost: O(N Z).
    A source class that is never predicted: does not count.
    A class of one sample: as any other.

    Args:
        probabilities: [N, Z] the source head's softmax.
        labels: [N] int.

    Returns:
        The score in nats, a float.

    Raises:
        InputError: shapes that do not match, rows that are no distribution, one class only.

    References:
        Tran et al., "Transferability and hardness of supervised classification tasks", ICCV 2019.
        Copies that add an epsilon to every cell are biased; here 0 ln 0 = 0.
    """
    P = probability_matrix(probabilities)
    y = check_labels(labels, len(P))
    z = np.concatenate([block.argmax(1) for _, block in probability_blocks(P)])
    pair = y * P.shape[1] + z
    # a row of label c and prediction z adds ln p(c|z), p(c|z) = rows of both / rows of z
    given = np.bincount(pair)[pair] / np.bincount(z)[z]
    return float(np.log(given).mean())
