"""How surprises go together: the formula as a dense matrix, its likelihood by SciPy."""

import jax
import numpy as np
from scipy.stats import multivariate_normal

from spider_jax.belief.factors import Factors
from spider_jax.recommend.covariance import (
    PLAIN,
    Covariance,
    Residuals,
    _asked,
    _loss,
    _padded,
    _Rows,
    learn_covariance,
)
from support.references.recommending import surprise_covariance

M = 7


def some_covariance(rng, facts=3):
    factors = Factors(rng.normal(size=(M, 2)), rng.uniform(0.2, 1, M))
    known = rng.normal(size=(M, facts))
    known /= np.maximum(np.linalg.norm(known, axis=1, keepdims=True), 1.0)
    return Covariance(factors, known, np.array([0.6, 0.3, 0.2, 0.25, 0.15]))


def test_standings_are_the_formula(rng):
    mean, constant, variance = *rng.normal(size=(2, M)), rng.uniform(0.3, 2, M)
    for facts in (0, 3):
        given = some_covariance(rng, facts)
        found = given.standings(mean, variance, constant)
        unit = np.sqrt(variance)
        shown = mean / unit, (mean - constant) / unit
        dense = surprise_covariance(*given.factors, given.facts, *shown, given.weights)
        everyone = np.arange(M)
        np.testing.assert_allclose(
            found.block(everyone, everyone), dense * np.outer(unit, unit), rtol=0, atol=1e-12
        )
        assert found.mean.tolist() == mean.tolist()


def some_residuals(rng, groups):
    there = rng.random((len(groups), M)) < 0.7
    there[:, :2] = True
    task, model = np.nonzero(there)
    return Residuals(model, task, np.array(groups), *rng.normal(size=(4, len(task))), M)


def test_the_loss_is_the_likelihood_of_every_task(rng):
    given, covariance = some_residuals(rng, [0, 0, 1, 2, 2, 2]), some_covariance(rng)
    p, plain = np.log(covariance.weights), np.log(PLAIN)
    rows = _padded(given, _asked(given), np.array([0, 2]), covariance.factors, covariance.facts)
    assert isinstance(rows, _Rows)
    with jax.enable_x64(True):
        found = float(jax.jit(_loss)(p, plain, rows))
    groups = {0: [], 2: []}
    for t in (0, 1, 3, 4, 5):
        at = np.flatnonzero(given.task == t)
        mine, shown = given.model[at], (given.order[at], given.moved[at])
        L, psi = covariance.factors.loadings[mine], covariance.factors.own[mine]
        dense = surprise_covariance(L, psi, covariance.facts[mine], *shown, covariance.weights)
        log = multivariate_normal(np.zeros(len(at)), dense).logpdf(given.value[at])
        groups[given.group[t]].append(-log / len(at) - np.log(2 * np.pi) / 2)
    fit = np.mean([np.mean(each) for each in groups.values()])
    expected = 4.0 * 2 * fit + ((p - plain) ** 2).sum() / (2 * 2.0**2)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)


def test_few_tasks_have_plain_weights_and_no_factors(rng):
    found, held_out = learn_covariance(some_residuals(rng, [0, 1, 2, 3, 4]), np.zeros((M, 0)))
    assert held_out == ()
    assert found.weights.tolist() == list(PLAIN)
    assert found.factors.loadings.shape == (M, 0)
