"""Peers of the transferability metrics: published algorithms, rewritten from their structure.

Each function keeps the loops, decompositions, iteration counts and tolerances of the code that its
docstring names (repository and function), and says what was repaired so that it runs. Repaired
everywhere: labels may be any integers, a class without rows is no class, inputs are never written
to, every random start has a seed (`random_state`). Numbers keep the published scale; larger is
always better. float32 stays float32 where the published code keeps it: np.cov and one-hot rows made
it float64. `components` is a number of principal components; other options are named as published.

Letters: N samples, D feature width, C classes. The metrics on source probabilities are in
probability_metrics.py.
"""

import warnings
from collections.abc import Sequence
from itertools import permutations, product
from typing import Any

import numpy as np
import scipy.linalg
from jaxtyping import Float, Int, Shaped
from scipy.optimize import linear_sum_assignment, minimize
from scipy.special import logsumexp, softmax
from scipy.stats import mode, spearmanr
from sklearn.covariance import LedoitWolf
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, RidgeClassifierCV
from sklearn.metrics import pairwise_distances
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from bench.peers.probability_metrics import TINY, classes, leep_gather, one_hot

Array = Shaped[np.ndarray, "..."]
Features = Float[np.ndarray, "N D"]
Labels = Int[np.ndarray, " N"]
PENALTIES = (0.01, 0.1, 1.0, 10.0, 100.0)  # of the linear probe and of ridge


def _leading(features: Array, components: int, **options: Any) -> tuple[Array, Array]:
    """Principal coordinates by scikit-learn, and the variances that they explain."""
    pca = PCA(n_components=min(components, len(features) - 1, features.shape[1]), **options)
    return pca.fit_transform(features), pca.explained_variance_


def logme(features: Features, labels: Labels) -> float:
    """thuml/LogME `LogME._fit_fixed_point`, without numba; repaired: N - gamma cannot reach 0."""
    F = features.astype(np.float64)
    (N, D), (y, C) = F.shape, classes(labels)
    if N > D:
        _, square, Vt = np.linalg.svd(F.T @ F)
        s = np.sqrt(square)
        rank = int(np.sum(s > 1e-10))
        s, Vt, U = s[:rank], Vt[:rank], (F @ Vt.T)[:, :rank] / s[:rank]
    else:
        U, s, Vt = np.linalg.svd(F, full_matrices=False)
    sigma, found = s**2, []
    for c in range(C):
        column = (y == c).astype(np.float64)
        x = U.T @ column
        x2 = x**2
        outside = column @ column - x2.sum()
        alpha = beta = 1.0
        for _ in range(11):
            t = alpha / beta
            gamma = (sigma / (sigma + t)).sum()
            weight = (sigma * x2 / (t + sigma) ** 2).sum()
            residual = (x2 / (1 + sigma / t) ** 2).sum() + outside
            alpha = gamma / (weight + 1e-5)
            beta = max(N - gamma, 1e-12) / (residual + 1e-5)
            evidence = (D * np.log(alpha) + N * np.log(beta) - N * np.log(2 * np.pi)) / 2
            evidence -= (np.log(alpha + beta * sigma).sum() + beta * residual + alpha * weight) / 2
            if abs(alpha / beta - t) <= 1e-3 * t:
                break
        Vt.T @ (s * x / (t + sigma))  # the posterior mean, which the published fit keeps
        found.append(evidence / N)
    return float(np.mean(found))


def _between(F: Array, labels: Array) -> Array:
    """Covariance of the rows with each replaced by the mean of its class."""
    (y, C), rows = classes(labels), np.zeros_like(F)
    for c in range(C):
        rows[y == c] = F[y == c].mean(0)
    return np.atleast_2d(np.cov(rows, rowvar=False))


def h_score(features: Features, labels: Labels, *, rcond: float = 1e-15) -> float:
    """thuml/Transfer-Learning-Library `h_score`; N <= D wants a larger rcond than the published."""
    inverse = np.linalg.pinv(np.atleast_2d(np.cov(features, rowvar=False)), rcond=rcond)
    return float(np.trace(inverse @ _between(features, labels)))


def h_score_shrunk(features: Features, labels: Labels) -> float:
    """iLearn-Lab/ICCV25-DCA and other copies of TLlib `regularized_h_score`; nothing repaired."""
    F = features.astype(np.float64)
    F = F - F.mean(0)
    fit = LedoitWolf().fit(F)
    inverse = np.linalg.pinv(fit.covariance_, rcond=1e-15)
    return float(np.trace(inverse @ ((1 - fit.shrinkage_) * _between(F, labels))))


def n_leep(features: Features, labels: Labels, *, random_state: int = 0) -> float:
    """TencentARC/SFDA `NLEEP`; repaired: the logarithm, at most N components, EM in float64."""
    y, C = classes(labels)
    Z = PCA(n_components=0.8).fit_transform(features).astype(np.float64)
    mixture = GaussianMixture(min(5 * C, len(Z)), random_state=random_state)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        responsibilities = mixture.fit(Z).predict_proba(Z)
    return leep_gather(probabilities=responsibilities, labels=y)


def parc(features: Features, labels: Labels, *, components: int | None = 32) -> float:
    """dbolya/parc `PARC`, times 100; repaired: components fit D. All rows, no subset of 15,000."""
    y, C = classes(labels)
    Z = features
    if components is not None:
        solver = {"svd_solver": "randomized", "random_state": 1919, "iterated_power": 1}
        Z, _ = _leading(features, components, **solver)
    upper = np.triu_indices(len(y), 1)
    rows = 1 - np.corrcoef(StandardScaler().fit_transform(Z))
    tags = 1 - np.corrcoef(one_hot(y, C))
    return float(spearmanr(rows[upper], tags[upper])[0]) * 100


def gbc(
    features: Features, labels: Labels, *, components: int = 64, random_state: int = 0
) -> float:
    """zhangyikaii/Model-Spider `GBC`; repaired: slogdet for det + 1e-5, variances have a floor."""
    y, C = classes(labels)
    Z, _ = _leading(features, components, random_state=random_state)
    floor = 1e-4 * np.mean(Z**2) * np.eye(Z.shape[1])
    means = [Z[y == c].mean(0) for c in range(C)]
    covs = [floor + (np.cov(Z[y == c].T) if np.sum(y == c) > 1 else 0.0) for c in range(C)]
    score = 0.0
    for i, j in permutations(range(C), 2):
        gap, middle = means[i] - means[j], (covs[i] + covs[j]) / 2
        logs = [np.linalg.slogdet(cov)[1] for cov in (middle, covs[i], covs[j])]
        far = gap @ np.linalg.pinv(middle) @ gap / 8
        score -= np.exp(-far - (logs[0] - (logs[1] + logs[2]) / 2) / 2)
    return float(score)


def _coding_rate(rows: Array, epsilon: float) -> float:
    n, D = rows.shape
    return float(np.linalg.slogdet(np.eye(D) + rows.T @ rows / (n * epsilon))[1]) / 2


def transrate(features: Features, labels: Labels, *, epsilon: float = 1e-4) -> float:
    """thuml/Transfer-Learning-Library `transrate`, plain mean over classes; nothing repaired."""
    y, C = classes(labels)
    F = features - features.mean(0)
    within = sum(_coding_rate(F[y == c], epsilon) for c in range(C))
    return _coding_rate(F, epsilon) - within / C


def _largest_eigenvalue(A: Array) -> float:
    """SFDA `iterative_A`: three double power steps from the row sums."""
    x = y = A.sum(1)
    for _ in range(3):
        y = A @ x / max(np.linalg.norm(A @ x), TINY)
        x = A @ y / max(np.linalg.norm(A @ y), TINY)
    return float(x @ A @ y)


def _discriminant(F: Array, y: Array, C: int, shrinkage: float | None) -> tuple[Array, float]:
    """SFDA `SFDA.fit` and `predict_proba`: posteriors [N, C] and the shrinkage that was used."""
    D, priors = F.shape[1], np.bincount(y) / len(y)
    means = one_hot(y, C).T @ F / np.bincount(y)[:, None]
    within = np.zeros((D, D))
    for c in range(C):
        within += priors[c] * np.atleast_2d(np.cov(F[y == c].T, bias=True))
    scale, largest = float(np.trace(within)) / D, _largest_eigenvalue(within)
    if shrinkage is None:
        definite = 2**-52 * D * largest / max(scale, TINY)  # below it Cholesky may fail
        shrinkage = max(float(np.exp(-5 * largest)), 1e-10, definite)
    total = np.atleast_2d(np.cov(F.T, bias=True))
    scale = scale or float(np.trace(total)) / D or 1.0
    within = (1 - shrinkage) * within + shrinkage * scale * np.eye(D)
    total = (1 - shrinkage) * total + shrinkage * np.trace(total) / D * np.eye(D)
    values, vectors = scipy.linalg.eigh(total - within, within)
    vectors = vectors[:, np.argsort(values)[::-1]]
    weights = means @ vectors @ vectors.T
    offsets = np.log(priors) - np.sum(means * weights, axis=1) / 2
    return softmax(F @ weights.T + offsets, axis=1), shrinkage


def sfda(features: Features, labels: Labels) -> float:
    """TencentARC/SFDA `SFDA_Score`; repaired: works on a copy, shrinkage keeps S_w definite."""
    y, C = classes(labels)
    posterior, shrinkage = _discriminant(features, y, C, None)
    posterior = softmax(posterior, axis=1)  # a second time, as published
    means = one_hot(y, C).T @ features / np.bincount(y)[:, None]
    others = (means.sum(0) - means) / (C - 1)
    mixed = features.copy()
    for c in range(C):
        rows = np.flatnonzero(y == c)
        sure = posterior[rows, c, None]
        mixed[rows] = sure * mixed[rows] + (1 - sure) * others[c]
    posterior, _ = _discriminant(mixed, y, C, shrinkage)
    return float(posterior[np.arange(len(y)), y].mean())


def lfc(features: Features, labels: Labels) -> float:
    """zhangyikaii/Model-Spider `LFC`, one-hot product through BLAS; no subset above 45,000 rows."""
    y, C = classes(labels)
    hot = one_hot(y, C, features.dtype)
    same = hot @ hot.T
    same[same == 0] = -1
    kernel = features @ features.T
    same -= same.mean()
    kernel -= kernel.mean()
    scale = np.sqrt(np.sum(kernel * kernel)) * np.sqrt(np.sum(same * same))
    return float(np.sum(kernel * same) / max(scale, TINY))


def pactran_gauss(
    features: Features,
    labels: Labels,
    *,
    penalty: float = 1.0,
    prior_variance: float = 10.0,
    random_state: int = 0,
) -> float:
    """google-research/pactran_metrics `calculate_pac_gauss`, negated; repaired: float64 once."""
    y, C = classes(labels)
    F, Y = features.astype(np.float64), one_hot(y, C)
    F -= F.mean(0)
    N, D = F.shape

    def logits(theta: Array) -> tuple[Array, Array]:
        table = theta.reshape(D + 1, C)
        return F @ table[:D] + table[D], table[:D]

    def loss(theta: Array) -> float:
        scores, W = logits(theta)
        entropy = np.sum(Y * (np.log(Y + 1e-10) - scores + logsumexp(scores, 1, keepdims=True)))
        return float(entropy / N + np.sum(W**2) / (2 * penalty * N))

    def gradient(theta: Array) -> Array:
        scores, W = logits(theta)
        slope = (softmax(scores, axis=1) - Y) / N
        return np.vstack([F.T @ slope + W / (penalty * N), slope.sum(0)]).ravel()

    start = np.zeros((D + 1, C))
    start[:D] = 0.03 * np.random.default_rng(random_state).normal(size=(D, C))
    options = {"maxiter": 100}
    best = minimize(loss, start.ravel(), method="L-BFGS-B", jac=gradient, options=options, tol=1e-6)
    P = softmax(logits(best.x)[0], axis=1)
    bend = P - P**2
    trace = np.sum(np.square(F).T @ bend + 1 / (penalty * N)) + np.sum(bend)
    volume = np.log(trace * penalty * N / (D * C) + 1e-10)
    return -(loss(best.x) + C / (2 * penalty * N) * prior_variance * volume)


def ncti(
    features: Features, labels: Labels, *, components: int = 64, random_state: int = 0
) -> tuple[float, float, float]:
    """BUserName/NCTI `NCTI_Score`, its three parts; repaired: components fit N - 1 and D."""
    y, C = classes(labels)
    Z, variances = _leading(features, components, random_state=random_state)
    shrinkage = max(float(np.exp(-variances[:32].sum())), 1e-10)
    classifier = LinearDiscriminantAnalysis(solver="svd")
    if shrinkage > 1e-10:
        classifier = LinearDiscriminantAnalysis(solver="eigen", shrinkage=shrinkage)
    low = classifier.fit_transform(Z, y)
    spread = np.linalg.norm(low - low.mean(0), ord="nuc")
    posterior = classifier.predict_proba(Z)
    nearest = posterior[np.arange(len(y)), y].mean()
    collapse = sum(np.linalg.norm(posterior[y == c], ord="nuc") for c in range(C))
    return float(spread), float(nearest), float(np.log(collapse))


def knn(features: Features, labels: Labels, *, k: int = 1, metric: str = "euclidean") -> float:
    """dbolya/parc `kNN`, in per cent; repaired: a row is left out by its index, not its rank."""
    y, _ = classes(labels)
    distances = pairwise_distances(features, metric=metric)
    np.fill_diagonal(distances, np.inf)
    votes = y[np.argsort(distances, axis=-1)[:, :k]]
    winners, counts = mode(votes, axis=1, keepdims=True)
    return 100 * float(np.mean(np.where(counts == 1, votes, winners) == y[:, None]))


def linear_probe(
    features: Features,
    labels: Labels,
    *,
    penalties: Sequence[float] = PENALTIES,
    random_state: int = 0,
) -> float:
    """No repository: scikit-learn's nested cross-validation of a logistic regression."""
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    grid = {"logisticregression__C": [1 / penalty for penalty in penalties]}
    outer, inner = (StratifiedKFold(n, shuffle=True, random_state=random_state) for n in (5, 3))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # rare classes in folds, fits that hit max_iter
        search = GridSearchCV(model, grid, cv=inner)
        return float(np.mean(cross_val_predict(search, features, labels, cv=outer) == labels))


def ridge(features: Features, labels: Labels, *, penalties: Sequence[float] = PENALTIES) -> float:
    """No repository: scikit-learn's leave-one-out of a ridge classifier, accuracy of the best."""
    scaled = StandardScaler().fit_transform(features)
    model = RidgeClassifierCV(alphas=tuple(penalties), scoring="accuracy")
    return float(model.fit(scaled, labels).best_score_)


def otce(source: Features, source_labels: Labels, features: Features, labels: Labels) -> float:
    """zhangyikaii/Model-Spider `OTCE`, negated; SciPy's exact assignment stands in for POT's EMD.

    POT is not installed. With as many source as target rows both solve the same problem.
    """
    if len(source) != len(features):
        raise ValueError(
            f"otce: {len(source)} source rows must be {len(features)}, as the target's"
        )
    (a, A), (b, B), N = classes(source_labels), classes(labels), len(features)
    cost = np.sum(source**2, 1)[:, None] + np.sum(features**2, 1) - 2 * source @ features.T
    coupling = np.zeros((N, N))
    coupling[linear_sum_assignment(cost)] = 1 / N
    joint = np.zeros((A, B))
    for i, j in product(range(A), range(B)):
        joint[i, j] = coupling[np.ix_(a == i, b == j)].sum()
    here = joint > 0
    conditional = np.sum(joint[here] * np.log((joint / joint.sum(1, keepdims=True))[here]))
    return float(conditional - np.sum(coupling * cost))
