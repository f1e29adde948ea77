"""Slow float64 references, written straight from the formulas, to test fast code against.

"spider" and "methods" in the docstrings are the two specification pages; the number is the section.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import qr, solve_triangular
from scipy.optimize import minimize_scalar
from scipy.special import softmax

Array = NDArray[np.float64]

LAYER_NORM_EPS = 1e-5
LOG_T_RANGE = math.log(1e12)  # t in [1e-12, 1e12] * s_max
LOG_T_STEP = 0.05  # L varies on a scale of about 1 in ln t
NO_RESIDUAL = 1e-12  # r below this times ||y||^2 counts as 0
SAME_EVIDENCE = 1e-12  # an end this close to the best value is a maximiser
REAL_BUMP = 1e-13  # a grid bump lower than this is rounding


# ---- the model of one attention block ---------------------------------------------------------


def _layer_norm(x: Array, gain: Array, bias: Array) -> Array:
    """LN(x) = gain * (x - mean x) / sqrt(var x + 1e-5) + bias, var with 1/d (spider 1)."""
    centred = x - x.mean()
    normalised: Array = centred / np.sqrt(np.mean(centred**2) + LAYER_NORM_EPS)
    return gain * normalised + bias


def full_attention_score(
    params: Mapping[str, Any], theta: ArrayLike, tokens: ArrayLike, extra: ArrayLike | None = None
) -> float:
    """head(LN(LN(X + Att(X) W_o^T + b_o)[0])), X = [theta; tokens U^T + b_U; extra] (spider 1)."""
    p = {name: np.asarray(value, np.float64) for name, value in params.items()}
    rows = [np.asarray(theta, np.float64)]
    rows += [p["U"] @ mu + p["b_U"] for mu in np.asarray(tokens, np.float64)]
    rows += [] if extra is None else list(np.asarray(extra, np.float64))
    keys, values = [p["W_k"] @ x for x in rows], [p["W_v"] @ x for x in rows]
    outputs = []
    for x in rows:
        query = p["W_q"] @ x
        weights = softmax([query @ key / math.sqrt(len(x)) for key in keys])
        attended = sum(a * value for a, value in zip(weights, values, strict=True))
        added = x + p["W_o"] @ attended + p["b_o"]
        outputs.append(_layer_norm(added, p["ln_gain"], p["ln_bias"]))
    read = _layer_norm(outputs[0], p["head_ln_gain"], p["head_ln_bias"])
    return float((p["head_w"] @ read + p["head_b"]).item())


# ---- Bayesian linear regression and LogME -----------------------------------------------------


def log_evidence(F: ArrayLike, y: ArrayLike, alpha: float, beta: float) -> float:
    """ln p(y|F,alpha,beta) = ln N(y; 0, I/beta + F F^T/alpha) (methods 2.1)."""
    F, y = np.asarray(F, np.float64), np.asarray(y, np.float64)
    covariance = np.eye(len(y)) / beta + F @ F.T / alpha
    _, log_det = np.linalg.slogdet(covariance)
    distance = y @ np.linalg.solve(covariance, y)
    return float(-0.5 * (distance + log_det + len(y) * math.log(2 * math.pi)))


def _rotate(F: Array, Y: Array) -> tuple[Array, Array, Array]:
    """G [k,k], X = Q^T Y, r = ||Y - Q X||^2 with F F^T = Q G^T G Q^T, k = rank F (methods 2.1)."""
    Q, R, _ = qr(F, mode="economic", pivoting=True)
    pivots = np.abs(np.diag(R))
    rank = int(np.sum(pivots > max(F.shape) * np.finfo(np.float64).eps * pivots[0]))
    basis, right = np.asarray(Q[:, :rank], np.float64), np.asarray(R[:rank].T, np.float64)
    X = basis.T @ Y
    residual: Array = np.sum((Y - basis @ X) ** 2, axis=0)
    residual[residual < NO_RESIDUAL * np.sum(Y**2, axis=0)] = 0.0
    G = np.asarray(np.linalg.qr(right, mode="r"), np.float64)
    return G, X, residual


def _best_gaussian(mean_square: Array) -> Array:
    """max over v of ln N(z; 0, v I)/n = -1/2 ln(2 pi m) - 1/2, m = ||z||^2/n (methods 2.2b)."""
    best: Array = -0.5 * np.log(2 * math.pi * mean_square) - 0.5
    return best


def _evidence_over_n(G: Array, X: Array, residual: Array, n: int, t: float) -> Array:
    """max over beta of ln N(y; 0, (I + F F^T/t)/beta) / n, at beta = n/S(t) (methods 2.2b)."""
    # I + G^T G/t = root^T root by a QR of [G/sqrt t; I]: no Gram matrix, no eigenvalues.
    stacked = np.vstack([G / math.sqrt(t), np.eye(len(G))])
    root = np.asarray(np.linalg.qr(stacked, mode="r"), np.float64)
    S: Array = np.sum(solve_triangular(root.T, X, lower=True) ** 2, axis=0) + residual
    log_det = 2 * np.sum(np.log(np.abs(np.diag(root))))
    value: Array = _best_gaussian(S / n) - 0.5 * log_det / n
    return value


def _maximise(
    L: Callable[[float], Array], c: int, grid: Array, values: Array, at_infinity: float
) -> tuple[float, bool]:
    """max over u = ln t of L[c], and whether an end or t = inf attains it (methods 2.2b)."""
    best = max(values.max(), at_infinity)
    for i in range(1, len(grid) - 1):
        around = values[i - 1 : i + 2]
        if values[i] == around.max() and values[i] - around.min() > REAL_BUMP:
            bounds = (grid[i - 1], grid[i + 1])
            bump = minimize_scalar(lambda u: -L(u)[c], bounds=bounds, options={"xatol": 1e-9})
            best = max(best, -bump.fun)
    end = max(values[0], values[-1], at_infinity)
    return float(best), bool(best - end <= SAME_EVIDENCE * max(1.0, abs(best)))


def logme_brute_force(F: ArrayLike, labels: ArrayLike) -> tuple[float, list[float], list[bool]]:
    """mean over present classes of max_{alpha,beta} ln p(onehot|F,alpha,beta)/N (methods 2.2b)."""
    features, labels = np.asarray(F, np.float64), np.asarray(labels)
    Y = np.stack([labels == c for c in np.unique(labels)], axis=1).astype(np.float64)
    G, X, residual = _rotate(features, Y)
    at_infinity = _best_gaussian(Y.mean(axis=0))  # Y is 0 or 1: mean = mean square
    if len(G) == 0:  # F = 0: the evidence does not depend on t
        return float(at_infinity.mean()), at_infinity.tolist(), [True] * len(at_infinity)

    def L(u: float) -> Array:
        return _evidence_over_n(G, X, residual, len(Y), math.exp(u))

    points = 1 + math.ceil(2 * LOG_T_RANGE / LOG_T_STEP)
    ln_s_max = 2 * math.log(np.linalg.norm(features, 2))
    grid = ln_s_max + np.linspace(-LOG_T_RANGE, LOG_T_RANGE, points)
    values = np.array([L(u) for u in grid])
    found = [_maximise(L, c, grid, values[:, c], at_infinity[c]) for c in range(Y.shape[1])]
    best, at_end = [value for value, _ in found], [end for _, end in found]
    return float(np.mean(best)), best, at_end


# ---- Plackett-Luce ----------------------------------------------------------------------------


def plackett_luce(scores: ArrayLike, targets: ArrayLike) -> float:
    """sum_i [ln sum_{j: y_j <= y_i} exp s_j - s_i] / (n-1), Breslow at ties (spider 4)."""
    s, y = np.asarray(scores, np.float64), np.asarray(targets, np.float64)
    loss = 0.0
    for i in range(len(s)):
        still_in = [s[j] for j in range(len(s)) if y[j] <= y[i]]
        loss += np.logaddexp.reduce(still_in) - s[i]
    return float(loss / (len(s) - 1))


def plackett_luce_probability(scores: ArrayLike, order: Sequence[int]) -> float:
    """prod_i exp s_{o_i} / sum_{j >= i} exp s_{o_j}, the best item first (spider 4)."""
    s = np.asarray(scores, np.float64)
    probability = 1.0
    for i, item in enumerate(order):
        probability /= sum(math.exp(s[j] - s[item]) for j in order[i:])
    return probability


# ---- classic metrics --------------------------------------------------------------------------


def _centred(F: ArrayLike) -> Array:
    """F minus its mean row (methods 3)."""
    features = np.asarray(F, np.float64)
    centred: Array = features - features.mean(axis=0)
    return centred


def ledoit_wolf_shrinkage(F: ArrayLike) -> float:
    """min(b2, d2)/d2, b2 = sum_n ||f f^T - S||^2/N^2, d2 = ||S - m I||^2 (Ledoit, Wolf 2004)."""
    centred = _centred(F)
    N, D = centred.shape
    S = centred.T @ centred / N
    d2 = np.sum((S - np.trace(S) / D * np.eye(D)) ** 2)
    b2 = sum(np.sum((np.outer(f, f) - S) ** 2) for f in centred) / N**2
    return 0.0 if D == 1 or b2 == 0 else float(min(b2, d2) / d2)


def h_score_shrunk(F: ArrayLike, labels: ArrayLike) -> float:
    """tr(cov_a^-1 (1-a) cov(E[F|y])), cov_a = (1-a) cov + a tr(cov)/D I (methods 3)."""
    # Both covariances are of centred features and have 1/N, so the score is at most C - 1.
    a, labels = ledoit_wolf_shrinkage(F), np.asarray(labels)
    centred = _centred(F)
    N, D = centred.shape
    S = centred.T @ centred / N
    shrunk = (1 - a) * S + a * np.trace(S) / D * np.eye(D)
    means = np.stack([centred[labels == y].mean(axis=0) for y in labels])  # one row per sample
    between = means.T @ means / N
    return float(np.trace(np.linalg.solve(shrunk, (1 - a) * between)))


def nce(probabilities: ArrayLike, labels: ArrayLike) -> float:
    """sum_{c,z} J ln(J / sum_c J), J[c,z] = share of rows with label c and argmax z (methods 3)."""
    P, labels = np.asarray(probabilities, np.float64), np.asarray(labels)
    source = [int(np.argmax(row)) for row in P]
    score = 0.0
    for c in np.unique(labels):
        for z in sorted(set(source)):
            both = sum(1 for y, s in zip(labels, source, strict=True) if y == c and s == z)
            if both:
                score += both / len(P) * math.log(both / source.count(z))
    return score


def leep(probabilities: ArrayLike, labels: ArrayLike) -> float:
    """mean_n ln sum_z p(y_n|z) P[n,z], p(c|z) = sum_{n: y_n=c} P[n,z]/sum_n P[n,z] (methods 3)."""
    P, labels = np.asarray(probabilities, np.float64), np.asarray(labels)
    score = 0.0
    for row, label in zip(P, labels, strict=True):
        expected = 0.0
        for z in range(P.shape[1]):
            if row[z] > 0:  # an empty source column is never divided by
                expected += P[labels == label, z].sum() / P[:, z].sum() * row[z]
        score += math.log(expected)
    return score / len(P)


def knn_accuracy(F: ArrayLike, labels: ArrayLike, k: int) -> float:
    """Share of rows named by the majority of their k nearest others in cosine (methods 3)."""
    # Equal similarity: the smaller row. Equal votes: the larger summed similarity, then the
    # smaller class. A zero row has similarity 0 to all.
    F, labels = np.asarray(F, np.float64), np.asarray(labels)
    unit = [f / (np.linalg.norm(f) or 1.0) for f in F]
    hits = 0
    for i in range(len(F)):
        similarity = {j: float(unit[i] @ unit[j]) for j in range(len(F)) if j != i}
        nearest = sorted(similarity, key=lambda j: (-similarity[j], j))[:k]
        votes = {c: [similarity[j] for j in nearest if labels[j] == c] for c in labels[nearest]}
        winner = min(votes, key=lambda c: (-len(votes[c]), -math.fsum(votes[c]), c))
        hits += int(winner == labels[i])
    return hits / len(F)


# ---- aggregation of metrics -------------------------------------------------------------------


def copeland(table: ArrayLike) -> Array:
    """Per model, opponents beaten by a majority of the shared metrics minus lost to (spider 4)."""
    table = np.asarray(table, np.float64)
    M = table.shape[1]
    score = np.zeros(M)
    for i in range(M):
        for j in range(M):
            pairs = [(a, b) for a, b in table[:, [i, j]] if np.isfinite(a) and np.isfinite(b)]
            score[i] += np.sign(sum(int(a > b) - int(a < b) for a, b in pairs))
    return score


def borda(table: ArrayLike) -> Array:
    """Mean over a model's metrics of (others beaten + ties/2)/(others with it) (spider 4)."""
    # A metric that only one model has compares nothing and is left out; NaN where none is left.
    table = np.asarray(table, np.float64)
    shares: list[list[float]] = [[] for _ in range(table.shape[1])]
    for metric in table:
        finite = np.flatnonzero(np.isfinite(metric))
        for i in finite if len(finite) > 1 else []:
            points = sum((metric[i] > metric[j]) + 0.5 * (metric[i] == metric[j]) for j in finite)
            shares[i].append(float(points - 0.5) / (len(finite) - 1))  # less its tie with itself
    return np.array([np.mean(share) if share else np.nan for share in shares])


def mean_z(table: ArrayLike) -> Array:
    """Mean over a model's metrics of (value - mean)/sd over the models with it (spider 4)."""
    # Population sd; a metric without spread counts as 0; NaN for a model without metrics.
    table = np.asarray(table, np.float64)
    scores: list[list[float]] = [[] for _ in range(table.shape[1])]
    for metric in table:
        finite = np.flatnonzero(np.isfinite(metric))
        values = metric[finite]
        for i in finite:
            flat = values.min() == values.max()
            scores[i].append(0.0 if flat else (metric[i] - values.mean()) / values.std())
    return np.array([np.mean(score) if score else np.nan for score in scores])


# ---- weighted Kendall tau ---------------------------------------------------------------------


def weighted_tau(truth: ArrayLike, scores: ArrayLike, rank: Literal[True] | None = True) -> float:
    """<x,y>/(|x||y|), <x,y> = sum sgn(dx) sgn(dy) (1/(r_i+1) + 1/(r_j+1)) (Vigna 2015)."""
    # rank None: r is the place by falling (truth, scores). True: the mean of the tau of that and
    # of the place by falling (scores, truth). NaN where one of the two is constant.
    x, y = np.asarray(truth, np.float64), np.asarray(scores, np.float64)
    if rank:
        return (weighted_tau(x, y, None) + weighted_tau(y, x, None)) / 2
    place = {i: r for r, i in enumerate(sorted(range(len(x)), key=lambda i: (-x[i], -y[i])))}
    xy = xx = yy = 0.0
    for i in range(len(x)):
        for j in range(i):
            weight = 1 / (place[i] + 1) + 1 / (place[j] + 1)
            dx, dy = float(np.sign(x[i] - x[j])), float(np.sign(y[i] - y[j]))
            xy, xx, yy = xy + weight * dx * dy, xx + weight * dx * dx, yy + weight * dy * dy
    return xy / math.sqrt(xx * yy) if xx * yy > 0 else math.nan
