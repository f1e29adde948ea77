"""The command line: inspect and score, help, and leaving; data on stdout, messages on stderr."""

import csv
import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest

from spider_jax.metrics import DEFAULT_METRICS
from spider_jax.zoo.scores import score_zoo
from spider_jax.zoo.store import FeatureStore
from support.command_line import (
    DONE,
    SKIPPED,
    Command,
    Result,
    break_features,
    one_line,
    real_run,
    rows_of,
    table,
)
from support.small_zoo import SMALL_MODELS as MODELS

# ---- inspect ---------------------------------------------------------------------------------


def test_inspect_shows_models_tasks_and_extractor(small_zoo: Path, command: Command) -> None:
    found = command("inspect", small_zoo)
    assert (found.code, found.err) == (DONE, "")
    assert [row[0] for row in table(found.out)] == ["model", *MODELS]
    assert ["wide", "12", "4", "0.009", "-"] in table(found.out)
    assert "cars    classification    50        5       4           4" in found.out
    assert (
        "general extractor: psi\nto rank a new task of N rows: N forward passes (psi)" in found.out
    )
    assert "every model on every task: 0 forward passes are missing" in found.out


def test_a_bad_line_of_accuracies_hides_no_task(small_zoo: Path, command: Command) -> None:
    path = small_zoo / "accuracies.csv"
    path.write_text(path.read_text() + "wide,cars,good\n")
    line = len(path.read_text().splitlines())
    found = command("inspect", small_zoo)
    assert found.code == SKIPPED
    assert found.err.count("skipped") == 1
    assert f"accuracies.csv, line {line}: accuracy of 'wide' on 'cars'" in found.err
    assert "cars    classification    50" in found.out


def test_version(command: Command) -> None:
    assert command("--version").out == f"spider-jax {version('spider_jax')}\n"


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


def test_inspect_as_json_lists_the_tasks(small_zoo: Path, command: Command) -> None:
    (small_zoo / "features" / "wide" / "cars.npy").unlink()
    (small_zoo / "features" / "middle" / "cars.npy").unlink()
    FeatureStore.write_labels(small_zoo, "prices", np.linspace(0, 1, 9, dtype=np.float32))
    found = command("inspect", small_zoo, "--json")
    tasks = {entry["task"]: entry for entry in json.loads(found.out)["tasks"]}
    assert list(tasks) == ["apples", "birds", "cars", "dice", "prices"]
    assert tasks["apples"]["missing"] == []
    assert tasks["cars"] == {
        "task": "cars",
        "kind": "classification",
        "rows": 50,
        "classes": 5,
        "models": 2,
        "accuracies": 4,
        "MB to rank": 50 * 6 * 4 / 1e6,
        "MB to score": 50 * (5 + 6) * 4 / 1e6,
        "passes missing": 2 * 50,
        "missing": ["middle", "wide"],
    }
    assert (tasks["prices"]["MB to rank"], tasks["prices"]["passes missing"]) == (None, 4 * 9)
    assert (tasks["prices"]["kind"], tasks["prices"]["classes"]) == ("regression", None)
    assert tasks["prices"]["missing"] == list(MODELS)


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
    assert head.split() == ["model", "knn", "ridge", "combined", "true", "accuracy"]
    assert sorted(row.split()[0] for row in rows[: len(MODELS)]) == list(MODELS)
    assert "task apples" in rows[len(MODELS)]
    assert rows[-1].startswith("left out: otce: it needs the source's own features")


def test_score_as_json_and_csv(small_zoo: Path, command: Command, tmp_path: Path) -> None:
    found = command("score", small_zoo, "apples", "--json", "--csv", tmp_path / "scores.csv")
    assert (found.code, found.err) == (DONE, "")
    zoo = FeatureStore(small_zoo)
    wanted = score_zoo(zoo, "apples")
    rows = rows_of(found, "scores")
    assert {row["model"] for row in rows} == set(MODELS)
    assert list(rows[0]) == ["model", *DEFAULT_METRICS, "combined", "true accuracy"]
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


# ---- leaving ---------------------------------------------------------------------------------


def test_quiet_leaves_only_the_list_of_skipped_models(small_zoo: Path) -> None:
    break_features(small_zoo)
    found = real_run("score", small_zoo, "apples", "--metrics", "knn", "--json", "-q")
    assert found.code == SKIPPED
    assert len(rows_of(found, "scores")) == 3
    (line,) = found.err.splitlines()
    assert line.startswith("spider-jax: skipped: wide on apples: ")


def test_a_reader_that_leaves_early_is_no_failure(small_zoo: Path) -> None:
    line = [sys.executable, "-c", "from spider_jax.cli.app import main; main()", "inspect"]
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [*line, str(small_zoo)], stdout=writer, stderr=subprocess.PIPE, check=False
        )
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (DONE, b"")


def test_an_output_that_takes_nothing_is_one_line(small_zoo: Path) -> None:
    line = [sys.executable, "-c", "from spider_jax.cli.app import main; main()", "inspect"]
    with open(os.devnull) as read_only:
        done = subprocess.run(
            [*line, str(small_zoo)],
            stdout=read_only,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    one_line(Result(done.returncode, "", done.stderr), os.strerror(errno.EBADF))


# ---- imports ---------------------------------------------------------------------------------


def test_importing_stays_light() -> None:
    heavy = ("torch", "tensorflow", "tensorflow_datasets", "orbax", "matplotlib", "sklearn")
    code = f"import sys, spider_jax.cli; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "[]\n", "")
