"""Factors of tables with holes, beside scikit-learn and expectation-maximisation in NumPy."""

import numpy as np
import pytest
from sklearn.decomposition import FactorAnalysis

from spider_jax.recommend import factor_analysis as module
from spider_jax.recommend.factor_analysis import factor_analysis
from support.references.recommending import factor_steps, log_likelihood, triples


def drawn(rng, models, tasks, rank, known=1.0):
    loadings = rng.normal(size=(models, rank))
    table = loadings @ rng.normal(size=(rank, tasks)) + 0.7 * rng.normal(size=(models, tasks))
    return np.where(rng.random(table.shape) < known, table, np.nan)


def test_a_whole_table_is_as_likely_as_under_scikit_learn(rng):
    table = drawn(rng, 6, 120, 2)
    table -= table.mean(1, keepdims=True)
    found = factor_analysis(*triples(table), 6, 120, 2, steady=0.0, steps=2000, least=1e-6)
    peer = FactorAnalysis(2, tol=1e-10, max_iter=5000, svd_method="lapack").fit(table.T)
    ours = log_likelihood(table.T, found.loadings @ found.loadings.T + np.diag(found.own))
    assert abs(ours - peer.score(table.T)) < 1e-4


@pytest.mark.parametrize("steady", [0.0, 2.0])
def test_with_holes_every_step_is_the_dense_one(rng, steady):
    table = drawn(rng, 7, 9, 2, 0.6)
    table[3] = np.nan  # a model without a record
    table[0, :3] = 1.0
    values = np.where(np.isfinite(table), table, 0.0)
    counts, squares = np.isfinite(table).sum(1), (values**2).sum(1)
    own = (squares + steady * squares.sum() / counts.sum()) / np.maximum(counts + steady, 1e-12)
    if steady == 0:
        own[3] = 1.0  # meets no record
    left, sizes, _ = np.linalg.svd(values, full_matrices=False)
    start = left[:, :2] * sizes[:2] / np.sqrt(9)
    for steps in (1, 2, 7):
        loadings, psi = factor_steps(table, start, own, steps, steady, 0.02)
        found = factor_analysis(*triples(table), 7, 9, 2, steady=steady, steps=steps)
        shared = found.loadings @ found.loadings.T
        np.testing.assert_allclose(shared, loadings @ loadings.T, rtol=0, atol=1e-8)
        np.testing.assert_allclose(found.own, psi, rtol=0, atol=1e-8)
        np.testing.assert_allclose(found.loadings[3], 0, atol=1e-12)


def test_chunks_do_not_matter(rng, monkeypatch):
    given = triples(drawn(rng, 6, 8, 2, 0.7))
    one = factor_analysis(*given, 6, 8, 2, steps=5)
    monkeypatch.setattr(module, "CHUNK", 7)
    two = factor_analysis(*given, 6, 8, 2, steps=5)
    np.testing.assert_allclose(two.loadings, one.loadings, rtol=0, atol=1e-10)
    np.testing.assert_allclose(two.own, one.own, rtol=0, atol=1e-10)


def test_no_factors():
    model, task = np.array([0, 0, 1], np.int32), np.array([0, 1, 0], np.int32)
    found = factor_analysis(model, task, np.array([1.0, 3.0, 2.0]), 3, 2, 0)
    mean = 14 / 3
    np.testing.assert_allclose(
        found.own, [(10 + 2 * mean) / 4, (4 + 2 * mean) / 3, mean], rtol=1e-12
    )
    assert found.loadings.shape == (3, 0)


@pytest.mark.parametrize("values", [np.zeros(4), np.zeros(0)])
def test_residuals_that_are_all_0_have_no_factors(values):
    at = np.arange(len(values), dtype=np.int32)
    found = factor_analysis(at // 2, at % 2, values, 3, 4, 2)
    assert not found.loadings.any()
    assert found.own.tolist() == [0.02] * 3
