"""LogME, H-Score, kNN, NCE and LEEP against their formulas, by hand or with scikit-learn."""

import sys

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import softmax
from sklearn.covariance import LedoitWolf
from sklearn.metrics import r2_score
from sklearn.model_selection import LeaveOneOut, cross_val_predict, cross_val_score
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

from spider_jax.metrics import h_score, h_score_shrunk, knn, leep, logme, nce
from spider_jax.metrics.shared.inputs import stratified_rows
from support.references import metrics as references
from support.references import ranking_and_spider as reference
from support.toy_tasks import (
    blobs,
    columns_twice,
    linear_labels,
    rank_deficient,
    rows_twice,
    rows_twice_in_two_classes,
    with_columns,
)

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


@pytest.mark.parametrize(
    "case", ["more rows than features", "more features than rows", "a full bucket of rows"]
)
def test_logme_as_published_is_the_public_fixed_point(case):
    F, y = LOGME_CASES[case]
    expected = references.logme_published(F, y)
    assert logme(F, y, compat="published") == pytest.approx(expected, abs=1e-9)


def test_the_published_logme_favours_wide_features():
    """The known bug: pure noise of 2,048 columns on 100 rows gets +85.7, exact -0.32."""
    rng = np.random.default_rng(0)
    F, y = rng.normal(size=(100, 2048)), np.arange(100) % 10
    assert logme(F, y, compat="published") > 10
    assert logme(F, y) < 1


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
def test_the_plain_h_score_agrees_with_the_formula(case):
    F, y = H_SCORE_CASES[case]
    assert h_score(F, y) == pytest.approx(references.h_score(F, y), abs=1e-10)
    assert h_score(F, y) <= 2 + 1e-12  # C - 1
    assert h_score(F.astype(np.float32), y) == pytest.approx(h_score(F, y), abs=1e-5)


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


@pytest.mark.parametrize("kept", [0, 1 << 20])
@pytest.mark.parametrize("k", [1, 5, 40])
@pytest.mark.parametrize("data", [blobs(37), blobs(32), *(tied_rows(s, 37) for s in range(4))])
def test_knn_block_by_block_agrees_with_the_definition(monkeypatch, data, k, kept):
    module = sys.modules["spider_jax.metrics.methods.knn"]
    monkeypatch.setattr(module, "BLOCK", 8)
    monkeypatch.setattr(module, "KEPT", kept)
    assert knn(*data, k=k) == pytest.approx(reference.knn_accuracy(*data, k), abs=1e-15)


def test_knn_block_by_block_where_padding_is_nearer_than_any_row(monkeypatch):
    monkeypatch.setattr(sys.modules["spider_jax.metrics.methods.knn"], "BLOCK", 8)
    angles = np.linspace(0, np.pi, 9)[:, None] * [[1.0]]
    F = np.hstack([np.cos(angles), np.sin(angles), -np.ones((9, 1))])  # a far row sees none near
    F[8] = -F[:8].sum(0)
    y = np.arange(9) % 3
    assert knn(F, y, k=3) == pytest.approx(reference.knn_accuracy(F, y, 3), abs=1e-15)


@pytest.mark.parametrize("n", [64, 65])
def test_knn_of_a_full_bucket_and_of_one_row_more(n):
    assert knn(*tied_rows(2, n)) == pytest.approx(reference.knn_accuracy(*tied_rows(2, n), 5))


@pytest.mark.parametrize("data", [blobs(40, noise=1.5), blobs(40, 60, noise=1.5)])
def test_the_nearest_neighbour_is_scikit_learns(data):
    F, y = data
    one = KNeighborsClassifier(1, metric="cosine", algorithm="brute")
    expected = cross_val_score(one, F, y, cv=LeaveOneOut()).mean()
    assert knn(F, y, k=1) == pytest.approx(expected, abs=1e-12)


def test_knn_by_hand():
    # Rows 0-2 point one way, 3-4 the other; with k = 1 the nearest other row is of the own class
    # for 0 (row 1), 1 (row 0) and 2 (row 0); 3 and 4 see each other, of different classes.
    F = np.array([[1.0, 0], [2, 0], [3, 0], [-1, 0], [-2, 0]])
    assert knn(F, [0, 0, 0, 1, 0], k=1) == pytest.approx(3 / 5)


def test_knn_needs_a_neighbour(refused):
    with refused("k", 0):
        knn(*blobs(), k=0)
    with refused("samples", 1):
        knn(*blobs(), samples=1)


@pytest.mark.parametrize("width", [6, 200])
def test_knn_of_a_part_of_the_rows_is_that_of_their_share_of_every_class(width):
    F, y = blobs(90, width, noise=1.5)
    rows = stratified_rows(y, 45, seed=3)
    assert np.bincount(y[rows]).tolist() == [15, 15, 15]
    assert knn(F, y, samples=45, seed=3) == knn(F[rows], y[rows])
    assert knn(F, y, samples=90) == knn(F, y)


FAR_OUT = np.r_[np.full(39, 1.0), 1e4][:, None]  # the last row is far from all others


@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
@pytest.mark.parametrize(
    ("width", "scale", "shift"), [(4, 1, 0), (60, 1, 0), (4, 1e-3, 3), (60, 1e6, -1e8)]
)
def test_knn_of_targets_and_of_distances_is_scikit_learns(
    monkeypatch, distance, width, scale, shift
):
    monkeypatch.setattr(sys.modules["spider_jax.metrics.methods.knn"], "BLOCK", 16)
    F, y = blobs(40, width, noise=1.5)
    F = scale * (F * FAR_OUT) + shift
    targets = np.c_[F[:, :1] / scale + np.sin(y)[:, None], y == 1, np.ones(len(y))]
    options = {"metric": distance, "algorithm": "brute"}
    model = KNeighborsRegressor(3, **options)
    found = cross_val_predict(model, F, targets, cv=LeaveOneOut())
    expected = r2_score(targets[:, :2], found[:, :2])
    assert knn(F, targets, k=3, distance=distance) == pytest.approx(expected, rel=1e-9)
    one = KNeighborsClassifier(1, **options)
    expected = cross_val_score(one, F, y, cv=LeaveOneOut()).mean()
    assert knn(F, y, k=1, distance=distance) == pytest.approx(expected, abs=1e-12)


def test_knn_of_some_rows_of_a_regression_and_its_refusals(refused):
    F, _ = blobs(90, 6)
    y = F[:, :2] + 1
    assert 0 < knn(F, y, samples=60, seed=1, distance="euclidean") <= 1
    assert knn(F, y[:, 0]) == knn(F, y[:, :1])
    with refused("labels", "constant"):
        knn(F, np.ones(90))
    with refused("distance", "cosine", "euclidean", "manhattan"):
        knn(F, y, distance="manhattan")


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
