"""Runs by a probe on a zoo's features, for a search."""

import numpy as np
import pytest

from spider_jax.metrics import linear_probe
from spider_jax.recommend.probe import probe
from spider_jax.recommend.records_prior import RecordsPrior
from spider_jax.recommend.search import RunSearch
from spider_jax.zoo.store import FeatureStore
from support.small_records import records_of, table_of
from support.small_zoo import SMALL_MODELS, put, write_small_zoo

TASKS = ("plums", "owls", "vans", "coins", "figs")


@pytest.fixture(scope="module")
def known():
    return RecordsPrior.fit(records_of(table_of(5, 5), (*SMALL_MODELS, "elsewhere"), TASKS))


@pytest.fixture
def zoo(tmp_path):
    return write_small_zoo(tmp_path / "zoo")


def test_results_are_held_out_accuracies_with_their_error(known, zoo):
    search = RunSearch(known, describe="birds", enough=0.0)
    states = list(probe(search, FeatureStore(zoo), "birds", 9))
    assert [len(s.results) + len(s.failed) for s in states] == [1, 2, 3, 4, 5]
    assert states[0].results.keys() | states[0].failed.keys() == {search.ask()[0].model}
    last = states[-1]
    assert last.failed == {"elsewhere": "no features in the zoo"}
    store = FeatureStore(zoo)
    for model, (value, error) in last.results.items():
        found = linear_probe(
            store.training_features(model, "birds"), store.training_labels("birds")
        )
        assert value == pytest.approx(found, abs=1e-6)
        clipped = np.clip(found, 0.05, 0.95)
        assert error == pytest.approx(np.sqrt(clipped * (1 - clipped) / 45))


def test_it_ends_where_stopping_loses_little_or_the_budget_is_spent(known, zoo):
    store = FeatureStore(zoo)
    enough = list(probe(RunSearch(known, enough=50.0), store, "birds", 9))
    assert len(enough) == 1
    assert enough[0].found
    spent = list(probe(RunSearch(known, enough=0.0, budget=2.0), store, "birds", 9))
    assert spent[-1].spent == 2
    assert list(probe(RunSearch(known), store, "birds", 0)) == []


def test_a_broken_model_is_a_failed_run(known, zoo):
    store = FeatureStore(zoo)
    put(zoo, "features/wide/birds", np.full((45, 12), np.nan, np.float32))
    last = list(probe(RunSearch(known, enough=0.0), store, "birds", 9))[-1]
    assert set(last.failed) == {"wide", "elsewhere"}
    assert "nan" in last.failed["wide"].casefold() or "finite" in last.failed["wide"]
    assert len(last.results) == 3


def test_what_cannot_be_probed_is_one_line(known, zoo, refused):
    store = FeatureStore(zoo)
    with refused("nowhere"):
        list(probe(RunSearch(known), store, "nowhere", 1))
    FeatureStore.write_labels(zoo, "sizes", np.linspace(0, 1, 20))
    for model in SMALL_MODELS:
        FeatureStore.write_features(zoo, model, "sizes", np.ones((20, 3), np.float32))
    with refused("sizes", "regression", "--results"):
        list(probe(RunSearch(known), FeatureStore(zoo), "sizes", 1))
    strangers = RecordsPrior.fit(records_of(table_of(3, 5), ("x", "y", "z"), TASKS))
    with refused("no features", "'x'"):
        list(probe(RunSearch(strangers), store, "birds", 1))
