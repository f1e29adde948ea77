"""FeatureStore: one bad file is one loss, and no link leads out of the zoo."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spider_jax.zoo.store import FeatureStore, Skipped
from support.small_zoo import SMALL_MODELS as MODELS
from support.small_zoo import put

TASKS = ("apples", "birds", "cars", "dice")


def only_problem(zoo: FeatureStore) -> Skipped:
    (problem,) = zoo.problems
    assert len(str(problem).splitlines()) == 1
    return problem


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
