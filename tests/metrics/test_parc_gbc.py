"""PARC and GBC against float64 references written from the equations, and PARC against SciPy."""

import sys

import numpy as np
import pytest
from scipy.stats import spearmanr

from spider_jax.metrics.methods.gbc import gbc
from spider_jax.metrics.methods.parc import parc, parc_of, spearman_of_pairs
from spider_jax.metrics.shared.inputs import stratified_rows
from spider_jax.metrics.shared.statistics import Statistics
from support.references import metrics as references
from support.toy_tasks import (
    blobs,
    columns_twice,
    rank_deficient,
    rows_twice,
    rows_twice_in_two_classes,
    standardized,
    with_columns,
)

ONE_ALONE = np.repeat([0, 1, 2], [20, 19, 1])
CASES = {
    "more rows than features": blobs(),
    "more features than rows": blobs(20, 50),
    "rank 3 of 8, tall": rank_deficient(40, 8, 3),
    "rank 4 of 30, wide": rank_deficient(20, 30, 4),
    "constant columns": with_columns(3, 0),
    "columns twice": columns_twice(),
    "rows twice, tall": rows_twice(20, 6),
    "rows twice, wide": rows_twice(10, 30),
    "rows twice in two classes, wide": rows_twice_in_two_classes(),
    "a class of one sample": (blobs()[0], ONE_ALONE),
    "labels with gaps": (blobs()[0], 7 * blobs()[1] - 3),
    "far from 0": (blobs()[0] + 1e4, blobs()[1]),
    "one feature": blobs(width=1),
    "two rows": (np.array([[1.0, 2], [3, 5]]), np.array([0, 1])),
    "float32": (blobs(20, 50)[0].astype(np.float32), blobs(20, 50)[1]),
    "many directions": blobs(150, 90, 7),
}

# ---- PARC -------------------------------------------------------------------------------------


@pytest.mark.parametrize("components", [1, 2, 3, 32, None])
@pytest.mark.parametrize("case", CASES)
def test_parc_agrees_with_the_formula(case, components):
    F, y = CASES[case]
    expected = references.parc(F, y, components=components)
    assert parc(F, y, components=components) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("components", [1, 2, 32])
@pytest.mark.parametrize("case", ["more rows than features", "more features than rows"])
def test_the_published_form_agrees_with_its_formula(case, components):
    F, y = CASES[case]
    expected = references.parc(F, y, components=components, published=True)
    found = parc(F, y, components=components, compat="published")
    assert found == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("case", CASES)
def test_signs_of_principal_coordinates_change_nothing(case, monkeypatch):
    F, y = CASES[case]
    expected, published = parc(F, y), parc(F, y, compat="published")
    real, rng = Statistics.coordinates, np.random.default_rng(0)

    def turned(given, components):
        Z = real(given, components)
        return Z * np.where(np.arange(Z.shape[1]) % 2, -1.0, rng.choice([-1.0, 1.0], Z.shape[1]))

    monkeypatch.setattr(Statistics, "coordinates", turned)
    assert parc(F, y) == pytest.approx(expected, abs=1e-9)
    if case == "many directions":
        assert abs(parc(F, y, compat="published") - published) > 1e-4


@pytest.mark.parametrize("data", [blobs(60, 20), blobs(20, 50), rows_twice(10, 30)])
def test_parc_is_scipys_spearman_of_the_distances(data):
    F, y = data
    pairs = np.triu_indices(len(y), 1)
    distances = np.round(1 - np.corrcoef(standardized(F)), 11)[pairs]
    expected = spearmanr(distances, (y[:, None] != y[None])[pairs]).statistic
    assert parc(F, y, components=None) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("seed", range(8))
def test_ties_share_their_ranks(seed):
    # unit rows of +-1/2 in four columns: correlations in {-1, -1/2, 0, 1/2, 1}, all tied
    rng = np.random.default_rng(seed)
    unit, y = rng.choice([-0.5, 0.5], (30, 4)), rng.integers(0, 3, 30)
    pairs = np.triu_indices(30, 1)
    expected = spearmanr((unit @ unit.T)[pairs], (y[:, None] == y[None])[pairs]).statistic
    assert spearman_of_pairs(unit, y) == pytest.approx(expected, abs=1e-12)


def test_parc_by_hand():
    # Two components: every correlation is 1 or -1. The rows of a class agree, the classes do not.
    F = np.array([[1.0, -1], [2, -2.5], [-1, 1], [-2, 2.5]])
    assert parc(F, [0, 0, 1, 1], components=None) == pytest.approx(1)
    # Of 6 pairs 2 agree, (0, 1) and (2, 3); with labels 0, 1, 0, 1 two others are of one class.
    # Spearman of two 0/1 variables is Pearson: (0/6 - 1/9) / (2/9).
    assert parc(F, [0, 1, 0, 1], components=None) == pytest.approx(-1 / 2)


def test_blocks_of_rows_change_nothing(monkeypatch):
    expected = parc(*CASES["many directions"])
    monkeypatch.setattr(sys.modules[parc.__module__], "BLOCK_NUMBERS", 7 * 150)
    assert parc(*CASES["many directions"]) == pytest.approx(expected, abs=1e-12)


def test_a_row_without_spread_is_like_no_other():
    F, y = blobs(30, 8)
    F, y = np.vstack([F, -F, np.zeros((1, 8))]), np.hstack([y, y, 0])  # columns of mean 0
    alike = np.zeros((61, 61))
    alike[:60, :60] = np.corrcoef((F / F.std(0))[:60])
    pairs = np.triu_indices(61, 1)
    expected = spearmanr(np.round(alike, 10)[pairs], (y[:, None] == y[None])[pairs]).statistic
    assert parc(F, y, components=None) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("components", [1, 32, None])
def test_without_spread_parc_is_0(components):
    y = np.arange(12) % 3
    assert parc(np.full((12, 3), 0.1), y, components=components) == 0
    assert parc(np.eye(12), np.arange(12), components=components) == 0  # no pair of one class
    if components != 1:
        assert parc(blobs(12, 1)[0], y, components=None) == 0  # a row of one feature is constant


def test_a_subset_is_close_and_the_same_again():
    F, y = blobs(600, 10, 4)
    whole, part = parc(F, y), [parc(F, y, samples=200, seed=seed) for seed in (0, 0, 1)]
    assert part[0] == part[1] != part[2]
    np.testing.assert_allclose(part, whole, atol=0.03)
    assert parc(F, y, samples=600) == whole


def test_a_subset_of_the_features_is_scored_as_they_are():
    F, y = blobs(60, 8)
    rows = stratified_rows(y, 25, 3)
    expected = references.parc(F[rows], y[rows], components=None)
    assert parc(F, y, components=None, samples=25, seed=3) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("samples", [2, 17, 50, 99])
def test_a_subset_is_stratified(samples):
    y = np.random.default_rng(0).permutation(np.repeat([0, 1, 2], [50, 40, 10]))
    rows = stratified_rows(y, samples, 0)
    assert len(set(rows)) == samples
    share = np.bincount(y[rows], minlength=3) - samples * np.bincount(y) / len(y)
    assert (np.abs(share) < 1).all()


@pytest.mark.parametrize(
    ("options", "mentions"),
    [
        ({"components": 0}, ("components", "at least 1", "got 0")),
        ({"samples": 1}, ("samples", "at least 2", "got 1")),
        ({"compat": "public"}, ("compat", "published", "'public'")),
    ],
)
def test_parc_refuses_options_out_of_range(refused, options, mentions):
    with refused(*mentions):
        parc(*blobs(), **options)


def test_parc_of_the_features_names_rows_that_are_not_finite(refused):
    F, y = blobs()
    F[7, 2] = np.nan
    with refused("features", "finite", "First row: 7"):
        parc(F, y, components=None)


# ---- GBC --------------------------------------------------------------------------------------


@pytest.mark.parametrize("covariance", ["diagonal", "spherical"])
@pytest.mark.parametrize("components", [1, 3, 64])
@pytest.mark.parametrize("case", CASES)
def test_gbc_agrees_with_the_formula(case, components, covariance):
    F, y = CASES[case]
    options = {"components": components, "covariance": covariance}
    assert gbc(F, y, **options) == pytest.approx(references.gbc(F, y, **options), abs=1e-9)


def test_gbc_by_hand():
    # One feature, means -2 and 2, variances 1: DB = 16/8; both orders: -2 exp(-2).
    F = np.array([[-3.0], [-1], [1], [3]])
    assert gbc(F, [0, 0, 1, 1]) == pytest.approx(-2 * np.exp(-2), abs=1e-12)
    # Means 0, variances 1 and 9: DB = 1/2 ln(5/3).
    F = np.array([[-1.0], [1], [-3], [3]])
    assert gbc(F, [0, 0, 1, 1]) == pytest.approx(-2 * np.sqrt(3 / 5), abs=1e-12)


@pytest.mark.parametrize("covariance", ["diagonal", "spherical"])
def test_classes_that_are_alike_overlap_fully(covariance):
    y = np.arange(12) % 3
    assert gbc(np.full((12, 3), 0.1), y, covariance=covariance) == -6
    F = np.repeat(blobs(4)[0], 3, axis=0)  # every class has the same rows
    assert gbc(F, y, covariance=covariance) == pytest.approx(-6, abs=1e-9)


@pytest.mark.parametrize("data", [blobs(), blobs(20, 50)])
def test_gbc_does_not_see_shift_and_scale(data):
    F, y = data
    assert gbc(1e-5 * F + 1, y) == pytest.approx(gbc(F, y), abs=1e-8)


def test_shared_statistics_may_have_a_full_spectrum_already():
    given = Statistics(*blobs(150, 90, 7))
    expected = parc_of(given)
    assert given.centred_spectrum.s.any()
    assert parc_of(given) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    ("options", "mentions"),
    [
        ({"components": 0}, ("components", "at least 1", "got 0")),
        ({"covariance": "full"}, ("covariance", "diagonal", "spherical", "'full'")),
    ],
)
def test_gbc_refuses_other_options(refused, options, mentions):
    with refused(*mentions):
        gbc(*blobs(), **options)
