"""`rank --explain` and `next --explain`: the numbers are those of the table, source by source."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spider_jax.recommend.saved_prior import load_prior
from spider_jax.spider.spider import Spider
from support.command_line import DONE, Command, Result, one_line
from support.small_zoo import SMALL_MODELS

CLOSE: dict[str, float] = {"rtol": 0, "atol": 1e-6}


def content(found: Result) -> dict[str, Any]:
    assert (found.code, found.err) == (DONE, ""), found.err
    said: dict[str, Any] = json.loads(found.out)
    assert said["format"] == "spider_jax/explanation"
    return said


def steps(said: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """By source; what each moved is what its parts moved, and all of it is the last mean."""
    found = {row["source"]: row for row in said["rows"] if row["of it"] is None}
    for source in found:
        parts = [r["moved"] for r in said["rows"] if r["source"] == source and r["of it"]]
        if parts:
            np.testing.assert_allclose(sum(parts), found[source]["moved"], rtol=0, atol=1e-5)
    total = sum(row["moved"] for row in found.values())
    np.testing.assert_allclose(total, list(found.values())[-1]["mean"], **CLOSE)
    return found


@pytest.mark.parametrize("rerank", ["0", "2", "auto"])
def test_a_spider_says_why(command: Command, saved: Path, small_zoo: Path, rerank: str) -> None:
    asked = ("rank", saved, small_zoo, "birds", "--rerank", rerank, "--json")
    table = {row["model"]: row for row in json.loads(command(*asked).out)["models"]}
    for model, row in [*table.items()][:2]:
        said = content(command(*asked, "--explain", model))
        assert said["place"] == row["rank"]
        np.testing.assert_allclose([said["mean"], said["sd"]], [row["score"], row["sd"]], rtol=1e-6)
        found = list(steps(said))
        assert found[:3] == ["constant order", "similar training tasks", "network"]
        assert found[3:] in ([], ["metrics"])
        named = {r["of it"] for r in said["rows"] if r["source"] == found[1] and r["of it"]}
        assert any(name in part for name in ("apples", "cars", "dice") for part in named)


def test_of_another_zoo_training_tasks_have_numbers(
    saved: Path, small_zoo: Path, command: Command
) -> None:
    labels = np.load(small_zoo / "labels" / "cars.npy")
    np.save(small_zoo / "labels" / "cars.npy", labels[::-1])
    said = content(command("rank", saved, small_zoo, "birds", "--explain", "wide", "--json"))
    parts = [r["of it"] for r in said["rows"] if r["source"].startswith("similar") and r["of it"]]
    assert parts[0].startswith("training task ")
    spider = Spider.load(saved)
    assert spider.memory is not None
    assert parts[-1] == f"{len(spider.memory.targets) - 5} other tasks"


def test_records_say_why(command: Command, prior: Path) -> None:
    asked = ("rank", prior, "--like", "plums", "--json")
    for row in json.loads(command(*asked).out)["models"]:
        said = content(command(*asked, "--explain", row["model"]))
        np.testing.assert_allclose([said["mean"], said["sd"]], [row["score"], row["sd"]], rtol=1e-5)
        found = steps(said)
        assert list(found) == ["constant order", "similar tasks"]
        parts = [r for r in said["rows"] if r["source"] == "similar tasks" and r["of it"]]
        assert parts[0]["of it"] == "plums"
        constant = dict(zip(SMALL_MODELS, load_prior(prior).constant, strict=True))
        np.testing.assert_allclose(
            found["constant order"]["mean"], constant[row["model"]], rtol=0, atol=1e-6
        )


def test_a_search_says_why(command: Command, prior: Path, tmp_path: Path) -> None:
    (tmp_path / "results.csv").write_text("model,value\nwide,0.9\nnarrow,0.4\n")
    asked = ("next", prior, "--results", tmp_path / "results.csv", "--direction", "larger")
    said = content(command(*asked, "--explain", "wide", "--json"))
    assert said["unit"] != "standard units"
    parts = {r["of it"] for r in said["rows"] if r["source"] == "results"}
    assert parts == {None, "its own", "those of 1 other model"}
    steps(said)
    text = command(*asked, "--explain", "wide").out
    assert "wide: place 1 of 4" in text
    assert "evidence, not cause" in text


def test_what_cannot_be_explained_is_one_line(
    command: Command, saved: Path, prior: Path, small_zoo: Path
) -> None:
    rank = ("rank", saved, small_zoo, "birds", "--explain")
    one_line(command(*rank, "zebra"), "'zebra'")
    one_line(command(*rank, "wide", "--rerank", "2", "--by", "knn"), "--explain", "--by knn")
    one_line(command("rank", prior, "--explain", "zebra"), "'zebra'")
    one_line(command("next", prior, "--explain", "zebra"), "'zebra'")
