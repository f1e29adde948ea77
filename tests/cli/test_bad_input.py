"""The command line: bad input is exit 2 and one line, never a traceback."""

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from spider_jax.zoo.store import FeatureStore
from support.command_line import BAD_INPUT, DONE, Command, one_line


def nothing(zoo: Path) -> None:
    """The zoo stays as it is."""


def no_labels(zoo: Path) -> None:
    (zoo / "labels" / "apples.npy").unlink()


def object_labels(zoo: Path) -> None:
    np.save(zoo / "labels" / "apples.npy", np.array(["a", None], object))


def empty_class(zoo: Path) -> None:
    tasks = {"apples": {"classes": ["red", "green", "blue", "golden"]}}
    FeatureStore.write_manifest(zoo, extractor="psi", tasks=tasks)


def one_class(zoo: Path) -> None:
    FeatureStore.write_labels(zoo, "apples", np.ones(40, np.int64))


def newer_manifest(zoo: Path) -> None:
    path = zoo / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"version": 9}))


def broken_manifest(zoo: Path) -> None:
    (zoo / "manifest.json").write_text("{")


def wrong_config(zoo: Path) -> None:
    (zoo / "page.toml").write_text("epochz = 3")


def folder_in_the_way(zoo: Path) -> None:
    (zoo / "accuracies.csv").unlink()
    (zoo / "accuracies.csv").mkdir()


def file_in_the_way(zoo: Path) -> None:
    (zoo / "file").write_text("mine")


TOO_LONG = "{zoo}/" + 300 * "x"
SCORE = ("score", "{zoo}", "apples", "--metrics", "knn")


@pytest.mark.parametrize(
    ("harm", "arguments", "mentions"),
    [
        (nothing, ("inspect", "{zoo}/nowhere"), ("nowhere", "is not a zoo")),
        (nothing, ("score", "{zoo}/labels/apples.npy", "x"), ("is not a zoo",)),
        (nothing, ("score", "{zoo}", "pears"), ("unknown task 'pears'", "apples, birds")),
        (nothing, ("score", "{zoo}", "../apples"), ("unknown task '../apples'",)),
        (nothing, ("score", "{zoo}", ""), ("unknown task ''",)),
        (nothing, (*SCORE, "lucky"), ("unknown metric 'lucky'", "logme")),
        (no_labels, SCORE, ("unknown task 'apples'", "birds")),
        (object_labels, SCORE, ("apples.npy", "Python objects")),
        (empty_class, SCORE, ("'apples'", "class 'golden' has no row")),
        (one_class, SCORE, ("'apples'", "one class")),
        (newer_manifest, SCORE, ("manifest.json", "version 9", "newer", "upgrade")),
        (broken_manifest, SCORE, ("manifest.json", "not valid JSON")),
        (nothing, (*SCORE, "--csv", "{zoo}/labels"), ("labels", "choose another")),
        (nothing, (*SCORE, "--csv", "{zoo}/accuracies.csv"), ("accuracies.csv", "choose another")),
        (nothing, (*SCORE, "--csv", "{zoo}/accuracies.csv/x"), ("choose another name",)),
        (folder_in_the_way, SCORE, ("accuracies.csv", os.strerror(errno.EISDIR))),
        (nothing, (*SCORE, "--csv", TOO_LONG), (os.strerror(errno.ENAMETOOLONG),)),
        (nothing, ("rank", "{zoo}", "{zoo}", "apples"), ("spider.json is missing",)),
        (nothing, ("train", "{zoo}", "--out", "{zoo}/s", "--hold-out", "pears"), ("'pears'",)),
        (nothing, ("train", "{zoo}", "--out", "{zoo}/s", "--seed", "-1"), ("seed", "-1")),
        (nothing, ("train", "{zoo}", "--out", "{zoo}/s", "--config", "no.toml"), ("no.toml",)),
        (nothing, ("train", "{zoo}", "--out", "{zoo}"), ("not empty and no spider",)),
        (file_in_the_way, ("train", "{zoo}", "--out", "{zoo}/file"), ("is a file",)),
        (
            wrong_config,
            ("train", "{zoo}", "--out", "{zoo}/s", "--config", "{zoo}/page.toml"),
            ("page.toml", "unknown key 'epochz'", "'epochs'"),
        ),
    ],
)
def test_bad_input_is_one_line(
    small_zoo: Path,
    command: Command,
    harm: Callable[[Path], None],
    arguments: tuple[str, ...],
    mentions: tuple[str, ...],
) -> None:
    harm(small_zoo)
    before = {path: path.stat().st_mtime_ns for path in small_zoo.rglob("*")}
    one_line(command(*(a.format(zoo=small_zoo) for a in arguments)), *mentions)
    assert {path: path.stat().st_mtime_ns for path in small_zoo.rglob("*")} == before


@pytest.mark.parametrize("arguments", [(), ("fly",), ("score",), ("inspect", "x", "--fly")])
def test_a_wrong_command_line_exits_2(command: Command, arguments: tuple[str, ...]) -> None:
    found = command(*arguments)
    assert (found.code, found.out) == (BAD_INPUT, "")
    assert "Traceback" not in found.err
    assert found.err


def test_help_names_every_command(command: Command) -> None:
    found = command("--help")
    assert (found.code, found.err) == (DONE, "")
    for name in ("demo", "inspect", "score", "train", "rank"):
        assert name in found.out
        assert command(name, "--help").code == DONE
