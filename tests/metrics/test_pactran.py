"""PACTran in its three forms against float64 references written from the equations."""

from importlib import import_module

import jax
import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

from spider_jax.metrics.methods.pactran import (
    pactran_core,
    pactran_dirichlet,
    pactran_gamma,
    pactran_gauss,
)
from spider_jax.metrics.shared.newton import minimize_cross_entropy
from spider_jax.runtime.buckets import compiled
from support.references import fits as references
from support.toy_tasks import blobs, linear_labels, rank_deficient, rows_twice, with_columns

pytestmark = pytest.mark.slow

# ---- Gauss ------------------------------------------------------------------------------------

ONE_ALONE = np.repeat([0, 1, 2], [20, 19, 1])
GAUSS_CASES = {
    "more rows than features": blobs(),
    "more features than rows": blobs(20, 50),
    "separable": blobs(noise=0.1),
    "noise only": blobs(noise=30.0),
    "rank 3 of 8": rank_deficient(40, 8, 3),
    "constant columns": with_columns(3, 0),
    "zero features": (np.zeros((12, 3)), np.arange(12) % 3),
    "rows twice, wide": rows_twice(10, 30),
    "labels linear in the features": linear_labels(),
    "a class of one sample": (blobs()[0], ONE_ALONE),
    "one feature": blobs(width=1),
    "small features": (1e-6 * blobs()[0], blobs()[1]),
    "a full bucket of rows": blobs(64),
    "one row over the bucket": blobs(65),
}


@pytest.mark.parametrize("case", GAUSS_CASES)
@pytest.mark.parametrize(("penalty", "prior_variance"), [(1.0, 10.0), (0.1, 1.0), (10.0, 100.0)])
def test_pactran_gauss_agrees_with_the_formula(case, penalty, prior_variance):
    F, y = GAUSS_CASES[case]
    expected = references.pactran_gauss(F, y, penalty, prior_variance)
    found = pactran_gauss(F, y, penalty=penalty, prior_variance=prior_variance)
    assert found == pytest.approx(expected, abs=1e-6)


def test_pactran_gauss_of_float32_features():
    F, y = blobs(20, 50)
    expected = references.pactran_gauss(F, y, 1.0, 10.0)
    assert pactran_gauss(F.astype(np.float32), y) == pytest.approx(expected, abs=1e-5)


def test_pactran_gauss_of_large_features_is_finite():
    F, y = blobs()
    assert np.isfinite(pactran_gauss(1e6 * F, y))


def test_pactran_gauss_does_not_see_a_shift_or_a_rotation():
    F, y = blobs(30, 8)
    Q = np.linalg.qr(np.random.default_rng(1).normal(size=(8, 8)))[0]
    assert pactran_gauss(F @ Q + 100, y) == pytest.approx(pactran_gauss(F, y), abs=1e-6)


def padded(F, y, rows=64, width=8, classes=8):
    """The arguments of the core, so padded."""
    n, D = F.shape
    U, length, _ = np.linalg.svd(F - F.mean(0), full_matrices=False)
    Z, Y = np.zeros((rows, width)), np.zeros((rows, classes))
    Z[:n, : len(length)] = U * length
    Y[np.arange(n), y] = 1
    options = map(np.float64, (n, D, 1.0, 10.0))
    return (Z, (Z**2).sum(0), Y, np.arange(rows) < n, *options)


def with_directions(F, y, r):
    """The arguments of the core for features as they are, with their r leading directions."""
    _, _, Y, rows, *options = padded(F, y, width=max(F.shape))
    width, V = F.shape[1], np.linalg.svd(F - F.mean(0))[2][:r].T
    Z = np.zeros((64, width + 3))
    Z[: len(F), :width] = F - F.mean(0)
    Z[: len(F), width] = 1
    return (Z, ((Z[:, :width] @ V) ** 2).sum(0), Y, rows, *options, V)


@pytest.mark.parametrize(
    "case", sorted(set(GAUSS_CASES) - {"one feature", "one row over the bucket"})
)
def test_two_leading_directions_will_do(case):
    F, y = GAUSS_CASES[case]
    with jax.enable_x64(True):
        found = compiled(pactran_core)(*with_directions(F, y, 2))
    assert float(found) == pytest.approx(references.pactran_gauss(F, y, 1.0, 10.0), abs=1e-6)


def gauss_by_lbfgs(F, y, penalty, prior_variance):
    """The formula at the minimum of SciPy, whose reference Hessian would be too large."""
    (N, D), Y = F.shape, np.eye(y.max() + 1)[y]
    X, C, weight = np.column_stack([F - F.mean(0), np.ones(N)]), Y.shape[1], 1 / (penalty * N)
    decay = np.append(np.full(D, weight), 0.0)[:, None]

    def loss(v):
        W = v.reshape(D + 1, C)
        J = -(Y * log_softmax(X @ W, axis=1)).sum() / N + (decay * W**2).sum() / 2
        return J, (X.T @ (softmax(X @ W, axis=1) - Y) / N + decay * W).ravel()

    options = {"maxiter": 20_000, "maxfun": 40_000, "gtol": 1e-10, "ftol": 0.0, "maxcor": 50}
    best = minimize(loss, np.zeros((D + 1) * C), jac=True, method="L-BFGS-B", options=options)
    assert np.abs(best.jac).max() < 1e-8
    P = softmax(X @ best.x.reshape(D + 1, C), axis=1)
    H = (X**2).sum(1) @ (P * (1 - P)).sum(1) + D * C * weight
    return -(best.fun + 0.5 * C * prior_variance * weight * np.log(H / (D * C * weight)))


@pytest.mark.parametrize("shape", [(600, 530), (530, 600)])
@pytest.mark.parametrize(("penalty", "noise"), [(0.1, 3.0), (10.0, 1.0)])
def test_a_large_problem_reaches_the_minimum_that_lbfgs_finds(monkeypatch, shape, penalty, noise):
    module = import_module("spider_jax.metrics.methods.pactran")
    monkeypatch.setattr(module, "WHOLE_UP_TO", 512)  # large begins earlier: a shorter test
    F, y = blobs(*shape, noise=noise)
    F[:, 7] = 2.0
    expected = gauss_by_lbfgs(F, y, penalty, 10.0)
    assert pactran_gauss(F, y, penalty=penalty) == pytest.approx(expected, abs=1e-6)


def test_padding_changes_nothing():
    F, y = blobs(noise=1.5)
    expected = references.pactran_gauss(F, y, 1.0, 10.0)
    with jax.enable_x64(True):
        tight = compiled(pactran_core)(*padded(F, y, 40, 6, 3))
        loose = compiled(pactran_core)(*padded(F, y, 128, 64, 16))
    assert float(tight) == pytest.approx(expected, abs=1e-6)
    assert float(loose) == pytest.approx(expected, abs=1e-6)


def test_the_core_keeps_the_dtype_of_its_input():
    F, y = blobs(20, 50)
    Z, s, Y, rows, *options = padded(F, y, 64, 64)
    single = [np.float32(x) for x in (Z, s, Y)]
    found = compiled(pactran_core)(*single, rows, *map(np.float32, options))
    assert found.dtype == np.float32
    assert float(found) == pytest.approx(references.pactran_gauss(F, y, 1.0, 10.0), abs=1e-4)


def test_a_batch_is_its_tasks_one_by_one():
    tasks = [padded(*blobs(n, 6, c, seed=n)) for n, c in ((40, 3), (64, 8), (12, 2))]
    with jax.enable_x64(True):
        alone = [float(compiled(pactran_core)(*task)) for task in tasks]
        stacked = [np.stack(arrays) for arrays in zip(*tasks, strict=True)]
        together = np.asarray(compiled(pactran_core, batch=True)(*stacked))
    np.testing.assert_allclose(together, alone, atol=1e-6)


@pytest.mark.parametrize("noise", [0.1, 1.0, 30.0])
def test_the_minimum_is_reached_in_few_steps(noise):
    F, y = blobs(60, 8, 4, noise=noise)
    Z, s, Y, rows, n, *_ = padded(F, y)
    with jax.enable_x64(True):
        ridge = np.full(8, 1 / n)
        fit = jax.jit(minimize_cross_entropy)(Z, s, Y.T, rows.astype(float), ridge, n)
        assert np.abs(fit.gradient).max() <= 1e-8
    assert fit.steps <= 12
    assert fit.products <= 80


@pytest.mark.parametrize("option", ["penalty", "prior_variance"])
@pytest.mark.parametrize("value", [0.0, -1.0, np.nan, np.inf])
def test_pactran_gauss_refuses_what_is_no_variance(refused, option, value):
    with refused(option, "positive", value):
        pactran_gauss(*blobs(), **{option: value})


@pytest.mark.parametrize(
    ("F", "y", "mentions"),
    [
        (blobs()[0], blobs()[1][:-1], ("labels", "N=40", 39)),
        (blobs()[0], np.zeros(40, int), ("labels", "two classes", 0)),
        (np.full((40, 6), np.nan), blobs()[1], ("features", "finite", "First row: 0")),
        (blobs()[0][:, 0], blobs()[1], ("features", "(40,)")),
    ],
)
def test_pactran_gauss_refuses_bad_features_and_labels(refused, F, y, mentions):
    with refused(*mentions):
        pactran_gauss(F, y)


# ---- Dirichlet and gamma ----------------------------------------------------------------------


def source_head(n=40, source=7, empty=(), sharpness=2.0):
    """Softmax [n, source] with columns that no row ever predicts, labels [n]."""
    rng = np.random.default_rng(5)
    logits = sharpness * rng.normal(size=(n, source))
    logits[:, list(empty)] = -np.inf
    return softmax(logits, axis=1), rng.permutation(np.arange(n) % 3)


HEADS = {
    "as usual": source_head(),
    "columns never predicted": source_head(empty=[0, 3]),
    "more columns than rows": source_head(10, 50),
    "one column": source_head(source=1),
    "nearly hard": source_head(sharpness=200.0),
    "hard": (np.eye(5)[np.arange(40) % 5], np.arange(40) % 3),
    "many classes": (source_head()[0], np.arange(40) % 20),
    "a class of one sample": (source_head()[0], ONE_ALONE),
}
FORMS = {
    pactran_dirichlet: references.pactran_dirichlet,
    pactran_gamma: references.pactran_gamma,
}


@pytest.mark.parametrize("metric", FORMS)
@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize(("alpha", "steps"), [(1.0, 10), (0.01, 3), (100.0, 1)])
def test_pactran_of_probabilities_agrees_with_the_formula(metric, head, alpha, steps):
    P, y = HEADS[head]
    expected = FORMS[metric](P, y, alpha, steps)
    found = metric(probabilities=P, labels=y, alpha=alpha, steps=steps)
    assert found == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("metric", FORMS)
def test_pactran_of_float32_probabilities(metric):
    P, y = source_head()
    expected = FORMS[metric](P, y, 1.0, 10)
    found = metric(probabilities=P.astype(np.float32), labels=y)
    assert found == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("metric", FORMS)
def test_a_head_that_tells_the_classes_apart_scores_higher(metric):
    y = np.arange(60) % 3
    clear = 0.9 * np.eye(5)[y] + 0.1 / 5
    vague = np.roll(clear, 1, axis=0)[np.random.default_rng(0).permutation(60)]
    assert metric(probabilities=clear, labels=y) > metric(probabilities=vague, labels=y)


@pytest.mark.parametrize("metric", FORMS)
def test_pactran_of_probabilities_refuses_bad_input(refused, metric):
    P, y = source_head()
    with refused("probabilities", "40 are not", "First row: 0"):
        metric(probabilities=2 * P, labels=y)
    with refused("labels", "N=40", 39):
        metric(probabilities=P, labels=y[:-1])
    with refused("alpha", "positive", -2.0):
        metric(probabilities=P, labels=y, alpha=-2.0)
    with refused("alpha", "positive", "nan"):
        metric(probabilities=P, labels=y, alpha=np.nan)
    with refused("steps", "at least 1", 0):
        metric(probabilities=P, labels=y, steps=0)
