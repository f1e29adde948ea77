"""The command line: train and rank, in processes of their own."""

import csv
import json
from pathlib import Path

import pytest

from spider_jax.zoo.store import FeatureStore
from support.command_line import (
    DONE,
    SKIPPED,
    Command,
    Result,
    break_features,
    one_line,
    real_run,
    trained_in,
)
from support.small_zoo import write_small_zoo

CONFIG = """
width = 8
members = 2
epochs = 2
batch = 4
held_out = 1
components = 4
teachers = ["knn"]

[tasks]
count = 24
max_classes = 4
rows = 32
min_per_class = 4
max_per_class = 8
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Result, Path]:
    """A real run of `train` on a zoo with one broken model, and the folder of the spider."""
    folder = tmp_path_factory.mktemp("trained")
    zoo = write_small_zoo(folder / "zoo")
    for task in ("apples", "cars", "dice"):  # with one of them broken it would stay
        break_features(zoo, "wide", task)
    return trained_in(folder, zoo, CONFIG)


def test_train_leaves_a_broken_model_out_and_lists_it(trained: tuple[Result, Path]) -> None:
    found, folder = trained
    assert found.code == SKIPPED
    (line,) = found.out.splitlines()
    assert line.startswith("3 models, 4 source datasets, held-out weighted tau ")
    assert str(folder) in line
    assert any(
        line.startswith("spider-jax: skipped: wide: ") and "NaN" in line
        for line in found.err.splitlines()
    )
    assert "Traceback" not in found.err
    described = json.loads((folder / "spider.json").read_text())
    assert described["models"] == ["middle", "narrow", "psi"]
    assert described["training"]["config"]["epochs"] == 2


def test_rank_as_json_in_a_process(trained: tuple[Result, Path], small_zoo: Path) -> None:
    found = real_run("rank", trained[1], small_zoo, "birds", "--json")
    assert (found.code, found.err) == (DONE, "")
    content = json.loads(found.out)
    assert list(content)[:3] == ["format", "version", "created_with"]
    assert content["format"] == "spider_jax/ranking"
    assert content["task"] == "birds"
    assert sorted(entry["model"] for entry in content["models"]) == ["middle", "narrow", "psi"]
    known = FeatureStore(small_zoo).accuracies
    for entry in content["models"]:
        assert entry["accuracy"] == known[entry["model"], "birds"]


def test_rank_as_text_and_csv(
    trained: tuple[Result, Path], small_zoo: Path, command: Command, tmp_path: Path
) -> None:
    path = tmp_path / "ranking.csv"
    found = command("rank", trained[1], small_zoo, "birds", "--top", 2, "--csv", path)
    assert (found.code, found.err) == (DONE, "")
    assert found.out.startswith("task: birds\n")
    assert "1 more not shown" in found.out
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["rank"] for row in rows] == ["1", "2", "3"]
    scores = [float(row["score"]) for row in rows]
    assert scores == sorted(scores, reverse=True)


def test_rank_as_json_holds_the_top_only(
    trained: tuple[Result, Path], small_zoo: Path, command: Command
) -> None:
    rank = ("rank", trained[1], small_zoo, "birds", "--json")
    whole, top = (json.loads(command(*rank, *more).out) for more in ((), ("--top", 2)))
    assert len(whole["models"]) == 3
    assert top == whole | {"models": whole["models"][:2]}


def test_rank_refuses_what_does_not_fit(
    trained: tuple[Result, Path], small_zoo: Path, command: Command, tmp_path: Path
) -> None:
    rank = ("rank", trained[1], small_zoo)
    one_line(command(*rank, "pears"), "unknown task 'pears'")
    one_line(command(*rank, "apples", "--top", 0), "top must be at least 1")
    one_line(command(*rank, "apples", "--top", 0, "--json"), "top must be at least 1")
    one_line(command(*rank, "apples", "--csv", small_zoo), "is a folder")
    FeatureStore.write_manifest(small_zoo, extractor="narrow")
    one_line(command(*rank, "apples"), "'narrow'", "'psi'")
    newer = tmp_path / "newer"
    newer.mkdir()
    content = json.loads((trained[1] / "spider.json").read_text()) | {"version": 2}
    (newer / "spider.json").write_text(json.dumps(content))
    one_line(command("rank", newer, small_zoo, "apples"), "spider.json", "version 2", "newer")
