"""Peers of the metrics on source probabilities: published algorithms, rewritten.

metrics.py says what all peers have in common. Letters: N samples, C classes, Z source
classes.
"""

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import DTypeLike
from scipy.special import digamma, gammaln, log_softmax

TINY = 1e-20
Labels = Int[np.ndarray, " N"]
Probabilities = Float[np.ndarray, "N Z"]


def classes(labels: Labels) -> tuple[Labels, int]:
    """Labels 0 ... C - 1, and C.

    Args:
        labels: any integers.
    """
    names, y = np.unique(np.asarray(labels), return_inverse=True)
    return y.ravel(), len(names)


def one_hot(y: Labels, C: int, dtype: DTypeLike = np.float64) -> Float[np.ndarray, "N C"]:
    """Labels as rows of 0 and a 1.

    Args:
        y: labels 0 ... C - 1.
        C: classes.
        dtype: of the rows.
    """
    return np.eye(C, dtype=dtype)[y]


def nce(*, probabilities: Probabilities, labels: Labels) -> float:
    """zhangyikaii/Model-Spider `NCE` (thuml/LogME's cannot run); a loop over rows."""
    (y, C), z = classes(labels), probabilities.argmax(1)
    joint = np.zeros((C, int(z.max()) + 1))
    for source, target in zip(z, y, strict=True):
        joint[int(target), int(source)] += 1.0 / len(y)
    return float(np.sum(joint * np.log(joint / (joint.sum(0) + TINY) + TINY)))


def leep_gather(*, probabilities: Probabilities, labels: Labels) -> float:
    """thuml/LogME `LEEP`; repaired: a source class without mass adds nothing instead of NaN."""
    (y, C), (N, Z) = classes(labels), probabilities.shape
    share = probabilities / float(N)
    joint = np.zeros((C, Z))
    for c in range(C):
        joint[c] = share[y == c].sum(0)
    given = (joint / np.maximum(joint.sum(0), np.finfo(float).tiny)).T
    predicted = probabilities @ given
    chosen = np.array([row[c] for row, c in zip(predicted, y, strict=True)])
    return float(np.mean(np.log(np.maximum(chosen, np.finfo(float).tiny))))


def leep_einsum(*, probabilities: Probabilities, labels: Labels) -> float:
    """google-research/pactran_metrics `calculate_leep`, negated as in Model-Spider: N x Z x C."""
    y, C = classes(labels)
    Y = one_hot(y, C)
    mass = probabilities.mean(0)[:, None] + 1e-10
    given = np.einsum("nz,nc->nzc", probabilities, Y).mean(0) / mass
    predicted = probabilities @ given + 1e-10
    return float(np.mean(np.sum(Y * (np.log(Y + 1e-10) + np.log(predicted)), axis=1)))


def pactran_dirichlet(*, probabilities: Probabilities, labels: Labels, alpha: float = 1.0) -> float:
    """google-research/pactran_metrics `calculate_pac_dir`, negated; over N C as published."""
    y, C = classes(labels)
    Y, log_s, q = one_hot(y, C), np.log(probabilities + 1e-10), probabilities
    a0 = alpha * Y.mean(0)[:, None] + 1e-10
    for _ in range(10):
        A = a0 + np.einsum("nc,nz->ncz", Y, q).sum(0)
        log_q = log_softmax(log_s + Y @ digamma(A) - digamma(A.sum(0)), axis=1)
        q = np.exp(log_q)
    start = gammaln(a0.sum()) - gammaln(a0).sum()
    end = gammaln(A.sum(0)) - gammaln(A).sum(0)
    return float(np.sum(start - end - np.sum(q * (log_q - log_s), axis=0)) / Y.size)


def pactran_gamma(*, probabilities: Probabilities, labels: Labels, alpha: float = 1.0) -> float:
    """google-research/pactran_metrics `calculate_pac_gamma`, negated; over N C, plus 1."""
    y, C = classes(labels)
    Y, log_s, q = one_hot(y, C), np.log(probabilities + 1e-10), probabilities
    a0 = alpha * Y.mean(0)[:, None] + 1e-10
    for _ in range(10):
        A = a0 + np.einsum("nc,nz->ncz", Y, q).sum(0)
        rate = probabilities @ A.sum(0)[:, None]
        log_q = log_softmax(log_s + Y @ digamma(A), axis=1)
        q = np.exp(log_q)
    rows = np.sum(q * (log_q - log_s), axis=1) + np.log(rate[:, 0]) - 1
    return -float((np.sum(gammaln(a0) - gammaln(A)) + rows.sum()) / Y.size + 1)
