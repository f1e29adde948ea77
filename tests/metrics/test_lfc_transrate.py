"""LFC and TransRate against float64 references written from the equations."""

import numpy as np
import pytest

from spider_jax.metrics.methods.lfc import lfc
from spider_jax.metrics.methods.transrate import _rate, transrate
from spider_jax.metrics.shared import statistics
from support.references import metrics as references
from support.toy_tasks import (
    blobs,
    columns_twice,
    rank_deficient,
    rows_twice,
    rows_twice_in_two_classes,
    with_columns,
)

ONE_ALONE = np.repeat([0, 1, 2], [20, 19, 1])
CASES = {
    "more rows than features": blobs(),
    "more features than rows": blobs(20, 50),
    "fewer rows of a class than features": blobs(40, 20),
    "as many rows as features": blobs(20, 20),
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
    "far from 0, wide": (blobs(20, 50)[0] + 1e4, blobs(20, 50)[1]),
    "one feature": blobs(width=1),
    "two rows": (np.array([[1.0, 2], [3, 5]]), np.array([0, 1])),
    "every row its own class": (blobs(12)[0], np.arange(12)),
    "float32": (blobs(20, 50)[0].astype(np.float32), blobs(20, 50)[1]),
}

# ---- LFC --------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES)
def test_lfc_agrees_with_the_formula(case):
    assert lfc(*CASES[case]) == pytest.approx(references.lfc(*CASES[case]), abs=1e-9)


@pytest.mark.parametrize("data", [blobs(), blobs(20, 50)])
def test_lfc_is_a_correlation_of_two_kernels(data):
    F, y = data
    same = np.where(y[:, None] == y[None], 1.0, -1.0)
    expected = np.corrcoef((F @ F.T).ravel(), same.ravel())[0, 1]
    assert lfc(F, y) == pytest.approx(expected, abs=1e-12)


def test_lfc_by_hand():
    # K is 1 within a class and 0 between: S = 2 K - 1, in full correlation.
    y = np.array([0, 1, 2, 1, 0])
    assert lfc(np.eye(3)[y], y) == pytest.approx(1, abs=1e-12)
    # Rows 1, 1, -1, -1 with labels 0, 1, 0, 1: K and S both sum to 0, and so do their products.
    assert lfc(np.array([[1.0], [1], [-1], [-1]]), [0, 1, 0, 1]) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("width", [3, 30])
def test_without_spread_lfc_is_0(width):
    assert lfc(np.full((12, width), 0.1), np.arange(12) % 3) == 0


@pytest.mark.parametrize("n", [40, 5])
def test_lfc_keeps_its_digits_far_from_0(n):
    # the same in whole numbers, which float64 holds exactly: the offset is 2^24 times the spread
    rng = np.random.default_rng(0)
    F, y = rng.integers(-8, 8, (n, 6)).astype(float), np.arange(n) % 3
    moved = F + 2.0**24
    exact = np.array([[int(v) for v in row] for row in moved], dtype=object)
    K, S = exact @ exact.T, np.where(y[:, None] == y[None], 1, -1).astype(object)
    k, s = n * n * K - K.sum(), n * n * S - S.sum()
    size = np.sqrt(float((k * k).sum())) * np.sqrt(float((s * s).sum()))
    assert lfc(moved, y) == pytest.approx(float((k * s).sum()) / size, abs=1e-9)


# ---- TransRate --------------------------------------------------------------------------------


@pytest.mark.parametrize("epsilon", [1.0, 1e-2, 1e-4, 1e-6])
@pytest.mark.parametrize("case", CASES)
def test_transrate_agrees_with_the_formula(case, epsilon):
    F, y = CASES[case]
    expected = references.transrate(F, y, epsilon)
    assert transrate(F, y, epsilon=epsilon) == pytest.approx(expected, abs=1e-8)


def test_transrate_by_hand():
    # Mean 0, mean square 1: R = 1/2 ln(1 + 1/epsilon) for all rows and for both classes.
    F = np.array([[-1.0], [1], [-1], [1]])
    assert transrate(F, [0, 0, 1, 1]) == pytest.approx(0, abs=1e-12)
    # Rows on two axes, one a class: eigenvalues 1/2 and 1/2 of all, 1 of a class.
    F = np.array([[-1.0, 0], [1, 0], [0, -1], [0, 1]])
    expected = np.log(1 + 0.5 / 0.01) - 0.5 * np.log(1 + 1 / 0.01)
    assert transrate(F, [0, 0, 1, 1], epsilon=0.01) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("case", CASES)
def test_classes_never_cost_more_than_nothing_is_known(case):
    assert transrate(*CASES[case]) >= 0


@pytest.mark.parametrize("width", [3, 30])
def test_of_constant_features_transrate_is_0(width):
    assert transrate(np.full((12, width), 0.1), np.arange(12) % 3) == 0


@pytest.mark.parametrize("data", [blobs(), blobs(40, 20), blobs(20, 50)])
def test_transrate_does_not_see_shift_and_scale(data):
    F, y = data
    assert transrate(1e-5 * F + 1, y) == pytest.approx(transrate(F, y), abs=1e-6)


@pytest.mark.parametrize("data", [blobs(), blobs(40, 20)])
def test_blocks_of_rows_change_nothing(monkeypatch, data):
    expected = transrate(*data), lfc(*data)
    monkeypatch.setattr(statistics, "BLOCK_NUMBERS", 7 * data[0].shape[1])
    assert (transrate(*data), lfc(*data)) == pytest.approx(expected, abs=1e-10)


def test_a_class_far_out_among_many_rows_keeps_its_rate():
    # two equal rows of squared length 1e18: eigenvalues 2e18 and 0
    rate = _rate(np.full((2, 2), 1e18), 1.0)
    assert rate == pytest.approx(0.5 * np.log(1 + 2e18), abs=1e-9)


@pytest.mark.parametrize("epsilon", [0.0, -1.0, 1e-12, np.inf, np.nan])
def test_transrate_refuses_an_epsilon_out_of_range(refused, epsilon):
    with refused("epsilon", "1e-09", f"got {epsilon}"):
        transrate(*blobs(), epsilon=epsilon)
