"""Tuning on a zoo, in Python and as `spider-jax tune`: teachers, table, files, exit codes."""

import csv
import json
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest
import tyro

from spider_jax.cli.tuning import tune
from spider_jax.metrics import logme
from spider_jax.spider.spider import Spider
from spider_jax.tuning.config import TuneConfig
from spider_jax.tuning.files import TunedStudent
from spider_jax.tuning.zoo import choose_teachers, tune_zoo
from spider_jax.zoo.splits import task_split
from spider_jax.zoo.store import FeatureStore
from support.command_line import DONE, SKIPPED, Result, break_features, rows_of, table

pytestmark = pytest.mark.slow

Command = Callable[..., Result]
Refused = Callable[..., AbstractContextManager[None]]
QUICK = ("--epochs", 4, "--batch", 16, "--seeds", 2, "--learning-rates", 0.03, 0.1)
CONFIG = TuneConfig(learning_rates=(0.03,), weights=(10.0,), seeds=2, epochs=4, batch=16)


@pytest.fixture
def tuned(capsys: pytest.CaptureFixture[str]) -> Iterator[Command]:
    def tuned(*arguments: object) -> Result:
        code = tyro.cli(tune, args=[str(argument) for argument in (*arguments, *QUICK)])
        captured = capsys.readouterr()
        return Result(code, captured.out, captured.err)

    log = logging.getLogger("spider_jax")
    level = log.level
    yield tuned
    log.setLevel(level)


# ---- teachers ------------------------------------------------------------------------------------


def test_the_best_by_logme_on_training_rows(small_zoo: Path) -> None:
    zoo = FeatureStore(small_zoo)
    split = task_split(zoo, "apples")
    labels = zoo.labels("apples")[split.train]
    scores = {m: logme(zoo.features(m, "apples")[split.train], labels) for m in zoo.models}
    wanted = sorted(scores, key=lambda m: -scores[m])[:2]
    assert choose_teachers(zoo, "apples", split, ("auto:2",)) == (tuple(wanted), ())


def test_a_spider_chooses(small_zoo: Path, spider: Spider) -> None:
    zoo = FeatureStore(small_zoo)
    split = task_split(zoo, "apples")
    names, problems = choose_teachers(zoo, "apples", split, ("auto:3",), spider)
    assert set(names) <= set(spider.models)
    assert len(names) == 3
    left = set(zoo.models) - set(spider.models)
    assert {p.model for p in problems} == left


def test_what_is_refused(small_zoo: Path, refused: Refused) -> None:
    zoo = FeatureStore(small_zoo)
    split = task_split(zoo, "apples")
    for wanted in (("auto:0",), ("auto:many",), ("auto:2", "wide")):
        with refused("teachers must be names, or auto:K", wanted[0]):
            choose_teachers(zoo, "apples", split, wanted)
    with refused("no features of 'nobody'"):
        tune_zoo(zoo, "apples", "wide", teachers=("nobody",), config=CONFIG)


# ---- a zoo ---------------------------------------------------------------------------------------


def test_regression_and_multi_label(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(120, 6)).astype(np.float32)
    seen = X @ rng.normal(size=(6, 2))
    FeatureStore.write_labels(tmp_path, "numbers", (100 + 7 * seen).astype(np.float32))
    FeatureStore.write_labels(tmp_path, "tags", seen > 0)
    for task in ("numbers", "tags"):
        FeatureStore.write_features(
            tmp_path, "student", task, X + 0.1 * rng.normal(size=X.shape).astype(np.float32)
        )
        FeatureStore.write_features(tmp_path, "teacher", task, X[:, ::-1].copy())
    zoo = FeatureStore(tmp_path)
    config = TuneConfig(learning_rates=(0.01, 0.05), seeds=1, epochs=30, batch=16)
    numbers = tune_zoo(zoo, "numbers", "student", teachers=("teacher",), config=config)
    assert numbers.measure == "rmse"
    for one in numbers.results:
        assert one.test is not None
        assert one.test[0] > -0.5 * 7 * seen.std()  # half the error of the constant
    assert numbers.student is not None
    values = numbers.student.predict(zoo.features("student", "numbers"))
    assert np.abs(values - 100).mean() < 7 * 5  # in the unit of the labels
    tags = tune_zoo(zoo, "tags", "student", teachers=("teacher",), config=config)
    for one in tags.results:
        assert one.test is not None
        assert one.test[0] > 0.75


def test_the_saved_student_predicts_as_it_was_scored(small_zoo: Path, tmp_path: Path) -> None:
    zoo = FeatureStore(small_zoo)
    found = tune_zoo(zoo, "cars", "wide", config=CONFIG)
    assert found.student is not None
    found.student.save(tmp_path / "student")
    again = TunedStudent.load(tmp_path / "student")
    predicted = again.predict(zoo.features("wide", "cars"))
    rows = task_split(zoo, "cars").validation
    share = np.mean(predicted[rows] == zoo.labels("cars")[rows])
    assert share == pytest.approx(max(found.best.validation))
    assert again.about["model"] == "wide"
    assert again.about["method"] == found.best.method


def test_a_damaged_student(small_zoo: Path, tmp_path: Path, refused: Refused) -> None:
    found = tune_zoo(FeatureStore(small_zoo), "cars", "wide", methods=("head-only",), config=CONFIG)
    assert found.student is not None
    found.student.save(tmp_path / "student")
    with refused("features must be [N, 12], got (3, 4)"):
        TunedStudent.load(tmp_path / "student").predict(np.ones((3, 4), np.float32))
    path = tmp_path / "student" / "params.npz"
    path.write_bytes(path.read_bytes()[:-40])
    with refused("params.npz is no whole student"):
        TunedStudent.load(tmp_path / "student")
    with refused(small_zoo, "is not empty and no tuned student"):
        found.student.save(small_zoo)
    (tmp_path / "student" / "thesis.tex").write_text("mine")
    with refused("is not empty and no tuned student"):  # it would be lost
        found.student.save(tmp_path / "student")
    assert (tmp_path / "student" / "thesis.tex").read_text() == "mine"


def test_on_real_models(real_zoo: Path) -> None:
    """Every method beats chance by far on digits; B-Tuning's teachers are what LogME says."""
    config = TuneConfig(learning_rates=(0.01,), seeds=1, epochs=20)
    methods = ("b-tuning", "fine-tuning", "l2-sp", "distillation", "head-only")
    found = tune_zoo(
        FeatureStore(real_zoo),
        "sklearn_digits",
        "efficientnet_lite0",
        teachers=("efficientnet_lite1", "open_nsfw_resnet50"),
        methods=methods,
        config=config,
    )
    for one in found.results:
        assert one.test is not None
        assert one.test[0] > 0.5  # chance is .1


# ---- the command ---------------------------------------------------------------------------------


def test_a_table_for_people(small_zoo: Path, tuned: Command) -> None:
    found = tuned(small_zoo, "apples", "--student", "wide")
    assert found.code == DONE
    lines = table(found.out)
    assert lines[0][0] == "method"
    assert [line[0] for line in lines[1:3]] == ["b-tuning", "fine-tuning"]
    assert "all chosen on validation rows, test rows were read once, after that" in found.out
    assert "weights by standardised LogME at temperature 1" in found.out
    assert tuned(small_zoo, "apples", "--student", "wide").out == found.out
    cache = Path(os.environ["XDG_CACHE_HOME"]) / "spider_jax" / "tunings"
    assert list(cache.iterdir()) == []  # nothing is left to go on from


def test_json_csv_and_the_student(small_zoo: Path, tuned: Command, tmp_path: Path) -> None:
    given = ("--teachers", "middle", "psi", "--raw", "--run", tmp_path / "run")
    out, lines = tmp_path / "student", tmp_path / "methods.csv"
    found = tuned(
        small_zoo, "apples", "--student", "wide", *given, "--json", "--csv", lines, "--out", out
    )
    rows = rows_of(found, "tuned-students")
    assert [row["method"] for row in rows] == ["b-tuning", "fine-tuning"]
    assert "weights by raw LogME" in " ".join(json.loads(found.out)["notes"])
    with lines.open(newline="") as file:
        assert [row["method"] for row in csv.DictReader(file)] == ["b-tuning", "fine-tuning"]
    assert TunedStudent.load(out).about["teachers"] == ["middle", "psi"]
    assert len(list((tmp_path / "run").iterdir())) == 2


def test_a_broken_model_is_listed(small_zoo: Path, tuned: Command) -> None:
    break_features(small_zoo)
    found = tuned(small_zoo, "apples", "--student", "middle", "--methods", "b-tuning")
    assert found.code == SKIPPED
    assert "spider-jax: skipped: wide on apples: features of 'wide'" in found.err


def test_the_folder_is_refused_before_the_work(
    small_zoo: Path, tuned: Command, refused: Refused
) -> None:
    with refused(small_zoo, "is not empty and no tuned student"):
        tuned(small_zoo, "apples", "--student", "wide", "--out", small_zoo)
