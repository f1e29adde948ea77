"""Standings after observations, against whole matrices and the level as one more variable."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spider_jax.belief.gaussian import OFFSET_VARIANCE, Observation, Posterior, Standings
from support.references.beliefs import LEVEL_VARIANCE, conditioned, dense_prior

M = 7


def some_standings(rng, models=M, factors=2, scale=0.8):
    return Standings(
        rng.normal(size=models),
        rng.normal(size=(models, factors)),
        rng.uniform(0.2, 1.5, size=models),
        scale,
    )


def seen_of(rng, models):
    models = np.asarray(models, np.int64)
    values = rng.normal(size=len(models)) + rng.normal() * 3
    return Observation(models, values, rng.uniform(0.05, 0.8, size=len(models)))


def posterior_of(prior, seen):
    found = Posterior(prior)
    for one in seen:
        found = found.with_observation(one)
    return found


def reference_of(prior, seen, **more):
    return conditioned(prior.mean, dense_prior(*prior[1:]), seen, **more)


def assert_same(found, expected):
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-8)


def assert_exact(prior, seen):
    """Everything a posterior says is what the dense reference says."""
    models = len(prior.mean)
    posterior, dense = posterior_of(prior, seen), reference_of(prior, seen)
    every = np.arange(models)
    assert_same(posterior.mean, dense.mean[:models])
    assert_same(posterior.variances, np.diagonal(dense.covariance)[:models])
    assert_same(posterior.covariance(every), dense.covariance[:models, :models])


def test_the_level_varies_as_documented():
    assert OFFSET_VARIANCE == LEVEL_VARIANCE


# ---- before anything is seen --------------------------------------------------------------------


def test_a_prior_is_its_dense_matrix():
    prior = some_standings(np.random.default_rng(0))
    dense, some = dense_prior(*prior[1:]), np.array([4, 0, 4])
    assert_same(prior.columns(some), dense[:, some])
    assert_same(prior.block(np.array([2, 4]), some), dense[[2, 4]][:, some])
    assert_same(prior.variances(), np.diagonal(dense))


def test_a_prior_without_factors_is_diagonal():
    prior = some_standings(np.random.default_rng(0), factors=0)
    every = np.arange(M)
    assert_same(prior.block(every, every), np.diag(0.8 * prior.own))


def test_nothing_seen_is_the_prior():
    prior = some_standings(np.random.default_rng(1))
    posterior = Posterior(prior)
    assert posterior.mean.tolist() == prior.mean.tolist()
    assert_exact(prior, [])


def test_an_observation_of_no_model_says_nothing():
    rng = np.random.default_rng(1)
    assert_exact(some_standings(rng), [seen_of(rng, [])])
    assert_exact(some_standings(rng), [seen_of(rng, []), seen_of(rng, [1, 2]), seen_of(rng, [])])


# ---- one observation, several, repeated models -------------------------------------------------


@pytest.mark.parametrize("models", [[3], [5, 1], list(range(M)), [2, 2, 2], [6, 0, 6, 1]], ids=str)
def test_one_observation(models):
    rng = np.random.default_rng(2)
    assert_exact(some_standings(rng), [seen_of(rng, models)])


def test_several_observations_have_a_level_each():
    rng = np.random.default_rng(3)
    prior = some_standings(rng)
    assert_exact(prior, [seen_of(rng, [0, 1, 2]), seen_of(rng, [2, 3]), seen_of(rng, [6, 6, 0])])


@given(
    seed=st.integers(0, 2**20),
    models=st.integers(1, 12),
    factors=st.integers(0, 5),
    sizes=st.lists(st.integers(0, 8), max_size=3),
)
@settings(max_examples=60)
def test_any_sizes(seed, models, factors, sizes):
    rng = np.random.default_rng(seed)
    prior = some_standings(rng, models, factors, float(rng.uniform(0.1, 2)))
    assert_exact(prior, [seen_of(rng, rng.integers(0, models, size=n)) for n in sizes])


def test_a_single_value_has_no_level_to_be_read_against():
    rng = np.random.default_rng(4)
    prior = some_standings(rng)
    found = Posterior(prior, (seen_of(rng, [3]),))
    # one value moves its model by a part of about 1/OFFSET_VARIANCE
    np.testing.assert_allclose(found.mean, prior.mean, atol=0.01)


def test_a_level_of_all_values_changes_nothing():
    rng = np.random.default_rng(5)
    prior, one = some_standings(rng), seen_of(rng, [0, 2, 5])
    higher = one._replace(values=one.values + 2.0)
    gap = Posterior(prior, (higher,)).mean - Posterior(prior, (one,)).mean
    assert np.abs(gap).max() < 2.0 * 10 / OFFSET_VARIANCE


def test_what_is_seen_in_two_steps_is_the_order_of_no_matter():
    rng = np.random.default_rng(6)
    prior, one, two = some_standings(rng), seen_of(rng, [0, 1]), seen_of(rng, [1, 4, 5])
    assert_same(Posterior(prior, (one, two)).mean, Posterior(prior, (two, one)).mean)
    start = Posterior(prior, (one,))
    before = start.mean.copy()
    start.with_observation(two)
    assert start.seen == (one,)
    assert start.mean.tolist() == before.tolist()


def test_nearly_exact_values_of_all_models_are_the_standings_but_for_their_level():
    rng = np.random.default_rng(7)
    prior = some_standings(rng)
    truth = rng.normal(size=M)
    seen = Observation(np.arange(M), truth + 5, np.full(M, 1e-9))
    found = Posterior(prior, (seen,)).mean
    np.testing.assert_allclose(np.diff(found), np.diff(truth), atol=1e-6)


# ---- parts of the covariance, levels -----------------------------------------------------------


def test_cross_is_a_block_of_the_covariance():
    rng = np.random.default_rng(8)
    prior = some_standings(rng)
    seen = [seen_of(rng, [0, 1, 1]), seen_of(rng, [4, 5])]
    dense = reference_of(prior, seen).covariance
    rows, columns = np.array([6, 1, 1]), np.array([0, 1, 2, 6])
    assert_same(posterior_of(prior, seen).cross(rows, columns), dense[rows][:, columns])
    assert_same(Posterior(prior).cross(rows, columns), dense_prior(*prior[1:])[rows][:, columns])


def test_levels():
    rng = np.random.default_rng(9)
    prior = some_standings(rng)
    seen = [seen_of(rng, [0, 1, 2]), seen_of(rng, [3, 3]), seen_of(rng, list(range(M)))]
    posterior, dense = posterior_of(prior, seen), reference_of(prior, seen)
    for kind in range(3):
        assert abs(posterior.level(kind) - dense.mean[M + kind]) < 1e-7  # of 1e4 times a small sum


def test_variances_of_what_an_observation_shows():
    rng = np.random.default_rng(13)
    prior = some_standings(rng)
    seen = [seen_of(rng, [0, 1, 2]), seen_of(rng, [3, 3])]
    posterior, dense = posterior_of(prior, seen), reference_of(prior, seen).covariance
    for kind in range(2):
        show = np.eye(M, M + 2) + np.eye(M + 2)[M + kind]
        expected = np.diagonal(show @ dense @ show.T)
        np.testing.assert_allclose(posterior.shown_variances(kind), expected, rtol=0, atol=1e-7)


def test_covariance_with_the_level_of_an_observation():
    rng = np.random.default_rng(10)
    prior = some_standings(rng)
    seen = [seen_of(rng, [0, 1, 2]), seen_of(rng, [2, 5])]
    posterior, dense = posterior_of(prior, seen), reference_of(prior, seen).covariance
    models = np.array([5, 0, 6])
    for kind in range(2):
        places = [*models, M + kind]
        found = posterior.covariance_with_level(models, kind)
        assert_same(found[:-1], dense[np.ix_(places, places)][:-1])
        np.testing.assert_allclose(found[-1, -1], dense[M + kind, M + kind], rtol=0, atol=1e-7)


def test_covariance_with_a_level_of_which_nothing_was_seen():
    rng = np.random.default_rng(11)
    prior, models = some_standings(rng), np.array([1, 4])
    for seen in ([], [seen_of(rng, [1, 2, 2])]):
        dense = reference_of(prior, seen, more_levels=1).covariance
        places = [1, 4, M + len(seen)]
        found = posterior_of(prior, seen).covariance_with_level(models, None)
        assert_same(found, dense[np.ix_(places, places)])


# ---- models that come and go -------------------------------------------------------------------


def with_stranger(prior, place):
    """One more model, whose standing goes with no other's."""
    return Standings(
        np.insert(prior.mean, place, 0.3),
        np.insert(prior.loadings, place, 0.0, axis=0),
        np.insert(prior.own, place, 1.1),
        prior.scale,
    )


@pytest.mark.parametrize("place", [0, 3, M])
def test_a_stranger_changes_no_other_model(place):
    rng = np.random.default_rng(12)
    prior, seen = some_standings(rng), seen_of(rng, [0, 2, 5])
    others = np.delete(np.arange(M + 1), place)
    alone = Posterior(prior, (seen,))
    joined = Posterior(with_stranger(prior, place), (seen._replace(models=others[seen.models]),))
    assert joined.prior.mean[others].tolist() == prior.mean.tolist()  # to the bit
    # a sum over more rows may be done in another order: the last bit
    np.testing.assert_allclose(joined.mean[others], alone.mean, rtol=0, atol=1e-12)
    np.testing.assert_allclose(joined.variances[others], alone.variances, rtol=0, atol=1e-12)
    assert abs(joined.mean[place] - 0.3) < 1e-12
    assert abs(joined.variances[place] - 0.8 * 1.1) < 1e-12


@given(seed=st.integers(0, 2**20))
@settings(max_examples=20)
def test_another_order_of_the_models_is_another_order_of_the_posterior(seed):
    rng = np.random.default_rng(seed)
    prior, order = some_standings(rng), rng.permutation(M)
    where = np.argsort(order)  # where each model stands now
    seen = [seen_of(rng, [0, 3, 3]), seen_of(rng, [6, 1])]
    moved = Standings(prior.mean[order], prior.loadings[order], prior.own[order], prior.scale)
    there = [one._replace(models=where[one.models]) for one in seen]
    one, two = posterior_of(prior, seen), posterior_of(moved, there)
    np.testing.assert_allclose(two.mean, one.mean[order], rtol=0, atol=1e-12)
    np.testing.assert_allclose(two.variances, one.variances[order], rtol=0, atol=1e-12)
    rows, columns = np.array([0, 5]), np.array([3, 1, 5])
    np.testing.assert_allclose(
        two.cross(where[rows], where[columns]), one.cross(rows, columns), rtol=0, atol=1e-12
    )
