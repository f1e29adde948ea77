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


@pytest.mark.parametrize(("width", "columns", "seed"), [(1000, 1, 0), (1000, 2, 1), (980, 1, 2)])
def test_planted_columns_are_found(width, columns, seed):
    F, Y, truth = planted(200, width, 3, columns, seed=seed)
    found = select_features(F * np.geomspace(1e-3, 1e3, width), Y)  # scale says nothing
    assert (found.kept & truth).sum() >= 0.95 * found.kept.sum()
    assert (found.kept & truth).sum() >= 0.95 * truth.sum()
    assert found.noise == pytest.approx(0.5, abs=0.15)


@pytest.mark.parametrize("classes", [2, 4])
def test_noise_is_not_kept(classes):
    rng = np.random.default_rng(classes)
    found = select_features(rng.normal(size=(200, 1000)), np.eye(classes)[np.arange(200) % classes])
    assert found.kept.sum() <= 1
    assert found.inclusion.mean() < 0.01


def test_constant_columns_and_copies():
    F, Y, truth = planted(200, 1000, 3)
    F[:, np.flatnonzero(~truth)[:5]] = 7.0
    found = select_features(F, np.hstack([Y, -Y]))  # one number, given twice
    np.testing.assert_array_equal(found.kept, truth)
    assert (found.inclusion[np.flatnonzero(~truth)[:5]] == 0).all()


def test_constant_labels_are_refused():
    with pytest.raises(InputError, match="vary"):
        select_features(np.eye(4), np.ones((4, 2)))
