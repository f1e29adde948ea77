"""Measures of predictions against scikit-learn, larger is better; splits of a task."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from spider_jax.heads.measures import TASK_MEASURES, measure_name, standard_error
from spider_jax.zoo.splits import task_split
from spider_jax.zoo.store import FeatureStore
from support.small_zoo import put


def score(name: str, truth: object, predicted: object) -> float:
    return TASK_MEASURES[name].score(np.asarray(truth), np.asarray(predicted))


@pytest.mark.parametrize("classes", [2, 5])
def test_measures_of_classes(classes: int) -> None:
    judge = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    truth = rng.integers(classes, size=60)
    predicted = np.where(rng.uniform(size=60) < 0.5, truth, rng.integers(classes, size=60))
    wanted = {
        "accuracy": judge.accuracy_score(truth, predicted),
        "balanced_accuracy": judge.balanced_accuracy_score(truth, predicted),
        "matthews": judge.matthews_corrcoef(truth, predicted),
        "macro_f1": judge.f1_score(truth, predicted, average="macro"),
    }
    for name, value in wanted.items():
        assert score(name, truth, predicted) == pytest.approx(value, abs=1e-12)


def test_measures_by_hand() -> None:
    truth, predicted = [0, 0, 0, 1, 1], [0, 0, 1, 1, 0]
    # TP 1, TN 2, FP 1, FN 1
    assert score("matthews", truth, predicted) == pytest.approx(1 / 6)
    assert score("balanced_accuracy", truth, predicted) == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert score("matthews", truth, [1] * 5) == 0.0
    labels = np.array([[1, 0], [1, 0]], bool)
    given = np.array([[1, 0], [0, 1]], bool)
    assert score("accuracy", labels, given) == 0.5
    assert score("macro_f1", labels, given) == pytest.approx((2 / 3 + 0) / 2)
    assert score("rmse", [[1.0], [3.0]], [[2.0], [1.0]]) == pytest.approx(-np.sqrt(2.5))
    assert score("r2", [[1.0], [3.0]], [[2.0], [1.0]]) == pytest.approx(1 - 5 / 2)


def test_the_standard_error_of_a_share() -> None:
    truth = np.zeros(400, np.int64)
    predicted = (np.arange(400) < 100).astype(np.int64)
    wanted = np.sqrt(0.25 * 0.75 / 400)
    assert standard_error("accuracy", truth, predicted) == pytest.approx(wanted, rel=0.2)


def test_a_task_declares_its_measure(refused: Callable[..., object]) -> None:
    assert measure_name("t", "classification", None) == "accuracy"
    assert measure_name("t", "regression", None) == "rmse"
    assert measure_name("t", "classification", "matthews") == "matthews"
    with refused("'t'", "measure", "matthews", "'auc'"):  # type: ignore[attr-defined]
        measure_name("t", "classification", "auc")
    with refused("'t' is regression", "'matthews'"):  # type: ignore[attr-defined]
        measure_name("t", "regression", "matthews")


def test_a_zoos_split_is_used(small_zoo: Path) -> None:
    split = np.arange(40) % 3
    put(small_zoo, "splits/apples", split.astype(np.int8))
    found = task_split(FeatureStore(small_zoo), "apples")
    for part, rows in enumerate(found[:3]):
        np.testing.assert_array_equal(rows, np.flatnonzero(split == part))
    assert "splits/" in found.note


def test_without_a_split_rows_are_dealt_by_class(small_zoo: Path) -> None:
    zoo = FeatureStore(small_zoo)
    found = task_split(zoo, "cars", seed=3)
    assert [len(rows) for rows in found[:3]] == [30, 10, 10]
    np.testing.assert_array_equal(np.sort(np.concatenate(found[:3])), np.arange(50))
    for rows in found[:3]:
        counts = np.bincount(zoo.labels("cars")[rows], minlength=5)
        assert counts.max() - counts.min() <= 1
    assert "60/20/20" in found.note
    again, other = task_split(zoo, "cars", seed=3), task_split(zoo, "cars", seed=4)
    assert again.train.tolist() == found.train.tolist() != other.train.tolist()


def test_a_split_without_validation_is_refused(
    small_zoo: Path, refused: Callable[..., object]
) -> None:
    put(small_zoo, "splits/apples", np.zeros(40, np.int8))
    with refused("'apples'", "1 (validation)"):  # type: ignore[attr-defined]
        task_split(FeatureStore(small_zoo), "apples")


def test_no_test_rows_are_said(small_zoo: Path) -> None:
    put(small_zoo, "splits/apples", (np.arange(40) % 2).astype(np.int8))
    found = task_split(FeatureStore(small_zoo), "apples")
    assert len(found.test) == 0
    assert "no test row" in found.note
