"""Measures of predictions against scikit-learn, larger is better; splits of a task."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy import special

from spider_jax.heads.measures import TASK_MEASURES, measure_name, standard_error
from spider_jax.heads.targets import make_targets
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


UNLIKE = {
    "constant": [1] * 8,
    "one right class": [0, 0, 0, 0, 0, 0, 0, 0],
    "a new class": [5, 6] * 4,
}


@pytest.mark.filterwarnings("ignore")  # the judge warns of classes without rows
@pytest.mark.parametrize("predicted", UNLIKE.values(), ids=UNLIKE)
@pytest.mark.parametrize("truth", [[0, 1, 1, 2, 0, 2, 1, 1], [1] * 8], ids=["three", "one class"])
def test_measures_of_odd_predictions(truth: list[int], predicted: list[int]) -> None:
    judge = pytest.importorskip("sklearn.metrics")
    wanted = {
        "accuracy": judge.accuracy_score(truth, predicted),
        "balanced_accuracy": judge.recall_score(
            truth, predicted, average="macro", labels=np.unique(truth)
        ),
        "matthews": judge.matthews_corrcoef(truth, predicted),
        "macro_f1": judge.f1_score(truth, predicted, average="macro", zero_division=0.0),
    }
    for name, value in wanted.items():
        assert score(name, truth, predicted) == pytest.approx(value, abs=1e-12), name


@pytest.mark.parametrize("classes", [2, 3, 7])
@pytest.mark.parametrize("ties", [False, True])
def test_measures_of_probabilities(classes: int, ties: bool) -> None:
    judge = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(classes)
    truth = np.concatenate([np.arange(classes), rng.integers(classes, size=40)])
    P = rng.dirichlet(np.ones(classes), size=len(truth))
    if ties:
        P = np.round(P * 3) + 1
        P /= P.sum(1, keepdims=True)
        P[:5] = np.eye(classes)[0]  # sure, and mostly wrong
    given = P[:, 1] if classes == 2 else P
    area = judge.roc_auc_score(truth, given, multi_class="ovr", average="macro")
    assert score("auc", truth, P) == pytest.approx(area, abs=1e-12)
    assert score("log_loss", truth, P) == pytest.approx(-judge.log_loss(truth, P), abs=1e-12)
    labels = np.eye(classes, dtype=bool)[truth]
    area = judge.roc_auc_score(labels, P, average="macro")
    assert score("auc", labels, P) == pytest.approx(area, abs=1e-12)
    each = [judge.log_loss(labels[:, k], P[:, k], labels=[0, 1]) for k in range(classes)]
    assert score("log_loss", labels, P) == pytest.approx(-np.mean(each), abs=1e-12)


def test_probabilities_without_a_pair_to_order() -> None:
    P = np.full((4, 2), 0.5)
    assert score("auc", [1, 1, 1, 1], P) == 0.5  # one class
    assert score("auc", [0, 1, 1, 1], P) == 0.5  # a constant
    assert score("log_loss", [1, 1, 1, 1], P) == pytest.approx(-np.log(2))
    labels = np.array([[0, 1], [1, 1]], bool)  # of the second label nothing can be said
    assert score("auc", labels, [[0.2, 0.9], [0.7, 0.1]]) == 1.0


@pytest.mark.parametrize("columns", [1, 3])
def test_measures_of_numbers(columns: int) -> None:
    judge = pytest.importorskip("sklearn.metrics")
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(columns)
    truth = rng.integers(6, size=(50, columns)).astype(np.float64)  # with ties
    predicted = np.round(truth + rng.normal(size=truth.shape), 1)
    squared = judge.mean_squared_error(truth, predicted)
    assert score("rmse", truth, predicted) == pytest.approx(-np.sqrt(squared), abs=1e-12)
    share = judge.r2_score(truth, predicted, multioutput="variance_weighted")
    assert score("r2", truth, predicted) == pytest.approx(share, abs=1e-12)
    for name, one in (("pearson", stats.pearsonr), ("spearman", stats.spearmanr)):
        each = [one(t, p).statistic for t, p in zip(truth.T, predicted.T, strict=True)]
        assert score(name, truth, predicted) == pytest.approx(np.mean(each), abs=1e-12)
        large = score(name, 1e200 * truth, predicted + 1e6)
        assert large == pytest.approx(np.mean(each), abs=1e-7)


@pytest.mark.parametrize("name", ["pearson", "spearman", "r2"])
def test_constant_numbers(name: str) -> None:
    judge = pytest.importorskip("sklearn.metrics")
    constant, other = np.full(30, 0.1), np.arange(30.0)
    if name == "r2":
        for truth, predicted in ((constant, other), (constant, constant), (other, constant)):
            wanted = judge.r2_score(truth, predicted)
            assert score(name, truth, predicted) == pytest.approx(wanted, abs=1e-12)
    else:
        assert score(name, constant, other) == score(name, other, constant) == 0.0


def test_predictions_become_probabilities() -> None:
    rng = np.random.default_rng(0)
    outputs = 30 * rng.normal(size=(20, 3)).astype(np.float32)
    softmax = make_targets("classification", np.arange(20) % 3, np.arange(20))
    wanted = special.softmax(outputs.astype(np.float64), axis=1)
    np.testing.assert_allclose(softmax.probabilities(outputs), wanted, atol=1e-15)
    sigmoid = make_targets("multi-label", outputs > 0, np.arange(20))
    wanted = special.expit(outputs.astype(np.float64))
    np.testing.assert_allclose(sigmoid.probabilities(outputs), wanted, atol=1e-15)


@pytest.mark.parametrize("name", ["log_loss", "auc", "pearson"])
def test_a_jackknife_is_as_wide_as_a_bootstrap(name: str) -> None:
    rng = np.random.default_rng(0)
    numbers = rng.normal(size=400)
    truth = (numbers + rng.normal(size=400) > 0).astype(np.int64)
    P = special.expit(numbers)
    given = numbers if name == "pearson" else np.stack([1 - P, P], 1)
    truth = numbers + rng.normal(size=400) if name == "pearson" else truth
    drawn = rng.integers(400, size=(200, 400))
    wanted = np.std([score(name, truth[rows], given[rows]) for rows in drawn])
    assert standard_error(name, truth, given) == pytest.approx(wanted, rel=0.35)
    assert standard_error(name, truth, given) == standard_error(name, truth, given)
    assert np.isnan(standard_error(name, truth[:1], given[:1]))


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
    assert measure_name("t", "multi-label", "ROC-AUC") == "auc"
    assert measure_name("t", "regression", "R²") == "r2"
    with refused("'t'", "measure", "matthews", "'ndcg'"):  # type: ignore[attr-defined]
        measure_name("t", "classification", "ndcg")
    with refused("'t' is regression", "'MCC'", "rmse, r2"):  # type: ignore[attr-defined]
        measure_name("t", "regression", "MCC")


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
