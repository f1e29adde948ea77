"""The command line: models looked at again, added, removed and renamed."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from spider_jax.spider.spider import Spider
from spider_jax.zoo.store import FeatureStore
from support.command_line import DONE, SKIPPED, Command, one_line, real_run
from support.small_training import tokens
from support.small_zoo import SMALL_MODELS
from support.toy_onboarding import arrays_of, same_bits

pytestmark = pytest.mark.slow


def bits(folder: Path) -> dict[str, bytes]:
    """The score of every model of a saved spider on a task, to the bit."""
    spider = Spider.load(folder)
    scores = spider.scores([tokens()])[0]
    return {name: score.tobytes() for name, score in zip(spider.models, scores, strict=True)}


def break_task(zoo: Path, model: str, task: str) -> None:
    features = np.load(zoo / f"features/{model}/{task}.npy")
    features[2] = np.inf
    FeatureStore.write_features(zoo, model, task, features)


# ---- rank --rerank -----------------------------------------------------------------------------


def test_rerank_as_json_and_text(saved: Path, small_zoo: Path, command: Command) -> None:
    rank = ("rank", saved, small_zoo, "birds")
    spider, zoo = Spider.load(saved), FeatureStore(small_zoo)
    for by in ("evidence", "logme"):
        expected = spider.rank_task(zoo, "birds", k=2, by=by)
        found = command(*rank, "--rerank", 2, "--by", by, "--json")
        assert (found.code, found.err) == (DONE, "")
        content = json.loads(found.out)
        assert [m["model"] for m in content["models"]] == list(expected.names)
        assert [np.float32(m["score"]) for m in content["models"]] == expected.scores.tolist()
        assert content["notes"] == list(expected.notes)
        assert content["skipped"] == []
    found = command(*rank, "--rerank", "auto")
    expected = spider.rank_task(zoo, "birds", k="auto")
    assert found.code == DONE
    assert expected.to_text() in found.out
    assert f"looked at {len(expected.looked_at)} of 4 models by evidence" in found.out


def test_rerank_goes_on_without_a_model(saved: Path, small_zoo: Path, command: Command) -> None:
    rank = ("rank", saved, small_zoo, "birds")
    first = [m["model"] for m in json.loads(command(*rank, "--json").out)["models"]]
    model = next(name for name in first if name != "psi")
    break_task(small_zoo, model, "birds")
    found = command(*rank, "--rerank", 4)
    assert found.code == SKIPPED
    assert found.err.startswith(f"spider-jax: skipped: {model} on birds: ")
    assert len(found.err.splitlines()) == 1
    assert f"not looked at: {model} on birds: " in found.out
    content = json.loads(command(*rank, "--rerank", 4, "--json").out)
    assert len(content["skipped"]) == 1
    assert {m["model"] for m in content["models"]} == {*SMALL_MODELS}


def test_rerank_refuses(saved: Path, small_zoo: Path, command: Command) -> None:
    rank = ("rank", saved, small_zoo, "birds")
    one_line(command(*rank, "--rerank", -1), "k must be a whole number", "-1")
    one_line(command(*rank, "--rerank", 1, "--by", "guesswork"), "evidence", "'guesswork'")
    one_line(command(*rank, "--rerank", 1, "--by", "attention"), "attention", "k_max")
    one_line(command(*rank, "--rerank", "auto", "--by", "knn"), '"auto"', "'knn'")


# ---- add, remove, rename -----------------------------------------------------------------------


def test_out_and_in_again(saved: Path, small_zoo: Path, command: Command, tmp_path: Path) -> None:
    before, less = bits(saved), tmp_path / "less"
    found = command("remove", saved, "wide", "--out", less)
    assert (found.code, found.out) == (DONE, f"3 models in {less}\n")
    assert bits(saved) == before
    assert bits(less) == {m: before[m] for m in ("middle", "narrow", "psi")}
    found = real_run("add", less, small_zoo, "--quiet")
    assert (found.code, found.out, found.err) == (DONE, f"1 added, 4 models in {less}\n", "")
    after = bits(less)
    assert list(after) == ["middle", "narrow", "psi", "wide"]
    assert {m: after[m] for m in ("middle", "narrow", "psi")} == {
        m: before[m] for m in ("middle", "narrow", "psi")
    }
    found = command("rename", less, "wide", "broad")
    assert (found.code, found.out) == (DONE, f"4 models in {less}\n")
    assert bits(less) == {{"wide": "broad"}.get(m, m): score for m, score in after.items()}


def test_what_cannot_be_added_is_listed(
    saved: Path, small_zoo: Path, command: Command, tmp_path: Path
) -> None:
    command("remove", saved, "wide", "narrow")
    break_task(small_zoo, "narrow", "dice")
    (small_zoo / "features/wide/dice.npy").unlink()
    found = command("add", saved, small_zoo, "--quiet")
    one_line(found, "no model could be added", "narrow", "dice")
    found = command("add", saved, small_zoo, "--cold", "--quiet", "--out", tmp_path / "cold")
    assert found.code == SKIPPED
    assert found.out == f"1 added, 1 of them by a guess, 3 models in {tmp_path / 'cold'}\n"
    (line,) = found.err.splitlines()
    assert line.startswith("spider-jax: skipped: narrow: ")
    found = command("rank", tmp_path / "cold", small_zoo, "birds")
    said = "note: added without features, their places are guesses: wide"
    assert said in found.out
    command("index", "build", tmp_path / "cold", tmp_path / "index")
    best = ("index", "top-k", tmp_path / "index", small_zoo, "birds", "-k")
    assert said in command(*best, 3).out
    command("index", "remove", tmp_path / "index", "wide")
    assert "guesses" not in command(*best, 3).out
    command("index", "append", tmp_path / "index", tmp_path / "cold", "wide")
    assert said in command(*best, 3).out


def test_they_refuse(saved: Path, small_zoo: Path, command: Command, tmp_path: Path) -> None:
    before = bits(saved)
    one_line(command("add", saved, small_zoo), "knows all 4 models")
    one_line(command("add", saved, small_zoo, "psi"), "knows 'psi' already")
    one_line(command("remove", saved, "pear"), "no model 'pear'")
    one_line(command("remove", saved, "psi", "wide", "narrow"), "at least two")
    one_line(command("rename", saved, "pear", "apple"), "no model 'pear'")
    one_line(command("rename", saved, "psi", "wide"), "'wide'")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    for line in (
        ("add", saved, small_zoo),
        ("remove", saved, "psi"),
        ("rename", saved, "psi", "x"),
    ):
        one_line(command(*line, "--out", tmp_path / "mine"), "not empty and no spider")
    assert bits(saved) == before


# ---- older spiders -----------------------------------------------------------------------------


def test_a_spider_of_an_older_version_loads(
    spider: Spider, saved: Path, small_zoo: Path, command: Command, tmp_path: Path
) -> None:
    """Without own tokens and teacher table: it ranks, and cannot be added to."""
    bare = replace(spider, teacher_table=None, own=None)
    bare.save(tmp_path / "older")
    path = tmp_path / "older" / "spider.json"
    content = json.loads(path.read_text())
    assert content.pop("own") is None
    assert content.pop("yardstick") is None
    path.write_text(json.dumps(content))
    sums = json.loads((path.parent / "checksums.json").read_text())
    del sums["description"]
    (path.parent / "checksums.json").write_text(json.dumps(sums))
    older = Spider.load(tmp_path / "older")
    assert same_bits(arrays_of(older), arrays_of(bare))
    assert bits(tmp_path / "older") == bits(saved)
    command("remove", tmp_path / "older", "wide")
    one_line(command("add", tmp_path / "older", small_zoo), "no teacher table", "train it again")


@pytest.mark.parametrize("name", ["add", "remove", "rename"])
def test_help_names_the_arguments(command: Command, name: str) -> None:
    found = command(name, "--help")
    assert found.code == DONE
    assert "SPIDER" in found.out.upper()
    assert "--out" in found.out
