"""What a table of scores is sorted by: only what all compared models have, and ties are said."""

import numpy as np
import pytest

from spider_jax.metrics.table import METRICS
from spider_jax.ranking.aggregate import borda, mean_z
from spider_jax.zoo.score_order import LEAST_FOR_Z, order_models
from spider_jax.zoo.scores import score_zoo
from spider_jax.zoo.store import FeatureStore

NAN = np.nan
METRIC_NAMES = ("x", "y", "z")


def names(count):
    return tuple(f"m{i}" for i in range(count))


@pytest.mark.parametrize("count", [LEAST_FOR_Z, 40])
def test_many_models_stand_by_the_mean_z_of_what_all_have(count):
    values = np.random.default_rng(0).normal(size=(count, 3))
    values[1, 2] = NAN
    order = order_models(names(count), METRIC_NAMES, values)
    np.testing.assert_array_equal(order.values, mean_z(values[:, :2].T))
    assert order.rule == "the mean z-score of x, y"
    assert order.notes == ("not in the order, some models have no value: z",)


@pytest.mark.parametrize("count", range(2, LEAST_FOR_Z))
def test_few_models_have_no_z_scores(count):
    values = np.random.default_rng(0).normal(size=(count, 3))
    order = order_models(names(count), METRIC_NAMES, values)
    np.testing.assert_array_equal(order.values, borda(values.T))
    assert "too few models for z-scores" in order.rule


def test_the_order_of_two_does_not_hang_on_a_metric_that_a_third_lacks():
    """With z, the third model would have been compared on other metrics than the rest."""
    rng = np.random.default_rng(1)
    values = rng.normal(size=(8, 3))
    values[3:, 2] = NAN
    whole = order_models(names(8), METRIC_NAMES, values)
    plain = order_models(names(8), METRIC_NAMES[:2], values[:, :2])
    np.testing.assert_array_equal(whole.values, plain.values)


@pytest.mark.parametrize(
    ("values", "best", "said"),
    [
        ([[NAN, 1], [2, 3], [NAN, 2]], [1, 2, 0], "not in the order, some models have no value: x"),
        ([[NAN, NAN], [2, 3], [1, 2]], [1, 2, 0], "not compared, they stand last: m0"),
        ([[1, NAN], [NAN, 3], [2, NAN]], [2, 0, 1], "no metric has a value for every model"),
        ([[NAN, NAN], [NAN, NAN], [NAN, NAN]], [0, 1, 2], "not compared, they stand last: m0, m1"),
        ([[np.inf, 1], [2, 3], [1, 2]], [1, 2, 0], "some models have no value: x"),
    ],
)
def test_holes_are_said(values, best, said):
    order = order_models(names(3), ("x", "y"), np.array(values, float))
    at = np.argsort(-np.nan_to_num(order.values, nan=-np.inf), kind="stable")
    assert at.tolist() == best
    assert said in " ".join(order.notes)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([[1, 2], [1, 2], [0, 1]], "cannot tell apart, equal in every metric: m0, m1"),
        ([[1, 2], [2, 1], [0, 0]], "tied in what they are sorted by: m0, m1"),
        ([[1.0], [1.0], [0.0]], "cannot tell apart, equal in every metric: m0, m1"),
        ([[1, 2]] * 9, "m0, m1, m2, m3, m4 and 4 more"),
    ],
)
def test_ties_and_twins_are_said(values, said):
    table = np.array(values, float)
    order = order_models(names(len(table)), METRIC_NAMES[: table.shape[1]], table)
    assert said in " ".join(order.notes)


def test_twins_of_a_zoo_are_said_and_what_it_sorts_by_is_shown(small_zoo):
    twin = np.array(FeatureStore(small_zoo).features("wide", "apples"))
    FeatureStore.write_features(small_zoo, "wide too", "apples", twin)
    table = score_zoo(FeatureStore(small_zoo), "apples", ["logme", "knn"], cache=False)
    assert "equal in every metric: wide, wide too" in table.to_text()
    shown = [row[table.columns.index("combined")] for row in table.to_rows()]
    assert shown == sorted(shown, reverse=True)


def test_a_metric_that_gives_nan_is_a_problem(small_zoo, monkeypatch):
    knn = METRICS["knn"]._replace(shared=lambda given: NAN if given.width == 12 else 1.0)
    monkeypatch.setitem(METRICS, "knn", knn)
    table = score_zoo(FeatureStore(small_zoo), "apples", ["logme", "knn"])
    assert [str(p) for p in table.problems] == [
        "wide on apples: knn: it gave NaN, which orders nothing"
    ]
    again = score_zoo(FeatureStore(small_zoo), "apples", ["logme", "knn"])
    assert again.skipped == table.skipped  # nor does a cache make it good
