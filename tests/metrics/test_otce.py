"""OTCE against a float64 reference written from the equations, and by hand."""

import jax
import numpy as np
import pytest

from spider_jax.metrics.methods.otce import coupling, otce
from support.references import fits as references
from support.toy_tasks import blobs, rank_deficient, with_columns

PLANE = np.random.default_rng(0).normal(size=(80, 2))
CASES = {
    "more rows than features": (*blobs(60, 6, 4, seed=1), *blobs()),
    "more features than rows": (*blobs(30, 50, 4, seed=1), *blobs(20, 50)),
    "more target than source rows": (*blobs(10, 6, 2, seed=1), *blobs(70)),
    "a plane": (PLANE[:50], np.arange(50) % 5, PLANE[50:] + 1, np.arange(30) % 3),
    "rank 3 of 8": (*rank_deficient(40, 8, 3), *blobs(30, 8)),
    "constant columns": (*with_columns(3, 0), *with_columns(3, 0)),
    "the same rows": (*blobs(), *blobs()),
    "a class of one sample": (*blobs(seed=1), blobs()[0], np.repeat([0, 1, 2], [20, 19, 1])),
    "all rows the same": (np.ones((9, 2)), np.arange(9) % 3, np.ones((8, 2)), np.arange(8) % 2),
    "a full bucket of rows": (*blobs(64, seed=1), *blobs(64)),
    "one row over the bucket": (*blobs(65, seed=1), *blobs(65)),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(("regularization", "weights"), [(0.1, (1.0, 1.0)), (1.0, (0.3, 2.0))])
def test_otce_agrees_with_the_formula(case, regularization, weights):
    expected = references.otce(*CASES[case], regularization, weights)
    found = otce(*CASES[case], regularization=regularization, weights=weights)
    assert found == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("case", ["more rows than features", "more features than rows"])
def test_otce_agrees_with_the_formula_where_little_is_smoothed(case):
    expected = references.otce(*CASES[case], 0.01, (1.0, 1.0))
    assert otce(*CASES[case]) == pytest.approx(expected, abs=1e-6)


def test_otce_of_float32_features():
    X, x, F, y = CASES["more rows than features"]
    found = otce(X.astype(np.float32), x, F.astype(np.float32), y)
    assert found == pytest.approx(otce(X, x, F, y), rel=1e-5)


@pytest.mark.parametrize("regularization", [0.01, 0.1, 1.0])
@pytest.mark.parametrize("width", [2, 50])
def test_the_coupling_has_uniform_marginals(regularization, width):
    (X, _), (F, _) = blobs(30, width, seed=1), blobs(20, width)
    cost = ((X[:, None] - F[None]) ** 2).sum(-1)
    cost = np.pad(cost / (regularization * cost.mean()), ((0, 4), (0, 3)))
    rows, columns = np.arange(34) < 30, np.arange(23) < 20
    with jax.enable_x64(True):
        T = np.asarray(jax.jit(coupling)(cost, rows, columns))
    assert (T >= 0).all()
    assert np.abs(T.sum(1) - rows / 30).sum() + np.abs(T.sum(0) - columns / 20).sum() <= 4e-9


def test_otce_by_hand():
    # Far apart, every row meets its own kind at distance 1: W = 1. The source's class 0 meets the
    # classes 0 and 1 half and half, its class 1 only class 1: H = 1/2 ln 2.
    X = np.array([[0.0], [100.0], [200.0], [300.0]])
    found = otce(X, [0, 0, 1, 1], X + 1, [0, 1, 1, 1], regularization=1e-4)
    assert found == pytest.approx(-(1 + np.log(2) / 2), abs=1e-9)


def test_a_source_further_away_scores_lower():
    X, x, F, y = CASES["more rows than features"]
    assert otce(X + 5, x, F, y) < otce(X, x, F, y)


def test_weights_choose_distance_or_entropy():
    case = CASES["more rows than features"]
    distance, entropy = (otce(*case, weights=w) for w in ((1.0, 0.0), (0.0, 1.0)))
    assert otce(*case, weights=(0.5, 3.0)) == pytest.approx(0.5 * distance + 3 * entropy, abs=1e-12)


SOURCE, TARGET = blobs(seed=1), blobs()
BAD = {
    "source rows": ((SOURCE[0][:-1], SOURCE[1], *TARGET), ("source_labels", "N=39", 40)),
    "source values": ((0 * SOURCE[0] + np.nan, SOURCE[1], *TARGET), ("source_features", "finite")),
    "source classes": ((SOURCE[0], 0 * SOURCE[1], *TARGET), ("source_labels", "two classes", 0)),
    "target rows": ((*SOURCE, TARGET[0], TARGET[1][:-1]), ("labels", "N=40", 39)),
    "target values": ((*SOURCE, 0 * TARGET[0] + np.inf, TARGET[1]), ("features", "finite")),
    "columns": ((*SOURCE, TARGET[0][:, :4], TARGET[1]), ("features", "source_features", "D=6", 4)),
}


@pytest.mark.parametrize("bad", BAD)
def test_bad_input_is_refused_in_one_line(refused, bad):
    arguments, mentions = BAD[bad]
    with refused(*mentions):
        otce(*arguments)


@pytest.mark.parametrize(
    ("options", "mentions"),
    [
        ({"regularization": 0.0}, ("regularization", "positive", 0.0)),
        ({"regularization": np.nan}, ("regularization", "positive", "nan")),
        ({"weights": (1.0, 1.0, 1.0)}, ("weights", "two numbers")),
        ({"weights": (1.0, np.inf)}, ("weights", "two numbers", "inf")),
    ],
)
def test_options_out_of_range_are_refused(refused, options, mentions):
    with refused(*mentions):
        otce(*SOURCE, *TARGET, **options)
