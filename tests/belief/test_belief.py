"""Beliefs: what they say, in which unit, and what they take in."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spider_jax.belief.belief import STANDARD, Belief
from spider_jax.belief.evidence import EvidenceModel, MetricNoise, Spread
from spider_jax.belief.factors import Factors
from spider_jax.belief.gaussian import Standings
from spider_jax.belief.state import BeliefState
from spider_jax.belief.words import distance_in_words
from support.references.beliefs import (
    conditioned,
    dense_prior,
    expected_sample_variance,
    seen_spread,
)

NAMES = ("ant", "bee", "cat", "dog", "eel", "fox")
NOISE = MetricNoise(
    np.array([0.9, 0.6]), np.array([[0.2, 0.1], [0.1, 0.6]]), np.array([0.1, 5.0]), np.full(2, 3.0)
)
EVIDENCE = EvidenceModel(("logme", "knn"), NOISE, Spread(0.08, 2.0), 0.01)


def some_belief(seed=0, spread=1.0, evidence=EVIDENCE, **more):
    rng = np.random.default_rng(seed)
    prior = Standings(
        spread * rng.normal(size=6), rng.normal(size=(6, 2)), rng.uniform(0.2, 1, 6), 0.5
    )
    return Belief(NAMES, prior, evidence, **more)


def in_measure(belief, results, errors):
    """Mean and covariance of level + standing, in the measure, by the dense reference."""
    models = np.array([NAMES.index(name) for name in results])
    values, prior = np.array(list(results.values())), dense_prior(*belief.prior[1:])
    expected = expected_sample_variance(belief.prior.mean[models], prior[np.ix_(models, models)])
    size = seen_spread(*belief.evidence.results, values, expected)
    seen = (models, values / size, (errors / size) ** 2 + 1e-9)
    found = conditioned(belief.prior.mean, prior, [seen])
    show = np.concatenate([np.eye(6), np.ones((6, 1))], axis=1)
    return size * (show @ found.mean), size**2 * (show @ found.covariance @ show.T)


# ---- units -------------------------------------------------------------------------------------


def test_before_two_results_it_speaks_of_standard_units():
    start = some_belief()
    one = start.observe({"cat": 0.8})
    for belief in (start, one):
        assert belief.unit == STANDARD == "standard units"
        assert not belief.in_measure
    assert start.mean.tolist() == start.prior.mean.tolist()
    np.testing.assert_allclose(start.sd, np.sqrt(start.prior.variances()), rtol=1e-12)
    np.testing.assert_allclose(one.mean, start.mean, rtol=0, atol=0.01)  # it has no level
    two = one.observe({"dog": 0.7})
    assert two.in_measure
    assert two.unit == "accuracy"


def test_results_are_the_dense_posterior_in_the_measure():
    belief, results = some_belief(), {"cat": 0.8, "dog": 0.7, "ant": 0.85}
    errors = np.array([0.01, 0.03, 0.02])
    seen = belief.observe(results, standard_error=dict(zip(results, errors, strict=True)))
    mean, covariance = in_measure(belief, results, errors)
    np.testing.assert_allclose(seen.mean, mean, rtol=0, atol=1e-8)
    np.testing.assert_allclose(seen.sd, np.sqrt(np.diagonal(covariance)), rtol=0, atol=1e-8)
    some = [NAMES.index(name) for name in ("eel", "cat")]
    expected = covariance[np.ix_(some, some)]
    np.testing.assert_allclose(seen.covariance(["eel", "cat"]), expected, rtol=0, atol=1e-8)


def test_models_with_results_are_believed_to_perform_like_them():
    results = {"cat": 0.8, "dog": 0.7, "ant": 0.9}
    seen = some_belief().observe(results, standard_error=0.005)
    for name, value in results.items():
        at = NAMES.index(name)
        assert abs(seen.mean[at] - value) < 3 * 0.005
        assert 0 < seen.sd[at] <= 0.0051  # of its performance, which the result has shown
    unseen = [NAMES.index(name) for name in ("bee", "eel", "fox")]
    assert (seen.sd[unseen] > 0.02).all()


@pytest.mark.parametrize(
    "evidence", [EVIDENCE, EvidenceModel(), EvidenceModel((), None, Spread(1.0, 0.0), 0.1)]
)
def test_equal_results_show_their_level(evidence):
    seen = some_belief(evidence=evidence).observe({"cat": 0.8, "dog": 0.8})
    at = [NAMES.index(name) for name in ("cat", "dog")]
    np.testing.assert_allclose(seen.mean[at], 0.8, atol=2 * evidence.error)
    assert (seen.sd > 0).all()


def test_looks_are_in_standard_units_and_their_level_means_nothing():
    belief = some_belief()
    looks = {"cat": (0.1, 4.0), "dog": (0.3, 1.0), "eel": (-0.2, 2.0)}
    one = Belief(NAMES, belief.prior, EVIDENCE, looks=looks)
    higher = {name: (a + 7.0, b - 30.0) for name, (a, b) in looks.items()}
    two = Belief(NAMES, belief.prior, EVIDENCE, looks=higher)
    assert one.unit == STANDARD
    np.testing.assert_allclose(one.mean, two.mean, rtol=0, atol=1e-9)
    assert np.abs(one.mean - belief.mean).max() > 0.05
    after = one.observe({"cat": 0.5, "fox": 0.7}, standard_error=0.002)
    np.testing.assert_allclose(after.mean[[2, 5]], [0.5, 0.7], atol=0.006)


# ---- nothing changes in place ------------------------------------------------------------------


def test_observing_leaves_the_belief_as_it_was():
    start = some_belief()
    mean, sd, best = start.mean.copy(), start.sd.copy(), start.probability_best()
    given = {"cat": 0.8, "dog": 0.2}
    after = start.observe(given)
    given["cat"] = 0.1
    assert after is not start
    assert start.results == {}
    assert after.results["cat"] == (0.8, 0.01)
    assert start.mean.tolist() == mean.tolist()
    assert start.sd.tolist() == sd.tolist()
    assert start.probability_best() == best
    more = after.observe({"eel": 0.6})
    assert set(after.results) == {"cat", "dog"}
    assert set(more.results) == {"cat", "dog", "eel"}


def test_results_one_by_one_are_results_together():
    start = some_belief()
    together = start.observe({"cat": 0.8, "dog": 0.7, "ant": 0.75})
    steps = start.observe({"ant": 0.75}).observe({"cat": 0.8}).observe({"dog": 0.7})
    np.testing.assert_allclose(steps.mean, together.mean, rtol=0, atol=1e-10)
    np.testing.assert_allclose(steps.sd, together.sd, rtol=0, atol=1e-8)


def test_a_result_said_again_is_the_same_result():
    seen = some_belief().observe({"cat": 0.8, "dog": 0.7})
    again = seen.observe({"cat": 0.8})
    assert again.results == seen.results
    assert seen.observe({"cat": 0.8}, standard_error=0.002).results["cat"] == (0.8, 0.002)


# ---- what it cannot take -----------------------------------------------------------------------


@pytest.mark.parametrize("value", [-0.01, 1.2, np.nan, np.inf, -np.inf])
def test_a_result_outside_its_measure_is_refused(refused, value):
    with refused("accuracy", "'cat'", "between 0 and 1", value):
        some_belief().observe({"dog": 0.5, "cat": value})


def test_a_measure_has_its_own_bounds(refused):
    evidence = EvidenceModel(measure="R2", bounds=(-5.0, 1.0))
    assert some_belief(evidence=evidence).observe({"cat": -1.0}).results["cat"][0] == -1.0
    with refused("R2", "'cat'", "between -5 and 1", -6.0):
        some_belief(evidence=evidence).observe({"cat": -6.0})


def test_a_second_result_that_differs_is_refused(refused):
    seen = some_belief().observe({"cat": 0.8})
    with refused("'cat'", "0.8", "0.75"):
        seen.observe({"cat": 0.75})
    assert seen.results == {"cat": (0.8, 0.01)}


@pytest.mark.parametrize("error", [0.0, -0.1, np.nan, np.inf])
def test_an_error_must_be_positive(refused, error):
    with refused("standard_error", "'cat'", "positive", error):
        some_belief().observe({"cat": 0.8}, standard_error=error)
    with refused("standard_error", "'cat'", "positive", error):
        some_belief().observe({"dog": 0.8, "cat": 0.8}, standard_error={"cat": error})


def test_an_unknown_model_is_refused_everywhere(refused):
    belief = some_belief()
    for ask in (
        lambda: belief.observe({"gnu": 0.5}),
        lambda: belief.probability_above("cat", "gnu"),
        lambda: belief.expected_loss("gnu"),
        lambda: belief.covariance(["cat", "gnu"]),
    ):
        with refused("'gnu'", "no model", 6):
            ask()


# ---- what follows ------------------------------------------------------------------------------


def test_the_probability_to_be_above_is_that_of_the_gap():
    belief = some_belief().observe({"cat": 0.8, "dog": 0.7, "eel": 0.75})
    rng = np.random.default_rng(0)
    drawn = rng.multivariate_normal(belief.mean, belief.covariance(NAMES), size=200_000)
    for a in range(6):
        for b in range(6):
            found = belief.probability_above(NAMES[a], NAMES[b])
            back = belief.probability_above(NAMES[b], NAMES[a])
            assert found + back == pytest.approx(1, abs=1e-12)
            if a != b:
                assert abs(found - (drawn[:, a] > drawn[:, b]).mean()) < 0.006
    assert belief.probability_above("cat", "cat") == 0.5


def test_chances_and_losses_against_random_draws():
    belief = some_belief(spread=0.5).observe({"cat": 0.7, "dog": 0.7, "eel": 0.65})
    rng = np.random.default_rng(1)
    drawn = rng.multivariate_normal(belief.mean, belief.covariance(NAMES), size=200_000)
    best = belief.probability_best()
    assert tuple(best) == NAMES
    assert sum(best.values()) == pytest.approx(1)
    shares = np.bincount(drawn.argmax(1), minlength=6) / len(drawn)
    np.testing.assert_allclose(list(best.values()), shares, atol=0.012)
    lost = drawn.max(1).mean() - drawn.mean(0)  # in accuracy
    found = [belief.expected_loss(name) for name in NAMES]
    np.testing.assert_allclose(found, lost, atol=0.02 * belief.sd.max())
    assert belief.expected_loss() == min(found) > 0


@given(seed=st.integers(0, 2**20))
@settings(max_examples=10)
def test_another_order_of_the_models_changes_nothing(seed):
    rng = np.random.default_rng(seed)
    belief, order = some_belief(seed), rng.permutation(6)
    prior = belief.prior
    there = Standings(prior.mean[order], prior.loadings[order], prior.own[order], prior.scale)
    moved = Belief(tuple(NAMES[i] for i in order), there, EVIDENCE)
    results = {"cat": 0.8, "dog": 0.7, "ant": 0.75}
    for one, two in ((belief, moved), (belief.observe(results), moved.observe(results))):
        np.testing.assert_allclose(two.mean, one.mean[order], rtol=0, atol=1e-12)
        np.testing.assert_allclose(two.sd, one.sd[order], rtol=0, atol=1e-10)
        assert two.probability_best() == one.probability_best()
        assert two.expected_loss() == pytest.approx(one.expected_loss(), abs=1e-12)
        assert [look.model for look in two.next(6)] == [look.model for look in one.next(6)]
        assert two.rank().names == one.rank().names
        assert two.rank().to_rows() == one.rank().to_rows()


def test_a_stranger_that_is_not_seen_changes_no_other_model():
    belief = some_belief()
    p = belief.prior
    loadings = np.concatenate([p.loadings, np.zeros((1, 2))])
    prior = Standings(np.append(p.mean, -0.2), loadings, np.append(p.own, 0.8), p.scale)
    joined = Belief((*NAMES, "gnu"), prior, EVIDENCE)
    assert joined.mean[:6].tolist() == belief.mean.tolist()
    results = {"cat": 0.8, "dog": 0.7, "ant": 0.75}
    one, two = belief.observe(results), joined.observe(results)
    np.testing.assert_allclose(two.mean[:6], one.mean, rtol=0, atol=1e-12)
    np.testing.assert_allclose(two.sd[:6], one.sd, rtol=0, atol=1e-10)


def test_certainty_grows_with_results():
    start = some_belief(spread=0.3)
    losses = [start.expected_loss()]
    seen = start
    for results in ({"ant": 0.7, "bee": 0.6}, {"cat": 0.65, "dog": 0.5}, {"eel": 0.8, "fox": 0.9}):
        seen = seen.observe(results, standard_error=0.001)
        losses.append(seen.expected_loss() / seen.unit_size)
    assert losses[-1] < 0.01 < losses[0]
    assert seen.probability_best()["fox"] > 0.99


# ---- words and files ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("explained", "said"), [(0.05, "unlike all"), (0.4, "somewhat like"), (0.9, "is like known")]
)
def test_how_far_the_task_is_from_known_ones(explained, said):
    assert said in distance_in_words(explained)
    assert f"{100 * explained:.0f} %" in distance_in_words(explained)
    assert distance_in_words(explained) in some_belief(explained=explained).notes()


@pytest.mark.parametrize("noise", [NOISE, None])
def test_what_is_kept_on_disk_begins_the_same_belief(noise):
    rng = np.random.default_rng(2)
    evidence = EvidenceModel(EVIDENCE.metrics if noise else (), noise, Spread(0.08, 2.0), 0.01)
    state = BeliefState(Factors(rng.normal(size=(6, 2)), rng.uniform(0.2, 1, 6)), evidence)
    back = BeliefState.of(state.arrays(), evidence.metrics)
    mean, results = rng.normal(size=6), {"cat": 0.8, "dog": 0.7}
    one, two = (s.begin(NAMES, mean, 0.5, 0.4, "pets").observe(results) for s in (state, back))
    np.testing.assert_allclose(two.mean, one.mean, rtol=0, atol=1e-5)  # kept as float32
    np.testing.assert_allclose(two.sd, one.sd, rtol=0, atol=1e-5)
    assert (two.evidence.noise is None) == (noise is None)
    assert (two.task, two.explained, two.evidence.metrics) == ("pets", 0.4, evidence.metrics)
