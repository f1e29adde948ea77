"""`compare`: from models and data to a ranking, at once again, within a budget."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import spider_jax
from spider_jax.choose.budget import Budget
from spider_jax.choose.candidates import read_candidates
from spider_jax.choose.compared import compare_models
from spider_jax.choose.usual_evidence import METRICS
from spider_jax.storage.cache import default_folder
from spider_jax.zoo.store import FeatureStore
from support.command_line import one_line

NOISE = {"blurred": 2.0, "clear": 0.7, "dim": 30.0}


@pytest.fixture
def features(tmp_path: Path) -> Path:
    """Labels and three files of features, the clearer the better."""
    rng, labels = np.random.default_rng(0), np.arange(60) % 3
    np.save(tmp_path / "pets.npy", labels)
    for name, noise in NOISE.items():
        found = 3 * np.eye(3)[labels] + noise * rng.normal(size=(60, 3))
        np.save(tmp_path / f"{name}.npy", found.astype(np.float32))
    return tmp_path


def files(folder: Path, *names: str) -> list[Path]:
    return [folder / f"{name}.npy" for name in names or NOISE]


def pictures(folder: Path) -> Path:
    pytest.importorskip("PIL", reason="pictures need pillow")
    rng, labels = np.random.default_rng(0), np.arange(24) % 3
    images = rng.integers(0, 256, (24, 8, 8, 3), np.uint8)
    images[..., 0] = 20 + 90 * labels[:, None, None]  # red tells the class
    np.savez(folder / "reds.npz", images=images, labels=labels)
    return folder / "reds.npz"


# ---- a budget ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "models", "seconds"),
    [
        (None, None, None),
        (20, 20, None),
        ("20", 20, None),
        ("90s", None, 90),
        ("10m", None, 600),
        ("1.5h", None, 5400),
    ],
)
def test_a_budget_is_models_or_time(given: Any, models: int | None, seconds: float | None) -> None:
    budget = Budget(given)
    assert (budget.models, budget.seconds) == (models, seconds)
    assert budget.left(0)
    assert budget.left(19)
    assert budget.left(20) == (models is None)


@pytest.mark.parametrize(
    "given", ["", "0", 1, -3, "m", "10 days", "1e3", "0s", "nan", "ten", "5m5", "9" * 5000]
)
def test_other_budgets_are_one_line(given: Any, refused: Any) -> None:
    with refused("budget must be a number of models", repr(str(given)), "10m"):
        Budget(given)


def test_two_models_run_whatever_the_time() -> None:
    budget = Budget("1s")
    budget._begun -= 5
    assert budget.left(1)
    assert not budget.left(2)


# ---- models as they are named --------------------------------------------------------------------


def test_models_are_named_in_many_ways(features: Path) -> None:
    (features / "graphs").mkdir()
    for name in ("b", "a"):
        (features / "graphs" / f"{name}.onnx").touch()

    def mine(items: list[Any]) -> Any: ...

    text = f"n=features:{features}/dim.npy"
    given = ["timm:resnet18", "hf:org/enc", text, features / "dim.npy", features / "graphs", mine]
    found = read_candidates(given)
    assert [one.name for one in found] == ["resnet18", "enc", "n", "dim", "a", "b", "mine"]
    assert [one.spec.reader for one in found[2:6]] == ["features", "features", "onnx", "onnx"]
    named = read_candidates({"x": "timm:resnet18", "y": lambda items: items})
    assert [one.name for one in named] == ["x", "y"]


@pytest.mark.parametrize(
    ("given", "mentions"),
    [
        ([], ("needs models",)),
        (["resnet18"], ("timm:resnet18",)),
        ([lambda items: items], ("lambda", "{name: function}")),
        (["timm:a", "timm:a"], ("'a'", "ANOTHER=timm:a")),
        (["x=timm:a", "x=hf:b"], ("'x'", "hf:b")),
        ([Path("nothing.txt")], ("nothing.txt",)),
        (["."], ("no .onnx",)),
    ],
)
def test_bad_models_are_one_line(
    given: Any, mentions: Any, refused: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    with refused(*mentions):
        read_candidates(given)


# ---- the call ------------------------------------------------------------------------------------


def test_the_clearer_the_better_and_again_it_is_the_same(features: Path) -> None:
    found = spider_jax.compare(files(features), features / "pets.npy")
    assert found.names == ("clear", "blurred", "dim")
    assert found.certainty is not None
    assert found.looked_at == found.names
    assert any("no spider" in note and "constant order" in note for note in found.notes)
    (zoo,) = default_folder("compare").iterdir()
    made = {p: p.stat().st_mtime_ns for p in zoo.glob("features/*/*.npy")}
    again = spider_jax.compare(files(features), features / "pets.npy")
    assert again.data() == found.data()
    assert {p: p.stat().st_mtime_ns for p in zoo.glob("features/*/*.npy")} == made
    assert len(made) == 3
    assert os.stat(zoo).st_mode & 0o077 == 0


def test_a_file_that_has_changed_is_read_again(features: Path) -> None:
    first = spider_jax.compare(files(features), features / "pets.npy")
    os.replace(features / "clear.npy", features / "old.npy")
    os.replace(features / "dim.npy", features / "clear.npy")
    os.replace(features / "old.npy", features / "dim.npy")
    second = spider_jax.compare(files(features), features / "pets.npy")
    swap = {"clear": "dim", "dim": "clear", "blurred": "blurred"}
    assert second.names == tuple(swap[name] for name in first.names)


def test_other_labels_have_another_zoo(features: Path) -> None:
    spider_jax.compare(files(features), features / "pets.npy")
    np.save(features / "pets.npy", np.arange(60) % 2)
    spider_jax.compare(files(features), features / "pets.npy")
    assert len(list(default_folder("compare").iterdir())) == 2


def test_models_beyond_the_budget_stand_by_the_prior(features: Path) -> None:
    found = compare_models(files(features), features / "pets.npy", budget=2)
    ranking, belief = found.rank(), found.belief
    assert sorted(ranking.looked_at) == ["blurred", "clear"]
    assert ranking.names[-1] != "clear"
    sd = dict(zip(belief.names, belief.sd, strict=True))
    assert sd["dim"] == 1.0  # nothing is known of it
    assert max(sd["blurred"], sd["clear"]) < 0.9
    assert any("2 of 3 models" in note for note in ranking.notes)
    whole = spider_jax.compare(files(features), features / "pets.npy", budget="1h")
    assert len(whole.looked_at) == 3


def test_a_model_that_fails_is_left_out_by_name(features: Path) -> None:
    np.save(features / "short.npy", np.zeros((59, 2), np.float32))
    np.save(features / "holes.npy", np.full((60, 2), np.nan, np.float32))
    names = ("clear", "short", "dim", "holes", "gone")
    given = [f"features:{features}/{name}.npy" for name in names]
    found = spider_jax.compare(given, features / "pets.npy")
    assert found.names == ("clear", "dim")
    assert [why.split(" on ")[0] for why in found.skipped] == ["short", "holes", "gone"]


def test_no_model_that_runs_is_one_line(features: Path, refused: Any) -> None:
    with refused("no model can be run", "gone", "none"):
        spider_jax.compare(["features:gone.npy", "features:none.npy"], features / "pets.npy")
    with refused("at least two models", "clear"):
        spider_jax.compare(files(features, "clear"), features / "pets.npy")


@pytest.mark.parametrize(
    ("data", "mentions"),
    [("nothing", ("nothing",)), ("folder:nowhere", ("nowhere",)), ("none.csv", ("none.csv",))],
)
def test_bad_data_are_one_line(features: Path, data: str, mentions: Any, refused: Any) -> None:
    with refused(*mentions):
        spider_jax.compare(files(features), data)


def test_data_that_compare_nothing_are_refused_before_a_model_runs(
    features: Path, refused: Any
) -> None:
    for labels, why in ((np.zeros(60, int), "one class"), (None, "no labels")):
        np.savez(features / "d.npz", images=np.zeros((60, 4, 4, 3), np.uint8))
        if labels is not None:
            np.savez(features / "d.npz", images=np.zeros((60, 4, 4, 3), np.uint8), labels=labels)
        with refused("d.npz", why):
            spider_jax.compare(["torch:nowhere:make", "onnx:none.onnx"], features / "d.npz")
    assert not default_folder("compare").exists()


@pytest.mark.parametrize("broken", ["{", '{"models": 3}', "[]"])
def test_a_damaged_memory_is_one_line_and_a_strange_entry_is_none(
    features: Path, broken: str, refused: Any
) -> None:
    found = compare_models(files(features), features / "pets.npy")
    kept = found.zoo / "compared.json"
    whole = json.loads(kept.read_text())
    for strange in (None, {}, {"source": 3, "files": 1}, whole["models"]["dim"] | {"files": [[]]}):
        kept.write_text(json.dumps(whole | {"models": whole["models"] | {"dim": strange}}))
        again = compare_models(files(features), features / "pets.npy")
        assert again.rank().data() == found.rank().data()
    kept.write_text(broken)
    with refused("compared.json"):
        compare_models(files(features), features / "pets.npy")


@pytest.mark.parametrize(
    ("given", "mentions"),
    [
        (("--data", "pets.npy"), ("needs models",)),
        (("--data", "pets.npy", "--model", "clear.npy"), ("two models", "clear")),
        (("--data", "pets.npy", "--model", "clear.npy", "--model", "clear.npy"), ("'clear'",)),
        (("--data", "pets.npy", "--model", "clear", "dim.npy"), ("'clear'", "timm:clear")),
        (("--data", "pets.npy", "--model", "clear.npy", "dim.npy", "--budget", "1"), ("budget",)),
        (("--data", "pets.npy", "--model", "clear.npy", "dim.npy", "--out", "dim.npy"), ("file",)),
        (("--data", "gone.npy", "--model", "clear.npy", "dim.npy"), ("gone.npy",)),
        (("--data", "pets.npy", "--model", "clear.npy", "dim.npy", "--spider", "."), (".",)),
        (("--data", "pets.npy", "--model", "clear.npy", "dim.npy", "--explain", "x"), ("'x'",)),
    ],
)
def test_bad_commands_are_one_line(
    features: Path, given: Any, mentions: Any, command: Any, monkeypatch: Any
) -> None:
    monkeypatch.chdir(features)
    one_line(command("compare", *given, "-q"), *mentions)


def test_a_regression_is_ranked_by_what_can_be_said(features: Path) -> None:
    np.save(features / "pets.npy", (np.arange(60) % 3).astype(np.float32) + 0.25)
    found = compare_models(files(features), features / "pets.npy")
    assert found.belief.evidence.metrics == METRICS
    assert any("regression" in note for note in found.notes)
    assert found.rank().names[0] == "clear"


def test_why_a_model_stands_there(features: Path) -> None:
    found = compare_models(files(features), features / "pets.npy")
    why = found.explain("clear")
    assert [step.source for step in why.steps] == ["beforehand", "metrics"]
    assert why.place == 1
    assert any("metrics agree" in said for said in why.said)
    total = sum(step.moved for step in why.steps)
    np.testing.assert_allclose(total, found.belief.mean[found.belief.names.index("clear")])


# ---- functions -----------------------------------------------------------------------------------


def red(items: list[Any]) -> Any:
    return np.array([np.asarray(item)[..., 0].mean() for item in items])[:, None] * [1.0, 2.0]


def blue(items: list[Any]) -> Any:
    return np.array([np.asarray(item)[..., 2].mean((0, 1)) for item in items])[:, None]


def test_functions_are_models_and_are_known_by_what_they_give(tmp_path: Path) -> None:
    data = pictures(tmp_path)
    first = compare_models([red, blue], data)
    assert first.rank().names == ("red", "blue")
    made = FeatureStore(first.zoo).model_info("red")["weights_sha256"]
    second = compare_models({"red": blue, "blue": red}, data)
    assert second.rank().names == ("blue", "red")
    assert FeatureStore(first.zoo).model_info("red")["weights_sha256"] != made


def test_texts_go_to_functions_as_they_are(tmp_path: Path) -> None:
    rows = [f"{'long ' * (1 + 4 * (i % 2))}{i},{'ab'[i % 2]}" for i in range(30)]
    (tmp_path / "notes.csv").write_text("\n".join(["text,label", *rows, ""]))

    def length(texts: list[str]) -> Any:
        return np.array([[len(text)] for text in texts])

    def last(texts: list[str]) -> Any:
        return np.array([[ord(text[-1])] for text in texts])

    found = spider_jax.compare([last, length], tmp_path / "notes.csv")
    assert found.names == ("length", "last")


@pytest.mark.parametrize("given", [[1.0, 2.0], "text", [["a"]], [[[1.0]]]])
def test_a_function_that_gives_something_else_is_left_out(tmp_path: Path, given: Any) -> None:
    data = pictures(tmp_path)
    found = spider_jax.compare({"red": red, "blue": blue, "odd": lambda items: given}, data)
    assert set(found.names) == {"red", "blue"}
    assert found.skipped[0].startswith("odd on reds: ")


# ---- a spider ------------------------------------------------------------------------------------


def test_a_spider_comes_before_the_metrics(
    spider: Any, small_zoo: Path, tmp_path: Path, refused: Any
) -> None:
    zoo, task = FeatureStore(small_zoo), "apples"
    np.save(tmp_path / "apples.npy", np.asarray(zoo.labels(task)))
    given = {}
    for model in zoo.models:
        np.save(tmp_path / f"{model}.npy", np.asarray(zoo.features(model, task)))
        given[model] = tmp_path / f"{model}.npy"
    given["new"] = tmp_path / "wide.npy"
    data = tmp_path / "apples.npy"
    found = compare_models(given, data, spider=spider, out=tmp_path / "zoo")
    tokens = spider_jax.task_tokens(zoo.features("psi", task), zoo.labels(task), extractor="psi")
    start = spider.belief(tokens)
    some = [found.belief.names.index(name) for name in spider.models]
    np.testing.assert_allclose(found.belief.prior.mean[some], start.mean, atol=1e-5)
    np.testing.assert_allclose(found.belief.prior.variances()[some], start.sd**2, rtol=1e-5)
    new = found.belief.names.index("new")
    assert found.belief.prior.mean[new] == 0
    assert found.belief.prior.variances()[new] == pytest.approx(1)
    assert "spider of 4 models" in found.notes[0]
    assert "new it does not know" in found.notes[0]
    for model in given:
        why = found.explain(model)
        assert why.steps[0].source == "constant order"
        place = found.belief.names.index(model)
        total = sum(step.moved for step in why.steps)
        np.testing.assert_allclose(total, found.belief.posterior.mean[place], atol=1e-6)
    few = compare_models(given, data, spider=spider, out=tmp_path / "zoo", budget=2)
    assert len(few.belief.looks) == 2
    del given["psi"]
    with refused("'psi'", "--extractor"):
        compare_models(given, data, spider=spider)
    with refused("knows none", "READER:WHAT"):
        compare_models({"x": data, "y": data}, data, spider=spider)
