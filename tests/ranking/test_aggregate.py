"""Copeland, Borda and mean z-score against the formulas in reference.py and by arithmetic."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from spider_jax.errors import InputError
from spider_jax.ranking import aggregate
from spider_jax.ranking.aggregate import AGGREGATES, borda, copeland, mean_z
from support.references import ranking_and_spider as reference

NAMES = sorted(AGGREGATES)
ABSENT = st.sampled_from([np.nan, np.inf, -np.inf])
EXAMPLES = settings(deadline=None, max_examples=50)
# Eighths from a small range: many ties, and sums without rounding.
VALUES = st.integers(-8, 8).map(lambda eighths: eighths / 8)


def tables(*leading, values=VALUES | ABSENT):
    """Tables [*leading, K, M] with ties and gaps."""
    shapes = st.tuples(st.integers(1, 4), st.integers(1, 6))
    return shapes.flatmap(lambda s: hnp.arrays(np.float64, (*leading, *s), elements=values))


def close(got, expected):
    np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
@given(table=tables())
@EXAMPLES
def test_agrees_with_the_formula(name, table):
    got = AGGREGATES[name](table)
    assert got.dtype == np.float64
    close(got, getattr(reference, name)(table))


@pytest.mark.parametrize("name", NAMES)
@given(batch=tables(2, 3))
@EXAMPLES
def test_tasks_in_a_batch_do_not_see_each_other(name, batch):
    expected = [[AGGREGATES[name](table) for table in tables] for tables in batch]
    close(AGGREGATES[name](batch), np.array(expected))


@pytest.mark.parametrize("name", NAMES)
@given(table=tables(), data=st.data())
@EXAMPLES
def test_follows_the_order_of_models_and_not_of_metrics(name, table, data):
    models = data.draw(st.permutations(range(table.shape[1])))
    metrics = data.draw(st.permutations(range(table.shape[0])))
    close(AGGREGATES[name](table[metrics][:, models]), AGGREGATES[name](table)[models])


@pytest.mark.parametrize("name", NAMES)
@given(table=tables())
@EXAMPLES
def test_equal_models_are_exactly_tied(name, table):
    got = AGGREGATES[name](np.concatenate([table, table], axis=1))
    np.testing.assert_array_equal(*np.split(got, 2))


@pytest.mark.parametrize("name", NAMES)
@given(table=tables(values=VALUES))
@EXAMPLES
def test_a_metric_turned_round_turns_the_order_round(name, table):
    middle = 0.5 if name == "borda" else 0.0
    close(AGGREGATES[name](-table) - middle, middle - AGGREGATES[name](table))


@pytest.mark.parametrize("name", ["copeland", "borda"])
@given(table=tables())
@EXAMPLES
def test_counting_reads_the_order_only(name, table):
    np.testing.assert_array_equal(AGGREGATES[name](table**3), AGGREGATES[name](table))


@given(table=tables())
@EXAMPLES
def test_copeland_and_borda_stay_in_range(table):
    M = table.shape[1]
    assert np.abs(copeland(table)).max() <= M - 1
    assert copeland(table).sum() == 0
    points = borda(table)
    assert ((points >= 0) & (points <= 1) | np.isnan(points)).all()


def test_one_metric_gives_the_place_of_each_model():
    table = [[0.2, 0.4, 0.4, 0.8]]
    assert copeland(table).tolist() == [-3, 0, 0, 3]
    assert borda(table).tolist() == [0, (1 + 1 / 2) / 3, (1 + 1 / 2) / 3, 1]


def test_majorities_that_run_in_a_circle_are_a_tie():
    assert copeland([[3, 2, 1], [1, 3, 2], [2, 1, 3]]).tolist() == [0, 0, 0]


def test_a_missing_metric_is_no_defeat():
    table = [[1.0, 2.0, np.nan], [1.0, 2.0, 3.0]]
    assert copeland(table).tolist() == [-2, 0, 2]
    assert borda(table).tolist() == [0, (1 + 1 / 2) / 2, 1]


def test_a_model_without_metrics_has_no_score_where_scores_are_means():
    table = [[1.0, 2.0, np.nan], [3.0, 4.0, np.inf]]
    assert copeland(table).tolist() == [-1, 1, 0]
    np.testing.assert_array_equal(borda(table), [0, 1, np.nan])
    np.testing.assert_array_equal(mean_z(table), [-1, 1, np.nan])


def test_a_metric_of_one_model_alone_compares_nothing():
    table = [[5.0, np.nan], [1.0, 2.0]]
    assert copeland(table).tolist() == [-1, 1]
    assert borda(table).tolist() == [0, 1]
    assert mean_z(table).tolist() == [(0 - 1) / 2, 1]


def test_equal_values_whose_mean_rounds_have_no_spread():
    assert mean_z([[0.1, 0.1, 0.1]]).tolist() == [0, 0, 0]


def test_blocks_of_pairs_do_not_show(monkeypatch):
    batch = np.random.default_rng(0).integers(0, 4, (2, 3, 11)).astype(float)
    whole = copeland(batch)
    monkeypatch.setattr(aggregate, "PAIRS_AT_ONCE", 3 * batch[:, 0].size)
    np.testing.assert_array_equal(copeland(batch), whole)
    close(whole, [reference.copeland(table) for table in batch])


def test_no_metrics_at_all():
    assert copeland(np.zeros((0, 2))).tolist() == [0, 0]
    assert np.isnan(borda(np.zeros((0, 2)))).all()
    assert np.isnan(mean_z(np.zeros((0, 2)))).all()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(3,), (2, 0), ()])
def test_what_is_no_table_is_refused(name, shape):
    with pytest.raises(InputError, match=r"table must be \[\.\.\., K metrics, M models\]"):
        AGGREGATES[name](np.zeros(shape))
