"""SFDA and NCTI against their definitions, their posterior against scikit-learn's, and edges."""

from importlib import import_module

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from spider_jax.metrics.methods.ncti import combine_ncti, ncti_parts, ncti_parts_of
from spider_jax.metrics.methods.sfda import sfda, sfda_of
from spider_jax.metrics.shared import statistics
from spider_jax.metrics.shared.discriminant import fit_discriminant, posterior
from spider_jax.metrics.shared.statistics import Statistics
from support.references import metrics as references
from support.toy_tasks import (
    blobs,
    columns_twice,
    linear_labels,
    rank_deficient,
    rows_twice,
    rows_twice_in_two_classes,
    with_columns,
)

pytestmark = pytest.mark.slow

sfda_module = import_module("spider_jax.metrics.methods.sfda")  # the package has its function
F, y = blobs(noise=1.5)
MEANS = np.random.default_rng(0).normal(size=(3, 5))
CASES = {
    "more rows than features": (F, y),
    "clear classes": blobs(noise=0.5),
    "more features than rows": blobs(20, 30),
    "more features than rows, small": (0.1 * blobs(20, 30, noise=1.5)[0], blobs(20, 30)[1]),
    "as many features as rows": (0.3 * blobs(20, 20, noise=2.0)[0], blobs(20, 20)[1]),
    "rank 3 of 8, tall": rank_deficient(40, 8, 3),
    "rank 4 of 30, wide": rank_deficient(20, 30, 4),
    "constant columns": with_columns(3, 0),
    "columns twice": columns_twice(),
    "rows twice, tall": rows_twice(20, 6),
    "rows twice, wide": (0.2 * rows_twice(10, 30)[0], rows_twice(10, 30)[1]),
    "rows twice in two classes, wide": rows_twice_in_two_classes(),
    "labels linear in the features": linear_labels(),
    "a column that is a class": (np.hstack([blobs(noise=2)[0], 5.0 * (y == 2)[:, None]]), y),
    "a class of one sample": (F, np.repeat([0, 1, 2], [20, 19, 1])),
    "every row its own class but one": (blobs(6)[0], np.array([0, 1, 2, 3, 4, 4])),
    "labels with gaps": (F, np.array([40, -3, 7])[y]),
    "float32": (F.astype(np.float32), y),
    "far from 0": (F + 1e3, y),
    "large": (1e6 * F, y),
    "small": (1e-6 * F, y),
    "one feature": blobs(width=1),
    "nearly its class mean": (0.1 * blobs(noise=1e-5)[0], y),
    "nearly its class mean, wide": (0.1 * blobs(20, 30, noise=1e-5)[0], blobs(20, 30)[1]),
    "its class mean, tall": (0.3 * MEANS[np.arange(12) % 3], np.arange(12) % 3),
    "its class mean, wide": (100 + 0.3 * np.tile(MEANS, (2, 4)), np.arange(6) % 3),
    "its class mean, unequal classes": (
        0.3 * MEANS[[0] * 7 + [1] * 3 + [2]],
        [0] * 7 + [1] * 3 + [2],
    ),
    "constant features": (np.full((40, 6), 0.1), y),
    "zero features, wide": (np.zeros((12, 30)), np.arange(12) % 3),
    "Lanczos": (0.3 * blobs(300, 150, 7, noise=2.0)[0], blobs(300, 150, 7)[1]),
}


@pytest.mark.parametrize("case", CASES)
def test_sfda_agrees_with_the_definition(case):
    assert sfda(*CASES[case]) == pytest.approx(references.sfda(*CASES[case]), abs=1e-9)


@pytest.mark.parametrize("components", [64, 3, 1])
@pytest.mark.parametrize("case", CASES)
def test_ncti_parts_agree_with_the_definition(case, components):
    found = ncti_parts(*CASES[case], components=components)
    # seli grows to 1e6 where only the shrinkage keeps W definite
    expected = references.ncti_parts(*CASES[case], components)
    np.testing.assert_allclose(found, expected, rtol=2e-6, atol=1e-9)


# ---- the posterior -----------------------------------------------------------------------------


@pytest.mark.parametrize("shrink", [1e-10, 1e-3, 0.5, 1.0])
@pytest.mark.parametrize("data", [(F, y), blobs(40, 4, 5)])
def test_the_posterior_is_scikit_learns(data, shrink):
    features, labels = data
    counts = np.bincount(labels).astype(float)
    means = np.eye(len(counts))[labels].T @ features / counts[:, None]
    residual, width = features - means[labels], features.shape[1]
    fitted = fit_discriminant(
        means, counts, residual.T @ residual / len(labels), shrink=shrink, width=width, size=1.0
    )
    peer = LinearDiscriminantAnalysis(solver="eigen", shrinkage=shrink).fit(features, labels)
    # its shrinkage is towards tr/D of every class, whose weighted mean is that of S_w
    np.testing.assert_allclose(
        posterior(fitted, residual, labels), peer.predict_proba(features), atol=1e-9
    )


def test_a_covariance_that_rounding_made_indefinite_still_has_a_posterior():
    within = np.diag([1.0, -1e-9, 0.0])
    means, counts = np.array([[0.0, 0, 0], [1, 0, 0]]), np.array([4.0, 4])
    fitted = fit_discriminant(means, counts, within, shrink=1e-10, width=3, size=1.0)
    assert np.isfinite(fitted.factor).all()
    W = np.diag([1.0, 0, 0]) + 1e-10 / 3 * np.eye(3)
    np.testing.assert_allclose(fitted.factor @ fitted.factor.T, W, atol=1e-15)


# ---- one pass ----------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", [sfda, ncti_parts])
@pytest.mark.parametrize("scale", [0.1, 1.0])
def test_blocks_of_a_memmap_change_nothing(monkeypatch, tmp_path, metric, scale):
    features, labels = blobs(100, 6, 4, noise=2.0)
    expected = metric(scale * features, labels)
    np.save(tmp_path / "F.npy", scale * features)
    monkeypatch.setattr(statistics, "BLOCK_NUMBERS", 7 * 6)
    file = np.load(tmp_path / "F.npy", mmap_mode="r")
    np.testing.assert_allclose(metric(file, labels), expected, rtol=1e-11)


def test_the_within_scatter_from_moments_is_that_of_the_rows(monkeypatch):
    expected = sfda(F, y)
    monkeypatch.setattr(sfda_module, "SMALL_WITHIN", np.inf)
    assert sfda(F, y) == pytest.approx(expected, abs=1e-12)


def test_the_bound_of_the_shrinkage_is_no_other_shrinkage(monkeypatch):
    S = np.diag(np.linspace(4.58, 4.63, 200))
    S[:20, :20] += 0.01
    for part in (S[:-1, :-1] / 3, S, S[:30, :30]):
        expected = max(np.exp(-5 * np.linalg.eigvalsh(part)[-1]), 1e-10)
        assert sfda_module._shrinkage(part) == pytest.approx(expected, rel=1e-9)


def test_shared_statistics_give_the_same():
    for features, labels in ((F, y), blobs(20, 30)):
        given = Statistics(features, labels)
        assert sfda_of(given) == sfda(features, labels)
        assert ncti_parts_of(given, components=4) == ncti_parts(features, labels, components=4)


def test_features_are_left_as_they_are():
    features = F.copy()
    features.setflags(write=False)
    assert 0 < sfda(features, y) <= 1
    np.testing.assert_array_equal(features, F)


def test_no_component_is_refused(refused):
    with refused("components", "at least 1", "got 0"):
        ncti_parts(F, y, components=0)


# ---- the zoo -----------------------------------------------------------------------------------


def test_ncti_of_a_zoo_agrees_with_the_definition():
    zoo = [blobs(noise=noise) for noise in (9.0, 3.0, 1.0, 0.3)]
    parts = [ncti_parts(features / features.std(), labels) for features, labels in zoo]
    found = combine_ncti(parts)
    np.testing.assert_allclose(found, references.ncti(parts), atol=1e-12)
    assert found.argmax() == 3


def test_a_model_without_parts_does_not_count():
    parts = np.random.default_rng(0).normal(size=(5, 3))
    with_nan = np.insert(parts, 2, [np.nan, 100, 100], axis=0)
    found = combine_ncti(with_nan)
    assert np.isnan(found[2])
    np.testing.assert_array_equal(np.delete(found, 2), combine_ncti(parts))
    assert np.isnan(combine_ncti(np.full((2, 3), np.nan))).all()


def test_equal_parts_and_a_zoo_of_one_say_nothing():
    assert combine_ncti([[1.0, 2.0, 3.0]]).tolist() == [0]
    # by hand: seli 0 and 1, ncc equal, vc 1 and 0
    assert combine_ncti([[1.0, 2.0, 9.0], [3.0, 2.0, 5.0]]).tolist() == [-1, 1]
    assert combine_ncti(np.zeros((0, 3))).shape == (0,)


@pytest.mark.parametrize("parts", [np.zeros(3), np.zeros((4, 2)), np.zeros((1, 4, 3))])
def test_other_shapes_of_parts_are_refused(refused, parts):
    with refused("parts", "[M, 3]", str(parts.shape)):
        combine_ncti(parts)
