"""NCE: negative conditional entropy of the labels given the source head's hard prediction."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spider_jax.errors import InputError
from spider_jax.metrics.statistics import check_labels, one_hot


def check_probabilities(probabilities: ArrayLike) -> NDArray[np.float64]:
    """`probabilities` as float64 [N, Z] with rows that sum to 1.

    Raises:
        InputError: another rank, values that are not finite or negative, rows off 1 by over 1e-2.
    """
    P = np.asarray(probabilities)
    if P.ndim != 2 or 0 in P.shape or P.dtype.kind not in "fiub":
        raise InputError(f"probabilities must be numbers [N, Z], got {P.dtype} {P.shape}")
    P = P.astype(np.float64)
    off = ~(np.isfinite(P).all(1) & (P.min(1) >= 0) & (np.abs(P.sum(1) - 1) <= 1e-2))
    if off.any():
        raise InputError(
            f"probabilities must be a softmax in every row, {off.sum()} are not. "
            f"First row: {int(np.flatnonzero(off)[0])}"
        )
    return P


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
    Y = one_hot(check_labels(labels, len(P)))
    predicted = np.eye(P.shape[1])[P.argmax(1)]
    joint = Y.T @ predicted / len(P)
    seen = joint > 0
    given = joint / np.where(seen, joint.sum(0), 1.0)
    return float((joint[seen] * np.log(given[seen])).sum())
