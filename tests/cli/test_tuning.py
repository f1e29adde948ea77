"""`spider-jax tune --config`: a page of settings, and the options that go before it."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import tyro

from spider_jax.cli.tuning import TuneOptions, tune
from spider_jax.tuning import zoo as tuning_zoo
from spider_jax.tuning.config import TuneConfig, TuneZooConfig
from support.asked import Asked, asked_of, said_defaults
from support.command_line import table

Refused = Callable[..., AbstractContextManager[None]]
QUICK_PAGE = """
methods = ["fine-tuning"]
[training]
learning_rates = [0.03]
seeds = 2
epochs = 4
batch = 16
"""
FULL_PAGE = """
teachers = ["wide", "psi"]
methods = ["l2-sp"]
hidden = 5
[training]
learning_rates = [1, 0.5]
weights = [2.0]
temperatures = [0.5, 2.0]
standardised = false
seeds = 2
seed = 4
epochs = 6
batch = 7
momentum = 0.5
weight_decay = 0.25
head_rate = 3.0
decay_at = 0.5
together = 1
checkpoint_every = 2
"""
FULL = TuneZooConfig(
    ("wide", "psi"),
    ("l2-sp",),
    5,
    TuneConfig((1.0, 0.5), (2.0,), (0.5, 2.0), False, 2, 4, 6, 7, 0.5, 0.25, 3.0, 0.5, 1, 2),
)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Asked]:
    """How `tune` asks for a tuning."""
    return asked_of(tuning_zoo, "tune_zoo", tune, monkeypatch)


def settings(found: Asked) -> TuneZooConfig:
    named = found.named
    return TuneZooConfig(named["teachers"], named["methods"], named["hidden"], named["config"])


def page(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "page.toml"
    path.write_text(text)
    return path


def given(zoo: Path, *more: object) -> tuple[object, ...]:
    return zoo, "apples", "--student", "wide", *more


def test_a_page_is_tuned_by(
    small_zoo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = given(small_zoo, "--config", page(tmp_path, QUICK_PAGE), "--epochs", 3)
    assert tyro.cli(tune, args=[*map(str, arguments), "-q", "--run", str(tmp_path / "run")]) == 0
    shown = capsys.readouterr().out
    assert [row[0] for row in table(shown)[1:2]] == ["fine-tuning"]
    assert "mean of 2 seeds" in shown
    (folder,) = (tmp_path / "run").iterdir()
    assert folder.name.startswith("fine-tuning-")


def test_every_setting_of_a_page_is_used(
    small_zoo: Path, asked: Callable[..., Asked], tmp_path: Path
) -> None:
    assert settings(asked(*given(small_zoo, "--config", page(tmp_path, FULL_PAGE)))) == FULL
    assert settings(asked(*given(small_zoo))) == TuneZooConfig()
    nothing = asked(*given(small_zoo, "--config", page(tmp_path, "# nothing")))
    assert settings(nothing) == TuneZooConfig()


@pytest.mark.parametrize(
    ("option", "name", "value"),
    [
        (("--teachers", "auto:3"), "teachers", ("auto:3",)),  # the default, but asked for
        (("--methods", "b-tuning", "l2-sp"), "methods", ("b-tuning", "l2-sp")),
        (("--hidden", 64), "hidden", 64),
        (("--learning-rates", 0.1), "learning_rates", (0.1,)),
        (("--weights",), "weights", ()),
        (("--temperatures", 1, 3), "temperatures", (1.0, 3.0)),
        (("--no-raw",), "standardised", True),
        (("--raw",), "standardised", False),
        (("--epochs", 9), "epochs", 9),
        (("--batch", 9), "batch", 9),
        (("--seeds", 9), "seeds", 9),
        (("--seed", 0), "seed", 0),
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
    found = asked(*given(small_zoo, "--config", page(tmp_path, FULL_PAGE)), *option)
    wanted: dict[str, Any] = asdict(FULL)
    (wanted if name in wanted else wanted["training"])[name] = value
    assert asdict(settings(found)) == wanted


def test_the_run_folder_is_of_the_page_as_of_the_options(
    small_zoo: Path, asked: Callable[..., Asked], tmp_path: Path
) -> None:
    pages = ["", "hidden = 9", 'teachers = ["psi"]', "[training]\nmomentum = 0.5"]
    pages += ["[training]\nepochs = 4", "[training]\nlearning_rates = [1]"]
    runs = [
        asked(*given(small_zoo, "--config", page(tmp_path, text))).named["run"] for text in pages
    ]
    assert len(set(runs)) == len(runs)
    assert runs[0] == asked(*given(small_zoo)).named["run"]
    assert runs[4] == asked(*given(small_zoo, "--epochs", 4)).named["run"]
    assert runs[5] == asked(*given(small_zoo, "--learning-rates", 1)).named["run"]


@pytest.mark.parametrize(
    ("text", "mention"),
    [
        ("teacher = 3", "page.toml: unknown key 'teacher', did you mean 'teachers'?"),
        ("[training]\nlr = 3", "page.toml [training]: unknown key 'lr', did you mean"),
        ("training = 3", "page.toml: training must be a table, [training]"),
        ('methods = "b-tuning"', "page.toml: methods must be a list of str, got 'b-tuning'"),
        ('[training]\nseeds = "3"', "page.toml [training]: seeds must be int, got '3'"),
        ("[training]\nweights = [true]", "[training]: weights, entry 0 must be float, got True"),
        ('methods = ["magic"]', "page.toml: methods must be some of b-tuning"),
        ("methods = []", "page.toml: methods must be at least one, each once, got []"),
        ("hidden = 0", "page.toml: hidden must be >= 1, got 0"),
        ("[training]\nseed = -1", "page.toml [training]: seed must be >= 0, got -1"),
        ("[training]\nhead_rate = -1", "page.toml [training]: head_rate must be >= 0, got -1.0"),
        ("[training]\nweights = [-1]", "page.toml [training]: weights must be >= 0, got (-1.0,)"),
        ("[training]\nmomentum = 2", "page.toml [training]: momentum must lie in [0, 1], got 2.0"),
        ("[training]\ntemperatures = []", "temperatures must be > 0, at least one, got ()"),
    ],
)
def test_a_wrong_page_is_refused(
    text: str, mention: str, small_zoo: Path, refused: Refused, tmp_path: Path
) -> None:
    arguments = given(small_zoo, "--config", page(tmp_path, text))
    with refused(mention):
        tyro.cli(tune, args=[*map(str, arguments)])


def test_a_missing_page_is_refused(small_zoo: Path, refused: Refused, tmp_path: Path) -> None:
    arguments = given(small_zoo, "--config", tmp_path / "none.toml")
    with refused(tmp_path / "none.toml", "No such file"):
        tyro.cli(tune, args=[*map(str, arguments)])


def test_the_help_says_the_defaults() -> None:
    default = asdict(TuneZooConfig())
    values = default | default["training"] | {"raw": False}
    said = said_defaults(TuneOptions)
    assert said.pop("weights") == "the method's own"
    for name, text in said.items():
        value = values[name]
        assert text == (" ".join(map(str, value)) if isinstance(value, tuple) else str(value))
