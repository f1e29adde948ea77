"""`spider-jax select`: table, JSON, CSV, exit codes, and a repository that grows."""

import csv
import json
import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import tyro

from spider_jax.cli.selection import SelectOptions, select
from spider_jax.errors import InputError
from spider_jax.heads.training import HeadConfig
from spider_jax.records.performance import PastResults
from spider_jax.selection import two_phases
from spider_jax.selection.run import SelectConfig
from support.asked import Asked, asked_of, said_defaults
from support.command_line import DONE, SKIPPED, Result, break_features, new_task, rows_of, table

Command = Callable[..., Result]
Refused = Callable[..., AbstractContextManager[None]]
QUICK = ("--epochs", 2, "--budget", 5, "--batch", 16, "--learning-rate", 0.05)


@pytest.fixture
def selected(capsys: pytest.CaptureFixture[str]) -> Iterator[Command]:
    def selected(*arguments: object, settings: tuple[object, ...] = QUICK) -> Result:
        code = tyro.cli(select, args=[str(argument) for argument in (*arguments, *settings)])
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


# ---- a page of settings ----------------------------------------------------------------------

QUICK_PAGE = "epochs = 2\nbudget = 5\n[head]\nbatch = 16\nlearning_rate = 0.05"
FULL_PAGE = """
budget = 30
epochs = 7
policy = "brute-force"
recall = "knn"
representatives = true
threshold = 0.2
describe = "birds"
[head]
hidden = 3
batch = 8
learning_rate = 1
weight_decay = 0.25
seed = 6
least_steps = 3
"""
HEAD = HeadConfig(3, 8, 1.0, 0.25, 6, 3)
FULL = SelectConfig(30, 7, "brute-force", "knn", True, 0.2, HEAD, "birds")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Asked]:
    """How `select` asks for a selection."""
    return asked_of(two_phases, "select_models", select, monkeypatch)


def page(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "page.toml"
    path.write_text(text)
    return path


def test_a_page_is_what_its_options_are(small_zoo: Path, selected: Command, tmp_path: Path) -> None:
    given = small_zoo, "apples", "--config", page(tmp_path, QUICK_PAGE)
    by_page = selected(*given, settings=())
    again = selected(small_zoo, "apples")  # the same settings by options: the same run folder
    assert "selected earlier: nothing was trained now" in again.out
    assert table(again.out)[:4] == table(by_page.out)[:4]


def test_every_setting_of_a_page_is_used(
    small_zoo: Path, asked: Callable[..., Asked], tmp_path: Path
) -> None:
    found = asked(small_zoo, "apples", "--config", page(tmp_path, FULL_PAGE))
    assert found.positional[2] == FULL
    assert asked(small_zoo, "apples").positional[2] == SelectConfig()
    nothing = asked(small_zoo, "apples", "--config", page(tmp_path, "# nothing"))
    assert nothing.positional[2] == SelectConfig()
    endless = asked(small_zoo, "apples", "--config", page(tmp_path, 'budget = "none"'))
    assert endless.positional[2] == SelectConfig(budget=None)


@pytest.mark.parametrize(
    ("option", "name", "value"),
    [
        (("--budget", 20), "budget", 20),
        (("--epochs", 4), "epochs", 4),
        (("--policy", "noise-aware"), "policy", "noise-aware"),  # the default, but asked for
        (("--recall", "prior"), "recall", "prior"),
        (("--no-representatives",), "representatives", False),
        (("--hidden", 0), "hidden", 0),
        (("--batch", 9), "batch", 9),
        (("--learning-rate", 0.5), "learning_rate", 0.5),
        (("--seed", 0), "seed", 0),
        (("--least-steps", 5), "least_steps", 5),
        (("--describe", "bees"), "describe", "bees"),
    ],
)
def test_an_option_goes_before_the_page_and_nothing_else_does(
    option: tuple[object, ...],
    name: str,
    value: object,
    small_zoo: Path,
    asked: Callable[..., Asked],
    tmp_path: Path,
) -> None:
    found = asked(small_zoo, "apples", "--config", page(tmp_path, FULL_PAGE), *option)
    wanted: dict[str, Any] = asdict(FULL)
    (wanted if name in wanted else wanted["head"])[name] = value
    assert asdict(found.positional[2]) == wanted


def test_the_run_folder_is_of_the_page_as_of_the_options(
    small_zoo: Path, asked: Callable[..., Asked], tmp_path: Path
) -> None:
    pages = ["", "threshold = 0.1", "epochs = 4", "[head]\nweight_decay = 0.1"]
    runs = [
        asked(small_zoo, "apples", "--config", page(tmp_path, text)).named["run"] for text in pages
    ]
    assert len(set(runs)) == len(runs)
    assert runs[0] == asked(small_zoo, "apples").named["run"]
    assert runs[2] == asked(small_zoo, "apples", "--epochs", 4).named["run"]


def test_a_page_may_name_the_folder_of_a_spider(
    small_zoo: Path, saved: Path, asked: Callable[..., Asked], tmp_path: Path
) -> None:
    text = f"recall = {json.dumps(str(saved))}"
    found = asked(small_zoo, "apples", "--config", page(tmp_path, text))
    assert found.positional[2] == SelectConfig(recall="spider")
    assert found.named["spider"].models == ("middle", "narrow", "psi", "wide")


@pytest.mark.parametrize(
    ("text", "mention"),
    [
        ("bugdet = 3", "page.toml: unknown key 'bugdet', did you mean 'budget'?"),
        ("[head]\nlearning_rates = 3", "[head]: unknown key 'learning_rates', did you mean"),
        ("head = 3", "page.toml: head must be a table, [head]"),
        ("budget = 2.5", 'page.toml: budget must be int or "none", got 2.5'),
        ("representatives = 1", "page.toml: representatives must be bool, got 1"),
        ('[head]\nbatch = "all"', "page.toml [head]: batch must be int, got 'all'"),
        ("epochs = 0", "page.toml: epochs must be a whole number, at least 1, got 0"),
        ("budget = 4", "page.toml: budget must pay for one full training (5 epochs), got 4"),
        ('policy = "best"', "page.toml: unknown policy 'best': known are noise-aware"),
        ("threshold = -1", "page.toml: threshold must be >= 0, got -1.0"),
        ("[head]\nbatch = 0", "page.toml [head]: batch must be >= 1, got 0"),
        ("epochs = ", "is not valid TOML"),
    ],
)
def test_a_wrong_page_is_refused(
    text: str, mention: str, small_zoo: Path, selected: Command, refused: Refused, tmp_path: Path
) -> None:
    path = page(tmp_path, text)
    with refused(path.name, mention):
        selected(small_zoo, "apples", "--config", path, settings=())


def test_a_missing_page_is_refused(
    small_zoo: Path, selected: Command, refused: Refused, tmp_path: Path
) -> None:
    with refused(tmp_path / "none.toml", "No such file"):
        selected(small_zoo, "apples", "--config", tmp_path / "none.toml")


def test_the_help_says_the_defaults() -> None:
    default = asdict(SelectConfig())
    values = default | default["head"]
    said = said_defaults(SelectOptions)
    assert said == {name: str(values[name]) for name in said}
