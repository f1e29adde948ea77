"""The recall score: representatives speak for their clusters, singletons by similarity."""

from collections.abc import Callable

import numpy as np

from spider_jax.selection.recall import needs_proxy, proxy_factor, recall_scores
from spider_jax.selection.zoo_recall import raise_to_positive

NAN = float("nan")
A = np.array([[0.6, 0.8], [0.5, 0.7], [0.8, 0.6], [0.9, 0.7], [1.0, 0.0]])
MEANS = A.mean(1)  # .7 .6 .7 .8 .5
CLUSTERS = np.array([0, 0, 1, 1, 2])


def test_only_representatives_need_the_proxy() -> None:
    assert needs_proxy(MEANS, CLUSTERS).tolist() == [0, 3]
    assert needs_proxy(MEANS, np.arange(5)).tolist() == [0, 1, 2, 3, 4]


def test_members_take_the_representatives_factor_and_singletons_the_similar_ones() -> None:
    factors = np.array([0.5, NAN, NAN, 0.25, NAN])
    found = recall_scores(MEANS, A, CLUSTERS, factors)
    cosines = 0.6, 0.9 / np.hypot(0.9, 0.7)  # of (1, 0) with both representatives
    single = 0.5 * (cosines[0] * 0.5 + cosines[1] * 0.25) / 2
    np.testing.assert_allclose(found, [0.35, 0.3, 0.175, 0.2, single])


def test_a_models_own_factor_comes_first() -> None:
    found = recall_scores(MEANS, A, CLUSTERS, np.array([0.5, 1.0, NAN, 0.25, 0.75]))
    np.testing.assert_allclose(found, [0.35, 0.6, 0.175, 0.2, 0.375])


def test_a_new_model_has_the_mean_of_the_others() -> None:
    means = np.array([0.5, NAN, 0.7])
    found = recall_scores(means, np.full((3, 0), NAN), np.arange(3), np.array([1.0, 1.0, 0.5]))
    np.testing.assert_allclose(found, [0.5, 0.6, 0.35])


def test_without_any_past_the_proxy_alone_orders() -> None:
    found = recall_scores(np.full(2, NAN), np.full((2, 0), NAN), np.arange(2), np.array([0.2, 0.4]))
    np.testing.assert_allclose(found, [0.2, 0.4])


def test_a_singleton_has_cosines_over_the_tasks_both_have() -> None:
    holes = np.array([[0.6, 0.8], [0.5, NAN]])
    found = recall_scores(np.array([0.7, 0.5]), holes, np.arange(2), np.array([0.5, NAN]))
    np.testing.assert_allclose(found, [0.35, 0.25])  # (.5) and (.6) point the same way


def test_logarithms_become_factors_and_shares_stay() -> None:
    logs = np.log([0.25, 0.5])
    means = np.array([0.5, 0.6])
    np.testing.assert_allclose(proxy_factor("leep", logs, means), [0.5, 1.0])
    np.testing.assert_allclose(proxy_factor("knn", np.array([0.25, NAN]), means), [0.25, NAN])
    for name in ("leep", "gbc"):
        assert np.isnan(proxy_factor(name, np.full(2, NAN), means)).all()


def test_a_metric_in_a_unit_of_its_own_counts_as_much_as_the_past() -> None:
    rng = np.random.default_rng(0)
    means, scores = rng.uniform(0.3, 0.9, size=6), rng.normal(size=6)
    found = proxy_factor("h_score", scores, means)
    np.testing.assert_allclose(np.std(np.log(found)), np.std(np.log(means)))
    np.testing.assert_allclose(proxy_factor("h_score", 1e6 * scores - 7, means), found)
    assert np.argsort(found).tolist() == np.argsort(scores).tolist()
    without = proxy_factor("gbc", np.where(np.arange(6) == 2, NAN, scores), np.full(6, NAN))
    np.testing.assert_allclose(np.nanstd(np.log(without)), 0.1)
    assert np.isnan(without[2])
    assert proxy_factor("gbc", np.full(3, 2.0), np.array([0.5, NAN, 0.7])).tolist() == [1, 1, 1]


def test_a_common_scale_of_the_factors_changes_no_order() -> None:
    rng = np.random.default_rng(0)
    factors = np.where(rng.uniform(size=5) < 0.5, NAN, rng.uniform(size=5))
    factors[3] = 0.5
    one, two = (recall_scores(MEANS, A, CLUSTERS, scale * factors) for scale in (1.0, 7.0))
    np.testing.assert_allclose(two, 7 * one)


def test_no_proxy_at_all_is_refused(refused: Callable[..., object]) -> None:
    with refused("factors", "at least one"):  # type: ignore[attr-defined]
        recall_scores(MEANS, A, CLUSTERS, np.full(5, NAN))


def test_a_model_without_past_is_neither_favoured_nor_shut_out() -> None:
    accuracies = np.array([[0.9, 0.8], [0.5, 0.4], [0.1, 0.2], [np.nan, np.nan]])
    means, clusters = np.array([0.85, 0.45, 0.15, np.nan]), np.array([0, 0, 1, 2])
    assert needs_proxy(means, clusters).tolist() == [0, 3]
    factors = np.array([0.6, np.nan, np.nan, np.nan])  # the proxy failed on the new one
    scores = recall_scores(means, accuracies, clusters, factors)
    assert scores[3] == np.nanmean(means) * 0.6


def test_a_mean_that_is_not_above_zero_puts_its_model_last() -> None:
    assert raise_to_positive(np.array([0.5, -0.2, np.nan, 0.0])).tolist()[:2] == [0.5, 0.005]
    assert np.isnan(raise_to_positive(np.array([0.5, -0.2, np.nan, 0.0]))[2])
    assert np.isnan(raise_to_positive(np.array([-0.5, np.nan]))).all()
    assert raise_to_positive(np.array([0.5, 0.3])).tolist() == [0.5, 0.3]
