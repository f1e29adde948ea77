"""The leading eigenpairs of a Gram matrix, without those that nobody asked for."""

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

Float64 = NDArray[np.float64]

KRYLOV_FROM = 1536  # below this size tridiagonalising costs less
KRYLOV_BLOCKS = 5
RESTARTS = 4  # four cost as much as the direct way
RESIDUAL = 1e-10  # of the largest eigenvalue


def leading_eigenpairs(gram: Float64, k: int) -> tuple[Float64, Float64]:
    """The k largest eigenvalues, descending, and their eigenvectors [n, k].

    LAPACK's for a part of the spectrum. For a large matrix first block Krylov: the space of X, G X,
    ... G^4 X, then the best k + 8 in it (Rayleigh-Ritz), again from these until the residuals of
    the first k are 1e-10 of the largest eigenvalue: half the time at n = 2,048 where the spectrum
    decays, as that of a network's features does; given up where it will not converge in time.

    Args:
        gram: symmetric, positive semi-definite, float64 [n, n]. k: at most n.

    References:
        Musco and Musco, "Randomized block Krylov methods", NeurIPS 2015.
    """
    n, block = len(gram), k + 8
    if n < KRYLOV_FROM or block * KRYLOV_BLOCKS > n // 2:
        return _direct(gram, k)
    X, before = gram @ np.random.default_rng(0).standard_normal((n, block)), np.inf
    for left in reversed(range(RESTARTS)):
        s, X, lengths = _krylov_step(gram, X, block)
        residual = lengths[:k].max() / s[0]
        if residual <= RESIDUAL:
            return s[:k], X[:, :k]
        if np.isfinite(before) and residual * (residual / before) ** left > RESIDUAL:
            break  # at this rate it will not be there in time
        before = residual
    return _direct(gram, k)


def _krylov_step(gram: Float64, X: Float64, block: int) -> tuple[Float64, Float64, Float64]:
    """Ritz values and vectors of the Krylov space of X, and the lengths of their residuals."""
    Q = np.linalg.qr(X)[0]
    basis = [Q]
    for _ in range(KRYLOV_BLOCKS - 1):
        new = gram @ basis[-1]
        for _ in range(2):  # twice is enough (Kahan): orthogonal to rounding
            for old in basis:
                new = new - old @ (old.T @ new)
        basis.append(np.linalg.qr(new)[0])
    Q = np.hstack(basis)
    applied = gram @ Q
    s, W = np.linalg.eigh(Q.T @ applied)
    s, W = s[::-1][:block], W[:, ::-1][:, :block]
    X = Q @ W
    return s, X, np.linalg.norm(applied @ W - X * s, axis=0)


def _direct(gram: Float64, k: int) -> tuple[Float64, Float64]:
    n = len(gram)
    s, V = scipy.linalg.eigh(gram, subset_by_index=(n - k, n - 1), check_finite=False)
    return s[::-1], V[:, ::-1]
