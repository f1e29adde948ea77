"""Very many rows: a sample for what iterates, blocks for what does not."""

import jax
import numpy as np
import pytest

from spider_jax.metrics.methods import linear_probe, n_leep, pactran, ridge
from spider_jax.metrics.shared.few_rows import most_rows, some_rows
from spider_jax.metrics.shared.statistics import Statistics
from spider_jax.metrics.table import METRICS


def features_of(rows: int, width: int, classes: int, signal: float = 0.3):
    rng = np.random.default_rng(rows)
    y = np.r_[np.arange(classes), rng.integers(0, classes, rows - classes)]
    F = rng.normal(size=(rows, width))
    F[:, 0] += signal * y
    F[:, -1] = 3  # constant
    return F.astype(np.float32), y


@pytest.mark.parametrize(("rows", "width", "classes"), [(500, 20, 3), (900, 30, 12), (70, 40, 2)])
def test_ridge_in_blocks_is_ridge(rows, width, classes):
    given = Statistics(*features_of(rows, width, classes), standardize=True)
    assert ridge._in_blocks(given) == pytest.approx(ridge.ridge_of(given), abs=1e-12)


def test_a_sample_has_every_class_in_its_share():
    F, y = features_of(4000, 3, 7)
    y[-1] = 99  # a class of one row
    labels = np.unique(y, return_inverse=True)[1]
    given = Statistics(F, labels)
    assert some_rows(given, 4000) is given
    sample = some_rows(given, 400)
    assert 400 <= sample.n <= 408
    wanted = np.ceil(np.bincount(labels) / 10)
    assert np.bincount(sample.labels).tolist() == wanted.tolist()
    again = some_rows(Statistics(F[:, :2], labels), 400)
    np.testing.assert_array_equal(again._rows, sample._rows)  # the same rows of every model


@pytest.mark.parametrize("name", ["n_leep", "pactran_gauss"])
def test_a_sample_says_nearly_what_all_rows_say(name, monkeypatch):
    F, y = features_of(3000, 6, 3, signal=1.0)
    whole = METRICS[name].score(F, y)
    for module in (n_leep, pactran):
        monkeypatch.setattr(module, "some_rows", lambda given: some_rows(given, 1000))
    assert METRICS[name].score(F, y) == pytest.approx(whole, abs=0.2)


@pytest.mark.parametrize("classes", [2, 128, 129, 1000, 1300, 20_000])
def test_a_fit_reads_at_most_a_bounded_matrix(classes):
    most = most_rows(classes)
    assert most <= 1 << 16
    assert most * classes <= max(1 << 23, 5 * classes**2)  # 5 rows a class, if they are many
    assert classes > 13_107 or most >= 5 * classes
    assert classes > 128 or most == 1 << 16  # as ever


def test_ridge_of_many_numbers_goes_by_blocks(monkeypatch):
    F, y = features_of(300, 20, 4)
    whole, calls, in_blocks = ridge.ridge(F, y), [], ridge._in_blocks
    monkeypatch.setattr(ridge, "_in_blocks", lambda given: calls.append(1) or in_blocks(given))
    for numbers, expected in ((300 * 24, 0), (300 * 24 - 1, 1)):
        monkeypatch.setattr(ridge, "BLOCKED_NUMBERS", numbers)
        assert ridge.ridge(F, y) == pytest.approx(whole, abs=1e-12)
        assert len(calls) == expected


def test_fits_of_the_probe_one_after_the_other_are_those_at_once():
    rng = np.random.default_rng(0)
    penalties = jax.numpy.array(linear_probe.PENALTIES, np.float32)
    seen = rng.normal(size=(3, 5)).astype(np.float32)

    def hits(fold, penalty):
        return jax.numpy.asarray(seen)[fold].sum() * penalty

    found = linear_probe._over_grid(hits, penalties, linear_probe.AT_ONCE + 1)
    assert found.shape == (3, 5)
    np.testing.assert_allclose(found, linear_probe._over_grid(hits, penalties, 1), rtol=1e-6)
