"""`spider-jax select`: table, JSON, CSV, exit codes, and a repository that grows."""

import csv
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import tyro

from spider_jax.cli.selection import select
from spider_jax.errors import InputError
from spider_jax.records.performance import PastResults
from support.command_line import DONE, SKIPPED, Result, break_features, new_task, rows_of, table

Command = Callable[..., Result]
QUICK = ("--epochs", 2, "--budget", 5, "--batch", 16, "--learning-rate", 0.05)


@pytest.fixture
def selected(capsys: pytest.CaptureFixture[str]) -> Iterator[Command]:
    def selected(*arguments: object) -> Result:
        code = tyro.cli(select, args=[str(argument) for argument in (*arguments, *QUICK)])
        captured = capsys.readouterr()
        return Result(code, captured.out, captured.err)

    log = logging.getLogger("spider_jax")
    level = log.level
    yield selected
    log.setLevel(level)


def test_a_table_for_people(small_zoo: Path, selected: Command) -> None:
    found = selected(small_zoo, "apples")
    assert found.code == DONE
    lines = table(found.out)
    assert lines[0][:3] == ["model", "fate", "epochs"]
    assert lines[1][1:3] == ["won", "2"]
    assert "brute force:" in found.out
    assert "(read once, after the selection)" in found.out
    again = selected(small_zoo, "apples").out.splitlines()  # read from the cache, which it says
    (said,) = [line for line in again if line not in found.out.splitlines()]
    assert said.startswith("selected earlier: nothing was trained now; delete ")
    assert [line for line in again if line != said] == found.out.splitlines()


def test_json_and_csv_for_programs(small_zoo: Path, selected: Command, tmp_path: Path) -> None:
    found = selected(small_zoo, "apples", "--json", "--csv", tmp_path / "models.csv")
    rows = rows_of(found, "selected-models")
    content = json.loads(found.out)
    assert content["winner"] == rows[0]["model"]
    assert content["epochs_spent"] == sum(row["epochs"] for row in rows) <= 5
    assert 0 <= content["test"] <= 1
    with (tmp_path / "models.csv").open(newline="") as file:
        assert [row["model"] for row in csv.DictReader(file)] == [row["model"] for row in rows]


def test_a_broken_model_is_listed(small_zoo: Path, selected: Command) -> None:
    break_features(small_zoo)
    found = selected(small_zoo, "apples", "--run", small_zoo.parent / "run")
    assert found.code == SKIPPED
    assert "spider-jax: skipped: wide on apples: features of 'wide'" in found.err


def test_the_repository_grows(small_zoo: Path, selected: Command, tmp_path: Path) -> None:
    repository = tmp_path / "past.json"
    first = selected(small_zoo, "apples", "--repository", repository)
    assert f"{repository} does not exist: it begins with this run" in first.err
    assert "no past curves" in first.out
    second = selected(small_zoo, "cars", "--repository", repository)
    assert "no past curves" not in second.out  # curves of the first, results of accuracies.csv
    for task in ("apples", "cars"):  # its own results are no news to it, those of others are
        again = selected(small_zoo, task, "--repository", repository)
        assert "selected earlier" in again.out
        assert ("past results have changed" in again.out) == (task == "apples")
    known = PastResults.load(repository)
    assert known.tasks == ("apples", "cars")


def test_measured_accuracies_go_before_those_of_the_repository(
    small_zoo: Path, selected: Command, tmp_path: Path
) -> None:
    known = PastResults.from_accuracies(
        {("psi", task): 0.999 for task in ("birds", "cars", "dice")}
    )
    known.save(tmp_path / "past.json")
    given = ("apples", "--recall", "prior", "--run")
    alone = selected(small_zoo, *given, tmp_path / "a", "--json")
    both = selected(
        small_zoo, *given, tmp_path / "b", "--json", "--repository", tmp_path / "past.json"
    )
    assert json.loads(both.out)["rows"] == json.loads(alone.out)["rows"]
    lines = (small_zoo / "accuracies.csv").read_text().splitlines()
    kept = [line for line in lines if not line.startswith("psi,")]
    (small_zoo / "accuracies.csv").write_text("\n".join([*kept, ""]))
    filled = selected(
        small_zoo, *given, tmp_path / "c", "--json", "--repository", tmp_path / "past.json"
    )
    assert (
        json.loads(filled.out)["rows"] != json.loads(alone.out)["rows"]
    )  # it fills what is missing


def test_a_spider_recalls(small_zoo: Path, saved: Path, selected: Command) -> None:
    new_task(small_zoo, "eels", like="apples")
    found = selected(small_zoo, "eels", "--recall", saved)
    assert found.code == DONE
    with pytest.raises(InputError, match="recall must be a spider, prior, or one of logme"):
        selected(small_zoo, "eels", "--recall", saved / "nowhere")
    with pytest.raises(InputError, match="the spider was trained on 'apples'"):
        selected(small_zoo, "apples", "--recall", saved)


def test_bad_input_is_one_line(small_zoo: Path, selected: Command) -> None:
    with pytest.raises(InputError, match="unknown policy 'best'"):
        selected(small_zoo, "apples", "--policy", "best")
