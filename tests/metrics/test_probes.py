"""Ridge and linear probe, accuracies of a classifier, against scikit-learn's refits."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from spider_jax.metrics import linear_probe, ridge
from spider_jax.metrics.methods.linear_probe import (
    INNER_FOLDS,
    OUTER_FOLDS,
    PENALTIES,
    _folds,
    fit_logistic,
)
from spider_jax.metrics.methods.ridge import PENALTIES as RIDGE_PENALTIES
from spider_jax.metrics.shared.folds import stratified_folds
from support.toy_tasks import blobs, linear_labels, with_columns

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
