"""Trend mining: one-dimensional clusters are exact, predictions are those of the rule."""

from itertools import combinations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from spider_jax.records.trends import cluster_line, mine_trends, predict_final, trend_predictions
from spider_jax.runtime.buckets import run

NAN = float("nan")


def clusters(values: list[float], k: int) -> list[int]:
    found: list[int] = run(cluster_line, np.array(values, np.float64), k=k).tolist()
    return found


def squared_error(values: np.ndarray, labels: np.ndarray) -> float:
    return sum(
        float(((values[labels == c] - values[labels == c].mean()) ** 2).sum())
        for c in np.unique(labels)
    )


def least_error(values: np.ndarray, k: int) -> float:
    """Over all partitions of the sorted values into at most k intervals."""
    line, n = np.sort(values), len(values)
    found = []
    for parts in range(1, min(k, n) + 1):
        for cuts in combinations(range(1, n), parts - 1):
            labels = np.searchsorted(cuts, np.arange(n), side="right")
            found.append(squared_error(line, labels))
    return min(found)


@given(st.lists(st.integers(0, 30), min_size=8, max_size=8), st.integers(1, 4))
def test_no_partition_is_better(numbers: list[int], k: int) -> None:
    values = np.array(numbers, np.float64) / 8
    labels = np.array(clusters(values.tolist(), k))
    assert squared_error(values, labels) <= least_error(values, k) + 1e-9
    assert set(labels) == set(range(labels.max() + 1))
    order = np.argsort(values, kind="stable")
    assert (np.diff(labels[order]) >= 0).all()
    for value in np.unique(values):
        assert len(set(labels[values == value])) == 1


def test_what_is_missing_takes_no_part() -> None:
    assert clusters([1.0, NAN, 5.0, 2.0, 9.0, 9.125], 3) == [0, 6, 1, 0, 2, 2]
    assert clusters([NAN, NAN], 2) == [2, 2]
    assert clusters([3.0, NAN], 2) == [0, 2]


def test_fewer_values_than_clusters() -> None:
    assert clusters([2.0, 1.0, 2.0, 1.0], 4) == [1, 0, 1, 0]


def test_trends_and_predictions_by_hand() -> None:
    # two trends: .1 and .2 ended at .3 and .5, .8 at .9
    curve = np.array([[[0.1], [0.8], [0.2], [NAN]]])
    final = np.array([[0.3, 0.9, 0.5, 0.7]])
    centres, finals = mine_trends(curve, final, k=2)
    np.testing.assert_allclose(centres, [[[0.15, 0.8]]])
    np.testing.assert_allclose(finals, [[[0.4, 0.9]]])
    np.testing.assert_allclose(predict_final(centres, finals, np.array([[0.45]])), [[0.4]])
    np.testing.assert_allclose(predict_final(centres, finals, np.array([[0.5]])), [[0.9]])


def test_a_model_without_a_past_has_no_prediction() -> None:
    centres, finals = mine_trends(np.full((1, 3, 2), NAN), np.full((1, 3), NAN), k=2)
    assert np.isnan(predict_final(centres, finals, np.full((1, 2), 0.5))).all()


def test_all_at_once_is_one_at_a_time_without_the_target() -> None:
    rng = np.random.default_rng(0)
    V, A = rng.uniform(size=(3, 6, 2)), rng.uniform(size=(3, 6))
    V[0, 2], A[1, 4] = NAN, NAN
    found = trend_predictions(V, A, k=3)
    for t in range(6):
        past = mine_trends(np.delete(V, t, 1), np.delete(A, t, 1), k=3)
        wanted = predict_final(*past, V[:, t])
        known = np.isfinite(V[:, t])
        np.testing.assert_allclose(found[:, t][known], wanted[known], rtol=1e-12)


def test_the_targets_own_results_take_no_part() -> None:
    rng = np.random.default_rng(1)
    V, A = rng.uniform(size=(4, 5, 3)), rng.uniform(size=(4, 5))
    other = A.copy()
    other[:, 2] = rng.uniform(size=4)
    one, two = trend_predictions(V, A), trend_predictions(V, other)
    np.testing.assert_array_equal(one[:, 2], two[:, 2])
    assert not np.array_equal(one[:, 1], two[:, 1])
