"""Planted columns are found, noise is not kept."""

import numpy as np
import pytest

from spider_jax.ensemble.feature_selection import select_features
from spider_jax.errors import InputError


def planted(rows, width, informative, columns=1, *, seed=0):
    """Labels of signal-to-noise 1 in a few columns of noise."""
    rng = np.random.default_rng(seed)
    F = rng.normal(size=(rows, width))
    where = rng.choice(width, informative, replace=False)
    signs = rng.choice([-1.0, 1.0], size=(informative, columns))
    Y = F[:, where] @ signs / np.sqrt(informative) + rng.normal(size=(rows, columns))
    return F, Y, np.isin(np.arange(width), where)


@pytest.mark.parametrize("columns", [1, 2])
def test_planted_columns_are_found(columns):
    """The least width and rows that compile once; 10,000 columns of 500 rows do as well."""
    hits = kept = planted_ = 0
    for seed in range(4):
        F, Y, truth = planted(256, 1000, 3, columns, seed=seed)
        found = select_features(F * np.geomspace(1e-3, 1e3, 1000), Y)  # scale says nothing
        hits, kept = hits + (found.kept & truth).sum(), kept + found.kept.sum()
        planted_ += truth.sum()
        assert found.noise == pytest.approx(0.5, abs=0.25)
    assert hits >= 0.95 * kept
    assert hits >= 0.95 * planted_


@pytest.mark.parametrize("classes", [2, 4])
def test_noise_is_not_kept(classes):
    rng = np.random.default_rng(classes)
    found = select_features(rng.normal(size=(256, 1000)), np.eye(classes)[np.arange(256) % classes])
    assert found.kept.sum() <= 1
    assert found.inclusion.mean() < 0.01


def test_constant_columns_and_copies():
    F, Y, truth = planted(256, 1000, 3)
    F[:, np.flatnonzero(~truth)[:5]] = 7.0
    found = select_features(F, np.hstack([Y, -Y]))  # one number, given twice
    np.testing.assert_array_equal(found.kept, truth)
    assert (found.inclusion[np.flatnonzero(~truth)[:5]] == 0).all()


def test_constant_labels_are_refused():
    with pytest.raises(InputError, match="vary"):
        select_features(np.eye(4), np.ones((4, 2)))
