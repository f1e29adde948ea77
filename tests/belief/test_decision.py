"""What a posterior says to do, against closed forms and brute force."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from spider_jax.belief.decision import (
    CANDIDATES,
    best_shares,
    candidates,
    expected_best,
    expected_gain,
    normals,
)
from spider_jax.belief.gaussian import Observation, Posterior, Standings
from spider_jax.belief.looks import next_looks
from support.references.beliefs import LEVEL_VARIANCE, conditioned, dense_prior


def two_models(gap, factor, own):
    return Posterior(Standings(np.array([gap, 0.0]), factor[:, None], own, 1.0))


def some_posterior(rng, models, spread=1.0):
    prior = Standings(
        spread * rng.normal(size=models),
        rng.normal(size=(models, 2)),
        rng.uniform(0.2, 1, size=models),
        0.6,
    )
    return Posterior(prior)


# ---- which is the best -------------------------------------------------------------------------


@given(
    gap=st.floats(-3, 3),
    factor=st.tuples(st.floats(-1, 1), st.floats(-1, 1)),
    own=st.tuples(st.floats(0.05, 2), st.floats(0.05, 2)),
    doubt=st.sampled_from([1.0, 1.5, 4.0]),
)
@settings(max_examples=40)
def test_two_models_against_closed_forms(gap, factor, own, doubt):
    factor, own = np.array(factor), np.array(own)
    found = candidates(two_models(gap, factor, own), doubt)
    covariance = doubt**2 * (np.outer(factor, factor) + np.diag(own))
    deviation = np.sqrt(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    shares = dict(zip(found.models.tolist(), best_shares(found), strict=True))
    assert abs(shares[0] - norm.cdf(gap / deviation)) < 0.01
    assert sum(shares.values()) == pytest.approx(1)
    # E max(y_0, y_1), y_1 of mean 0
    best = gap * norm.cdf(gap / deviation) + deviation * norm.pdf(gap / deviation)
    assert abs(expected_best(found) - best) < 0.01 * doubt


def test_many_models_against_random_draws():
    rng = np.random.default_rng(0)
    posterior = some_posterior(rng, 9)
    dense = dense_prior(*posterior.prior[1:])
    drawn = rng.multivariate_normal(posterior.mean, dense, size=400_000)
    found = candidates(posterior)
    shares = np.bincount(drawn.argmax(1), minlength=9) / len(drawn)
    np.testing.assert_allclose(best_shares(found), shares[found.models], rtol=0, atol=0.01)
    assert abs(expected_best(found) - drawn.max(1).mean()) < 0.01


def test_after_an_observation_the_draws_are_of_the_posterior():
    rng = np.random.default_rng(1)
    prior = some_posterior(rng, 5).prior
    seen = Observation(np.array([0, 3, 4]), rng.normal(size=3), np.full(3, 0.2))
    found = candidates(Posterior(prior, (seen,)))
    dense = conditioned(prior.mean, dense_prior(*prior[1:]), [seen])
    np.testing.assert_allclose(found.draws.mean(0), dense.mean[found.models], rtol=0, atol=1e-6)
    expected = dense.covariance[np.ix_(found.models, found.models)]
    np.testing.assert_allclose(np.cov(found.draws.T), expected, rtol=0, atol=0.02)


def test_a_model_that_is_sure_to_be_the_best_loses_nothing():
    found = candidates(two_models(50.0, np.zeros(2), np.ones(2)))
    assert best_shares(found).tolist() == [1.0, 0.0]
    assert expected_best(found) == pytest.approx(50.0, abs=1e-9)


def test_one_model_is_the_best():
    found = candidates(Posterior(Standings(np.array([0.4]), np.ones((1, 1)), np.ones(1), 1.0)))
    assert best_shares(found).tolist() == [1.0]
    assert expected_best(found) == pytest.approx(0.4)


def test_copies_of_a_model_share_its_chance():
    """A covariance that is singular but for a tiny own part."""
    prior = Standings(np.array([0.0, 0.0, 0.0]), np.ones((3, 1)), np.full(3, 1e-9), 1.0)
    found = candidates(Posterior(prior))
    np.testing.assert_allclose(best_shares(found), 1 / 3, atol=0.05)
    assert expected_best(found) < 1e-3


def test_candidates_are_those_with_the_highest_hopes_first_by_mean():
    rng = np.random.default_rng(2)
    posterior = some_posterior(rng, CANDIDATES + 100)
    hopes = posterior.mean + 3 * np.sqrt(posterior.variances)
    expected = np.argsort(-hopes)[:CANDIDATES]
    found = candidates(posterior)
    assert set(found.models.tolist()) == set(expected.tolist())
    assert (np.diff(posterior.mean[found.models]) <= 0).all()
    assert found.draws.shape[1] == CANDIDATES


@pytest.mark.parametrize("dimensions", [1, 2, 40])
def test_normal_numbers_are_normal_and_always_the_same(dimensions):
    drawn = normals(4096, dimensions)
    assert np.abs(drawn.mean(0)).max() < 1e-12
    np.testing.assert_allclose(
        np.cov(drawn.T).reshape(dimensions, -1), np.eye(dimensions), atol=0.1
    )
    quantiles = np.quantile(drawn[:, 0], [0.05, 0.5, 0.95])
    np.testing.assert_allclose(quantiles, norm.ppf([0.05, 0.5, 0.95]), atol=0.01)
    normals.cache_clear()
    assert normals(4096, dimensions).tolist() == drawn.tolist()


# ---- what looks gain ---------------------------------------------------------------------------


def gain_by_conditioning(rng, mean, prior, seen, looked, variance, *, kind):
    """E max_i E[y_i | t] - max_i E[y_i]: values drawn, then conditioned on, with dense matrices."""
    M = len(mean)
    now = conditioned(mean, prior, seen, more_levels=0 if kind is not None else 1)
    level = M + (len(seen) if kind is None else kind)
    H = np.zeros((len(looked), len(now.mean)))
    H[np.arange(len(looked)), looked] = 1
    H[:, level] = 1
    S = H @ now.covariance @ H.T + variance * np.eye(len(looked))
    t = rng.multivariate_normal(H @ now.mean, S, size=200_000)
    pull = now.covariance @ H.T @ np.linalg.inv(S)
    later = now.mean[:M] + (t - H @ now.mean) @ pull[:M].T
    return later.max(1).mean() - now.mean[:M].max()


@pytest.mark.parametrize("looked", [[1], [0, 2], [3, 1, 0]], ids=str)
@pytest.mark.parametrize("kind", [None, 0])
def test_gains_against_brute_force(looked, kind):
    rng = np.random.default_rng(3)
    prior = some_posterior(rng, 5, spread=0.4).prior
    seen = [Observation(np.array([4, 2]), np.array([0.5, 0.1]), np.array([0.3, 0.3]))]
    posterior = Posterior(prior, tuple(seen))
    joint = posterior.covariance_with_level(np.arange(5), kind)
    found = expected_gain(posterior.mean, joint, np.array(looked), 0.25)
    expected = gain_by_conditioning(
        rng, prior.mean, dense_prior(*prior[1:]), seen, looked, 0.25, kind=kind
    )
    assert abs(found - expected) < 0.01
    assert found >= 0


def test_a_pair_of_looks_against_the_closed_form():
    """Two like models, of which nothing is known: E max of the posterior means."""
    posterior = two_models(0.0, np.zeros(2), np.ones(2))
    joint = posterior.covariance_with_level(np.arange(2), None)
    assert joint[2, 2] == LEVEL_VARIANCE
    # the gap (variance 2) is seen with error 2 * 0.5: its mean will vary by 4/3, half of it each
    expected = np.sqrt(4 / 3) * norm.pdf(0)
    found = expected_gain(posterior.mean, joint, np.array([0, 1]), 0.5)
    assert abs(found - expected) < 0.01
    assert expected_gain(posterior.mean, joint, np.array([0]), 0.5) < 0.01  # alone: no level


def test_a_look_at_what_cannot_be_the_best_gains_nothing():
    posterior = Posterior(
        Standings(np.array([9.0, 0.0, -9.0]), np.zeros((3, 0)), np.full(3, 0.1), 1.0)
    )
    joint = posterior.covariance_with_level(np.arange(3), None)
    assert expected_gain(posterior.mean, joint, np.array([1, 2]), 0.1) < 1e-9


# ---- which look is next ------------------------------------------------------------------------


NAMES = ["a", "b", "c", "d"]


def looks_of(posterior, level, looked, *, costs=(1.0,) * 4, n=4, variance=0.25):
    given = candidates(posterior)
    return next_looks(given, posterior, level, looked, variance, list(costs), NAMES, n)


def test_the_next_look_is_the_one_that_gains_most():
    rng = np.random.default_rng(4)
    prior = some_posterior(rng, 4, spread=0.3).prior
    posterior = Posterior(prior, (Observation(np.array([1]), np.array([0.2]), np.array([0.2])),))
    found = looks_of(posterior, 0, [False, True, False, False], n=1)
    joint = posterior.covariance_with_level(np.arange(4), 0)
    gains = {i: expected_gain(posterior.mean, joint, np.array([i]), 0.25) for i in (0, 2, 3)}
    best = max(gains, key=lambda i: gains[i])
    assert [(look.model, look.cost) for look in found] == [(NAMES[best], 1.0)]
    assert found[0].gain == pytest.approx(gains[best], abs=0.01)


def test_looks_that_were_taken_are_not_taken_again():
    posterior = some_posterior(np.random.default_rng(5), 4)
    found = looks_of(posterior, None, [True, False, False, True])
    assert sorted(look.model for look in found) == ["b", "c"]
    assert looks_of(posterior, None, [True] * 4) == []


def test_the_first_look_is_a_pair_with_the_present_first_model():
    rng = np.random.default_rng(6)
    posterior = some_posterior(rng, 4, spread=0.3)
    found = looks_of(posterior, None, [False] * 4)
    assert found[0].model == NAMES[int(np.argmax(posterior.mean))]
    joint = posterior.covariance_with_level(np.arange(4), None)
    first = int(np.argmax(posterior.mean))
    pairs = [[first, other] for other in range(4) if other != first]
    gains = [expected_gain(posterior.mean, joint, np.array(pair), 0.25) for pair in pairs]
    assert found[0].gain == found[1].gain == pytest.approx(max(gains) / 2, abs=0.01)
    assert len({look.model for look in found}) == 4
    assert looks_of(posterior, None, [False] * 4, n=1) == found[:1]


def test_a_dear_look_waits():
    """Two models with the same to gain: the cheaper is looked at first."""
    prior = Standings(np.array([0.0, -0.1, -0.1, -9.0]), np.zeros((4, 0)), np.ones(4), 1.0)
    posterior = Posterior(prior, (Observation(np.array([0]), np.zeros(1), np.full(1, 0.1)),))
    for dear, cheap in (("b", "c"), ("c", "b")):
        costs = [10.0 if name == dear else 1.0 for name in NAMES]
        first = looks_of(posterior, 0, [True, False, False, False], costs=costs, n=1)[0]
        assert (first.model, first.cost) == (cheap, 1.0)


@given(seed=st.integers(0, 2**20))
@settings(max_examples=15)
def test_another_order_of_the_models_changes_no_look(seed):
    rng = np.random.default_rng(seed)
    prior, order = some_posterior(rng, 4, spread=0.4).prior, rng.permutation(4)
    moved = Standings(prior.mean[order], prior.loadings[order], prior.own[order], prior.scale)
    one = looks_of(Posterior(prior), None, [False] * 4)
    given = candidates(Posterior(moved))
    names = [NAMES[i] for i in order]
    two = next_looks(given, Posterior(moved), None, [False] * 4, 0.25, [1.0] * 4, names, 4)
    assert [look.model for look in two] == [look.model for look in one]
    gains = [[look.gain for look in looks] for looks in (one, two)]
    np.testing.assert_allclose(*gains, rtol=0, atol=1e-9)
