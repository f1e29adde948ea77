"""Every metric against its formula or scikit-learn, then one table: metrics x shared properties."""

import math
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from scipy.optimize import minimize
from scipy.special import softmax
from sklearn.covariance import LedoitWolf
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from spider_jax.metrics import METRICS, h_score_shrunk, knn, leep, linear_probe, logme, nce, ridge
from spider_jax.metrics.h_score import h_score_core
from spider_jax.metrics.knn import knn_core
from spider_jax.metrics.linear_probe import (
    INNER_FOLDS,
    OUTER_FOLDS,
    PENALTIES,
    _folds,
    fit_logistic,
    stratified_folds,
)
from spider_jax.metrics.logme import logme_core
from spider_jax.metrics.ridge import PENALTIES as RIDGE_PENALTIES
from spider_jax.metrics.ridge import ridge_core
from spider_jax.metrics.statistics import compiled, statistics

CORES = {"logme": logme_core, "knn": knn_core, "h_score": h_score_core, "ridge": ridge_core}


def blobs(n=40, width=6, classes=3, *, noise=1.0, seed=0):
    """Features [n, width] around a random mean per class, labels [n]."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(n) % classes)
    means = rng.normal(size=(classes, width))
    return means[labels] + noise * rng.normal(size=(n, width)), labels


def rank_deficient(n, width, rank):
    F, y = blobs(n, rank, noise=0.5)
    return F @ np.random.default_rng(1).normal(size=(rank, width)), y


def with_columns(*columns):
    F, y = blobs(noise=0.5)
    return np.hstack([F, np.tile(np.array(columns, float), (len(F), 1))]), y


def columns_twice():
    F, y = blobs(noise=0.5)
    return np.hstack([F, F[:, :3]]), y


def rows_twice(n, width):
    F, y = blobs(n, width)
    return np.vstack([F, F]), np.hstack([y, y])


def rows_twice_in_two_classes():
    F, y = rows_twice(8, 30)
    return F, np.hstack([y[:8], (y[:8] + 1) % 3])


def linear_labels():
    """Every class indicator is a linear function of 5 features."""
    rng = np.random.default_rng(2)
    _, y = blobs(30)
    return np.hstack([np.eye(3)[y], rng.normal(size=(30, 2))]) @ rng.normal(size=(5, 5)), y


# ---- LogME ------------------------------------------------------------------------------------

LOGME_CASES = {
    "more rows than features": blobs(noise=0.5),
    "more features than rows": blobs(20, 30, noise=0.5),
    "rank 3 of 8, tall": rank_deficient(40, 8, 3),
    "rank 4 of 30, wide": rank_deficient(20, 30, 4),
    "constant columns": with_columns(3, 0),
    "columns twice": columns_twice(),
    "rows twice, tall": rows_twice(20, 6),
    "rows twice, wide": rows_twice(10, 30),
    "rows twice in two classes, wide": rows_twice_in_two_classes(),
    "labels linear in the features": linear_labels(),
    "noise only": (np.random.default_rng(3).normal(size=(40, 4)), np.arange(40) % 3),
    "zero features": (np.zeros((12, 3)), np.arange(12) % 3),
    "a full bucket of rows": blobs(64),
    "one row over the bucket": blobs(65),
}
INTERPOLATED = {"rows twice, wide", "labels linear in the features"}
AT_AN_END = INTERPOLATED | {"noise only", "zero features"}


@pytest.mark.parametrize("case", LOGME_CASES)
def test_logme_is_the_maximum_of_the_evidence(case):
    expected, _, at_end = reference.logme_brute_force(*LOGME_CASES[case])
    assert any(at_end) == (case in AT_AN_END)
    assert logme(*LOGME_CASES[case]) == pytest.approx(expected, abs=1e-6 if any(at_end) else 1e-8)


def test_logme_of_float32_features():
    F, y = blobs(20, 50)
    expected, _, _ = reference.logme_brute_force(F, y)
    assert logme(F.astype(np.float32), y) == pytest.approx(expected, abs=1e-4)


def direct_logme(F, y):
    """max over ln alpha, ln beta of the evidence over N: a grid, then Nelder-Mead."""

    def loss(at):
        return -reference.log_evidence(F, y, *np.exp(at)) / len(y)

    grid = [(a, b) for a in np.arange(-6.0, 7.0) for b in np.arange(-6.0, 7.0)]
    options = {"xatol": 1e-7, "fatol": 1e-13}
    return -minimize(loss, min(grid, key=loss), method="Nelder-Mead", options=options).fun


def test_logme_of_regression_targets():
    rng = np.random.default_rng(4)
    F = rng.normal(size=(14, 3))
    Y = F @ rng.normal(size=(3, 2)) + 0.5 * rng.normal(size=(14, 2))
    expected = [direct_logme(F, y) for y in Y.T]
    assert logme(F, Y) == pytest.approx(np.mean(expected), abs=1e-8)
    assert logme(F, Y[:, 0]) == pytest.approx(expected[0], abs=1e-8)


def test_logme_of_several_labels_a_row():
    F, y = blobs(14, 3, 2, noise=0.5)
    Y = np.stack([y == 0, F[:, 1] > 0], axis=1)
    expected = np.mean([direct_logme(F, column.astype(float)) for column in Y.T])
    assert logme(F, Y) == pytest.approx(expected, abs=1e-8)
    assert logme(F, Y.astype(int)) == logme(F, Y)


def test_logme_leaves_out_a_label_without_a_positive_row():
    F, y = blobs()
    Y = np.eye(3, dtype=bool)[y]
    empty = np.zeros((len(Y), 1), bool)
    assert logme(F, np.hstack([Y[:, :1], empty, Y[:, 1:]])) == pytest.approx(logme(F, Y), abs=1e-12)


@pytest.mark.parametrize(
    ("targets", "mention"),
    [
        (np.full(40, np.nan), "finite"),
        (np.zeros((39, 2)), "N=40"),
        (np.zeros((0, 2)), "N=40"),
        (np.zeros((40, 0)), "(40, 0)"),
        (np.zeros((40, 2, 2)), "(40, 2, 2)"),
        (np.zeros(()), "()"),
        (np.full(40, "cat"), "<U3"),
    ],
)
def test_logme_refuses_targets_that_are_none(refused, targets, mention):
    with refused("labels", mention):
        logme(blobs()[0], targets)


# ---- H-Score ----------------------------------------------------------------------------------

H_SCORE_CASES = {
    "more rows than features": blobs(),
    "more features than rows": blobs(20, 50),
    "one feature": blobs(width=1),
    "rank 3 of 8": rank_deficient(40, 8, 3),
    "constant columns": with_columns(3, 0),
    "rows twice": rows_twice(10, 30),
    "a full bucket of rows": blobs(64),
    "one row over the bucket": blobs(65),
}


@pytest.mark.parametrize("case", H_SCORE_CASES)
def test_h_score_agrees_with_the_formula(case):
    expected = reference.h_score_shrunk(*H_SCORE_CASES[case])
    assert h_score_shrunk(*H_SCORE_CASES[case]) == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("case", H_SCORE_CASES)
def test_the_shrinkage_of_the_h_score_is_ledoit_and_wolfs(case):
    F, y = H_SCORE_CASES[case]
    fit = LedoitWolf().fit(F)
    means = np.stack([F[y == c].mean(0) for c in y]) - F.mean(0)
    between = (1 - fit.shrinkage_) * means.T @ means / len(F)
    expected = np.trace(np.linalg.solve(fit.covariance_, between))
    assert h_score_shrunk(F, y) == pytest.approx(expected, abs=1e-10)


# ---- kNN --------------------------------------------------------------------------------------


def tied_rows(seed, n=16):
    """Rows along an axis, of length 0, 1 or 2: every similarity is exactly -1, 0 or 1."""
    rng = np.random.default_rng(seed)
    rows = np.eye(3)[rng.integers(0, 3, n)] * rng.choice([-1, 0, 1, 2], n)[:, None]
    return rows, rng.permutation(np.arange(n) % 4)


@pytest.mark.parametrize("k", [1, 5, 15, 40])
@pytest.mark.parametrize("data", [blobs(16), blobs(16, 50), *map(tied_rows, range(4))])
def test_knn_agrees_with_the_definition(data, k):
    assert knn(*data, k=k) == pytest.approx(reference.knn_accuracy(*data, k), abs=1e-15)


@pytest.mark.parametrize("n", [64, 65])
def test_knn_of_a_full_bucket_and_of_one_row_more(n):
    assert knn(*tied_rows(2, n)) == pytest.approx(reference.knn_accuracy(*tied_rows(2, n), 5))


def test_knn_by_hand():
    # Rows 0-2 point one way, 3-4 the other; with k = 1 the nearest other row is of the own class
    # for 0 (row 1), 1 (row 0) and 2 (row 0); 3 and 4 see each other, of different classes.
    F = np.array([[1.0, 0], [2, 0], [3, 0], [-1, 0], [-2, 0]])
    assert knn(F, [0, 0, 0, 1, 0], k=1) == pytest.approx(3 / 5)


def test_knn_needs_a_neighbour(refused):
    with refused("k", 0):
        knn(*blobs(), k=0)


# ---- NCE and LEEP -----------------------------------------------------------------------------


def source_head(n=40, source=7, empty=()):
    """Softmax [n, source] with columns that no row ever predicts, labels [n]."""
    rng = np.random.default_rng(5)
    logits = 2 * rng.normal(size=(n, source))
    logits[:, list(empty)] = -np.inf
    return softmax(logits, axis=1), rng.permutation(np.arange(n) % 3)


@pytest.mark.parametrize(("metric", "formula"), [(nce, reference.nce), (leep, reference.leep)])
@pytest.mark.parametrize(
    "data", [source_head(), source_head(empty=[0, 3]), source_head(10, 50), source_head(source=1)]
)
def test_metrics_of_probabilities_agree_with_their_formulas(metric, formula, data):
    P, y = data
    assert metric(probabilities=P, labels=y) == pytest.approx(formula(P, y), abs=1e-12)


def test_a_source_head_that_is_sure_of_the_class_leaves_nothing_to_say():
    y = np.array([0, 1, 2, 1, 0])
    P = np.eye(4)[y]
    assert nce(probabilities=P, labels=y) == leep(probabilities=P, labels=y) == 0


@pytest.mark.parametrize("metric", [nce, leep])
def test_rows_that_are_no_distribution_are_named(refused, metric):
    P, y = source_head()
    with refused("probabilities", "40 are not", "First row: 0"):
        metric(probabilities=2 * P, labels=y)
    P[7, 0], P[7, 1] = -0.5, P[7, 1] + P[7, 0] + 0.5
    with refused("probabilities", "1 are not", "First row: 7"):
        metric(probabilities=P, labels=y)


# ---- ridge ------------------------------------------------------------------------------------


def ridge_refitted(F, y):
    """Accuracy and squared error of a scikit-learn ridge refitted without each row, by penalty."""
    Y = np.eye(y.max() + 1)[y]
    scale = ((F - F.mean(0)) ** 2).sum() / len(F)
    found = []
    for penalty in RIDGE_PENALTIES:
        model = Ridge(alpha=penalty * scale)
        left_out = [np.arange(len(F)) != row for row in range(len(F))]
        P = [model.fit(F[k], Y[k]).predict(F[~k])[0] for k in left_out]
        found.append((((P - Y) ** 2).sum(), np.mean(np.argmax(P, axis=1) == y)))
    return found


RIDGE_CASES = {
    "tall": blobs(24, 4, noise=2.0),
    "labels linear in the features": linear_labels(),
    "wide": blobs(14, 20, noise=2.0),
    "constant column": with_columns(3),
    "noise only": (np.random.default_rng(3).normal(size=(20, 6)), np.arange(20) % 2),
    "one row over the bucket": blobs(65, 3, noise=2.0),
}


@cache
def refitted(case):
    return ridge_refitted(*RIDGE_CASES[case])


@pytest.mark.parametrize("case", RIDGE_CASES)
def test_ridge_agrees_with_refits_that_leave_one_out(case):
    _, expected = min(refitted(case))
    assert ridge(*RIDGE_CASES[case], standardize=False) == pytest.approx(expected)


def test_ridge_standardizes_unless_told():
    F, y = blobs(24, 4, noise=2.0, seed=1)
    F[:, 0] *= 100
    assert ridge(F, y) == pytest.approx(
        min(ridge_refitted(StandardScaler().fit_transform(F), y))[1]
    )


def test_the_cases_of_ridge_choose_different_penalties():
    found = [refitted(case) for case in RIDGE_CASES]
    assert len({f.index(min(f)) for f in found}) > 2


# ---- linear probe -----------------------------------------------------------------------------


converged = jax.jit(partial(fit_logistic, max_steps=100_000, tolerance=1e-10))


@pytest.mark.parametrize("penalty", [0.01, 10.0])
@pytest.mark.parametrize("width", [4, 60])
def test_a_fit_is_scikit_learns(width, penalty):
    F, y = blobs(40, width, noise=2.0)
    training = np.arange(40) < 30
    U, s, _ = np.linalg.svd(F - F.mean(0), full_matrices=False)
    Z = (U * s)[:, s > 1e-9]  # orthogonal, centred columns
    theirs = LogisticRegression(C=1 / penalty, solver="newton-cg", tol=1e-10)
    theirs.fit(Z[training], y[training])
    with jax.enable_x64(True):
        given = (Z, s[s > 1e-9] ** 2, np.eye(4)[y], training, np.float64(penalty))
        W, b = converged(*map(jnp.asarray, given))
        W, b = np.asarray(W), np.asarray(b)
    np.testing.assert_allclose(W[:, :3].T, theirs.coef_, atol=1e-5)
    np.testing.assert_allclose(b[:3] - b[:3].mean(), theirs.intercept_, atol=1e-5)
    assert (W[:, 3] == 0).all()  # a class without a row


@pytest.mark.parametrize("folds", [2, 3, 5])
def test_folds_share_out_every_class(folds):
    y = np.repeat([0, 1, 2], [17, 4, 1])
    fold = stratified_folds(y, folds, np.random.default_rng(0))
    assert set(fold) <= set(range(folds))
    for rows in (fold, *(fold[y == c] for c in range(3))):
        counts = np.bincount(rows, minlength=folds)
        assert counts.max() - counts.min() <= 1


def test_inner_folds_hold_training_rows_only():
    _, y = blobs(40)
    (outer,), inner = _folds(y, seed=0)
    for fold in range(OUTER_FOLDS):
        assert ((inner[fold] == -1) == (outer == fold)).all()
        assert set(inner[fold][outer != fold]) == set(range(INNER_FOLDS))


def test_the_probe_is_near_scikit_learns_nested_search():
    F, y = blobs(60, 4)
    grid = {"logisticregression__C": [1 / p for p in PENALTIES]}
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    inner, outer = (StratifiedKFold(k, shuffle=True, random_state=0) for k in (3, 5))
    theirs = cross_val_predict(GridSearchCV(model, grid, cv=inner), F, y, cv=outer)
    assert 0.6 < np.mean(theirs == y) < 1
    assert linear_probe(F, y) == pytest.approx(np.mean(theirs == y), abs=0.05)


def test_the_probe_never_names_a_row_it_was_fitted_on():
    rng = np.random.default_rng(6)  # 200 features interpolate 60 random labels
    assert linear_probe(rng.normal(size=(60, 200)), np.arange(60) % 2) < 0.75


def test_the_seed_of_the_probe_decides_its_folds():
    F, y = blobs(noise=2.0)
    assert linear_probe(F, y, seed=1) == linear_probe(F, y, seed=1)
    assert len({linear_probe(F, y, seed=seed) for seed in range(5)}) > 1


def test_the_probe_needs_a_row_a_fold(refused):
    with refused("features", 5, 4):
        linear_probe(np.eye(4), [0, 1, 0, 1])


# ---- the cores: padding, jit, vmap ------------------------------------------------------------


def padded(F, y, rows=64, classes=8, *, standardize=False):
    """Statistics of one task, with so many rows and classes."""
    n = len(F)
    Y = np.pad(np.eye(y.max() + 1)[y], ((0, rows - n), (0, classes - y.max() - 1)))
    F = np.pad(F, ((0, rows - n), (0, 0)))
    return statistics(F, Y, np.arange(rows) < n, F.shape[1], standardize=standardize)


def run(core, given, *, batch=False):
    with jax.enable_x64(True):
        return np.asarray(compiled(core, batch=batch)(given))


@pytest.mark.parametrize("name", CORES)
def test_padding_changes_nothing(name):
    one, another = (run(CORES[name], padded(*blobs(), rows=rows)) for rows in (64, 128))
    np.testing.assert_allclose(one, another, atol=1e-12)


@pytest.mark.parametrize("standardize", [False, True])
@pytest.mark.parametrize("name", CORES)
def test_a_batch_is_its_tasks_one_by_one(name, standardize):
    tasks = [blobs(n, 6, c, seed=n) for n, c in ((40, 3), (64, 8), (12, 2))]
    alone = [padded(*task, standardize=standardize) for task in tasks]
    F = np.stack([np.pad(F, ((0, 64 - len(F)), (0, 0))) for F, _ in tasks])
    Y, rows = (np.stack([getattr(one, key) for one in alone]) for key in ("targets", "rows"))
    together = run(CORES[name], statistics(F, Y, rows, 6, standardize=standardize), batch=True)
    np.testing.assert_allclose(together, [run(CORES[name], one) for one in alone], atol=1e-12)


@pytest.mark.parametrize("name", CORES)
def test_jit_changes_nothing(name):
    given = padded(*blobs())
    with jax.enable_x64(True), jax.disable_jit():
        eager = np.asarray(CORES[name](jax.tree.map(jnp.asarray, given)))
    np.testing.assert_allclose(run(CORES[name], given), eager, atol=1e-12)


# ---- all metrics x shared properties ----------------------------------------------------------

ALL = sorted(METRICS)
# The folds of the probe follow the order of rows and classes: other folds, another accuracy.
SAME = {"linear_probe": 0.15}
RANGES = {
    "logme": (-math.inf, math.inf),
    "knn": (0, 1),
    "h_score_shrunk": (0, 2),
    "nce": (-math.log(3), 0),
    "leep": (-math.inf, 0),
    "ridge": (0, 1),
    "linear_probe": (0, 1),
}


def inputs(name, F):
    """What the metric reads, made of features: themselves, or a softmax of them."""
    return softmax(F, axis=1) if METRICS[name].needs == "probabilities" else F


def score(name, X, y):
    """The metric called by its kind."""
    if METRICS[name].needs == "probabilities":
        return METRICS[name].score(probabilities=X, labels=y)
    return METRICS[name].score(X, y)


def test_every_metric_has_a_range():
    assert set(RANGES) == set(METRICS)
    assert {metric.needs for metric in METRICS.values()} == {"features", "probabilities"}


@pytest.mark.parametrize("name", ALL)
def test_the_order_of_rows_does_not_count(name):
    F, y = blobs(noise=1.5)
    order = np.random.default_rng(7).permutation(len(F))
    X, same = inputs(name, F), SAME.get(name, 1e-12)
    assert score(name, X[order], y[order]) == pytest.approx(score(name, X, y), abs=same)


@pytest.mark.parametrize("name", ALL)
def test_the_names_of_classes_do_not_count(name):
    F, y = blobs(noise=1.5)
    X, same = inputs(name, F), SAME.get(name, 1e-12)
    assert score(name, X, np.array([40, -3, 7])[y]) == pytest.approx(score(name, X, y), abs=same)
    assert score(name, X, np.array([-3, 7, 40])[y]) == score(name, X, y)
    assert score(name, X, y.astype(np.uint8).tolist()) == score(name, X, y)


@pytest.mark.parametrize("name", ALL)
def test_float32_input_will_do(name):
    F, y = blobs(noise=1.5)
    X = inputs(name, F)
    assert score(name, X.astype(np.float32), y) == pytest.approx(score(name, X, y), abs=1e-6)


@pytest.mark.parametrize("name", ALL)
def test_the_layout_in_memory_does_not_count(name):
    F, y = blobs(noise=1.5)
    X = inputs(name, F)
    strided = np.repeat(X, 2, axis=0)[::2].copy(order="F")
    strided.setflags(write=False)
    assert score(name, strided, y) == pytest.approx(score(name, X, y), abs=1e-12)


EDGES = {
    "more features than rows": blobs(12, 50),
    "a constant feature": with_columns(3),
    "a feature of zeros": with_columns(0),
    "all features constant": (np.full((40, 6), 3.0), np.arange(40) % 3),
    "all features zero": (np.zeros((40, 6)), np.arange(40) % 3),
    "a class of one sample": (blobs()[0], np.repeat([0, 1, 2], [20, 19, 1])),
    "every row its own class but one": (blobs(6)[0], np.array([0, 1, 2, 3, 4, 4])),
    "one feature": blobs(width=1),
    "large features": (1e6 * blobs()[0], blobs()[1]),
    "small features": (1e-6 * blobs()[0], blobs()[1]),
}


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("edge", EDGES)
def test_at_the_edges_a_score_is_finite_and_in_its_range(name, edge):
    F, y = EDGES[edge]
    low, high = RANGES[name]
    if edge == "every row its own class but one":
        low, high = {"h_score_shrunk": (0, 4), "nce": (-math.log(5), 0)}.get(name, (low, high))
    found = score(name, inputs(name, F), y)
    assert math.isfinite(found)
    assert low - 1e-12 <= found <= high + 1e-12


@pytest.mark.parametrize("name", ["ridge", "linear_probe"])
def test_a_probe_does_not_see_a_constant_feature(name):
    F, y = blobs(noise=1.5)
    with_constant = np.insert(F, 2, 5.0, axis=1)
    assert score(name, with_constant, y) == pytest.approx(score(name, F, y), abs=1e-6)


@pytest.mark.parametrize("name", ALL)
def test_features_that_tell_the_classes_apart_score_higher(name):
    (clear, y), (vague, _) = blobs(60, noise=0.3), blobs(60, noise=30.0)
    clear, vague = (inputs(name, F / F.std()) for F in (clear, vague))
    assert score(name, clear, y) > score(name, vague, y)


@pytest.mark.parametrize("name", ["logme", "knn", "h_score_shrunk", "ridge"])
def test_standardize_standardizes_first(name):
    F, y = blobs(noise=1.5)
    skewed = F * 10.0 ** np.arange(-2, 4) + 5
    by_hand = (skewed - skewed.mean(0)) / skewed.std(0)
    metric = METRICS[name].score
    expected = metric(by_hand, y, standardize=False)
    assert metric(skewed, y, standardize=True) == pytest.approx(expected, abs=1e-9)
    assert metric(skewed, y, standardize=False) != pytest.approx(expected, abs=1e-6)


def put(X, value):
    X = X.copy()
    X[3, 1] = value
    return X


BAD = {
    "a label short": (lambda X, y: (X, y[:-1]), ("labels", "N=40", 39)),
    "a label more": (lambda X, y: (X[:-1], y), ("labels", "N=39", 40)),
    "no labels": (lambda X, y: (X, y[:0]), ("labels", "N=40", 0)),
    "one class": (lambda X, y: (X, 0 * y + 7), ("labels", "two classes", 7)),
    "labels as text": (lambda X, y: (X, y.astype(str)), ("labels", "<U21")),
    "labels as objects": (lambda X, y: (X, y.astype(object)), ("labels", "object")),
    "NaN": (lambda X, y: (put(X, np.nan), y), ("First row: 3", "1 ")),
    "infinity": (lambda X, y: (put(X, np.inf), y), ("First row: 3", "1 ")),
    "no rows": (lambda X, y: (X[:0], y[:0]), ("[N, ", "(0, 6)")),
    "no columns": (lambda X, y: (X[:, :0], y), ("[N, ", "(40, 0)")),
    "a vector": (lambda X, y: (X[:, 0], y), ("[N, ", "(40,)")),
    "a stack": (lambda X, y: (X[None], y), ("[N, ", "(1, 40, 6)")),
    "objects": (lambda X, y: (X.astype(object), y), ("object", "(40, 6)")),
    "text": (lambda X, y: (X.astype(str), y), ("<U32", "(40, 6)")),
    "complex": (lambda X, y: (X.astype(complex), y), ("complex128", "(40, 6)")),
}


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("bad", BAD)
def test_bad_input_is_refused_in_one_line(refused, name, bad):
    spoil, mentions = BAD[bad]
    F, y = blobs()
    X, y = spoil(inputs(name, F), y)
    with refused(*mentions):
        score(name, X, y)
