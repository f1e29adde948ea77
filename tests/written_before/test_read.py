"""What the package wrote at commit 5e663de is read, and says the same.

Every test works in a copy of the folder, from inside: commands name their files as they did then.
"""

import json
from pathlib import Path

import numpy as np
import pytest

from spider_jax import (
    FeatureStore,
    Ranking,
    Spider,
    ZooIndex,
    score_zoo,
)
from spider_jax.metrics.methods.parc import parc
from spider_jax.metrics.table import METRICS
from spider_jax.records.performance import PastResults
from spider_jax.tuning.files import TunedStudent
from support.written_before import (
    CLOSE,
    EXPECTED,
    KINDS,
    SELECT,
    SPIDERS,
    Command,
    assert_ranked,
    assert_same,
    assert_same_content,
    bare,
    content,
    dice,
    expected,
    machine,
    same_bits,
    stamps,
    tasks,
)


def test_bits_are_compared() -> None:
    if not same_bits():
        pytest.skip(f"bits are of {EXPECTED['machine']}, here is {machine()}: numbers to {CLOSE}")


def test_every_kind_is_there() -> None:
    paths = [path for path in Path().rglob("*.json") if path.name != "expected.json"]
    assert {content(str(path))["format"] for path in paths} == {f"spider_jax/{k}" for k in KINDS}


def test_the_zoo() -> None:
    zoo = FeatureStore("zoo")
    assert zoo.problems == []
    assert zoo.models == ("lab/wide", "late", "middle", "narrow", "psi")
    assert zoo.tasks == ("apples", "birds", "cars", "dice", "eggs")
    assert [zoo.kind(task) for task in zoo.tasks] == [*["classification"] * 4, "regression"]
    assert [zoo.width(model) for model in zoo.models] == [9, 6, 7, 5, 6]
    assert (zoo.extractor, zoo.features("middle", "cars").dtype) == ("psi", np.float16)
    assert np.unique(zoo.labels("birds")).tolist() == [0, 1, 2, 3]  # 1, 3, 5, 7 on disk
    assert len(zoo.accuracies) == 20
    assert zoo.has_probabilities("lab/wide", "dice")
    assert zoo.training_rows("dice")[:4].tolist() == [0, 1, 5, 6]


def test_metrics() -> None:
    asked = EXPECTED["scored"]
    table = score_zoo(FeatureStore("zoo"), "dice", asked["metrics"], cache=False)
    assert [list(table.models), list(table.metrics)] == [asked["models"], asked["metrics"]]
    assert METRICS["parc"].version == 2  # the former is its published form
    zoo, places = FeatureStore("zoo"), range(len(asked["metrics"]))
    rows, labels = zoo.training_rows("dice"), zoo.training_labels("dice")
    for name, k, wanted in zip(asked["metrics"], places, expected("metrics").T, strict=True):
        values = table.values[:, k]
        if name == "parc":
            features = [zoo.features(model, "dice")[rows] for model in table.models]
            values = np.array([parc(one, labels, compat="published") for one in features])
        assert_same(values, wanted)


def test_cached_scores_are_found() -> None:
    asked, before = EXPECTED["scored"], stamps("cache")
    zoo, place = FeatureStore("zoo"), asked["models"].index("lab/wide")
    anew = {"parc", "pactran_gauss", "n_leep", "linear_probe"}  # these have new versions
    known = [name for name in asked["metrics"] if name not in anew]
    table = score_zoo(zoo, "dice", known, models=["lab/wide"])
    assert table.computed == 0
    assert stamps("cache") == before
    for name in {*known} - {"ncti"}:  # which is of all models together
        k = asked["metrics"].index(name)
        np.testing.assert_array_equal(table.column(name)[0], expected("metrics")[place, k])


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("inspection", ("inspect", "zoo")),
        ("scores", ("score", "zoo", "dice", "--no-cache")),
        ("rankings", ("index", "top-k", "index", "zoo", "dice", "apples", "-k", 3)),
    ],
)
def test_commands_print_the_same(command: Command, name: str, arguments: tuple[object]) -> None:
    found = json.loads(command(*arguments, "--json"))
    wanted = content(f"printed/{name}.json")
    for one, other in zip(found.get("rankings", ()), wanted.get("rankings", ()), strict=True):
        said, then = one["notes"].pop(0), other["notes"].pop(0)  # this one is in plainer words
        assert said.split(":")[0] == then.split(":")[0] == "the best 3 of 5 models"
    assert_same_content(found, wanted)


@pytest.mark.parametrize("name", SPIDERS)
def test_scores_of_a_spider(name: str) -> None:
    spider = Spider.load(name)
    assert list(spider.models) == EXPECTED["models"][name]
    assert spider.guessed == (("unseen",) if name == "spider_added" else ())
    assert_same(spider.scores(bare(tasks())), expected(f"{name}/scores"))
    assert_same(spider.scores(tasks()), expected(f"{name}/scores with deviations"))


@pytest.mark.parametrize(
    ("name", "by"),
    [
        ("spider", "evidence"),
        ("spider_own", "evidence"),
        ("spider_own", "attention"),
        ("spider_many", "attention"),
    ],
)
def test_the_best_looked_at(name: str, by: str) -> None:
    found = Spider.load(name).rank_task(FeatureStore("zoo"), "dice", k=2, by=by)
    assert_ranked(found, f"{name}/{by}")


def test_a_ranking() -> None:
    found = Ranking.from_json("ranking.json")
    assert_ranked(found, "spider_own/attention")
    assert found.task == "dice"
    assert len(found.accuracies) == 4
    assert found.notes


def test_the_best_of_an_index() -> None:
    index = ZooIndex.open("index")
    assert list(index.names()) == ["lab/wide", "middle", "psi", "late", "unseen"]
    assert index.verify() == ()
    assert_ranked(index.top_k(dice().centres, 3), "index")
    found = index.top_k(dice(), 3)
    assert_ranked(found, "index/with deviations")
    assert any("unseen" in note for note in found.notes)


def test_past_results() -> None:
    past = PastResults.load(Path("selection/past.json"))
    assert past.models == ("lab/wide", "late", "middle", "narrow", "psi")
    assert past.tasks == ("apples", "birds", "cars")
    np.testing.assert_array_equal(past.accuracies, expected("past/accuracies"))
    np.testing.assert_array_equal(past.curves, expected("past/curves"))
    assert past.validation_rows.tolist() == [300, 0, 250]


def test_a_finished_selection(command: Command) -> None:
    """Nothing is trained again, and its repository holds its curves already."""
    run, repository = "selection/finished", Path("selection/repository.json")
    before, known = stamps(f"{run}/heads"), PastResults.load(repository)
    given = ("select", "zoo", "dice", *SELECT, "--run", run, "--repository", repository, "--json")
    found, wanted = json.loads(command(*given)), content("printed/selected-models.json")
    (said,) = [note for note in found["notes"] if note not in wanted["notes"]]
    assert said.startswith("selected earlier")
    found["notes"].remove(said)
    assert_same_content(found, wanted)
    assert stamps(f"{run}/heads") == before
    after = PastResults.load(repository)
    assert (after.models, after.tasks) == (known.models, known.tasks)
    np.testing.assert_array_equal(after.curves, known.curves)
    np.testing.assert_array_equal(after.accuracies, known.accuracies)


@pytest.mark.parametrize(("name", "task"), [("student", "dice"), ("numbers", "eggs")])
def test_a_tuned_student(name: str, task: str) -> None:
    student = TunedStudent.load(Path("tuned", name))
    assert (student.about["model"], student.about["task"]) == ("narrow", task)
    features = FeatureStore("zoo").features("narrow", task)
    assert_same(student.predict(features), expected(f"tuned/{name}"))
