"""The scaling of tokens against NumPy, and its spread and unit."""

from itertools import pairwise

import jax.numpy as jnp
import numpy as np
import pytest

from spider_jax.tasks.scaling import KINDS, fit_scaling, with_unit_tokens
from support.toy_tasks import random_tokens, standardized


def raw_features(n=50, width=6):
    """Correlated columns of different means and scales, the third constant."""
    rng = np.random.default_rng(1)
    F = rng.normal(size=(n, width)) @ rng.normal(size=(width, width)) * 10.0 ** np.arange(-2, 4) + 3
    F[:, 2] = 7
    return F.astype(np.float32)


def scaled_rows(scaling, F):
    return np.asarray(scaling(jnp.asarray(F[None]), jnp.ones((1, len(F)), bool)))[0]


def distances(F):
    return np.linalg.norm(F[:, None] - F[None], axis=-1)


def test_raw_changes_nothing():
    F = raw_features()
    np.testing.assert_array_equal(scaled_rows(fit_scaling(F, kind="raw", spread=False), F), F)


def test_standardize_brings_every_feature_to_mean_0_and_deviation_1():
    F = raw_features()
    found = scaled_rows(fit_scaling(F, kind="standardize", spread=False), F)
    np.testing.assert_allclose(found, standardized(F), atol=1e-4)


def test_pca_turns_the_standardized_features():
    F = raw_features()
    found = scaled_rows(fit_scaling(F, kind="pca", spread=False), F)
    np.testing.assert_allclose(distances(found), distances(standardized(F)), atol=1e-3)
    covariance = found.T @ found / len(F)
    np.testing.assert_allclose(covariance, np.diag(np.diag(covariance)), atol=1e-3)
    assert all(a >= b - 1e-4 for a, b in pairwise(np.diag(covariance)))


def test_pca_keeps_the_leading_components():
    F = raw_features()
    most = np.linalg.svd(standardized(F), compute_uv=False)[:2]
    scaling = fit_scaling(F, kind="pca", components=2, spread=False)
    found = scaled_rows(scaling, F)
    assert scaling.width == found.shape[1] == 2
    np.testing.assert_allclose(np.linalg.norm(found, axis=0), most, rtol=1e-4)


def test_the_signs_of_components_do_not_depend_on_the_order_of_rows():
    F = raw_features()
    np.testing.assert_allclose(fit_scaling(F).matrix, fit_scaling(F[::-1].copy()).matrix, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_the_spread_stands_beside_every_token(kind):
    tokens, mask = random_tokens((3, 7, 1))
    plain, wide = (fit_scaling(raw_features(), kind=kind, spread=s) for s in (False, True))
    expected = np.asarray(plain(jnp.asarray(tokens), jnp.asarray(mask)))
    found = np.asarray(wide(jnp.asarray(tokens), jnp.asarray(mask)))
    assert found.shape[-1] == wide.width == 2 * plain.width
    for task, real, before in zip(found, mask, expected, strict=True):
        spread = np.abs(before[real] - before[real].mean(0))
        np.testing.assert_allclose(task[real], np.hstack([before[real], spread]), atol=1e-4)
        assert (task[~real] == 0).all()
        assert (before[~real] == 0).all()


@pytest.mark.parametrize("spread", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_unit_tokens_have_mean_square_one(kind, spread):
    tokens, mask = random_tokens((3, 7, 1))
    scaling = fit_scaling(raw_features(), kind=kind, spread=spread)
    unit = with_unit_tokens(scaling, tokens, mask)
    found = np.asarray(unit(jnp.asarray(tokens), jnp.asarray(mask)))
    assert np.mean(found[mask].astype(float) ** 2) == pytest.approx(1, abs=1e-5)
    factor = np.linalg.norm(unit.matrix) / np.linalg.norm(scaling.matrix)
    np.testing.assert_allclose(unit.matrix, factor * scaling.matrix, rtol=1e-6)
    np.testing.assert_array_equal(unit.mean, scaling.mean)


@pytest.mark.parametrize("kind", KINDS)
def test_features_that_say_nothing_stay_finite(kind):
    scaling = fit_scaling(np.full((10, 4), 3.0), kind=kind)
    tokens, mask = np.full((1, 8, 4), 3.0, np.float32), np.arange(8)[None] < 2
    unit = with_unit_tokens(scaling, tokens, mask)
    assert np.isfinite(unit(jnp.asarray(tokens), jnp.asarray(mask))).all()


def test_scalings_that_are_none_are_refused(refused):
    with refused("scaling", "pca", "'whiten'"):
        fit_scaling(raw_features(), kind="whiten")
    with refused("components", 0):
        fit_scaling(raw_features(), components=0)
