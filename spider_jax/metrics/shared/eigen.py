"""The leading eigenpairs of a Gram matrix, without those that nobody asked for."""

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]

WHOLE_BELOW = 1024  # below this size nothing is saved
TOLERANCE = 1e-10  # of an eigenvalue
RESTARTS = 6  # more cost as much as the direct way


def leading_eigenpairs(gram: Float64, k: int) -> tuple[Float64, Float64]:
    """The k largest eigenvalues, descending, and their eigenvectors [n, k].

    A small matrix is decomposed whole. For a large one Lanczos (ARPACK) takes a third of that at
    n = 2,048 and k = 64 where the spectrum decays, as that of a network's features does; where it
    does not converge in time, LAPACK finds a part of the spectrum.

    Args:
        gram: symmetric, positive semi-definite, float64 [n, n]. k: at most n.
    """
    import scipy.linalg
    from scipy.sparse.linalg import ArpackError, eigsh

    n, basis = len(gram), 2 * k + 2
    if n < WHOLE_BELOW:
        s, V = np.linalg.eigh(gram)
        return s[::-1][:k], V[:, ::-1][:, :k]
    if basis < n // 2:
        start = np.random.default_rng(0).standard_normal(n)
        try:
            s, V = eigsh(gram, k, v0=gram @ start, ncv=basis, tol=TOLERANCE, maxiter=RESTARTS)
        except ArpackError:  # a flat spectrum, or a matrix of zeros
            pass
        else:
            order = np.argsort(s)[::-1]
            return s[order], V[:, order]
    s, V = scipy.linalg.eigh(gram, subset_by_index=(n - k, n - 1), check_finite=False)
    return s[::-1], V[:, ::-1]
