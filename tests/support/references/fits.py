"""Slow float64 references of the metrics that solve for something: PACTran's bounds and OTCE.

F [N,D] features, y [N] labels, P [N,Z] source probabilities, as in metric_references.py.
"""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize
from scipy.special import digamma, gammaln, log_softmax, logsumexp, softmax, xlogy

from support.references.metrics import _centred, _encoded

Array = NDArray[np.float64]

FLOOR = 1e-10  # of the shrinkage and of source probabilities under a logarithm
NEAR = 1e-8
MARGINAL_ERROR = 1e-12  # sum over the rows; the definition stops at 1e-9, this is its limit
LARGEST_GRADIENT = 1e-9


# ---- PAC-Bayesian bounds ----------------------------------------------------------------------


def pactran_fit(F: ArrayLike, y: ArrayLike, penalty: float) -> tuple[Array, float, Array]:
    """[W; b] [D+1,C] at the minimum of mean CE(softmax(F_c W + b), y) + |W|^2/(2 l N), J, grad."""
    codes, counts = _encoded(y)
    X = np.column_stack([_centred(F), np.ones(len(codes))])
    N, Y = len(X), np.eye(len(counts))[codes]
    decay = np.full((X.shape[1], len(counts)), 1 / (penalty * N))
    decay[-1] = 0.0  # b is free

    def loss(v: Array) -> tuple[float, Array]:
        V = v.reshape(decay.shape)
        J = -np.sum(Y * log_softmax(X @ V, axis=1)) / N + np.sum(decay * V**2) / 2
        return float(J), np.ravel(X.T @ (softmax(X @ V, axis=1) - Y) / N + decay * V)

    def hessian(v: Array) -> Array:
        H = np.diag(decay.ravel())
        for x, p in zip(X, softmax(X @ v.reshape(decay.shape), axis=1), strict=True):
            H += np.kron(np.outer(x, x), np.diag(p) - np.outer(p, p)) / N
        return H

    start = np.zeros(decay.size)
    found = minimize(loss, start, method="trust-exact", jac=True, hess=hessian).x
    for _ in range(5):  # Newton; least squares, for a shift of all b changes nothing
        found = found - np.linalg.lstsq(hessian(found), loss(found)[1])[0]
    J, gradient = loss(found)
    if np.abs(gradient).max() > LARGEST_GRADIENT:
        raise RuntimeError(f"gradient {np.abs(gradient).max()} at the end of the fit")
    return found.reshape(decay.shape), J, gradient


def pactran_gauss(F: ArrayLike, y: ArrayLike, penalty: float, prior_variance: float) -> float:
    """-(J_min + 1/2 DC/(lN) (s/D) ln(H l N/(DC))), H a trace over W and b."""
    # H = sum_dc [sum_n f_nd^2 p_nc (1-p_nc) + 1/(lN)] + sum_nc p_nc (1-p_nc), as published: the
    # Hessian of N J has 1/l for 1/(lN).
    X = _centred(F)
    N, D = X.shape
    V, J, _ = pactran_fit(F, y, penalty)
    C, lN = V.shape[1], penalty * N
    H = D * C / lN
    for x, p in zip(X, softmax(X @ V[:D] + V[D], axis=1), strict=True):
        H += (np.sum(x**2) + 1) * np.sum(p * (1 - p))
    return float(-(J + 0.5 * (D * C / lN) * (prior_variance / D) * math.log(H * lN / (D * C))))


def _last_step(
    P: Array, codes: NDArray[np.intp], a0: Array, steps: int, dirichlet: bool
) -> tuple[Array, Array]:
    """The last A = a0 + sum_n Y q [C,Z], and sum_z q (ln q - ln s) of the q after it [N]."""
    log_s = np.log(np.maximum(P, FLOOR))
    q, A = P, np.empty(0)
    for _ in range(steps):  # ln q = ln s + digamma(A[y]) (- digamma(sum_c A)) + const
        A = np.stack([a0[c] + q[codes == c].sum(axis=0) for c in range(len(a0))])
        normaliser = digamma(A.sum(axis=0)) if dirichlet else 0.0
        q = np.stack([softmax(log_s[n] + digamma(A[c]) - normaliser) for n, c in enumerate(codes)])
    return A, np.sum(xlogy(q, q) - q * log_s, axis=1)


def pactran_dirichlet(P: ArrayLike, y: ArrayLike, alpha: float = 1.0, steps: int = 10) -> float:
    """(sum_z ln [B(A_z)/B(a0)] - sum_n KL(q_n, s_n))/N, B the beta function of c, a0 = a n_c/N."""
    codes, counts = _encoded(y)
    a0 = alpha * counts / len(codes)
    A, divergence = _last_step(np.asarray(P, np.float64), codes, a0, steps, dirichlet=True)
    score = -divergence.sum()
    for column in A.T:
        score += gammaln(a0.sum()) - gammaln(a0).sum()
        score += gammaln(column).sum() - gammaln(column.sum())
    return float(score / len(codes))


def pactran_gamma(P: ArrayLike, y: ArrayLike, alpha: float = 1.0, steps: int = 10) -> float:
    """-(sum_cz ln [G(a0)/G(A)] + sum_n (KL(q_n, s_n) + ln l_n - 1))/N, l_n = sum_cz P[n,z] A."""
    probabilities, (codes, counts) = np.asarray(P, np.float64), _encoded(y)
    a0 = alpha * counts / len(codes)
    A, divergence = _last_step(probabilities, codes, a0, steps, dirichlet=False)
    loss = np.sum(gammaln(a0)[:, None] - gammaln(A))
    for row, kl in zip(probabilities, divergence, strict=True):
        loss += kl + math.log(row @ A.sum(axis=0)) - 1
    return float(-loss / len(codes))


# ---- optimal transport ------------------------------------------------------------------------


def transport_plan(cost: Array, entropy: float) -> Array:
    """argmin of <T,cost> + entropy sum T ln T with uniform marginals: the limit of Sinkhorn."""
    # Log-space Sinkhorn can need more than 10^5 steps. Its dual, mean u - e mean_j ln sum_i
    # exp((u_i - c_ij)/e), is concave in u: Newton, from a large entropy e, halved to its value.
    Ns, N = cost.shape
    if entropy == 0:  # no cost: every plan is best, the product has the largest entropy
        return np.full((Ns, N), 1 / (Ns * N))
    u, T = np.zeros(Ns), np.empty(0)
    for halvings in range(max(0, math.ceil(math.log2(cost.max() / entropy))), -1, -1):
        e = entropy * 2**halvings

        def dual(u: Array, e: float = e) -> float:
            return float(u.mean() - e * logsumexp((u[:, None] - cost) / e, axis=0).mean())

        for _ in range(1000):
            T = softmax((u[:, None] - cost) / e, axis=0) / N  # its columns are right
            rows = T.sum(axis=1)
            gradient = 1 / Ns - rows
            if np.abs(gradient).sum() <= MARGINAL_ERROR:
                break
            step = np.linalg.lstsq((np.diag(rows) - N * T @ T.T) / e, gradient, rcond=1e-16)[0]
            sizes = [0.5**k for k in range(20) if dual(u + 0.5**k * step) >= dual(u)]
            if np.abs(gradient).sum() < NEAR:  # what a step gains is below the dual's rounding
                sizes = [1.0]
            u = u + sizes[0] * step if sizes else u - e * np.log(Ns * rows)  # that is Sinkhorn
        else:
            raise RuntimeError(f"marginal error {np.abs(gradient).sum()} at the end")
    return T


def otce(
    Fs: ArrayLike,
    ys: ArrayLike,
    Ft: ArrayLike,
    yt: ArrayLike,
    regularization: float = 0.01,
    weights: tuple[float, float] = (1.0, 1.0),
) -> float:
    """-(w0 sum T c + w1 H), c = |x_i-x_j|^2, H = -sum_ab J ln(J/sum_b J), J the mass a to b."""
    source, target = np.asarray(Fs, np.float64), np.asarray(Ft, np.float64)
    a, b = _encoded(ys)[0], _encoded(yt)[0]
    cost = np.array([[np.sum((x - z) ** 2) for z in target] for x in source])
    T = transport_plan(cost, regularization * float(cost.mean()))
    H = 0.0
    for i in range(a.max() + 1):
        row = [T[np.ix_(a == i, b == j)].sum() for j in range(b.max() + 1)]
        H -= sum(J * math.log(J / sum(row)) for J in row if J > 0)
    return float(-(weights[0] * np.sum(T * cost) + weights[1] * H))
