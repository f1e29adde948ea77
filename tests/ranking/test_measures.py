"""Agreement with the truth against reference.py, and intervals against exact enumeration."""

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from spider_jax.errors import InputError
from spider_jax.ranking.measures import (
    MEASURES,
    bootstrap_interval,
    paired_difference,
    pearson,
    regret,
    spearman,
    top_k_hits,
    weighted_tau,
)
from support.references import ranking_and_spider as reference

CORRELATIONS = ["weighted_tau", "pearson", "spearman"]
EXAMPLES = settings(deadline=None, max_examples=50)
SMALL = st.integers(-4, 4).map(float)  # many ties


@st.composite
def pairs(draw, least=1):
    """(truth, scores), both [M] with ties."""
    size = draw(st.integers(least, 8))
    return tuple(draw(hnp.arrays(np.float64, size, elements=SMALL)) for _ in range(2))


def best_first(scores):
    return sorted(range(len(scores)), key=lambda m: -scores[m])


# ---- correlations -----------------------------------------------------------------------------


@pytest.mark.parametrize("rank", [True, None])
@given(pair=pairs())
@EXAMPLES
def test_weighted_tau_agrees_with_the_formula(rank, pair):
    expected = reference.weighted_tau(*pair, rank)
    np.testing.assert_allclose(weighted_tau(*pair, rank=rank), expected, rtol=1e-12, atol=1e-12)


def test_weighted_tau_by_hand():
    # Swapped top pair: places by truth weigh the pairs 1 + 1/2, 1 + 1/3, 1/2 + 1/3.
    pair_weights = np.array([1 + 1 / 2, 1 + 1 / 3, 1 / 2 + 1 / 3])
    expected = pair_weights @ [-1, 1, 1] / pair_weights.sum()
    assert weighted_tau([3, 2, 1], [2, 3, 1], rank=None) == pytest.approx(expected, rel=1e-12)
    assert weighted_tau([3, 2, 1], [2, 3, 1]) == pytest.approx(expected, rel=1e-12)


def test_the_two_conventions_differ():
    truth, scores = [4, 3, 2, 1], [1, 4, 3, 2]
    by_truth = weighted_tau(truth, scores, rank=None)
    by_scores = weighted_tau(scores, truth, rank=None)
    assert by_truth != pytest.approx(by_scores)
    assert weighted_tau(truth, scores) == pytest.approx((by_truth + by_scores) / 2)


def test_a_tie_in_one_keeps_tau_below_one():
    # <x,y> counts 2 of 3 pairs; the truth is untied, the scores tie the lower two.
    xy, xx = (1 + 1 / 2) + (1 + 1 / 3), (1 + 1 / 2) + (1 + 1 / 3) + (1 / 2 + 1 / 3)
    assert weighted_tau([3, 2, 1], [2, 1, 1], rank=None) == pytest.approx(xy / math.sqrt(xx * xy))
    assert weighted_tau([3, 1, 1], [2, 1, 1]) == pytest.approx(1)


@given(pair=pairs(least=2))
@EXAMPLES
def test_pearson_and_spearman_agree_with_their_formulas(pair):
    truth, scores = pair
    if np.ptp(truth) == 0 or np.ptp(scores) == 0:
        assert math.isnan(pearson(truth, scores))
        assert math.isnan(spearman(truth, scores))
        return
    assert pearson(truth, scores) == pytest.approx(np.corrcoef(truth, scores)[0, 1], abs=1e-12)
    places = [(x[:, None] > x).sum(1) - (x[:, None] < x).sum(1) for x in pair]  # ties share places
    assert spearman(truth, scores) == pytest.approx(np.corrcoef(places)[0, 1], abs=1e-12)


@pytest.mark.parametrize("name", CORRELATIONS)
@given(pair=pairs(least=2))
@EXAMPLES
def test_a_correlation_is_odd_and_within_one(name, pair):
    truth, scores = pair
    there, back = MEASURES[name](truth, scores), MEASURES[name](truth, -scores)
    if name == "weighted_tau":  # turning round moves the weights to the other models
        back = -there
    np.testing.assert_allclose(there, -back, atol=1e-12)
    assert math.isnan(there) or abs(there) <= 1 + 1e-12


@pytest.mark.parametrize("name", CORRELATIONS)
@pytest.mark.parametrize(
    ("truth", "scores"), [([1, 2, 3], [5, 5, 5]), ([0.1, 0.1, 0.1], [1, 2, 3]), ([1], [2])]
)
def test_nothing_agrees_with_a_constant(name, truth, scores):
    assert math.isnan(MEASURES[name](truth, scores))


@given(pair=pairs(), data=st.data())
@EXAMPLES
def test_weighted_tau_does_not_read_the_order_of_models(pair, data):
    models = data.draw(st.permutations(range(len(pair[0]))))
    moved = weighted_tau(*(x[models] for x in pair))
    np.testing.assert_allclose(moved, weighted_tau(*pair), atol=1e-12)


# ---- the best models --------------------------------------------------------------------------


@given(pair=pairs(), k=st.integers(1, 9))
@EXAMPLES
def test_regret_is_the_best_minus_the_best_tried(pair, k):
    truth, scores = pair
    tried = [truth[m] for m in best_first(scores)[:k]]
    assert regret(truth, scores, k=k) == max(truth) - max(tried)


@given(pair=pairs(), k=st.integers(1, 9))
@EXAMPLES
def test_hits_count_models_as_good_as_the_kth(pair, k):
    truth, scores = pair
    k_models = min(k, len(truth))
    least = sorted(truth, reverse=True)[k_models - 1]
    hits = [truth[m] >= least for m in best_first(scores)[:k]]
    assert top_k_hits(truth, scores, k=k) == sum(hits) / k_models


def test_equal_scores_keep_model_order():
    assert regret([1, 3, 2], [7, 7, 7]) == 3 - 1
    assert regret([1, 3, 2], [7, 7, 7], k=2) == 0
    assert top_k_hits([3, 2, 1], [0, 0, 0], k=1) == 1


def test_a_model_tied_with_the_last_true_best_is_a_hit():
    assert top_k_hits([9, 5, 5, 5], [1, 2, 3, 4], k=2) == 1
    assert top_k_hits([9, 8, 5, 5], [1, 2, 3, 4], k=2) == 0


def test_a_perfect_order_is_perfect_by_every_measure():
    truth = np.array([0.5, 0.25, 0.75, 0.125])
    perfect = {"regret": 0}
    for name, measure in MEASURES.items():
        assert measure(truth, truth) == pytest.approx(perfect.get(name, 1)), name


# ---- bad input --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(MEASURES))
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite_are_named(name, bad):
    with pytest.raises(InputError, match=rf"^truth must be finite, got {bad} at model 1 \(1 of 3"):
        MEASURES[name]([1, bad, 2], [1, 2, 3])
    with pytest.raises(InputError, match=rf"^scores must be finite, got {bad} at model 2 \(1 of 3"):
        MEASURES[name]([1, 2, 3], [1, 2, bad])


@pytest.mark.parametrize("name", sorted(MEASURES))
def test_arrays_that_do_not_fit_are_named(name):
    with pytest.raises(InputError, match=r"^scores must have one value per model .*3.*2"):
        MEASURES[name]([1, 2, 3], [1, 2])
    with pytest.raises(InputError, match=r"^truth must be a vector .*\(2, 2\)"):
        MEASURES[name](np.eye(2), [1, 2])
    with pytest.raises(InputError, match=r"^truth must be a vector .*\(0,\)"):
        MEASURES[name]([], [])


@pytest.mark.parametrize("measure", [regret, top_k_hits])
def test_no_model_at_all_cannot_be_chosen(measure):
    with pytest.raises(InputError, match="k must be at least 1, got 0"):
        measure([1, 2], [1, 2], k=0)


def test_scipys_third_meaning_of_rank_is_refused():
    with pytest.raises(InputError, match=r"rank must be True .* or None .*, got False"):
        weighted_tau([1, 2], [1, 2], rank=False)


@pytest.mark.parametrize("name", sorted(MEASURES))
def test_float32_and_read_only_arrays_will_do(name):
    truth, scores = np.float32([0.5, 0.25, 1.0]), np.float64([3, 1, 2])
    truth.setflags(write=False)
    scores.setflags(write=False)
    assert MEASURES[name](truth, scores) == MEASURES[name](truth.tolist(), scores.tolist())


# ---- bootstrap --------------------------------------------------------------------------------


@pytest.mark.parametrize("level", [0.5, 0.75, 0.95])
def test_interval_agrees_with_all_resamples(level):
    values = [0.0, 1.0, 5.0, 7.0]
    means = np.sort([np.mean(drawn) for drawn in product(values, repeat=4)])
    found = bootstrap_interval(values, level=level)
    assert found.mean == 13 / 4
    for end, share in ((found.low, (1 - level) / 2), (found.high, (1 + level) / 2)):
        # Sampling error of a quantile: its share moves by at most 5 sd, sd <= 1/2 / sqrt(10000).
        low, high = np.quantile(means, np.clip([share - 0.025, share + 0.025], 0, 1))
        assert low <= end <= high


def test_a_wider_level_gives_a_wider_interval():
    values = np.arange(10.0)
    narrow, wide = (bootstrap_interval(values, level=level) for level in (0.5, 0.99))
    assert wide.low < narrow.low < narrow.high < wide.high


def test_the_seed_decides_and_nothing_else():
    values = np.random.default_rng(0).normal(size=9)
    assert bootstrap_interval(values, seed=3) == bootstrap_interval(values, seed=3)
    assert bootstrap_interval(values, seed=3) != bootstrap_interval(values, seed=4)


def test_one_task_says_nothing_of_its_spread():
    mean, low, high = bootstrap_interval([0.5])
    assert mean == 0.5
    assert math.isnan(low)
    assert math.isnan(high)
    assert paired_difference([0.5], [0.25]).tie


def test_nan_stays_visible():
    assert all(map(math.isnan, bootstrap_interval([0.5, np.nan])))
    found = paired_difference([0.5, np.nan], [0.0, 0.0])
    assert math.isnan(found.mean)
    assert found.tie


def test_a_difference_on_every_task_is_no_tie():
    a, b = np.array([0.5, 0.75, 1.0]), np.array([0.25, 0.5, 0.75])
    assert paired_difference(a, b) == (0.25, 0.25, 0.25, False)
    assert paired_difference(b, a) == (-0.25, -0.25, -0.25, False)
    assert paired_difference(a, a) == (0, 0, 0, True)


@given(pair=pairs(least=2))
@EXAMPLES
def test_paired_difference_is_the_interval_of_differences(pair):
    a, b = pair
    found = paired_difference(a, b, resamples=200, level=0.8, seed=5)
    assert found[:3] == bootstrap_interval(a - b, resamples=200, level=0.8, seed=5)
    assert found.tie == (found.low <= 0 <= found.high)


@pytest.mark.parametrize(
    "options", [{"level": 0.0}, {"level": 1.0}, {"level": 95.0}, {"resamples": 0}]
)
def test_settings_out_of_range_are_named(options):
    (name,) = options
    with pytest.raises(InputError, match=f"^{name} must"):
        bootstrap_interval([1, 2], **options)


def test_tasks_must_be_the_same():
    with pytest.raises(InputError, match="a and b must cover the same tasks, got 2 and 3"):
        paired_difference([1, 2], [1, 2, 3])
    with pytest.raises(InputError, match=r"values must be a vector .*\(0,\)"):
        bootstrap_interval([])
