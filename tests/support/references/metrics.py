"""Slow float64 references of the transferability metrics, written straight from the definitions.

F [N,D] features, y [N] labels, P [N,Z] source probabilities; n_c rows and mean m_c of class c.
Covariances have 1/N, within a class 1/n_c. Larger is better in every metric.
"""

import math
from itertools import combinations, permutations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import eigh
from scipy.special import softmax
from scipy.stats import spearmanr

from support.references.ranking_and_spider import leep

Array = NDArray[np.float64]

RANK = 1e-12  # eigenvalues of a Gram matrix below this share of the largest count as 0
NO_SPREAD = 1e-12  # a spread below this share of the size is rounding
DECIMALS = 12  # distances that agree to this many decimals are tied
EMPTY = 1e-9  # a mixture component with less mass than this is dropped
FLOOR = 1e-10  # of the shrinkage and of source probabilities under a logarithm


# ---- shared pieces ----------------------------------------------------------------------------


def _centred(F: ArrayLike) -> Array:
    """F minus its mean row."""
    features = np.asarray(F, np.float64)
    moved = features - features[0]  # so that a constant column becomes exactly 0
    centred: Array = moved - moved.mean(axis=0)
    return centred


def _encoded(labels: ArrayLike) -> tuple[NDArray[np.intp], Array]:
    """The labels as 0..C-1 over the classes present, and n_c."""
    _, codes, counts = np.unique(np.asarray(labels), return_inverse=True, return_counts=True)
    return codes, counts.astype(np.float64)


def _class_means(X: Array, y: NDArray[np.intp]) -> Array:
    """[C,D], row c the mean of the rows of class c."""
    return np.stack([X[y == c].mean(axis=0) for c in range(y.max() + 1)])


def _covariance(X: Array) -> Array:
    """X_c^T X_c / N, X_c = X minus its mean row."""
    centred = _centred(X)
    covariance: Array = centred.T @ centred / len(X)
    return covariance


def principal_coordinates(F: ArrayLike, k: int) -> Array:
    """U S of the centred F = U S V^T: the leading min(k, rank) columns, largest first."""
    # A direction has no sign of its own. Here the entry of largest size of each column is > 0.
    U, s, _ = np.linalg.svd(_centred(F), full_matrices=False)
    rank = int(np.sum(s**2 >= RANK * s[0] ** 2)) if s[0] > 0 else 0
    Z: Array = (U * s)[:, : min(k, rank)]
    for column in Z.T:  # views: this changes Z
        if column[np.argmax(np.abs(column))] < 0:
            column *= -1
    return Z


# ---- H-score, LEEP of a mixture ---------------------------------------------------------------


def h_score(F: ArrayLike, y: ArrayLike) -> float:
    """tr(cov(F)^+ cov(E[F|y]))."""
    codes, _ = _encoded(y)
    X = _centred(F)
    inverse = np.linalg.pinv(X, rcond=math.sqrt(RANK))  # of X, for X^T X would square its rounding
    means = _class_means(X, codes)[codes]  # one row per sample
    return float(np.trace(len(X) * inverse @ inverse.T @ (means.T @ means / len(X))))


def n_leep(F: ArrayLike, y: ArrayLike, R0: ArrayLike, steps: int, variance: float = 0.8) -> float:
    """LEEP of the responsibilities R of a diagonal Gaussian mixture after `steps` EM steps."""
    R = np.asarray(R0, np.float64)
    Z = principal_coordinates(F, min(np.shape(F)))
    explained = np.cumsum(np.sum(Z**2, axis=0))
    if len(explained):  # the fewest columns that explain enough; constant features have none
        Z = Z[:, : 1 + int(np.argmax(explained >= variance * explained[-1]))]
    for _ in range(steps):
        R = _em_step(Z, R)
    return leep(R, y)


def _em_step(Z: Array, R: Array) -> Array:
    """R_nk ~ pi_k prod_j N(z_nj; mean_kj, var_kj), all three from the old R_nk; var >= floor."""
    floor = 1e-6 * np.mean(Z**2) if Z.size else 0.0
    log_joint = np.full(R.shape, -np.inf)
    for k in range(R.shape[1]):
        mass = R[:, k].sum()
        if mass >= EMPTY:
            mean = R[:, k] @ Z / mass
            var = R[:, k] @ (Z - mean) ** 2 / mass + floor
            log_density = -0.5 * np.sum(np.log(2 * math.pi * var) + (Z - mean) ** 2 / var, axis=1)
            log_joint[:, k] = math.log(mass / len(Z)) + log_density
    updated: Array = softmax(log_joint, axis=1)
    return updated


# ---- distances, overlap, coding rate, Gram matrices -------------------------------------------


def _pearson(a: Array, b: Array) -> float:
    """<a,b>/(|a||b|) of the centred a and b; 0 where one of the two has no spread."""
    x, z = a - a.mean(), b - b.mean()
    sizes = [(np.linalg.norm(x), np.linalg.norm(a)), (np.linalg.norm(z), np.linalg.norm(b))]
    if any(spread <= NO_SPREAD * size for spread, size in sizes):
        return 0.0
    return float(x @ z / (np.linalg.norm(x) * np.linalg.norm(z)))


def _cosine(a: Array, b: Array) -> float:
    """<a,b>/(|a||b|); 0 where one of the two is 0."""
    sizes = np.linalg.norm(a) * np.linalg.norm(b)
    return float(a @ b / sizes) if sizes > 0 else 0.0


def parc(F: ArrayLike, y: ArrayLike, components: int | None = 32, published: bool = False) -> float:
    """Spearman over pairs of 1 - cos(rows of Z, z-scored) and 1 - corr(rows of one-hot y)."""
    alike = _pearson if components is None or published else _cosine
    # Rounding must not break ties: rows of two columns correlate by exactly 1 or -1. A column
    # without spread (components None only) is 0.
    codes, counts = _encoded(y)
    Z = _centred(F) if components is None else principal_coordinates(F, components)
    sd = Z.std(axis=0)
    Z = Z / np.where(sd > 0, sd, 1.0)
    other = len(counts) / (len(counts) - 1)  # 1 - corr of two different one-hot rows
    features, labels = [], []
    for i, j in combinations(range(len(Z)), 2):
        features.append(round(1 - alike(Z[i], Z[j]), DECIMALS) if Z.size else 1.0)
        labels.append(0.0 if codes[i] == codes[j] else other)
    if min(features) == max(features) or min(labels) == max(labels):
        return 0.0
    return float(spearmanr(features, labels).statistic)


def gbc(F: ArrayLike, y: ArrayLike, components: int = 64, covariance: str = "diagonal") -> float:
    """-sum_{i != j} exp(-DB_ij), DB = sum (m_i-m_j)^2/(8v) + ln(v/sqrt(v_i v_j))/2, v mean."""
    codes, counts = _encoded(y)
    Z, C = principal_coordinates(F, components), len(counts)
    if Z.shape[1] == 0:
        return float(-C * (C - 1))
    means = _class_means(Z, codes)
    variances = np.stack([Z[codes == c].var(axis=0) for c in range(C)])
    if covariance == "spherical":
        variances = variances.mean(axis=1, keepdims=True) * np.ones(Z.shape[1])
    variances = np.maximum(variances, 1e-4 * np.mean(Z**2))
    score = 0.0
    for i, j in permutations(range(C), 2):
        v = (variances[i] + variances[j]) / 2
        distance = np.sum((means[i] - means[j]) ** 2 / v) / 8
        distance += 0.5 * np.sum(np.log(v / np.sqrt(variances[i] * variances[j])))
        score -= math.exp(-distance)
    return score


def transrate(F: ArrayLike, y: ArrayLike, epsilon: float = 1e-4) -> float:
    """R(Z,N) - sum_c n_c/N R(Z_c,n_c), R(A,n) = 1/2 ln det(I + A^T A/(n eps)), mean |z|^2 = 1."""
    codes, counts = _encoded(y)
    X = _centred(F)
    N, D = X.shape
    if not X.any():
        return 0.0
    Z = X * math.sqrt(N / np.sum(X**2))

    def rate(A: Array) -> float:
        return float(0.5 * np.linalg.slogdet(np.eye(D) + A.T @ A / (len(A) * epsilon))[1])

    return rate(Z) - float(sum(n / N * rate(Z[codes == c]) for c, n in enumerate(counts)))


def lfc(F: ArrayLike, y: ArrayLike) -> float:
    """Pearson correlation over all N^2 entries of F F^T and S, S_ij = 1 if y_i = y_j else -1."""
    features, codes = np.asarray(F, np.float64), _encoded(y)[0]
    K = features @ features.T
    S = np.where(codes[:, None] == codes[None, :], 1.0, -1.0)
    if any(np.ptp(A) <= NO_SPREAD * np.abs(A).max() for A in (K, S)):
        return 0.0
    return float(np.corrcoef(K.ravel(), S.ravel())[0, 1])


# ---- discriminant analysis --------------------------------------------------------------------


def _within(X: Array, y: NDArray[np.intp]) -> Array:
    """S_w = sum_c n_c/N cov_c."""
    within = np.zeros((X.shape[1], X.shape[1]))
    for c in range(y.max() + 1):
        within += np.mean(y == c) * _covariance(X[y == c])
    return within


def _shrunk_within(X: Array, y: NDArray[np.intp], lam: float) -> Array:
    """(1-lam) S_w + lam tr(S_w)/D I; where S_w = 0: tr(cov X)/D I, which can be 0 as well."""
    D = X.shape[1]
    within, total = _within(X, y), np.trace(_covariance(X))
    if np.trace(within) <= NO_SPREAD**2 * total:
        return np.asarray(total / D * np.eye(D))
    return np.asarray((1 - lam) * within + lam * np.trace(within) / D * np.eye(D))


def lda_posterior(X: Array, y: NDArray[np.intp], W: Array) -> Array:
    """softmax_c(ln n_c/N - 1/2 (x-m_c)^T W^-1 (x-m_c)) [N,C]; the priors where W = 0."""
    # The term x^T W^-1 x is the same for all c: this is m_c^T W^-1 x - 1/2 m_c^T W^-1 m_c + prior.
    means = _class_means(X, y)
    logits = np.tile(np.log(np.bincount(y) / len(y)), (len(X), 1))
    if W.any():
        for n, x in enumerate(X):
            for c, mean in enumerate(means):
                logits[n, c] -= 0.5 * (x - mean) @ np.linalg.solve(W, x - mean)
    posterior: Array = softmax(logits, axis=1)
    return posterior


def sfda(F: ArrayLike, y: ArrayLike) -> float:
    """mean_n p(y_n|x_n) of regularised LDA, refit on x_n <- p_n x_n + (1-p_n) o_{y_n}."""
    codes, counts = _encoded(y)
    X = _centred(F)  # the posterior does not depend on the origin
    lam = max(math.exp(-5 * np.linalg.eigvalsh(_within(X, codes))[-1]), FLOOR)
    posterior = lda_posterior(X, codes, _shrunk_within(X, codes, lam))
    means = _class_means(X, codes)
    mixed = []
    for x, c, p in zip(X, codes, posterior, strict=True):
        others = np.mean([means[o] for o in range(len(counts)) if o != c], axis=0)
        mixed.append(p[c] * x + (1 - p[c]) * others)
    refit = np.stack(mixed)
    posterior = lda_posterior(refit, codes, _shrunk_within(refit, codes, lam))
    return float(np.mean([p[c] for p, c in zip(posterior, codes, strict=True)]))


def ncti_parts(F: ArrayLike, y: ArrayLike, components: int = 64) -> tuple[float, float, float]:
    """(nuclear norm of Z E, mean p(y_n|z_n), ln sum_c nuclear norm of the posteriors of c)."""
    # E [V, min(C-1,V)]: the leading solutions of B e = mu W e, e^T W e = 1, B between, W within.
    codes, counts = _encoded(y)
    C = len(counts)
    Z = principal_coordinates(F, components)
    N, V = Z.shape
    seli, W = 0.0, np.zeros((V, V))
    if V:
        explained = np.sum(Z**2, axis=0) / (N - 1)
        W = _shrunk_within(Z, codes, max(math.exp(-explained[:32].sum()), FLOOR))
        means = _class_means(Z, codes)
        between = sum(n / N * np.outer(m, m) for n, m in zip(counts, means, strict=True))
        E = eigh(between, W)[1][:, V - min(C - 1, V) :]  # rising eigenvalues
        seli = float(np.linalg.norm(Z @ E, ord="nuc"))
    posterior = lda_posterior(Z, codes, W)
    ncc = float(np.mean([p[c] for p, c in zip(posterior, codes, strict=True)]))
    nuclear = [float(np.linalg.norm(posterior[codes == c], ord="nuc")) for c in range(C)]
    return seli, ncc, math.log(sum(nuclear))


def ncti(parts: ArrayLike) -> list[float]:
    """minmax(seli) + minmax(ncc) - minmax(vc) over the models; minmax of equal values is 0."""
    table = np.asarray(parts, np.float64)
    scores = np.zeros(len(table))
    for column, sign in zip(table.T, (1, 1, -1), strict=True):
        if np.ptp(column) > 0:
            scores += sign * (column - column.min()) / np.ptp(column)
    return [float(score) for score in scores]


# ---- LogME as published -----------------------------------------------------------------------


def logme_published(F: ArrayLike, y: ArrayLike) -> float:
    """Mean over classes of ln p(y|F,alpha,beta)/N with D for k, after <= 11 fixed-point steps."""
    features, (codes, counts) = np.asarray(F, np.float64), _encoded(y)
    N, D = features.shape
    U, singular, _ = np.linalg.svd(features, full_matrices=False)
    if N > D:
        U, singular = U[:, singular > 1e-10], singular[singular > 1e-10]
    if not singular.any():
        return -math.inf  # alpha = 0
    s, total = singular**2, 0.0
    for c in range(len(counts)):
        x2 = (U.T @ (codes == c).astype(np.float64)) ** 2
        r = counts[c] - x2.sum()  # |y|^2 = n_c
        alpha = beta = 1.0
        for _ in range(11):
            t = alpha / beta
            gamma = np.sum(s / (s + t))
            m2 = np.sum(s * x2 / (t + s) ** 2)
            res = np.sum(x2 / (1 + s / t) ** 2) + r
            alpha, beta = gamma / (m2 + 1e-5), (N - gamma) / (res + 1e-5)
            if abs(alpha / beta - t) / t <= 1e-3:
                break
        evidence = D / 2 * math.log(alpha) + N / 2 * math.log(beta)
        evidence -= 0.5 * np.sum(np.log(alpha + beta * s)) + beta / 2 * res + alpha / 2 * m2
        total += (evidence - N / 2 * math.log(2 * math.pi)) / N
    return float(total / len(counts))
