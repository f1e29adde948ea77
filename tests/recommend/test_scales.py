"""Records on one scale: normal scores, the calibrated constant order, lines to the measure."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spider_jax.recommend.records_prior import RecordsPrior
from spider_jax.recommend.scales import ROUNDS, normal_scores, scale
from support.references.recommending import (
    calibrated,
    constant_order,
    normal_scores_of,
    triples,
)
from support.small_records import plain_records, records_of, table_of


def scaled_table(table):
    """Z as a dense table, from records in a random order."""
    model, task, value = triples(table)
    order = np.random.default_rng(1).permutation(len(model))
    found = scale(model[order], task[order], value[order], *table.shape)
    dense = np.full(table.shape, np.nan)
    dense[found.model, found.task] = found.z
    return found, dense


@given(
    seed=st.integers(0, 2**20),
    models=st.integers(1, 9),
    tasks=st.integers(1, 5),
    levels=st.integers(1, 6),
)
@settings(max_examples=50)
def test_normal_scores_share_ranks(seed, models, tasks, levels):
    rng = np.random.default_rng(seed)
    table = rng.integers(0, levels, size=(models, tasks)).astype(np.float64)
    table[rng.random(table.shape) < 0.3] = np.nan
    table[0, 0] = 0.0
    model, task, value = triples(table)
    found = normal_scores(task, value, tasks)
    np.testing.assert_allclose(found, normal_scores_of(table)[model, task], rtol=0, atol=1e-12)


@given(seed=st.integers(0, 2**20), known=st.floats(0.2, 1))
@settings(max_examples=25)
def test_calibration_is_the_dense_loop_whatever_the_order_of_rows(seed, known):
    table = table_of(7, 6, known, seed)
    table[0, :2] = table[1, 1:3] = 0.5  # at least these are there
    found, dense = scaled_table(table)
    expected = calibrated(normal_scores_of(table), ROUNDS)
    np.testing.assert_allclose(dense, expected, rtol=0, atol=1e-10)
    before = np.arange(7) / 7
    np.testing.assert_allclose(found.constant(before), constant_order(expected, before), atol=1e-10)
    np.testing.assert_allclose(found.counts, np.isfinite(table).sum(1))


def test_a_whole_table_has_the_mean_scores_as_its_order():
    table = table_of(9, 7)
    found, _ = scaled_table(table)
    mean = normal_scores_of(table).mean(1)
    factor = found.constant() @ mean / (mean @ mean)
    assert factor > 0
    np.testing.assert_allclose(found.constant(), factor * mean, rtol=0, atol=1e-10)


def test_a_middling_score_among_strong_models_is_a_good_one():
    table = np.full((6, 8), np.nan)
    table[:, :6] = np.arange(6.0)[:, None]
    table[3:5, 6:] = [[0.0], [1.0]]
    table[5, 6:] = 2.0
    _, dense = scaled_table(table)
    assert dense[4, 6] > 0.2  # the middle of three, which are the best
    assert normal_scores_of(table)[4, 6] == pytest.approx(0)


def test_lines_to_the_measure():
    table = table_of(8, 3)
    table[4:, 1] = np.nan  # four results do not show a line
    table[:, 2] = 7.0
    found, dense = scaled_table(table)
    slope, _ = np.polyfit(dense[:, 0], table[:, 0], 1)
    np.testing.assert_allclose(found.size[0], slope, rtol=1e-9)
    assert np.isnan(found.size[1:]).all()


@pytest.mark.parametrize("factor", [1e-9, 1e6, 1e200])
def test_a_measure_of_another_size_changes_sizes_only(factor):
    table = table_of(8, 4)
    one, two = scaled_table(table)[0], scaled_table(factor * table)[0]
    assert one.z.tolist() == two.z.tolist()
    np.testing.assert_allclose(two.size / factor, one.size, rtol=1e-12)


def test_equal_results_have_no_scale():
    found, dense = scaled_table(np.full((4, 3), 0.7))
    assert (dense == 0).all()
    assert np.isnan(found.size).all()


def test_smaller_is_better_turns_the_sign():
    given, table = plain_records(), table_of(4, 5, seed=3)
    turned = records_of(table * [1, -1, 1, -1, 1], given.models, given.tasks)
    turned.task_facts["direction"] = ("larger", "smaller", "", "lower is better"[:5], "higher")
    one, two = RecordsPrior.fit(given), RecordsPrior.fit(turned)
    assert one.scaled.z.tolist() == two.scaled.z.tolist()
