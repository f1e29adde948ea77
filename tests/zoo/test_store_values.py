"""FeatureStore: labels, splits, probabilities and accuracies, sound and refused."""

import codecs
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spider_jax.zoo.splits import task_split
from spider_jax.zoo.store import FeatureStore
from support.small_zoo import put

N = 40  # rows of apples


def labels_zoo(tmp_path: Path, labels: Any, **facts: Any) -> FeatureStore:
    """A zoo of one task `t` with these labels, and these facts of it in the manifest."""
    put(tmp_path, "labels/t", labels)
    FeatureStore.write_manifest(tmp_path, tasks={"t": facts})
    return FeatureStore(tmp_path)


# ---- labels -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labels", "encoded"),
    [
        (np.array([5, 6, 7, 5]), [0, 1, 2, 0]),
        (np.array([0, 9, 2, 9]), [0, 2, 1, 2]),
        (np.array([2, 0, -3, 2], np.int8), [2, 1, 0, 2]),  # ends at C - 1 all the same
        (np.array([2**63, 3, 2**63, 0], np.uint64), [2, 1, 2, 0]),
    ],
    ids=["from 5", "gaps", "negative", "large"],
)
def test_labels_are_reencoded_and_the_log_says_so(
    tmp_path: Path, labels: Any, encoded: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    zoo = labels_zoo(tmp_path, labels)
    caplog.set_level(logging.INFO, "spider_jax")
    found = zoo.labels("t")
    assert (found.dtype, found.tolist()) == (np.int32, encoded)
    (message,) = caplog.messages
    assert "labels of t re-encoded" in message


@pytest.mark.parametrize("labels", [np.array([2, 0, 1]), np.array([True, False])])
def test_labels_that_need_no_encoding_are_not_logged(
    tmp_path: Path, labels: Any, caplog: pytest.LogCaptureFixture
) -> None:
    zoo = labels_zoo(tmp_path, labels)
    caplog.set_level(logging.INFO, "spider_jax")
    assert zoo.labels("t").tolist() == labels.astype(int).tolist()
    assert caplog.messages == []


@pytest.mark.parametrize(
    ("labels", "declared", "kind", "dtype"),
    [
        (np.array([0, 1, 1]), None, "classification", np.int32),
        (np.array([0.5, 1, 2]), None, "regression", np.float32),
        (np.array([[0.5], [1], [2]]), None, "regression", np.float32),
        (np.array([[0, 1], [1, 1]]), None, "multi-label", np.bool_),
        (np.array([[True, False]]), None, "multi-label", np.bool_),
        (np.array([3, 1, 1]), "regression", "regression", np.float32),
        (np.array([[3, 1], [1, 0]]), "regression", "regression", np.float32),
        (np.array([[0.0, 1.0]]), "multi-label", "multi-label", np.bool_),
    ],
)
def test_kind_is_declared_or_told_by_the_dtype(
    tmp_path: Path, labels: Any, declared: str | None, kind: str, dtype: Any
) -> None:
    zoo = labels_zoo(tmp_path, labels, **({"kind": declared} if declared else {}))
    found = zoo.labels("t")
    assert (zoo.kind("t"), found.dtype) == (kind, dtype)
    np.testing.assert_array_equal(found, labels)
    np.testing.assert_array_equal(zoo.training_labels("t"), labels)


@pytest.mark.parametrize(
    ("labels", "kind", "rule"),
    [
        ([0, 1], "ranking", "got 'ranking'"),
        ([0, 1], ["regression"], "got ['regression']"),
        ([0.0, 1.0], "classification", "got float64 (2,)"),
        ([[0, 1]], "classification", "(1, 2)"),
        ([[0, 2]], "multi-label", "0/1"),
        ([0, 1], "multi-label", "[N, K]"),
        ([0.5, np.nan, np.inf], "regression", "2 rows that are not. First row: 1"),
        ([[0.5, 1.0], [1.0, np.nan]], "regression", "1 rows that are not. First row: 1"),
        ([0.5, 1e300], "regression", "1 rows that are not. First row: 1"),
    ],
)
def test_labels_that_are_none_of_their_kind(
    tmp_path: Path, labels: Any, kind: Any, rule: str, refused: Any
) -> None:
    zoo = labels_zoo(tmp_path, np.array(labels), kind=kind)
    with refused("'t'", rule):
        zoo.labels("t")


def test_the_manifest_names_the_empty_class(tmp_path: Path, refused: Any) -> None:
    labels = np.array([0, 2, 2, 0])
    zoo = labels_zoo(tmp_path, labels, classes=["ant", "bee", "cat"])
    with refused("'t'", "names 3 classes", "class 'bee' has no row"):
        zoo.labels("t")
    zoo = labels_zoo(tmp_path, labels, classes=["ant"])
    with refused("'t'", "names 1 classes", "labels hold 2"):
        zoo.labels("t")
    zoo = labels_zoo(tmp_path, labels, classes=["ant", "cat"])
    assert zoo.labels("t").tolist() == [0, 1, 1, 0]


def test_one_class_cannot_be_ranked(tmp_path: Path, refused: Any) -> None:
    zoo = labels_zoo(tmp_path, np.full(5, 3))
    with refused("'t'", "one class"):
        zoo.training_labels("t")


# ---- splits -----------------------------------------------------------------------------------


def test_training_rows_are_split_zero(small_zoo: Path) -> None:
    split = np.arange(N, dtype=np.int8) % 5 % 3  # 0 1 2 0 1: classes i % 3 all stay
    put(small_zoo, "labels/apples", np.arange(N) % 3)
    put(small_zoo, "splits/apples", split)
    zoo = FeatureStore(small_zoo)
    rows = [i for i in range(N) if i % 5 in (0, 3)]
    np.testing.assert_array_equal(zoo.split("apples"), split)
    assert zoo.training_rows("apples").tolist() == rows
    assert zoo.training_labels("apples").tolist() == [i % 3 for i in rows]
    np.testing.assert_array_equal(
        zoo.training_features("wide", "apples"), zoo.features("wide", "apples")[rows]
    )
    assert len(zoo.labels("apples")) == len(zoo.features("wide", "apples")) == N


def test_a_class_without_a_training_row(small_zoo: Path, refused: Any, caplog: Any) -> None:
    """The task is used without it: its number is beyond those of the training rows."""
    labels = np.arange(N) % 3
    put(small_zoo, "labels/apples", labels)
    put(small_zoo, "splits/apples", (labels == 1).astype(np.int8))
    zoo = FeatureStore(small_zoo)
    assert zoo.training_labels("apples").tolist() == [0 if c == 0 else 1 for c in labels if c != 1]
    assert zoo.labels("apples").tolist() == [(0, 2, 1)[c] for c in labels]
    rows = (labels == 1).sum()
    assert (
        f"1 of 3 classes have no row in the training split: used without them and their {rows} rows"
        in caplog.text
    )
    put(small_zoo, "splits/apples", (labels != 1).astype(np.int8))
    with refused("'apples'", "2 of 3 classes have no row in the training split"):
        FeatureStore(small_zoo).training_labels("apples")


def test_a_split_leaves_out_rows_of_classes_that_are_not_trained(small_zoo: Path) -> None:
    labels = np.arange(N) % 3
    split = np.arange(N) % 2
    split[labels == 1] = 1
    put(small_zoo, "labels/apples", labels)
    put(small_zoo, "splits/apples", split.astype(np.int8))
    zoo = FeatureStore(small_zoo)
    found, unseen = task_split(zoo, "apples"), labels == 1
    assert found.train.tolist() == np.flatnonzero((split == 0) & ~unseen).tolist()
    assert found.validation.tolist() == np.flatnonzero((split == 1) & ~unseen).tolist()
    assert f"{unseen.sum()} rows of classes without a training row are left out" in found.note


@pytest.mark.parametrize(
    ("values", "sound"),
    [
        ((-1, 1), True),
        ((-3, -1, 2), True),
        ((-2, -1), True),
        ((-1, 0, 1), False),
        ((-1, 0), False),
        ((-1, 4, 9), False),
        ((-1,), False),
    ],
)
def test_labels_of_minus_one(
    small_zoo: Path, values: tuple[int, ...], sound: bool, refused: Any
) -> None:
    labels = np.array(values)[np.arange(N) % len(values)]
    put(small_zoo, "labels/apples", labels)
    if sound:
        found = FeatureStore(small_zoo).labels("apples")
        assert found.tolist() == (np.arange(N) % len(values)).tolist()
    else:
        with refused("'apples'", f"{(labels == -1).sum()} rows have label -1", "first row 0"):
            FeatureStore(small_zoo).labels("apples")


def test_minus_one_that_is_named_is_a_class(small_zoo: Path) -> None:
    put(small_zoo, "labels/apples", np.arange(N) % 3 - 1)
    FeatureStore.write_manifest(small_zoo, tasks={"apples": {"classes": ["bad", "fair", "good"]}})
    assert FeatureStore(small_zoo).labels("apples").tolist() == (np.arange(N) % 3).tolist()


@pytest.mark.parametrize(
    ("split", "rule"),
    [
        (np.zeros(N + 1, np.int8), f"[{N}]"),
        (np.zeros((N, 1), np.int8), f"[{N}]"),
        (np.zeros(N), "float64"),
        (np.full(N, 3, np.int8), "0 train, 1 validation, 2 test"),
        (np.full(N, None), "objects"),
    ],
)
def test_splits_that_are_refused(small_zoo: Path, split: Any, rule: str, refused: Any) -> None:
    path = put(small_zoo, "splits/apples", split)
    with refused(path, rule):
        FeatureStore(small_zoo).training_rows("apples")


# ---- probabilities ----------------------------------------------------------------------------


def test_probabilities_are_read_only_memmaps_of_any_width(small_zoo: Path) -> None:
    half = np.full((N, 2), 0.5, np.float16)
    put(small_zoo, "probabilities/wide/apples", half)
    put(small_zoo, "probabilities/wide/birds", np.full((45, 4), 0.25, np.float32))
    zoo = FeatureStore(small_zoo)
    assert zoo.problems == []
    assert zoo.has_probabilities("wide", "apples")
    assert not zoo.has_probabilities("narrow", "apples")
    assert isinstance(zoo.probabilities("wide", "apples"), np.memmap)
    np.testing.assert_array_equal(zoo.probabilities("wide", "apples"), half)
    assert zoo.probabilities("wide", "birds").shape == (45, 4)


@pytest.mark.parametrize(
    ("row", "rule"),
    [
        ([0.5, 0.25], "row 9 sums to 0.75"),
        ([1.5, -0.5], "smallest value is -0.5"),
        ([np.nan, 1.0], "1 rows have NaN or infinite values. First row: 9"),
    ],
)
def test_probabilities_must_be_a_softmax(
    small_zoo: Path, row: list[float], rule: str, refused: Any
) -> None:
    probabilities = np.full((N, 2), 0.5, np.float32)
    probabilities[9] = row
    put(small_zoo, "probabilities/wide/apples", probabilities)
    zoo = FeatureStore(small_zoo)
    assert zoo.problems == []
    with refused("probabilities of 'wide' on 'apples'", rule):
        zoo.probabilities("wide", "apples")
    assert zoo.features("wide", "apples").shape == (N, 12)


def test_missing_probabilities(small_zoo: Path, refused: Any) -> None:
    with refused("no probabilities of 'wide' on 'apples'"):
        FeatureStore(small_zoo).probabilities("wide", "apples")


# ---- accuracies.csv ---------------------------------------------------------------------------


def test_accuracies_are_read_by_column_name(small_zoo: Path) -> None:
    (small_zoo / "accuracies.csv").write_bytes(
        codecs.BOM_UTF8 + b'task,standard_error,accuracy,model\r\n"a,b",0.01,0.75,org/x\r\n'
    )
    assert FeatureStore(small_zoo).accuracies == {("org/x", "a,b"): 0.75}


def test_accuracies_are_optional(small_zoo: Path) -> None:
    (small_zoo / "accuracies.csv").unlink()
    assert FeatureStore(small_zoo).accuracies == {}


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        (b"", "columns model,task,accuracy"),
        (b"model,task,score\nwide,apples,0.5\n", "columns model,task,accuracy"),
        (b"model,task,accuracy\nwide,apples,good\n", "'wide' on 'apples' must be a number, got"),
        (b"model,task,accuracy\nwide,apples,nan\n", "'wide' on 'apples' must be a number, got"),
        (b"model,task,accuracy\nwide,apples\n", "'wide' on 'apples' must be a number, got None"),
        (b'model,task,accuracy\n"a\nb",apples,x\n', "must be a number"),
        (b"model,task,accuracy\n\xff,apples,0.5\n", "not a readable CSV"),
        (b"model,task,accuracy\n" + b"x" * 200_000 + b",apples,0.5\n", "not a readable CSV"),
    ],
    ids=["empty", "column", "word", "nan", "short", "newline", "encoding", "long"],
)
def test_accuracies_that_are_refused(small_zoo: Path, text: bytes, rule: str, refused: Any) -> None:
    path = small_zoo / "accuracies.csv"
    path.write_bytes(text)
    zoo = FeatureStore(small_zoo)  # read when used
    with refused(path, rule):
        _ = zoo.accuracies
