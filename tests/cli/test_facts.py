"""`--where`, `--show`, `--pareto`, `--facts` on every command, and marks on who knows the task."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from spider_jax.index.zoo_index import ZooIndex
from spider_jax.recommend.records_prior import RecordsPrior
from spider_jax.recommend.saved_prior import load_prior, save_prior
from spider_jax.selection import two_phases
from spider_jax.spider.spider import Spider
from spider_jax.zoo.store import FeatureStore
from support.command_line import Command, Result, one_line
from support.small_records import records_of, table_of
from support.small_zoo import SMALL_MODELS
from support.toy_index import toy_spider

QUICK = ("--epochs", 1, "--budget", 3, "--batch", 16, "--recall", "logme")
FACTS = {
    "narrow": {"params": "5M", "licence": "MIT", "trained_on": ["Birds", "LVIS"]},
    "middle": {"params": 25_557_032, "licence": "Apache-2.0"},
    "wide": {"params": "86M", "licence": "MIT"},
}


@pytest.fixture
def zoo(small_zoo: Path) -> Path:
    """The small zoo, whose manifest says what its models cost; nothing of psi."""
    store = FeatureStore(small_zoo)
    models = {m: dict(store.model_info(m)) | FACTS.get(m, {}) for m in store.models}
    tasks = {task: dict(store.task_info(task)) for task in store.tasks}
    FeatureStore.write_manifest(small_zoo, extractor="psi", models=models, tasks=tasks)
    return small_zoo


@pytest.fixture
def spider() -> Spider:
    """One of random weights that ranks the zoo's models."""
    spider = toy_spider(4, features=6)
    return replace(spider, description=replace(spider.description, models=SMALL_MODELS))


@pytest.fixture
def saved(spider: Spider, tmp_path: Path) -> Path:
    spider.save(tmp_path / "spider")
    return tmp_path / "spider"


@pytest.fixture(scope="module")
def prior(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """8 models with parameters and families; of two it is said what they were trained on."""
    tasks = ("ant legal", "bird songs", "cat food", "dog races", "eel grass")
    models = tuple(f"{family} {size}" for family in ("bert", "gpt") for size in "smlx")
    facts = {
        "parameters": tuple(f"{10**i}M" for i in range(8)),
        "family": tuple(name.split()[0] for name in models),
        "training_data": ("Ant-legal", "", "MNIST", *[""] * 5),
    }
    records = replace(records_of(table_of(8, 5, seed=3), models, tasks), model_facts=facts)
    folder = tmp_path_factory.mktemp("facts") / "prior"
    save_prior(RecordsPrior.fit(records), folder)
    return folder


def content(result: Result) -> dict[str, Any]:
    assert result.code == 0, result.err
    found: dict[str, Any] = json.loads(result.out)
    return found


def names(found: dict[str, Any]) -> list[str]:
    return [entry["model"] for entry in found["models"]]


# ---- rank ------------------------------------------------------------------------------------


def test_rank_with_a_spider(zoo: Path, saved: Path, command: Command, tmp_path: Path) -> None:
    asked = ("rank", saved, zoo, "birds")
    whole = content(command(*asked, "--json"))
    assert whole["trained_on_task"] == {"narrow": "Birds"}  # without being asked
    assert "trained on it" in command(*asked).out
    assert "trained on" not in command("rank", saved, zoo, "cars").out
    found = content(command(*asked, "--where", "params <= 50e6", "--json", "--show", "licence"))
    assert names(found) == [m for m in names(whole) if m in ("narrow", "middle")]
    assert found["where"] | {"expression": ""} == {
        "expression": "",
        "models": 4,
        "passed": 2,
        "excluded": 1,
        "unknown": 1,
        "unknown_models": ["psi"],
        "unknown_kept": False,
        "facts": ["params"],
    }
    before = {entry["model"]: entry for entry in whole["models"]}
    for entry in found["models"]:
        assert entry["score"] == before[entry["model"]]["score"]
        assert entry["facts"] == {"licence": FACTS[entry["model"]]["licence"]}
    assert "1 unknown and left out" in command(*asked, "--where", "params < 50M").out
    kept = content(command(*asked, "--where", "params < 9M", "--unknown", "keep", "--json"))
    assert set(names(kept)) == {"narrow", "psi"}
    (tmp_path / "own.csv").write_text("model,params_m,speed\npsi,2,7\nwide,1,8\n")
    own = ("--facts", tmp_path / "own.csv", "--pareto", "params", "--show", "speed,params")
    front = content(command(*asked, *own, "--json"))
    assert front["pareto"]["unknown"] == []
    assert {e["model"]: e["facts"]["params"] for e in front["models"]}["wide"] == 1_000_000
    assert any("86M" in note and "the first counts" in note for note in front["notes"])
    assert "best for its params" in command(*asked, *own).out
    (tmp_path / "own.csv").write_text("model,training_data\npsi,birds\nwide,birdsong\n")
    known = content(command(*asked, "--facts", tmp_path / "own.csv", "--json"))
    assert known["trained_on_task"].keys() == {"psi", "narrow"}


def test_rank_on_a_prior(prior: Path, command: Command) -> None:
    asked = ("rank", prior, "--describe", "ant legal")
    whole = content(command(*asked, "--json"))
    assert list(whole["trained_on_task"].values()) == ["Ant-legal"]
    found = content(command(*asked, "--where", "family in (BERT)", "--show", "params", "--json"))
    assert names(found) == [m for m in names(whole) if m.startswith("bert")]
    assert found["models"][0]["facts"]["params"] >= 1_000_000
    assert "Pareto front" in command(*asked, "--pareto", "params", "--top", 3).out


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--where", ""), ("where is empty",)),
        (("--where", "parms < 5"), ("character 1", "did you mean params")),
        (("--where", "params < mit"), ("params is a number", "mit")),
        (("--where", "(" * 100_000), ("where", "at most")),
        (("--where", "params < 1"), ("none of 8 models passes",)),
        (("--show", "colour"), ("show", "colour")),
        (("--pareto", "family"), ("pareto", "family")),
        (("--facts", "none.csv", "--show", "params"), ("none.csv", "missing")),
        (("--facts", __file__, "--show", "params"), ("column model",)),
        (("--unknown", "keep"), ("--where",)),
    ],
)
def test_what_cannot_be_done_is_one_line(
    prior: Path, command: Command, options: tuple[object, ...], words: tuple[str, ...]
) -> None:
    for name in ("rank", "next"):
        one_line(command(name, prior, *options), *words)


def test_score_marks_who_knows_the_task(zoo: Path, command: Command) -> None:
    found = content(command("score", zoo, "birds", "--metrics", "logme", "--json"))
    assert {row["model"] for row in found["rows"] if row["trained on it"] == "yes"} == {"narrow"}
    assert any("narrow (Birds)" in note for note in found["notes"])
    assert "trained on" not in command("score", zoo, "cars", "--metrics", "logme").out


# ---- index top-k -----------------------------------------------------------------------------


def test_top_k_of_those_that_pass(
    zoo: Path, spider: Spider, command: Command, tmp_path: Path
) -> None:
    ZooIndex.build(spider, tmp_path / "index")
    asked = ("index", "top-k", tmp_path / "index", zoo, "birds", "cars", "--json")
    whole = content(command(*asked, "-k", 4))["rankings"]
    found = content(command(*asked, "-k", 1, "--where", "params < 50M", "--show", "params"))
    for all_of_it, ranking in zip(whole, found["rankings"], strict=True):
        (best, *_) = (m for m in all_of_it["models"] if m["model"] in ("narrow", "middle"))
        (first,) = ranking["models"]
        assert (first["model"], first["score"]) == (best["model"], best["score"])
        assert ranking["where"]["unknown_models"] == ["psi"]
        assert any("the best 1 of 2 models" in note for note in ranking["notes"])
    assert [("trained_on_task" in ranking) for ranking in whole] == [True, False]


# ---- next and select -------------------------------------------------------------------------


def test_next_asks_for_those_that_pass(prior: Path, command: Command, tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    asked = ("next", prior, "--describe", "ant legal", "--state", state, "--json", "--batch", 20)
    found = content(command(*asked, "--where", "family = gpt", "--show", "params"))
    assert {row["model"].split()[0] for row in found["rows"]} == {"gpt"}
    assert len(found["rows"]) == 4
    assert all(row["params"] is not None for row in found["rows"])
    assert any("4 of 8 models pass" in note for note in found["notes"])
    results = tmp_path / "results.csv"
    direction = ("--direction", "larger")
    results.write_text("model,value\nbert s,9\ngpt s,1\n")
    state.unlink()
    content(command(*asked, *direction, "--where", "family = gpt"))
    later = content(command(*asked, "--results", results))  # the state knows who is excluded
    assert {row["model"].split()[0] for row in later["rows"]} == {"gpt"}
    assert later["best"]["model"] == "gpt s"
    assert any("4 models are excluded" in note for note in later["notes"])
    everyone = content(command(*asked, "--where", "model ~ ''"))
    assert everyone["best"]["model"] == "bert s"
    assert "trained on it" in command("next", prior, "--describe", "ant legal", "--batch", 8).out


def test_select_trains_those_that_pass(zoo: Path, command: Command, tmp_path: Path) -> None:
    asked = ("select", zoo, "birds", *QUICK)
    run = ("--run", tmp_path / "run")
    where = ("--where", "params < 50M", "--show", "params", "--pareto", "params")
    found = content(command(*asked, *run, *where, "--json"))
    assert {row["model"] for row in found["rows"]} == {"narrow", "middle"}
    marks = {row["model"]: row["trained on it"] for row in found["rows"]}
    assert marks == {"narrow": "yes", "middle": "-"}
    assert any("1 unknown and left out" in note for note in found["notes"])
    assert any("Pareto front" in note for note in found["notes"])
    again = command(*asked, *run, *where)
    assert "selected earlier" in again.out
    one_line(command(*asked, *run), "another candidates")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(two_phases, "_run_to_end", lambda *_: None)  # whose heads were trained above
        everyone = content(command(*asked, "--json"))
    assert len(everyone["rows"]) == 4


def test_a_prior_keeps_its_models_facts(prior: Path) -> None:
    known = load_prior(prior).facts
    assert set(known.names) == {"params", "family", "trained_on"}
    assert known.texts["trained_on"][2] == ("MNIST",)
