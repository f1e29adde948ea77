"""What new models are measured against: their standing as training would order them, alone."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from spider_jax.onboarding.placement import place_among_known
from spider_jax.spider.state import TeacherTable
from spider_jax.training.config import TrainConfig
from spider_jax.training.training_set import TrainingSet, training_set
from support.small_training import CONFIG
from support.toy_onboarding import KNOWN, write_zoo

CONFIGS = {
    "mean z": CONFIG,
    "calibrated": replace(CONFIG, calibration=0.7),
    "copeland": replace(CONFIG, aggregate="copeland"),
    "variants": replace(CONFIG, tasks=replace(CONFIG.tasks, count=8, resamples=3)),
    "accuracies": replace(CONFIG, targets="accuracies", tasks=replace(CONFIG.tasks, count=8)),
}


def table_of(
    given: TrainingSet, datasets: tuple[str, ...], models: tuple[str, ...]
) -> TeacherTable:
    whole = TeacherTable.of(given.metrics, given.accuracies, datasets)
    return whole.take([given.models.index(name) for name in models])


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_standing_is_the_place_in_a_training_set_of_one_more(
    config: TrainConfig, tmp_path: Path
) -> None:
    """Each new model comes alone: the training set of the known ones and it, from the files."""
    everyone = write_zoo(tmp_path / "all")
    datasets, new = everyone.tasks, ("wide", "twin")
    given = training_set(everyone, config, datasets)
    tables = [table_of(given, datasets, names) for names in (KNOWN, new)]
    found = place_among_known(config, *tables, given.meta, datasets)
    assert found.dtype == np.float32
    for i, model in enumerate(new):
        more = training_set(write_zoo(tmp_path / model, (*KNOWN, model)), config, datasets)
        targets, place = np.float64(more.targets), more.models.index(model)
        known = np.delete(targets, place, axis=1)
        expected = (targets[:, place] - known.mean(1)) / known.std(1)
        np.testing.assert_allclose(found[:, i], expected, rtol=0, atol=1e-5)


def test_models_without_metrics_measure_nothing(tmp_path: Path) -> None:
    """A known model that was guessed is left out, wherever it stands."""
    zoo = write_zoo(tmp_path / "zoo")
    given = training_set(zoo, CONFIG, zoo.tasks)
    known, new = (table_of(given, zoo.tasks, names) for names in (KNOWN, ("wide",)))
    metrics = known.metrics.copy()
    metrics[3, 0, 1] = np.nan
    holed = known._replace(metrics=metrics)
    assert holed.measured() == [0, 2, 3, 4]
    found = place_among_known(CONFIG, holed, new, given.meta, zoo.tasks)
    expected = place_among_known(CONFIG, known.take([0, 2, 3, 4]), new, given.meta, zoo.tasks)
    np.testing.assert_array_equal(found, expected)


def test_known_models_that_do_not_differ_place_no_one(tmp_path: Path) -> None:
    zoo = write_zoo(tmp_path / "zoo")
    meta = training_set(zoo, CONFIG, zoo.tasks).meta
    nothing = np.full((4, 3), np.nan, np.float32)
    equal = TeacherTable(np.ones((len(meta), 2, 3), np.float32), nothing)
    better = TeacherTable(np.full((len(meta), 2, 1), 2, np.float32), nothing[:, :1])
    found = place_among_known(CONFIG, equal, better, meta, zoo.tasks)
    assert (found == 0).all()


def test_columns_go_and_come() -> None:
    rng = np.random.default_rng(0)
    metrics = rng.normal(size=(6, 2, 4)).astype(np.float32)
    truths = {"a": np.array([0.1, 0.2, 0.3, np.nan]), "c": np.array([0.5, 0.6, 0.7, 0.8])}
    known = TeacherTable.of(metrics, truths, ("a", "b", "c"))
    nan = np.nan
    expected = np.float32([[0.1, 0.2, 0.3, nan], [nan] * 4, [0.5, 0.6, 0.7, 0.8]])
    np.testing.assert_array_equal(known.accuracies, expected)
    np.testing.assert_array_equal(known.by_dataset(("a", "b", "c"))["c"], expected[2])
    some, rest = known.take([2, 0]), known.take([1, 3])
    np.testing.assert_array_equal(some.metrics, metrics[..., [2, 0]])
    both = some.joined(rest)
    np.testing.assert_array_equal(both.metrics, metrics[..., [2, 0, 1, 3]])
    np.testing.assert_array_equal(both.accuracies, expected[:, [2, 0, 1, 3]])
    for i, column in enumerate(known.columns()):
        np.testing.assert_array_equal(column.metrics, metrics[..., i : i + 1])
        np.testing.assert_array_equal(column.accuracies, expected[:, i : i + 1])
