"""FeatureStore: a sound zoo, what opening and first use read, fingerprint and writing."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spider_jax.zoo.store import FeatureStore
from support.small_zoo import SMALL_CLASSES, SMALL_WIDTHS, put
from support.small_zoo import SMALL_MODELS as MODELS

TASKS = ("apples", "birds", "cars", "dice")
N = 40  # rows of apples


# ---- a sound zoo ------------------------------------------------------------------------------


def test_a_sound_zoo(small_zoo: Path) -> None:
    zoo = FeatureStore(small_zoo)
    assert zoo.problems == []
    assert (zoo.models, zoo.tasks, zoo.extractor) == (MODELS, TASKS, "psi")
    assert {model: zoo.width(model) for model in MODELS} == {**SMALL_WIDTHS, "psi": 6}
    assert zoo.models_of("apples") == MODELS
    assert zoo.model_info("wide") == {"width": 12}
    assert zoo.task_info("cars") == {"kind": "classification"}
    assert zoo.model_info("unheard of") == zoo.task_info("unheard of") == {}
    assert zoo.nbytes("wide", "apples") == N * 12 * 4
    assert zoo.nbytes("wide", "unheard of") == 0
    assert len(zoo.accuracies) == 4 * 4
    for task, classes in SMALL_CLASSES.items():
        assert zoo.kind(task) == "classification"
        assert zoo.labels(task).dtype == np.int32
        assert np.unique(zoo.labels(task)).tolist() == list(range(classes))
        assert zoo.split(task) is None
        assert zoo.training_rows(task).tolist() == list(range(len(zoo.labels(task))))


def test_small_zoo_has_signal(small_zoo: Path) -> None:
    zoo = FeatureStore(small_zoo)
    for task, classes in SMALL_CLASSES.items():
        labels, features = zoo.labels(task), zoo.training_features("wide", task)
        means = np.stack([features[labels == c].mean(0) for c in range(classes)])
        nearest = ((features[:, None] - means) ** 2).sum(2).argmin(1)
        assert (nearest == labels).mean() > 2 / classes  # twice what guessing reaches


def test_real_zoo(real_zoo: Path) -> None:
    zoo = FeatureStore(real_zoo)
    assert zoo.problems == []
    assert (len(zoo.models), len(zoo.tasks), len(zoo.accuracies)) == (23, 14, 23 * 14)
    assert zoo.extractor in zoo.models
    for model in zoo.models:
        assert zoo.width(model) == zoo.model_info(model)["width"]
    for task in zoo.tasks:
        assert zoo.models_of(task) == zoo.models
        assert zoo.training_labels(task).max() + 1 == len(zoo.task_info(task)["classes"])


def test_written_names_come_back(tmp_path: Path) -> None:
    folder = tmp_path / "zoo"
    names = ("../x", ".hidden", "org/model v1", "weights.npy", "画像")
    for name in names:
        FeatureStore.write_labels(folder, name, np.array([0, 1]))
        for task in names:
            FeatureStore.write_features(folder, name, task, np.ones((2, 3), np.float16))
    zoo = FeatureStore(folder)
    assert zoo.problems == []
    assert zoo.models == zoo.tasks == names
    assert os.listdir(tmp_path) == ["zoo"]
    assert all(zoo.features(name, task).shape == (2, 3) for name in names for task in names)


def test_a_zoo_needs_no_manifest(small_zoo: Path) -> None:
    (small_zoo / "manifest.json").unlink()
    zoo = FeatureStore(small_zoo)
    assert (zoo.models, zoo.tasks, zoo.extractor) == (MODELS, TASKS, None)
    assert zoo.model_info("wide") == zoo.task_info("cars") == {}
    assert zoo.kind("cars") == "classification"


def test_a_manifest_needs_no_sections(small_zoo: Path) -> None:
    FeatureStore.write_manifest(small_zoo, extractor="psi")
    zoo = FeatureStore(small_zoo)
    assert (zoo.models, zoo.extractor, zoo.model_info("wide")) == (MODELS, "psi", {})


@pytest.mark.parametrize("section", ["models", "tasks"])
@pytest.mark.parametrize("entries", [["wide"], None, {"wide": 12}])
def test_a_manifest_of_another_form(
    small_zoo: Path, section: str, entries: Any, refused: Any
) -> None:
    FeatureStore.write_manifest(small_zoo, **{section: entries})
    with refused(small_zoo / "manifest.json", section, "object of objects"):
        FeatureStore(small_zoo)


@pytest.mark.parametrize("text", ["{", '{"format": "spider_jax/zoo", "version": 99}'])
def test_a_manifest_that_cannot_be_read(small_zoo: Path, text: str, refused: Any) -> None:
    (small_zoo / "manifest.json").write_text(text)
    with refused(small_zoo / "manifest.json"):
        FeatureStore(small_zoo)


def test_a_folder_that_is_no_zoo(tmp_path: Path, refused: Any) -> None:
    for folder in (tmp_path, tmp_path / "missing"):
        with refused(folder, "not a zoo"):
            FeatureStore(folder)


def test_unknown_names(small_zoo: Path, refused: Any) -> None:
    zoo = FeatureStore(small_zoo)
    with refused("unknown model 'resnet'", "middle, narrow, psi, wide"):
        zoo.width("resnet")
    with refused("'resnet'", "'apples'"):
        zoo.features("resnet", "apples")
    uses: list[Callable[[str], Any]] = [
        zoo.labels,
        zoo.kind,
        zoo.split,
        zoo.training_rows,
        zoo.training_labels,
        zoo.models_of,
        lambda task: zoo.features("wide", task),
    ]
    for use in uses:
        with refused("unknown task 'pets'", "apples, birds, cars, dice"):
            use("pets")


# ---- laziness ---------------------------------------------------------------------------------


def test_features_are_read_only_memmaps(small_zoo: Path) -> None:
    zoo = FeatureStore(small_zoo)
    features = zoo.features("wide", "apples")
    assert isinstance(features, np.memmap)
    assert not features.flags.writeable
    np.testing.assert_array_equal(features, np.load(small_zoo / "features/wide/apples.npy"))


def test_opening_reads_no_data(small_zoo: Path) -> None:
    path, shape = small_zoo / "features/huge/apples.npy", (N, 1 << 32)
    path.parent.mkdir()
    with path.open("wb") as file:  # 320 GiB, of which the disk holds the header
        header = {"descr": "<f2", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        file.truncate(file.tell() + 2 * shape[0] * shape[1])
    zoo = FeatureStore(small_zoo)
    assert zoo.problems == []
    assert (zoo.width("huge"), zoo.nbytes("huge", "apples")) == (1 << 32, 2 * N << 32)
    path.unlink()


def test_nan_is_reported_on_first_use_only_there(small_zoo: Path, refused: Any) -> None:
    features = np.ones((N, 12), np.float16)
    features[7, 3:5], features[11, 0] = np.nan, np.inf
    put(small_zoo, "features/wide/apples", features)
    zoo = FeatureStore(small_zoo)
    assert zoo.problems == []
    for _ in range(2):  # it stays bad
        with refused("'wide'", "'apples'", "2 rows", "First row: 7"):
            zoo.features("wide", "apples")
    assert zoo.features("wide", "birds").shape == (45, 12)
    assert zoo.features("narrow", "apples").shape == (N, 5)


def test_only_the_first_use_scans(small_zoo: Path) -> None:
    zoo = FeatureStore(small_zoo)
    zoo.features("wide", "apples")
    put(small_zoo, "features/wide/apples", np.full((N, 12), np.nan, np.float32))
    assert np.isnan(zoo.features("wide", "apples")).all()


def test_fortran_order_is_read(small_zoo: Path) -> None:
    features = np.arange(N * 12, dtype=np.float32).reshape(N, 12)
    put(small_zoo, "features/wide/apples", np.asfortranarray(features))
    np.testing.assert_array_equal(FeatureStore(small_zoo).features("wide", "apples"), features)


def test_training_features_are_float32_in_memory(small_zoo: Path) -> None:
    put(small_zoo, "features/wide/apples", np.full((N, 12), 0.5, np.float16))
    features = FeatureStore(small_zoo).training_features("wide", "apples")
    assert features.dtype == np.float32
    np.testing.assert_array_equal(features, np.full((N, 12), 0.5))


# ---- fingerprint and writing ------------------------------------------------------------------


def test_fingerprint_is_of_the_content_not_the_place(small_zoo: Path, tmp_path: Path) -> None:
    shutil.copytree(small_zoo, tmp_path / "copy")
    assert FeatureStore(tmp_path / "copy").fingerprint() == FeatureStore(small_zoo).fingerprint()


@pytest.mark.parametrize(
    "change",
    [
        lambda zoo: put(zoo, "labels/dice", np.arange(55) % 3),
        lambda zoo: put(zoo, "labels/dice", np.load(zoo / "labels/dice.npy").view(np.uint64)),
        lambda zoo: put(zoo, "features/wide/dice", np.ones((55, 12), np.float16)),
        lambda zoo: shutil.move(zoo / "features/wide", zoo / "features/broad"),
        lambda zoo: FeatureStore.write_manifest(zoo, extractor="wide"),
        lambda zoo: put(zoo, "labels/extra", np.arange(2)),
    ],
    ids=["labels", "label dtype", "feature dtype", "model", "extractor", "task"],
)
def test_fingerprint_changes_with_the_zoo(small_zoo: Path, change: Callable[[Path], Any]) -> None:
    before = FeatureStore(small_zoo).fingerprint()
    change(small_zoo)
    assert FeatureStore(small_zoo).fingerprint() != before


@pytest.mark.parametrize(
    "features", [np.ones((2, 3)), np.ones(2, np.float32), np.ones((2, 3), int)]
)
def test_other_features_are_not_written(tmp_path: Path, features: Any, refused: Any) -> None:
    with refused("features", "float16 or float32 [N, D]", features.dtype, features.shape):
        FeatureStore.write_features(tmp_path, "m", "t", features)
    assert os.listdir(tmp_path) == []


def test_case_twins_are_not_written(small_zoo: Path, refused: Any) -> None:
    features = np.ones((2, 3), np.float32)
    with refused("'Wide'", "'wide'", "case"):
        FeatureStore.write_features(small_zoo, "Wide", "apples", features)
    with refused("'Apples'", "'apples'", "case"):
        FeatureStore.write_features(small_zoo, "wide", "Apples", features)
    with refused("'Apples'", "'apples'", "case"):
        FeatureStore.write_labels(small_zoo, "Apples", np.arange(2))
    assert FeatureStore(small_zoo).problems == []
