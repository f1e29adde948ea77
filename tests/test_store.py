"""FeatureStore: what opening checks, what first use checks, and that one bad file is one loss."""

import codecs
import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import SMALL_CLASSES, SMALL_WIDTHS

from spider_jax.store import FeatureStore, Problem

MODELS = ("middle", "narrow", "psi", "wide")
TASKS = ("apples", "birds", "cars", "dice")
N = 40  # rows of apples


def put(folder: Path, where: str, array: Any) -> Path:
    """Save an array as <where>.npy without any of the checks of the package."""
    path = folder / f"{where}.npy"
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, array)
    return path


def only_problem(zoo: FeatureStore) -> Problem:
    (problem,) = zoo.problems
    assert len(str(problem).splitlines()) == 1
    return problem


def labels_zoo(tmp_path: Path, labels: Any, **facts: Any) -> FeatureStore:
    """A zoo of one task `t` with these labels, and these facts of it in the manifest."""
    put(tmp_path, "labels/t", labels)
    FeatureStore.write_manifest(tmp_path, tasks={"t": facts})
    return FeatureStore(tmp_path)


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


# ---- one bad file is one loss -----------------------------------------------------------------


BAD_FEATURES = {
    "rows": (np.ones((54, 12), np.float32), "(N=55), got 54"),
    "float64": (np.ones((55, 12), np.float64), "got float64"),
    "int": (np.ones((55, 12), np.int32), "got int32"),
    "vector": (np.ones(55, np.float32), "got float32 (55,)"),
    "no columns": (np.ones((55, 0), np.float32), "D > 0"),
    "width": (np.ones((55, 13), np.float32), "width 13"),
    "objects": (np.full((55, 12), None), "Python objects"),
}


@pytest.mark.parametrize("case", BAD_FEATURES)
def test_bad_features_lose_one_model_on_one_task(small_zoo: Path, case: str, refused: Any) -> None:
    features, rule = BAD_FEATURES[case]
    path = put(small_zoo, "features/wide/dice", features)
    zoo = FeatureStore(small_zoo)
    problem = only_problem(zoo)
    assert (problem.model, problem.task) == ("wide", "dice")
    assert str(path) in problem.message
    assert rule in problem.message
    with refused("wide on dice", path, rule):
        zoo.features("wide", "dice")
    assert (zoo.models, zoo.tasks) == (MODELS, TASKS)
    assert zoo.models_of("dice") == ("middle", "narrow", "psi")
    assert zoo.models_of("cars") == MODELS
    assert zoo.features("wide", "cars").shape == (50, 12)


@pytest.mark.parametrize("change", [lambda data: data[:-1], lambda data: data + b"x"])
def test_cut_and_padded_features(small_zoo: Path, change: Callable[[bytes], bytes]) -> None:
    path = small_zoo / "features/wide/dice.npy"
    path.write_bytes(change(path.read_bytes()))
    assert "cut or padded" in only_problem(FeatureStore(small_zoo)).message


def test_missing_labels_lose_the_task(small_zoo: Path, refused: Any) -> None:
    (small_zoo / "labels/cars.npy").unlink()
    zoo = FeatureStore(small_zoo)
    assert (zoo.models, zoo.tasks) == (MODELS, ("apples", "birds", "dice"))
    assert [(p.model, p.task) for p in zoo.problems] == [(model, "cars") for model in MODELS]
    assert all("labels/cars.npy" in p.message for p in zoo.problems)
    with refused("unknown task 'cars'"):
        zoo.features("wide", "cars")


@pytest.mark.parametrize(
    ("labels", "rule"),
    [
        (np.array(["cat", "dog"]), "<U3"),
        (np.zeros((2, 2, 2), int), "(2, 2, 2)"),
        (np.zeros(0, int), "(0,)"),
        (np.array([None, 1]), "objects"),
    ],
)
def test_bad_labels_lose_the_task(small_zoo: Path, labels: Any, rule: str, refused: Any) -> None:
    path = put(small_zoo, "labels/cars", labels)
    zoo = FeatureStore(small_zoo)
    assert zoo.tasks == ("apples", "birds", "dice")
    assert {(p.model, p.task) for p in zoo.problems} == {(m, "cars") for m in (None, *MODELS)}
    with refused("cars", path, rule):
        zoo.labels("cars")


def test_names_that_nobody_wrote_are_problems(small_zoo: Path) -> None:
    put(small_zoo, "features/wide/no name", np.ones((2, 12), np.float32))
    zoo = FeatureStore(small_zoo)
    assert "'no name'" in only_problem(zoo).message
    assert zoo.tasks == TASKS


def test_other_files_are_nobodys_business(small_zoo: Path) -> None:
    for name in ("labels/.apples.npy.x7a", "features/wide/.dice.npy", "features/wide/my notes.txt"):
        (small_zoo / name).write_text("left over")
    zoo = FeatureStore(small_zoo)
    assert zoo.problems == []
    assert (zoo.models, zoo.tasks) == (MODELS, TASKS)


# ---- symbolic links ---------------------------------------------------------------------------


def move_out(zoo: Path, name: str, *, to: Path) -> Path:
    """Move <zoo>/<name> to a folder, leaving a symbolic link in its place."""
    to.mkdir(exist_ok=True)
    moved = Path(shutil.move(zoo / name, to))
    (zoo / name).symlink_to(moved)
    return zoo / name


@pytest.mark.parametrize("name", ["features/wide/dice.npy", "features/wide"])
def test_links_out_of_the_zoo_are_not_followed(small_zoo: Path, tmp_path: Path, name: str) -> None:
    link = move_out(small_zoo, name, to=tmp_path / "outside")
    zoo = FeatureStore(small_zoo)
    assert only_problem(zoo).message.startswith(f"{link} is a link out of the zoo")
    assert zoo.models_of("dice") == ("middle", "narrow", "psi")


@pytest.mark.parametrize("name", ["features", "probabilities"])
def test_linked_folders_are_not_followed(small_zoo: Path, tmp_path: Path, name: str) -> None:
    shutil.copytree(small_zoo / "features", small_zoo / "probabilities")
    link = move_out(small_zoo, name, to=tmp_path / "outside")
    zoo = FeatureStore(small_zoo)
    assert str(link) in only_problem(zoo).message
    assert bool(zoo.models) == (name != "features")
    assert zoo.has_probabilities("wide", "dice") == (name != "probabilities")


def test_linked_labels_are_not_followed(small_zoo: Path, tmp_path: Path, refused: Any) -> None:
    link = move_out(small_zoo, "labels/dice.npy", to=tmp_path / "outside")
    zoo = FeatureStore(small_zoo)
    assert zoo.tasks == ("apples", "birds", "cars")
    assert str(link) in str(zoo.problems[0])
    with refused("unknown task 'dice'"):
        zoo.labels("dice")


def test_linked_split_and_tables_are_not_followed(
    small_zoo: Path, tmp_path: Path, refused: Any
) -> None:
    put(small_zoo, "splits/dice", np.zeros(55, np.int8))
    outside = tmp_path / "outside"
    split = move_out(small_zoo, "splits/dice.npy", to=outside)
    accuracies = move_out(small_zoo, "accuracies.csv", to=outside)
    with refused(split, "link out"):
        FeatureStore(small_zoo).training_rows("dice")
    with refused(accuracies, "link out"):
        _ = FeatureStore(small_zoo).accuracies
    manifest = move_out(small_zoo, "manifest.json", to=outside)
    with refused(manifest, "link out"):
        FeatureStore(small_zoo)


def test_a_dangling_link_is_no_missing_split(small_zoo: Path, refused: Any) -> None:
    (small_zoo / "splits").mkdir()
    (small_zoo / "splits/dice.npy").symlink_to(small_zoo.parent / "gone.npy")
    with refused("splits/dice.npy", "link out"):
        FeatureStore(small_zoo).training_rows("dice")


def test_links_inside_the_zoo_are_followed(small_zoo: Path, tmp_path: Path) -> None:
    (small_zoo / "features/twin").symlink_to("wide")
    (tmp_path / "entrance").symlink_to(small_zoo)
    zoo = FeatureStore(tmp_path / "entrance")
    assert zoo.problems == []
    np.testing.assert_array_equal(zoo.features("twin", "dice"), zoo.features("wide", "dice"))


def test_a_link_to_itself_is_a_problem(small_zoo: Path) -> None:
    (small_zoo / "features/wide/dice.npy").unlink()
    (small_zoo / "features/wide/dice.npy").symlink_to("dice.npy")
    assert "features/wide/dice.npy" in only_problem(FeatureStore(small_zoo)).message


# ---- labels -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labels", "encoded"),
    [
        (np.array([5, 6, 7, 5]), [0, 1, 2, 0]),
        (np.array([0, 9, 2, 9]), [0, 2, 1, 2]),
        (np.array([2, 0, -1, 2], np.int8), [2, 1, 0, 2]),  # ends at C - 1 all the same
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


def test_a_class_without_a_training_row(small_zoo: Path, refused: Any) -> None:
    labels = np.arange(N) % 3
    put(small_zoo, "labels/apples", labels)
    put(small_zoo, "splits/apples", (labels == 1).astype(np.int8))
    with refused("'apples'", "class 1 has no row in the training split"):
        FeatureStore(small_zoo).training_labels("apples")


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
