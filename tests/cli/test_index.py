"""`spider-jax index`: the life of an index on the command line."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from spider_jax.spider.spider import Spider
from support.command_line import BAD_INPUT, DONE, Command, one_line
from support.toy_index import only, toy_spider

WIDTH = 6  # of the extractor psi of small_zoo


@pytest.fixture
def spider(tmp_path: Path) -> Spider:
    spider = toy_spider(5, features=WIDTH)
    spider.save(tmp_path / "spider")
    only(spider, spider.models[:3]).save(tmp_path / "fewer")
    return spider


@pytest.fixture
def index(spider: Spider, tmp_path: Path, command: Command) -> Path:
    found = command("index", "build", tmp_path / "fewer", tmp_path / "index")
    assert (found.code, found.out) == (DONE, f"3 models in {tmp_path / 'index'}\n")
    return tmp_path / "index"


def names(text: str) -> list[str]:
    return [entry["model"] for entry in json.loads(text)["rankings"][0]["models"]]


def test_append_and_remove(index: Path, tmp_path: Path, command: Command) -> None:
    assert "2 added, 5 models" in command("index", "append", index, tmp_path / "spider").out
    assert "1 removed, 4 models" in command("index", "remove", index, "m1").out
    one_line(command("index", "remove", index, "m1"), "m1")
    assert "1 added" in command("index", "append", index, tmp_path / "spider", "m1").out


def test_top_k_ranks_as_the_spider(
    index: Path, small_zoo: Path, tmp_path: Path, command: Command
) -> None:
    path = tmp_path / "best.csv"
    asked = ("index", "top-k", index, small_zoo, "birds", "cars", "-k", 2, "--json", "--csv", path)
    found = command(*asked)
    assert (found.code, found.err) == (DONE, "")
    ranked = command("rank", tmp_path / "fewer", small_zoo, "birds", "--json")
    whole = [entry["model"] for entry in json.loads(ranked.out)["models"]]
    assert names(found.out) == whole[:2]
    with path.open(newline="") as file:
        assert [row["task"] for row in csv.DictReader(file)] == ["birds", "birds", "cars", "cars"]


def test_top_k_as_tables(index: Path, small_zoo: Path, command: Command) -> None:
    found = command("index", "top-k", index, small_zoo, "birds", "cars", "-k", 2)
    assert found.out.count("the best 2 of 3 models") == 2
    one_line(command("index", "top-k", index, small_zoo, "nothing"), "nothing")


def test_verify_names_what_is_damaged(index: Path, command: Command) -> None:
    assert "all as written" in command("index", "verify", index).out
    path = index / "blocks/00000000/key.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    one_line(command("index", "verify", index), "key.npy", "damaged")


def test_another_checkpoint_is_refused(
    index: Path, spider: Spider, tmp_path: Path, command: Command
) -> None:
    other = spider.weights._replace(value=np.asarray(spider.weights.value) + 1)
    replace(spider, weights=other).save(tmp_path / "other")
    one_line(command("index", "append", index, tmp_path / "other"), "another checkpoint")


def test_an_unknown_precision_is_refused(spider: Spider, tmp_path: Path, command: Command) -> None:
    found = command("index", "build", tmp_path / "spider", tmp_path / "i", "--precision", "float16")
    one_line(found, "precision", "float16")
    assert not (tmp_path / "i").exists()


def test_help_lists_the_commands(command: Command) -> None:
    for arguments in (("index",), ("index", "--help")):
        found = command(*arguments)
        assert found.code != BAD_INPUT
        assert [
            c for c in ("build", "append", "remove", "verify", "top-k") if c not in found.out
        ] == []
