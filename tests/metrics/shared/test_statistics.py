"""Shared statistics: in blocks as whole, from a memmap, of chosen rows, on either side."""

import tracemalloc

import numpy as np
import pytest

from spider_jax.metrics import METRICS
from spider_jax.metrics.shared import eigen as principal
from spider_jax.metrics.shared import statistics
from spider_jax.metrics.shared.eigen import leading_eigenpairs
from spider_jax.metrics.shared.statistics import Statistics
from support.toy_tasks import blobs, columns_twice, rank_deficient, standardized, with_columns

CASES = {
    "tall": blobs(60, 6),
    "wide": blobs(12, 50),
    "square": blobs(20, 20),
    "rank 3 of 8": rank_deficient(40, 8, 3),
    "a constant column": with_columns(3),
    "columns twice": columns_twice(),
    "far from 0": (blobs()[0] + 1e4, blobs()[1]),
}
SHARED = sorted(name for name, metric in METRICS.items() if metric.shared)


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of a few rows."""
    monkeypatch.setattr(statistics, "BLOCK_NUMBERS", 7 * 6)


@pytest.mark.parametrize("standardize", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_sides_are_gram_matrices_of_the_smaller_side(small_blocks, case, standardize):
    F, y = CASES[case]
    given = Statistics(F, y, standardize=standardize)
    F = standardized(F) if standardize else F
    Y = np.eye(y.max() + 1)[y]
    for side, X in ((given.raw, F), (given.centred, F - F.mean(0))):
        gram = X.T @ X if len(X) > X.shape[1] else X @ X.T
        np.testing.assert_allclose(side.gram, gram, atol=1e-9 * np.abs(gram).max())
        # y^T F (F^T F) F^T y' from the side alone
        inner = Y.T @ X @ X.T @ Y
        np.testing.assert_allclose(side.left.T @ side.right, inner, atol=1e-9 * abs(inner).max())
    quartic = (((F - F.mean(0)) ** 2).sum(1) ** 2).sum()
    assert given.moments.quartic == pytest.approx(quartic, rel=1e-7)


@pytest.mark.parametrize("case", CASES)
def test_a_spectrum_is_that_of_the_features(case):
    F, y = CASES[case]
    given = Statistics(F, y)
    for spectrum, X in ((given.raw_spectrum, F), (given.centred_spectrum, F - F.mean(0))):
        U, s, _ = np.linalg.svd(X, full_matrices=False)
        there = s > 1e-6 * s[0]
        np.testing.assert_allclose(spectrum.s[::-1][: there.sum()], s[there] ** 2, rtol=1e-7)
        assert not spectrum.s[::-1][there.sum() :].any()
        explained = ((U[:, there].T @ np.eye(3)[y]) ** 2).sum(0)
        np.testing.assert_allclose((spectrum.x**2).sum(0), explained, rtol=1e-7)


@pytest.mark.parametrize("case", CASES)
def test_coordinates_are_the_leading_directions(small_blocks, case):
    F, y = CASES[case]
    Z = Statistics(F, y).coordinates(3)
    U, s, _ = np.linalg.svd(F - F.mean(0), full_matrices=False)
    expected = (U * s)[:, :3]
    expected *= np.sign(np.take_along_axis(expected, np.abs(expected).argmax(0)[None], axis=0))
    np.testing.assert_allclose(Z, expected, atol=1e-7 * s[0])


def test_what_is_constant_has_no_direction():
    given = Statistics(np.full((40, 6), 0.1), np.arange(40) % 3)
    assert given.coordinates(4).shape == (40, 0)
    assert not given.centred_spectrum.s.any()


@pytest.mark.parametrize("name", SHARED)
def test_a_metric_of_chosen_rows_of_a_memmap(small_blocks, tmp_path, name):
    F, y = blobs(60, 6, noise=1.5)
    np.save(tmp_path / "F.npy", F.astype(np.float32))
    file = np.load(tmp_path / "F.npy", mmap_mode="r")
    rows = np.sort(np.random.default_rng(0).permutation(60)[:45])
    metric = METRICS[name]
    given = Statistics(file, y[rows], rows=rows, standardize=metric.standardize)
    expected = metric.score(F.astype(np.float32)[rows].astype(np.float64), y[rows])
    assert metric.shared(given) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("shape", [(30, 6), (12, 50)])
def test_the_first_bad_row_is_named_as_it_stands_in_the_file(refused, small_blocks, shape):
    F, y = blobs(*shape)
    F[9, 2] = np.nan
    rows = np.arange(4, shape[0])
    with refused("NaN", "First row: 9"):
        _ = Statistics(F, y[rows] % 2, rows=rows).moments


@pytest.mark.parametrize("name", ["logme", "h_score", "h_score_shrunk"])
def test_features_never_stand_in_memory(monkeypatch, tmp_path, name):
    monkeypatch.setattr(statistics, "BLOCK_NUMBERS", 1 << 16)
    N, D = 60_000, 64
    file = np.lib.format.open_memmap(tmp_path / "F.npy", "w+", np.float16, (N, D))
    file[:] = np.random.default_rng(0).standard_normal((N, D), np.float32)
    labels = np.arange(N) % 3
    METRICS[name].shared(Statistics(file[:1000], labels[:1000]))  # what is compiled stays
    tracemalloc.start()
    METRICS[name].shared(Statistics(file, labels))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < N * D * 8 / 8  # an eighth of the features in float64


# ---- leading eigenpairs ------------------------------------------------------------------------


@pytest.mark.parametrize("whole_below", [0, 10_000])
@pytest.mark.parametrize("decay", [0.0, 0.5, 2.0])
def test_leading_eigenpairs_are_those_of_the_full_decomposition(monkeypatch, decay, whole_below):
    monkeypatch.setattr(principal, "WHOLE_BELOW", whole_below)
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.standard_normal((300, 300)))[0]
    s = (1 + np.arange(300.0)) ** -decay * np.linspace(1, 0.9, 300)
    gram = (basis * s) @ basis.T
    values, vectors = leading_eigenpairs(gram, 12)
    np.testing.assert_allclose(values, s[:12], rtol=1e-9)
    np.testing.assert_allclose(np.abs(vectors.T @ basis[:, :12]), np.eye(12), atol=1e-5)


def test_a_matrix_of_zeros_has_eigenvalues_of_zero(monkeypatch):
    monkeypatch.setattr(principal, "WHOLE_BELOW", 0)
    values, vectors = leading_eigenpairs(np.zeros((40, 40)), 3)
    assert not values.any()
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(3), atol=1e-12)
