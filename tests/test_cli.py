"""The command line: data on stdout, messages on stderr, an exit code, never a traceback."""

import csv
import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from spider_jax.cli import main
from spider_jax.metrics import DEFAULT_METRICS
from spider_jax.score_zoo import score_zoo
from spider_jax.store import FeatureStore

MODELS = ("middle", "narrow", "psi", "wide")
CONFIG = """
width = 8
members = 2
steps = 12
batch = 4
evaluations = 2
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
DONE, BAD_INPUT, SKIPPED = 0, 2, 3
# A training is made of compilation; what these tests look at does not need it to be good.
ENVIRONMENT = os.environ | {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}


class Result(NamedTuple):
    code: object
    out: str
    err: str


Command = Callable[..., Result]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Iterator[Command]:
    """command("score", zoo, ...): runs here; the level of the log is put back."""

    def command(*arguments: object) -> Result:
        with pytest.raises(SystemExit) as left:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Result(left.value.code, captured.out, captured.err)

    log = logging.getLogger("spider_jax")
    level = log.level
    yield command
    log.setLevel(level)


def real_run(*arguments: object) -> Result:
    """The same in a process of its own."""
    line = [sys.executable, "-c", "from spider_jax.cli import main; main()", *map(str, arguments)]
    done = subprocess.run(line, capture_output=True, text=True, env=ENVIRONMENT, check=False)
    return Result(done.returncode, done.stdout, done.stderr)


def table(text: str) -> list[list[str]]:
    """Cells of the lines of a terminal table up to the first empty line."""
    return [line.split() for line in text.split("\n\n")[0].splitlines()]


def rows_of(result: Result, kind: str) -> list[dict[str, Any]]:
    """Rows of a command's JSON, which is all there is on stdout."""
    content = json.loads(result.out)
    assert list(content)[:3] == ["format", "version", "created_with"]
    assert content["format"] == f"spider_jax/{kind}"
    rows: list[dict[str, Any]] = content["rows"]
    return rows


def one_line(result: Result, *mentions: object) -> None:
    """Bad input: exit 2, nothing on stdout, one line on stderr that says what is wrong."""
    assert result.code == BAD_INPUT
    assert result.out == ""
    (line,) = result.err.splitlines()
    assert line.startswith("spider-jax: ")
    assert [m for m in mentions if str(m) not in line] == [], line


def break_features(zoo: Path, model: str = "wide", task: str = "apples") -> None:
    features = np.load(zoo / "features" / model / f"{task}.npy")
    features[7, 1] = np.nan
    FeatureStore.write_features(zoo, model, task, features)


# ---- inspect ---------------------------------------------------------------------------------


def test_inspect_shows_models_tasks_and_extractor(small_zoo: Path, command: Command) -> None:
    found = command("inspect", small_zoo)
    assert (found.code, found.err) == (DONE, "")
    assert [row[0] for row in table(found.out)] == ["model", *MODELS]
    assert ["wide", "12", "4", "0.009", "-"] in table(found.out)
    assert "cars    classification    50        5       4           4" in found.out
    assert "general extractor: psi" in found.out


def test_inspect_as_json_and_csv(small_zoo: Path, command: Command, tmp_path: Path) -> None:
    (small_zoo / "features" / "wide" / "cars.npy").unlink()
    found = command("inspect", small_zoo, "--json", "--csv", tmp_path / "models.csv")
    rows = rows_of(found, "inspection")
    assert (found.code, found.err) == (DONE, "")
    assert [row["model"] for row in rows] == list(MODELS)
    assert rows[-1] == {
        "model": "wide",
        "width": 12,
        "tasks": 3,
        "MB": (40 + 45 + 55) * 12 * 4 / 1e6,
        "missing on": "cars",
    }
    with (tmp_path / "models.csv").open(newline="") as file:
        assert [{key: str(value) for key, value in row.items()} for row in rows] == list(
            csv.DictReader(file)
        )


def test_inspect_finds_nan_when_asked_to_read(small_zoo: Path, command: Command) -> None:
    break_features(small_zoo)
    assert command("inspect", small_zoo).code == DONE
    found = command("inspect", small_zoo, "--check")
    assert found.code == SKIPPED
    (line,) = found.err.splitlines()
    assert all(word in line for word in ("wide", "apples", "NaN", "First row: 7"))
    assert len(table(found.out)) == 1 + len(MODELS)


def test_inspect_finds_probabilities_that_are_none(small_zoo: Path, command: Command) -> None:
    folder = small_zoo / "probabilities" / "wide"
    folder.mkdir(parents=True)
    np.save(folder / "apples.npy", np.full((40, 3), 0.5, np.float32))
    assert command("inspect", small_zoo).code == DONE
    found = command("inspect", small_zoo, "--check")
    assert found.code == SKIPPED
    assert "must be a softmax" in found.err


def test_inspect_lists_tasks_that_cannot_be_used(small_zoo: Path, command: Command) -> None:
    FeatureStore.write_labels(small_zoo, "apples", np.zeros(40, np.int32))
    (small_zoo / "splits").mkdir()
    np.save(small_zoo / "splits" / "birds.npy", np.full(45, 9, np.int8))
    found = command("inspect", small_zoo)
    assert found.code == SKIPPED
    assert sorted(line.split()[2] for line in found.err.splitlines()) == ["apples:", "birds:"]
    assert "one class" in found.err
    assert "cars  classification" in found.out


# ---- score -----------------------------------------------------------------------------------


def test_score_as_text(small_zoo: Path, command: Command) -> None:
    found = command("score", small_zoo, "apples", "--metrics", "knn", "ridge")
    assert (found.code, found.err) == (DONE, "")
    head, *rows = found.out.splitlines()
    assert head.split() == ["model", "knn", "ridge", "true", "accuracy"]
    assert sorted(row.split()[0] for row in rows[: len(MODELS)]) == list(MODELS)
    assert "task apples" in rows[-1]


def test_score_as_json_and_csv(small_zoo: Path, command: Command, tmp_path: Path) -> None:
    found = command("score", small_zoo, "apples", "--json", "--csv", tmp_path / "scores.csv")
    assert (found.code, found.err) == (DONE, "")
    zoo = FeatureStore(small_zoo)
    wanted = score_zoo(zoo, "apples")
    rows = rows_of(found, "scores")
    assert {row["model"] for row in rows} == set(MODELS)
    assert list(rows[0]) == ["model", *DEFAULT_METRICS, "true accuracy"]
    for row in rows:
        values = wanted.values[wanted.models.index(row["model"])]
        for metric, value in zip(DEFAULT_METRICS, values, strict=True):
            assert row[metric] == (None if np.isnan(value) else value)
        assert row["true accuracy"] == zoo.accuracies[row["model"], "apples"]
    assert {row["nce"] for row in rows} == {None}  # without probabilities
    with (tmp_path / "scores.csv").open(newline="") as file:
        read = list(csv.DictReader(file))
    assert [row["model"] for row in read] == [row["model"] for row in rows]
    assert [float(row["knn"]) for row in read] == [row["knn"] for row in rows]
    assert {row["leep"] for row in read} == {""}


def wrong_rows(zoo: Path) -> None:
    FeatureStore.write_features(zoo, "wide", "apples", np.zeros((39, 12), np.float32))


def objects(zoo: Path) -> None:
    np.save(zoo / "features" / "wide" / "apples.npy", np.array([["a"], [None]], object))


def cut(zoo: Path) -> None:
    path = zoo / "features" / "wide" / "apples.npy"
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize(
    ("harm", "mention"),
    [
        (break_features, "NaN"),
        (wrong_rows, "one row per label (N=40), got 39"),
        (objects, "Python objects"),
        (cut, "cut"),
    ],
)
def test_a_broken_model_is_skipped_and_listed(
    small_zoo: Path, command: Command, harm: Callable[[Path], None], mention: str
) -> None:
    harm(small_zoo)
    found = command("score", small_zoo, "apples", "--metrics", "knn", "--json")
    assert found.code == SKIPPED
    assert {row["model"] for row in rows_of(found, "scores")} == {"middle", "narrow", "psi"}
    (line,) = found.err.splitlines()
    assert line.startswith("spider-jax: skipped: wide on apples: ")
    assert mention in line
    assert command("score", small_zoo, "birds", "--metrics", "knn").code == DONE


def test_no_model_left_is_bad_input(small_zoo: Path, command: Command) -> None:
    for model in MODELS:
        break_features(small_zoo, model, "dice")
    one_line(command("score", small_zoo, "dice", "--metrics", "knn"), "no model", "'dice'", "NaN")
    for model in MODELS:
        (small_zoo / "features" / model / "cars.npy").unlink()
    one_line(command("score", small_zoo, "cars", "--metrics", "knn"), "no model", "'cars'")


# ---- bad input -------------------------------------------------------------------------------


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
    (zoo / "page.toml").write_text("stepz = 3")


def file_in_the_way(zoo: Path) -> None:
    (zoo / "file").write_text("mine")


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
        (nothing, (*SCORE, "--csv", "{zoo}/labels"), ("labels is a folder",)),
        (nothing, (*SCORE, "--csv", "{zoo}/accuracies.csv/x"), ("cannot be written", "a file")),
        (nothing, ("rank", "{zoo}", "{zoo}", "apples"), ("spider.json is missing",)),
        (nothing, ("train", "{zoo}", "--out", "{zoo}/s", "--hold-out", "pears"), ("'pears'",)),
        (nothing, ("train", "{zoo}", "--out", "{zoo}/s", "--seed", "-1"), ("seed", "-1")),
        (nothing, ("train", "{zoo}", "--out", "{zoo}/s", "--config", "no.toml"), ("no.toml",)),
        (nothing, ("train", "{zoo}", "--out", "{zoo}"), ("not empty and no spider",)),
        (file_in_the_way, ("train", "{zoo}", "--out", "{zoo}/file"), ("is a file",)),
        (
            wrong_config,
            ("train", "{zoo}", "--out", "{zoo}/s", "--config", "{zoo}/page.toml"),
            ("page.toml", "unknown key 'stepz'", "'steps'"),
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


# ---- train and rank, in processes of their own -----------------------------------------------


@pytest.fixture(scope="module")
def runs() -> dict[str, Any]:
    """What `trained` has made: once is enough."""
    return {}


@pytest.fixture
def trained(
    small_zoo: Path, runs: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Result, Path]:
    """A real run of `train` on a zoo with one broken model, and the folder of the spider."""
    if "train" not in runs:
        folder = tmp_path_factory.mktemp("trained")
        (folder / "page.toml").write_text(CONFIG)
        break_features(small_zoo, "wide", "cars")
        out = folder / "spider"
        runs["train"] = (
            real_run("train", small_zoo, "--config", folder / "page.toml", "--out", out),
            out,
        )
    result: tuple[Result, Path] = runs["train"]
    return result


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
    assert described["training"]["config"]["steps"] == 12


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


def test_rank_refuses_what_does_not_fit(
    trained: tuple[Result, Path], small_zoo: Path, command: Command, tmp_path: Path
) -> None:
    rank = ("rank", trained[1], small_zoo)
    one_line(command(*rank, "pears"), "unknown task 'pears'")
    one_line(command(*rank, "apples", "--top", 0), "top must be at least 1")
    one_line(command(*rank, "apples", "--csv", small_zoo), "is a folder")
    FeatureStore.write_manifest(small_zoo, extractor="narrow")
    one_line(command(*rank, "apples"), "'narrow'", "'psi'")
    newer = tmp_path / "newer"
    newer.mkdir()
    content = json.loads((trained[1] / "spider.json").read_text()) | {"version": 2}
    (newer / "spider.json").write_text(json.dumps(content))
    one_line(command("rank", newer, small_zoo, "apples"), "spider.json", "version 2", "newer")


def test_quiet_leaves_only_the_list_of_skipped_models(small_zoo: Path) -> None:
    break_features(small_zoo)
    found = real_run("score", small_zoo, "apples", "--metrics", "knn", "--json", "-q")
    assert found.code == SKIPPED
    assert len(rows_of(found, "scores")) == 3
    (line,) = found.err.splitlines()
    assert line.startswith("spider-jax: skipped: wide on apples: ")


def test_a_reader_that_leaves_early_is_no_failure(small_zoo: Path) -> None:
    line = [sys.executable, "-c", "from spider_jax.cli import main; main()", "inspect"]
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [*line, str(small_zoo)], stdout=writer, stderr=subprocess.PIPE, check=False
        )
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (DONE, b"")


# ---- imports ---------------------------------------------------------------------------------


def test_importing_stays_light() -> None:
    heavy = ("torch", "tensorflow", "tensorflow_datasets", "orbax", "matplotlib", "sklearn")
    code = f"import sys, spider_jax.cli; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "[]\n", "")
