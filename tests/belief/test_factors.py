"""The covariance over models: what is shared is found, and only where it is there."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import multivariate_normal

from spider_jax.belief.factors import LEAST_OWN, Factors, _log_likelihood, fit_factors

TOWARDS_MEAN = 4.0


def dense(found):
    return found.loadings @ found.loadings.T + np.diag(found.own)


def in_groups(tasks, groups):
    return [np.arange(tasks) % groups == g for g in range(groups)]


def shrunk_diagonal(residuals, weights):
    """Each model's second moment, drawn to their mean by as much as 4 datasets."""
    total = weights.sum()
    own = (weights[:, None] * residuals**2).sum(0) / total
    return (total * own + TOWARDS_MEAN * own.mean()) / (total + TOWARDS_MEAN)


@given(
    seed=st.integers(0, 2**20),
    tasks=st.integers(1, 30),
    models=st.integers(1, 12),
    groups=st.integers(1, 6),
    shared=st.floats(0, 5),
)
@settings(max_examples=60)
def test_always_a_covariance_with_the_diagonal_that_is_seen(seed, tasks, models, groups, shared):
    rng = np.random.default_rng(seed)
    residuals = rng.normal(size=(tasks, models)) + shared * rng.normal(size=(tasks, 1))
    weights = rng.uniform(0.05, 1, size=tasks)
    every = [mine for mine in in_groups(tasks, groups) if mine.any() and not mine.all()]
    found = fit_factors(residuals, weights, every)
    whole = shrunk_diagonal(residuals, weights)
    assert (found.own >= LEAST_OWN * whole * (1 - 1e-9)).all()
    assert np.linalg.eigvalsh(dense(found)).min() > 0
    np.testing.assert_allclose(np.diagonal(dense(found)), whole, rtol=1e-9)


@given(seed=st.integers(0, 2**20), models=st.integers(1, 8), factors=st.integers(0, 4))
@settings(max_examples=40)
def test_the_likelihood_is_gaussian(seed, models, factors):
    rng = np.random.default_rng(seed)
    found = Factors(rng.normal(size=(models, factors)), rng.uniform(0.1, 2, size=models))
    residuals, weights = rng.normal(size=(5, models)), rng.uniform(size=5)
    each = np.atleast_1d(multivariate_normal(np.zeros(models), dense(found)).logpdf(residuals))
    constant = models * np.log(2 * np.pi) / 2  # the same under every covariance
    np.testing.assert_allclose(
        _log_likelihood(residuals, weights, found),
        (weights * (each + constant)).sum(),
        rtol=0,
        atol=1e-8,
    )


def fitted(residuals, weights, rank, shrink):
    """(1 - h) V_r diag(l_r) V_r^T + diag(d), from the whole second moment [M, M]."""
    second = (residuals * weights[:, None]).T @ residuals / weights.sum()
    values, vectors = np.linalg.eigh(second)
    first = np.argsort(-values)[:rank]
    shared = (1 - shrink) * (vectors[:, first] * values[first]) @ vectors[:, first].T
    whole = shrunk_diagonal(residuals, weights)
    most = (1 - LEAST_OWN) * whole  # where factors explain more, they are cut
    cut = np.sqrt(np.minimum(1, most / np.maximum(np.diagonal(shared), 1e-12)))
    shared = shared * np.outer(cut, cut)
    return shared + np.diag(whole - np.diagonal(shared))


@pytest.mark.parametrize("seed", range(4))
def test_the_covariance_that_left_out_groups_find_most_likely(seed):
    rng = np.random.default_rng(seed)
    tasks, models = (16, 24, 40, 60)[seed], 8
    residuals = rng.normal(size=(tasks, models)) + 0.5 * rng.normal(size=(tasks, 1))
    weights, groups = rng.uniform(0.2, 1, size=tasks), in_groups(tasks, 4)
    best, most = None, -np.inf
    for rank, shrink in [(0, 0.0), *((r, h) for r in (1, 2, 4) for h in (0.0, 0.3, 0.6))]:
        likelihood = 0.0
        for mine in groups:
            found = fitted(residuals[~mine], weights[~mine], rank, shrink)
            each = multivariate_normal(np.zeros(models), found).logpdf(residuals[mine])
            likelihood += (weights[mine] * each).sum()
        if likelihood > most:
            best, most = (rank, shrink), likelihood
    expected = fitted(residuals, weights, *best)
    np.testing.assert_allclose(
        dense(fit_factors(residuals, weights, groups)), expected, rtol=0, atol=1e-8
    )


@pytest.mark.parametrize("seed", range(3))
def test_independent_errors_have_no_factor(seed):
    residuals = np.random.default_rng(seed).normal(size=(200, 30))
    found = fit_factors(residuals, np.ones(200), in_groups(200, 20))
    assert found.loadings.shape == (30, 0)
    np.testing.assert_allclose(found.own, 1, atol=0.4)


@pytest.mark.parametrize("seed", range(3))
def test_a_strong_factor_is_found(seed):
    rng = np.random.default_rng(seed)
    direction = rng.choice([-0.9, 0.9], size=20)
    residuals = rng.normal(size=(60, 1)) * direction + np.sqrt(0.19) * rng.normal(size=(60, 20))
    found = fit_factors(residuals, np.ones(60), in_groups(60, 10))
    assert found.loadings.shape[1] >= 1
    first = found.loadings[:, 0] / np.linalg.norm(found.loadings[:, 0])
    assert abs(first @ direction) / np.linalg.norm(direction) > 0.97
    apart = ~np.eye(20, dtype=bool)
    expected = np.outer(direction, direction)
    assert np.abs(dense(found) - expected)[apart].mean() < 0.3


def test_two_factors_need_two():
    rng = np.random.default_rng(4)
    loadings = rng.normal(size=(24, 2))
    residuals = rng.normal(size=(80, 2)) @ loadings.T + 0.3 * rng.normal(size=(80, 24))
    found = fit_factors(residuals, np.ones(80), in_groups(80, 8))
    assert found.loadings.shape[1] >= 2
    left = np.linalg.svd(found.loadings, full_matrices=False)[0][:, :2]
    explained = np.linalg.norm(left.T @ np.linalg.qr(loadings)[0])
    assert explained > 0.97 * np.sqrt(2)


def test_a_held_out_group_is_not_fitted_to_itself():
    """A factor in each group of its own helps no other group: there is none."""
    rng = np.random.default_rng(5)
    groups = in_groups(30, 6)
    residuals = 0.5 * rng.normal(size=(30, 40))
    for mine in groups:
        residuals[mine] += rng.normal(size=40)
    assert fit_factors(residuals, np.full(30, 0.2), groups).loadings.shape[1] == 0


@pytest.mark.parametrize("groups", [0, 1, 2])
def test_with_too_few_groups_there_is_no_factor(groups):
    rng = np.random.default_rng(6)
    residuals = rng.normal(size=(10, 1)) + 0.1 * rng.normal(size=(10, 5))
    every = in_groups(10, groups) if groups else []
    found = fit_factors(residuals, np.ones(10), every)
    assert found.loadings.shape == (5, 0)
    np.testing.assert_allclose(found.own, shrunk_diagonal(residuals, np.ones(10)), rtol=1e-12)


def test_weights_are_so_many_copies():
    rng = np.random.default_rng(7)
    residuals = rng.normal(size=(12, 1)) + 0.3 * rng.normal(size=(12, 6))
    twice = fit_factors(np.tile(residuals, (2, 1)), np.ones(24), in_groups(24, 4))
    heavy = fit_factors(residuals, np.full(12, 2.0), in_groups(12, 4))
    np.testing.assert_allclose(dense(twice), dense(heavy), rtol=0, atol=1e-9)


def test_another_order_of_the_models_is_another_order_of_the_covariance():
    rng = np.random.default_rng(8)
    residuals = rng.normal(size=(40, 2)) @ rng.normal(size=(2, 9)) + 0.4 * rng.normal(size=(40, 9))
    order = rng.permutation(9)
    one = dense(fit_factors(residuals, np.ones(40), in_groups(40, 5)))
    two = dense(fit_factors(residuals[:, order], np.ones(40), in_groups(40, 5)))
    np.testing.assert_allclose(two, one[np.ix_(order, order)], rtol=0, atol=1e-9)
