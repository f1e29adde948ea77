"""How many operations a metric takes: the published algorithm, and one that shares Gram matrices.

Leading terms; a multiplication and an addition are two. A symmetric product F^T F is N D^2 (BLAS
syrk, which NumPy calls; twice that through a general product). Decompositions after Golub and
Van Loan: upper values, divide and conquer needs less.
"""

import math


def gram(N: int, D: int) -> float:
    """The part that many metrics share: the smaller Gram matrix and its eigenvectors (9 n^3).

    Args:
        N: samples.
        D: feature width.
    """
    return float(N) * D * min(N, D) + 9 * min(N, D) ** 3


def _svd(m: float, n: float) -> float:
    """Thin SVD with both sets of vectors, m >= n: bidiagonalise at once, or after a QR."""
    return min(14 * m * n**2 + 8 * n**3, 6 * m * n**2 + 20 * n**3)


def _values(m: float, n: float) -> float:
    """Singular values alone."""
    return 4 * max(m, n) * min(m, n) ** 2 - 4 / 3 * min(m, n) ** 3


def operations(name: str, N: int, D: int, C: int, Z: int) -> tuple[float, float] | None:
    """Leading operations of the peer, and of an implementation that shares Gram matrices.

    The second stands alone: `gram` is in it. Classes are taken to be of equal size.

    Args:
        name: of a peer.
        N: samples.
        D: feature width.
        C: classes.
        Z: source classes.

    Returns:
        (peer, ours), or None where the data decide: n_leep (rank, EM steps), pactran_gauss
        (6 N D C per iteration), linear_probe (iterations), otce (sweeps of Sinkhorn).
    """
    n, m = min(N, D), min(N / C, D)
    small = min(64, n)
    smaller, shared = float(N) * D * n, gram(N, D)
    pinv = _svd(D, D) + 2.0 * D**3  # SVD, then V S^-1 U^T
    sort = N**2 / 2 * math.log2(N**2 / 2)  # comparisons, all pairs of rows
    pca = 2.0 * N * D * 74 * (16 if n > 640 else 10)  # to 64 (+ 10): 7 or 4 power steps
    table = {
        # peer, N > D: F^T F, its full SVD, F V; else thin SVD. Then U^T y, posterior mean per class
        "logme": (
            (3.0 * N * D**2 + _svd(D, D) if N > D else _svd(D, N)) + 2 * n * (N + D) * C,
            shared + 2 * N * n * C,
        ),
        # two covariances, pinv, the product under the trace; ours: U^T y
        "h_score": (2.0 * N * D**2 + pinv + 2 * D**3, shared + 2 * N * n * C),
        # two covariances, in Ledoit-Wolf two general products; ours: Gram, Cholesky, C solves
        "h_score_shrunk": (
            6.0 * N * D**2 + pinv + 2 * D**3,
            smaller + n**3 / 3 + 2 * n * (n + D) * C,
        ),
        # PCA to 32 (+ 10) by 4 products, correlations, two rankings; ours: one (tags: two values)
        "parc": (8.0 * N * D * 42 + N**2 * (32 + C) + 2 * sort, shared + N**2 * 32 + sort),
        # PCA; per ordered pair of classes pinv and three LU (2/3 n^3).
        # Ours: diagonal covariances (another metric), 8 operations per pair and direction
        "gbc": (
            pca + N * small**2 + C * (C - 1) * (_svd(small, small) + 4 * small**3),
            shared + 2 * N * n * small + 8 * C**2 * small,
        ),
        # Gram matrices and C + 1 LU of D x D; ours: Cholesky of the smaller side of each
        "transrate": (
            2.0 * N * D**2 + (C + 1) * 2 / 3 * D**3,
            smaller + (N * D * m if N > D else 0) + n**3 / 3 + C * m**3 / 3,
        ),
        # twice: S_w, S_t, generalised eigh = Cholesky 1/3 + reduction 1 + eigh 9 + back 1, means;
        # ours: N coordinates if N <= D; twice Gram, Cholesky, solves; once eigenvalues (4/3 n^3)
        "sfda": (
            2 * (2.0 * N * D**2 + 34 / 3 * D**3 + 4 * D**2 * C),
            (shared if N <= D else 0) + 2 * (N * n**2 + n**3 / 3 + 2 * n**2 * C) + 4 / 3 * n**3,
        ),
        # two N x N products, ten passes over them; ours: |F^T F|, |Y^T F|, means
        "lfc": (float(N) ** 2 * (D + C + 10), smaller + 2 * N * D * C),
        # both: PCA, scatter for LDA, nuclear norms of C blocks of posteriors
        "ncti": (
            pca + 2 * N * small**2 + C * _values(N / C, C),
            shared + 2 * N * n * small + 2 * N * small**2 + C * _values(N / C, C),
        ),
        # products of rows, a full sort of each; ours: the k nearest in one pass
        "knn": (float(N) ** 2 * (D + math.log2(N)), float(N) ** 2 * (D + 1)),
        # five penalties; N > D: H^-1 (2 D^3) and diag(F H^-1 F^T) (2 N D^2) for each of them
        "ridge": (
            shared + 5 * (2.0 * N**2 * C if N <= D else 2.0 * D**2 * (D + N)),
            shared + 10.0 * N * n * (C + 1),
        ),
        # argmax, a step per row, three passes over the table; ours the same without the loop
        "nce": (N * (Z + 1) + 3.0 * C * Z, N * Z + 3.0 * C * Z),
        # sums by class, predictions of every class; ours: a row into its class, one product per row
        "leep_gather": (N * Z * (1 + 2.0 * C), 3.0 * N * Z),
        # N x Z x C products, their mean, predictions; ours as above
        "leep_einsum": (4.0 * N * Z * C, 3.0 * N * Z),
        # ten steps: N x C x Z products and sums, Y times digammas, seven passes; ours: Y^T q
        "pactran_dirichlet": (10.0 * N * Z * (4 * C + 7), 10.0 * N * Z * (2 * C + 7)),
        # the same and the rates, P times a vector; ours needs them in the last step only
        "pactran_gamma": (10.0 * N * Z * (4 * C + 9), 10.0 * N * Z * (2 * C + 7.2)),
    }
    return table.get(name)
