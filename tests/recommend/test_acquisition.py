"""Whom to evaluate next, beside improvements by hand and dense covariances."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from spider_jax.belief.belief import Belief
from spider_jax.belief.evidence import EvidenceModel, Spread
from spider_jax.belief.gaussian import Standings
from spider_jax.recommend.acquisition import improvements, next_runs, reductions, stop_loss

NAMES = tuple("abcdefgh")
EVIDENCE = EvidenceModel(
    results=Spread(5.0, 3.0), error=0.05, bounds=(-np.inf, np.inf), ranks=3.0, link=0.1
)


def some_belief(seed=0, heard=()):
    rng = np.random.default_rng(seed)
    prior = Standings(rng.normal(size=8), rng.normal(size=(8, 2)), rng.uniform(0.2, 1, 8), 0.6)
    found = Belief(NAMES, prior, EVIDENCE)
    return found.observe({m: 60 + 5 * float(rng.normal()) for m in heard}) if heard else found


def improvement(mean, variance, best):
    """E[max(y - best, 0)] by its integral in closed form."""
    sd = math.sqrt(variance)
    u = (mean - best) / sd
    return sd * (u * norm.cdf(u) + norm.pdf(u))


@given(seed=st.integers(0, 2**20), heard=st.sampled_from(["", "c", "gd", "abef"]))
@settings(max_examples=20)
def test_expected_improvements(seed, heard):
    belief = some_belief(seed, heard)
    mean, variance = belief.posterior.mean, belief.posterior.variances
    best = max(mean[NAMES.index(m)] for m in heard) if heard else mean.mean()
    expected = [improvement(m, v, best) for m, v in zip(mean, variance, strict=True)]
    left = [i for i in range(8) if NAMES[i] not in heard]
    found = improvements(belief)
    np.testing.assert_allclose(found[left], np.array(expected)[left], rtol=0, atol=1e-12)
    assert not np.delete(found, left).any()  # of those that were run nothing more is known
    first = next_runs(belief)[0]
    at = max(left, key=lambda i: expected[i])
    assert first.model == NAMES[at]
    assert first.gain == pytest.approx(expected[at])
    assert first.expected == belief.mean[at]
    assert first.sd == belief.result_sd[at]
    assert first.best == belief.probability_best()[first.model]


def test_an_improvement_is_what_draws_gain():
    belief = some_belief(2, "gd")
    rng = np.random.default_rng(0)
    mean, sd = belief.posterior.mean, np.sqrt(belief.posterior.variances)
    best = mean[[6, 3]].max()
    drawn = np.maximum(mean + sd * rng.normal(size=(200_000, 8)) - best, 0).mean(0)
    left = [i for i in range(8) if NAMES[i] not in "gd"]
    np.testing.assert_allclose(improvements(belief)[left], drawn[left], atol=0.01)


@pytest.mark.parametrize("seed", range(3))
def test_a_result_on_a_part_of_the_rows_may_be_worth_more_rows(seed):
    errors = {"g": 2.0, "d": 1.0, "a": 3.0}
    belief = some_belief(seed)
    belief = belief.observe({"g": 61.0, "d": 60.5, "a": 57.0}, standard_error=errors)
    mean, unit = belief.posterior.mean, belief.unit_size
    variance = belief.posterior.variances
    rng = np.random.default_rng(1)
    for model, error in errors.items():
        at = NAMES.index(model)
        others = max(mean[NAMES.index(m)] for m in errors if m != model)
        now = max(others, mean[at])
        shown = mean[at] + np.sqrt(variance[at]) * rng.normal(size=400_000)
        shown += error / unit * rng.normal(size=400_000)
        weight = variance[at] / (variance[at] + (error / unit) ** 2)
        after = np.maximum(mean[at] + weight * (shown - mean[at]), others)
        assert improvements(belief)[at] == pytest.approx(after.mean() - now, abs=0.005)
    asked = next_runs(belief, 8, parts=True)
    assert sorted(run.model for run in asked) == list(NAMES)
    assert {run.model for run in asked if run.again} == set(errors)
    assert not {run.model for run in next_runs(belief, 8, without="g", parts=True)} & {"g"}
    for options in ({"goal": "order", "parts": True}, {}):
        assert not any(run.again for run in next_runs(belief, 8, **options))


def test_reductions_are_dense():
    belief = some_belief(1, "bf")
    covariance = belief.posterior.covariance(np.arange(8))
    expected = [sum(covariance[i] ** 2) / (covariance[i, i] + 0.1) for i in range(8)]
    np.testing.assert_allclose(reductions(belief), expected, rtol=1e-10)
    left = [i for i in range(8) if NAMES[i] not in "bf"]
    best = max(left, key=lambda i: expected[i])
    assert next_runs(belief, goal="order")[0].model == NAMES[best]


def test_gain_is_weighed_by_cost_and_bounded_by_money():
    belief = some_belief(3)
    gains = improvements(belief)
    costs = dict(zip(NAMES, (1.0, 9, 2, 4, 0.5, 30, 7, 3), strict=True))
    order = sorted(range(8), key=lambda i: -gains[i] / costs[NAMES[i]])
    assert next_runs(belief, costs=costs)[0].model == NAMES[order[0]]
    out = NAMES[order[0]], NAMES[order[1]]
    assert next_runs(belief, costs=costs, without=out)[0].model == NAMES[order[2]]
    for money in (0.2, 3.0, 12.0):
        found = next_runs(belief, 8, costs=costs, money=money)
        assert sum(run.cost for run in found) <= money
    assert next_runs(belief, 8, costs=costs, money=0.2) == []
    assert len(next_runs(belief, 8, costs=costs, money=1e6)) == 8


def test_an_unknown_cost_is_the_usual_one(refused):
    found = next_runs(some_belief(), 8, costs={"a": 2.0, "b": 6.0, "c": math.nan})
    assert {run.model: run.cost for run in found} == {
        "a": 2.0,
        "b": 6.0,
        **dict.fromkeys("cdefgh", 4.0),
    }
    assert next_runs(some_belief(), costs={"z": 3.0})[0].cost == 1.0
    for bad in (0.0, -1.0, math.inf):
        with refused("cost", "positive", bad):
            next_runs(some_belief(), costs={"a": bad})


@pytest.mark.parametrize("heard", ["", "c", "gd", "abe"])
@pytest.mark.parametrize("goal", ["best", "order"])
def test_a_batch_has_different_models(heard, goal):
    found = [run.model for run in next_runs(some_belief(4, heard), 20, goal=goal)]
    assert sorted(found) == [m for m in NAMES if m not in heard]


@pytest.mark.parametrize("heard", ["", "c"])
def test_results_that_a_batch_expects_are_in_the_unit_of_the_measure(heard, monkeypatch):
    seen = []
    observe = Belief.observe
    belief = some_belief(5, heard)
    monkeypatch.setattr(Belief, "observe", lambda b, r: seen.append(r) or observe(b, r))
    next_runs(belief, 3)
    known = {m: value for m, (value, _) in belief.results.items()} | seen[0] | seen[1]
    names = [*heard, *(m for r in seen for m in r)][:2]
    standing = belief if heard else observe(belief, seen[0])
    gap = np.diff([standing.posterior.mean[NAMES.index(m)] for m in names])[0]
    assert known[names[1]] - known[names[0]] == pytest.approx(5.0 * gap)  # 5 is the usual spread


def test_what_stopping_loses():
    start = some_belief(6)
    assert stop_loss(start) == pytest.approx(start.expected_loss())
    seen = start.observe({"a": 50.0, "b": 55.0, "c": 40.0})
    best = max("abc", key=lambda m: seen.results[m][0])
    covariance = seen.posterior.covariance(np.arange(8))
    root = np.linalg.cholesky(covariance)
    draws = seen.posterior.mean + np.random.default_rng(0).normal(size=(200_000, 8)) @ root.T
    expected = draws.max(1).mean() - seen.posterior.mean[NAMES.index(best)]
    assert stop_loss(seen) == pytest.approx(expected, abs=0.02)
    assert stop_loss(seen) >= 0
