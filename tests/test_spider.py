"""A spider from training to disk and back: seeds, what members leave out, damage, refusals."""

import json
import logging
import math
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import fields, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from conftest import SMALL_CLASSES, SMALL_WIDTHS
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from spider_jax.checkpoint import refuse_foreign
from spider_jax.scaling import fit_scaling, with_unit_tokens
from spider_jax.spider import Spider
from spider_jax.store import FeatureStore
from spider_jax.tasks import MetaTask, TaskConfig, task_tokens
from spider_jax.train import (
    Split,
    TrainConfig,
    TrainingSet,
    _optimize,
    _resolution,
    leave_datasets_out,
    source_datasets,
    training_set,
)
from spider_jax.train import train as train_spider

Refused = Callable[..., AbstractContextManager[None]]
MODELS = ("middle", "narrow", "psi", "wide")
WIDTH = 6  # of the extractor psi
CONFIG = TrainConfig(
    width=8,
    members=2,
    steps=120,
    batch=8,
    learning_rate=5e-3,
    evaluations=4,
    held_out=1,
    components=4,
    tasks=TaskConfig(count=24, max_classes=4, rows=32, min_per_class=4, max_per_class=8),
)


@contextmanager
def for_training() -> Iterator[None]:
    """Nearly all of a tiny training is compilation; and optax is not for strict promotion."""
    jax.config.update("jax_disable_most_optimizations", True)
    try:
        with jax.numpy_dtype_promotion("standard"):
            yield
    finally:
        jax.config.update("jax_disable_most_optimizations", False)


def train(zoo: FeatureStore, config: TrainConfig = CONFIG, **options: Any) -> Spider:
    with for_training():
        return train_spider(zoo, config, **options)


@pytest.fixture(scope="module")
def trained() -> dict[str, Spider]:
    """What `spider` has trained: the zoo is the same in every test, so once is enough."""
    return {}


@pytest.fixture
def spider(small_zoo: Path, trained: dict[str, Spider]) -> Spider:
    if "spider" not in trained:
        trained["spider"] = train(FeatureStore(small_zoo))
    return trained["spider"]


@pytest.fixture
def saved(spider: Spider, tmp_path: Path) -> Path:
    spider.save(tmp_path / "spider")
    return tmp_path / "spider"


def tokens(seed: int = 0, classes: int = 3) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(classes, WIDTH)).astype(np.float32)


def ranking_bytes(spider: Spider, zoo: Path, tmp_path: Path) -> bytes:
    spider.rank_task(FeatureStore(zoo), "apples").to_json(tmp_path / "ranking.json")
    return (tmp_path / "ranking.json").read_bytes()


def content_of(folder: Path) -> dict[str, bytes]:
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


# ---- ranking ---------------------------------------------------------------------------------


def test_ranks_every_model_and_shows_what_is_known(spider: Spider, small_zoo: Path) -> None:
    zoo = FeatureStore(small_zoo)
    ranking = spider.rank_task(zoo, "birds")
    assert spider.models == MODELS
    assert sorted(ranking.names) == sorted(MODELS)
    assert ranking.task == "birds"
    assert ranking.accuracies == {m: zoo.accuracies[m, "birds"] for m in MODELS}
    centres = task_tokens(zoo.features("psi", "birds"), zoo.labels("birds"))
    assert dict(zip(ranking.names, ranking.scores, strict=True)) == dict(
        zip(MODELS, spider.scores([centres])[0], strict=True)
    )


def test_reads_the_extractor_only(spider: Spider, small_zoo: Path, tmp_path: Path) -> None:
    wanted = ranking_bytes(spider, small_zoo, tmp_path)
    for model in SMALL_WIDTHS:
        shutil.rmtree(small_zoo / "features" / model)
    assert ranking_bytes(spider, small_zoo, tmp_path) == wanted


def test_tokens_may_be_plain_lists(spider: Spider) -> None:
    ranking = spider.rank(tokens().astype(np.float64).tolist(), task="mine")
    assert ranking.task == "mine"
    assert ranking.scores.tolist() == spider.rank(tokens()).scores.tolist()


def test_other_tasks_and_the_order_of_classes_leave_a_score(spider: Spider) -> None:
    tasks = [tokens(0, 3), tokens(1, 9), tokens(2, 2)]
    together = spider.scores(tasks)
    alone = np.concatenate([spider.scores([task[::-1].copy()]) for task in tasks])
    assert together.shape == (3, len(MODELS))
    np.testing.assert_allclose(together, alone, atol=1e-6 * max(1.0, np.ptp(together)))
    assert np.ptp(together, axis=0).min() > 0  # tasks do differ


@pytest.mark.parametrize(
    ("wrong", "mention"),
    [
        (np.zeros((3, WIDTH + 1), np.float32), f"[C, {WIDTH}]"),
        (np.zeros(WIDTH, np.float32), f"[C, {WIDTH}]"),
        (np.zeros((0, WIDTH), np.float32), "(0, 6)"),
        (np.full((3, WIDTH), np.nan, np.float32), "finite"),
        (np.full((3, WIDTH), np.inf, np.float32), "finite"),
        (np.full((3, WIDTH), 1e300), "finite"),
        ([[1.0] * WIDTH, [1.0]], "no array of numbers"),
        ([["a"] * WIDTH], "no array of numbers"),
    ],
    ids=["width", "one axis", "no class", "NaN", "infinity", "too large", "ragged", "text"],
)
def test_tokens_that_do_not_fit_are_refused(
    spider: Spider, refused: Refused, wrong: Any, mention: str
) -> None:
    with refused("tokens", mention):
        spider.rank(wrong)
    with refused("tokens of task 1", mention):
        spider.scores([tokens(), wrong])


def test_another_extractor_is_refused(spider: Spider, small_zoo: Path, refused: Refused) -> None:
    FeatureStore.write_manifest(small_zoo, extractor="narrow")
    with refused("'narrow'", "'psi'"):
        spider.rank_task(FeatureStore(small_zoo), "apples")


def test_a_zoo_that_names_no_extractor_may_hold_its_features(
    spider: Spider, small_zoo: Path, tmp_path: Path, refused: Refused
) -> None:
    wanted = ranking_bytes(spider, small_zoo, tmp_path)
    FeatureStore.write_manifest(small_zoo)
    assert ranking_bytes(spider, small_zoo, tmp_path) == wanted
    shutil.rmtree(small_zoo / "features" / "psi")
    with refused("no features of 'psi' on 'apples'"):
        spider.rank_task(FeatureStore(small_zoo), "apples")


def test_an_unknown_task_is_refused(spider: Spider, small_zoo: Path, refused: Refused) -> None:
    with refused("unknown task 'pears'", "apples"):
        spider.rank_task(FeatureStore(small_zoo), "pears")


def test_another_resolution(spider: Spider) -> None:
    wider = spider.with_resolution(99.0)
    assert wider.rank(tokens()).rank_intervals().tolist() == [[1, 4]] * 4
    assert wider.scores([tokens()]).tolist() == spider.scores([tokens()]).tolist()


# ---- seeds -----------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_bytes(
    spider: Spider, saved: Path, small_zoo: Path, tmp_path: Path
) -> None:
    again = train(FeatureStore(small_zoo))
    wanted = ranking_bytes(spider, small_zoo, tmp_path)
    assert ranking_bytes(again, small_zoo, tmp_path) == wanted
    again.save(tmp_path / "again")
    description = (tmp_path / "again" / "spider.json").read_bytes()
    assert description == (saved / "spider.json").read_bytes()


def test_another_seed_gives_another_spider(spider: Spider, small_zoo: Path, tmp_path: Path) -> None:
    other = train(FeatureStore(small_zoo), replace(CONFIG, seed=1))
    assert ranking_bytes(other, small_zoo, tmp_path) != ranking_bytes(spider, small_zoo, tmp_path)
    assert not np.array_equal(other.scores([tokens()]), spider.scores([tokens()]))


# ---- on disk ---------------------------------------------------------------------------------


def test_a_round_trip_keeps_every_bit(spider: Spider, saved: Path) -> None:
    loaded = Spider.load(saved)
    tasks = [tokens(0, 3), tokens(1, 9)]
    assert loaded.scores(tasks).tobytes() == spider.scores(tasks).tobytes()
    for name in ("models", "widths", "extractor", "width", "members", "token_width", "precision"):
        assert getattr(loaded.description, name) == getattr(spider.description, name)
    assert loaded.description.resolution == pytest.approx(
        spider.description.resolution, nan_ok=True
    )
    training = json.loads(json.dumps(spider.description.training))
    assert loaded.description.training == training


def test_an_unknown_resolution_survives(spider: Spider, tmp_path: Path) -> None:
    for resolution in (math.nan, math.inf):
        spider.with_resolution(resolution).save(tmp_path / "spider")
        assert not math.isfinite(Spider.load(tmp_path / "spider").description.resolution)


def test_every_json_says_what_it_is(saved: Path, spider: Spider, tmp_path: Path) -> None:
    spider.rank(tokens()).to_json(saved / "ranking.json")
    kinds = {path.name: json.loads(path.read_text()) for path in saved.glob("*.json")}
    assert set(kinds) == {"spider.json", "checksums.json", "ranking.json"}
    for name, content in kinds.items():
        assert list(content)[:3] == ["format", "version", "created_with"]
        assert content["format"] == f"spider_jax/{name.removesuffix('.json')}"
        assert content["created_with"]["spider_jax"]
    described = kinds["spider.json"]
    assert tuple(described["models"]) == MODELS
    assert described["widths"] == {**SMALL_WIDTHS, "psi": WIDTH}
    assert described["extractor"] == {"name": "psi", "width": WIDTH}
    assert described["precision"] == "float32"
    assert described["training"]["config"]["seed"] == CONFIG.seed
    assert set(described["training"]["config"]) == {field.name for field in fields(TrainConfig)}


def test_a_spider_takes_the_place_of_a_spider(spider: Spider, saved: Path, small_zoo: Path) -> None:
    spider.with_resolution(3.0).save(saved)
    assert Spider.load(saved).description.resolution == 3.0
    assert sorted(path.name for path in saved.parent.iterdir()) == ["small_zoo", "spider"]


def test_an_empty_folder_is_taken(spider: Spider, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    spider.save(str(tmp_path / "empty"))
    assert Spider.load(str(tmp_path / "empty")).models == MODELS


@pytest.mark.parametrize("entry", ["notes.txt", "spider.json.bak", "arrays/x", ".hidden"])
@pytest.mark.parametrize("beside", [False, True], ids=["alone", "beside a spider"])
def test_a_foreign_folder_is_refused_and_left_alone(
    spider: Spider, saved: Path, refused: Refused, tmp_path: Path, entry: str, beside: bool
) -> None:
    if beside and entry == "arrays/x":
        entry = "other/x"  # within arrays/ it belongs to the spider that is replaced
    folder = saved if beside else tmp_path / "mine"
    (folder / entry).parent.mkdir(parents=True, exist_ok=True)
    (folder / entry).write_text("mine")
    before = content_of(folder)
    with refused(folder, "no spider"):
        spider.save(folder)
    assert content_of(folder) == before


def test_a_file_in_the_way_is_refused_and_left_alone(
    spider: Spider, tmp_path: Path, refused: Refused
) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    with refused(file, "is a file"):
        spider.save(file)
    with refused(file, "is a file"):
        spider.save(file / "below")
    with refused(file, "is a file"):
        refuse_foreign(file)
    assert [path.name for path in tmp_path.iterdir() if path.name != "small_zoo"] == ["file"]
    assert file.read_text() == "mine"


# ---- what is not loaded ----------------------------------------------------------------------


def test_what_is_no_spider_is_refused(tmp_path: Path, small_zoo: Path, refused: Refused) -> None:
    with refused("spider.json is missing"):
        Spider.load(tmp_path / "nowhere")
    (tmp_path / "spider.json").write_bytes((small_zoo / "manifest.json").read_bytes())
    with refused("spider.json", "'spider_jax/spider'", "'spider_jax/zoo'"):
        Spider.load(tmp_path)
    (tmp_path / "spider.json").write_text("{")
    with refused("spider.json", "not valid JSON"):
        Spider.load(tmp_path)


@pytest.mark.parametrize("name", ["spider.json", "checksums.json"])
def test_a_newer_version_is_refused(saved: Path, refused: Refused, name: str) -> None:
    edit(saved / name, version=2)
    with refused(name, "version 2", "newer", "upgrade spider_jax"):
        Spider.load(saved)


@pytest.mark.parametrize(
    "changes",
    [
        {"width": 16},
        {"width": "8"},
        {"members": 3},
        {"members": None},
        {"models": ["a", "b"]},
        {"models": "abcd"},
        {"models": 4},
        {"token_width": 4},
        {"spread": False},
        {"extractor": {"name": "psi", "width": 7}},
        {"extractor": {}},
        {"resolution": "wide"},
    ],
    ids=str,
)
def test_a_description_that_does_not_fit_is_refused(
    saved: Path, refused: Refused, capfd: pytest.CaptureFixture[str], changes: dict[str, Any]
) -> None:
    edit(saved / "spider.json", **changes)
    with refused("spider.json"):
        Spider.load(saved)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("key", ["models", "extractor", "spread", "training"])
def test_a_description_that_lacks_something_is_refused(
    saved: Path, refused: Refused, key: str
) -> None:
    content = json.loads((saved / "spider.json").read_text())
    del content[key]
    (saved / "spider.json").write_text(json.dumps(content))
    with refused("spider.json", key):
        Spider.load(saved)


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize("harm", [flip, truncate, Path.unlink], ids=["flip", "truncate", "delete"])
def test_any_damaged_file_of_the_arrays_is_refused(
    saved: Path,
    refused: Refused,
    capfd: pytest.CaptureFixture[str],
    harm: Callable[[Path], None],
) -> None:
    files = sorted(path for path in (saved / "arrays").rglob("*") if path.is_file())
    assert len(files) > 3
    for path in files:
        whole = path.read_bytes()
        harm(path)
        with refused("arrays", path.name, "missing" if harm is Path.unlink else "damaged"):
            Spider.load(saved)
        path.write_bytes(whole)
    assert Spider.load(saved).models == MODELS
    assert capfd.readouterr().err == ""


def test_missing_arrays_are_refused(saved: Path, refused: Refused) -> None:
    shutil.rmtree(saved / "arrays")
    with refused("arrays", "missing"):
        Spider.load(saved)
    edit(saved / "checksums.json", files={})
    with refused("checksums.json", "no files"):
        Spider.load(saved)
    (saved / "checksums.json").unlink()
    with refused("checksums.json is missing"):
        Spider.load(saved)


def test_a_stray_file_beside_the_arrays_does_no_harm(spider: Spider, saved: Path) -> None:
    (saved / "arrays" / ".DS_Store").write_bytes(b"left by a file manager")
    assert Spider.load(saved).scores([tokens()]).tolist() == spider.scores([tokens()]).tolist()


# ---- training --------------------------------------------------------------------------------


def test_the_loss_falls_and_the_history_is_whole(spider: Spider) -> None:
    history = spider.description.training["history"]
    assert [entry["step"] for entry in history] == [30, 60, 90, 120]
    losses = [entry["loss"] for entry in history]
    assert losses[-1] < losses[0]
    # Without any knowledge every order of M models is as likely: ln M! / (M - 1).
    assert losses[-1] < math.log(math.factorial(len(MODELS))) / (len(MODELS) - 1)
    assert all(-1 <= entry["held_out_tau"] <= 1 for entry in history)


def test_the_description_tells_of_the_training(spider: Spider, small_zoo: Path) -> None:
    training = spider.description.training
    assert training["datasets"] == list(SMALL_CLASSES)
    assert training["zoo"] == FeatureStore(small_zoo).fingerprint()
    assert training["left_out"] == []
    assert len(training["held_out"]) == CONFIG.members
    assert spider.description.resolution > 0


def test_a_model_with_nan_is_left_out_and_listed(
    spider: Spider, small_zoo: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for task, classes in SMALL_CLASSES.items():
        features = np.ones((len(FeatureStore(small_zoo).labels(task)), 3), np.float32)
        features[classes, 1] = np.nan
        FeatureStore.write_features(small_zoo, "broken", task, features)
    with caplog.at_level(logging.WARNING, "spider_jax"):
        without = train(FeatureStore(small_zoo))
    (left_out,) = without.description.training["left_out"]
    assert "broken" in left_out
    assert "NaN" in left_out
    assert "broken" in caplog.text
    assert without.models == MODELS
    assert without.scores([tokens()]).tobytes() == spider.scores([tokens()]).tobytes()


def test_tasks_that_the_manifest_holds_out_are_no_sources(small_zoo: Path) -> None:
    FeatureStore.write_labels(small_zoo, "prices", np.linspace(0, 1, 9, dtype=np.float32))
    kinds = {"cars": {"held_out": True}, "dice": {"held_out": False}}
    FeatureStore.write_manifest(small_zoo, extractor="psi", tasks=kinds)
    assert source_datasets(FeatureStore(small_zoo)) == ("apples", "birds", "dice")


def test_a_zoo_that_cannot_be_trained_on_is_refused(small_zoo: Path, refused: Refused) -> None:
    zoo = FeatureStore(small_zoo)
    with refused("unknown task 'pears'"):
        train(zoo, datasets=["apples", "pears"])
    with refused("at least one dataset"):
        train(zoo, datasets=[])
    FeatureStore.write_manifest(small_zoo)
    with refused("no general extractor", '"extractor"'):
        train(FeatureStore(small_zoo))


def test_fewer_than_two_models_are_refused(small_zoo: Path, refused: Refused) -> None:
    for model in SMALL_WIDTHS:
        shutil.rmtree(small_zoo / "features" / model)
    with refused("fewer than two models"):
        train(FeatureStore(small_zoo))


# ---- what a member leaves out ----------------------------------------------------------------


def tasks_on(*datasets: tuple[str, ...]) -> list[MetaTask]:
    nothing = np.zeros(0, np.int32)
    return [MetaTask(names, nothing, nothing.astype(np.int64), nothing) for names in datasets]


META = tasks_on(("a",), ("b",), ("c",), ("d",), ("a", "b"), ("b", "c", "d"), ("c", "a"))


@pytest.mark.parametrize("held_out", [1, 2])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_members_leave_whole_datasets_out(held_out: int, seed: int) -> None:
    config = TrainConfig(members=4, held_out=held_out, seed=seed)
    split = leave_datasets_out(META, ["a", "b", "c", "d"], config)
    assert split.weight.shape == (4, len(META))
    for out, weight, held in zip(split.datasets, split.weight, split.held, strict=True):
        assert len(set(out)) == held_out
        touches = [bool(set(out) & set(task.datasets)) for task in META]
        assert weight.tolist() == [0.0 if touched else 1.0 for touched in touches]
        assert all(set(META[i].datasets) <= set(out) for i in held)
        assert len(set(held.tolist())) == len(held) > 0
    left = [name for out in split.datasets for name in out]  # each dataset equally often
    assert {left.count(name) for name in "abcd"} == {held_out}


def test_never_more_than_half_of_the_datasets_are_left_out() -> None:
    split = leave_datasets_out(META[:3], ["a", "b", "c"], TrainConfig(held_out=3, members=2))
    assert [len(out) for out in split.datasets] == [1, 1]


def test_one_dataset_is_kept_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "spider_jax"):
        split = leave_datasets_out(META[:1], ["a"], TrainConfig(members=2))
    assert "one source dataset" in caplog.text
    assert split.datasets == [[], []]
    assert (split.weight == 1).all()
    assert split.held.shape == (2, 0)


def test_no_task_left_is_refused(refused: Refused) -> None:
    with refused("no meta-task is left"):
        leave_datasets_out(tasks_on(("a", "b")), ["a", "b"], TrainConfig(held_out=1, members=1))


def member(weights: Any, number: int) -> list[bytes]:
    return [np.asarray(leaf)[number].tobytes() for leaf in jax.tree.leaves(weights)]


def test_left_out_tasks_leave_no_trace_in_a_members_weights(small_zoo: Path) -> None:
    zoo = FeatureStore(small_zoo)
    given = training_set(zoo, CONFIG, zoo.tasks)
    features = np.concatenate([zoo.training_features("psi", task) for task in zoo.tasks])
    scaling = fit_scaling(features, components=CONFIG.components)
    scaling = with_unit_tokens(scaling, given.tokens, given.mask)
    split = leave_datasets_out(given.meta, zoo.tasks, CONFIG)
    # Without held-out tasks the last step is taken, so that the choice of step is out of it.
    split = split._replace(held=np.zeros((CONFIG.members, 0), np.int64))

    def weights(given: TrainingSet) -> Any:
        with for_training():
            return _optimize(CONFIG, scaling, given, split, False)[0]

    left_out = split.weight[0] == 0
    assert left_out.any()
    assert split.weight[1][left_out].any()
    targets = np.where(left_out[:, None], -given.targets, given.targets)
    before, after = weights(given), weights(given._replace(targets=targets))
    assert member(before, 0) == member(after, 0)
    assert member(before, 1) != member(after, 1)


# ---- resolution ------------------------------------------------------------------------------


def held_out_scores(
    seed: int, slope: float, tasks: int = 40, models: int = 6
) -> tuple[NDArray[np.float32], NDArray[np.float32], Split]:
    """Scores [2, V, M] that carry targets [T, M] and noise: `slope` says how much of each."""
    rng = np.random.default_rng(seed)
    targets = rng.normal(size=(tasks, models)).astype(np.float32)
    held = np.stack([rng.permutation(tasks)[:20], rng.permutation(tasks)[:20]])
    noise = rng.standard_t(2, size=(2, 20, models))
    scores = (slope * targets[held] + noise).astype(np.float32)
    return scores, targets, Split([["a"], ["b"]], np.ones((2, tasks), np.float32), held)


def signed_differences(
    scores: NDArray[np.float32], targets: NDArray[np.float32], split: Split
) -> NDArray[np.float64]:
    """How far apart the scores of every pair are, negative where their order is the wrong one."""
    found = []
    for of_member, rows in zip(scores.astype(float), split.held, strict=True):
        for s, y in zip(of_member, targets[rows], strict=True):
            for i, j in combinations(range(len(s)), 2):
                agrees = (s[i] > s[j]) == (y[i] > y[j])
                found.append(abs(s[i] - s[j]) * (1 if agrees else -1))
    return np.array(found)


@pytest.mark.parametrize("slope", [0.3, 1.0, 3.0])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_resolution_is_the_most_likely_one(seed: int, slope: float) -> None:
    scores, targets, split = held_out_scores(seed, slope)
    z = signed_differences(scores, targets, split)
    best = minimize_scalar(
        lambda a: np.logaddexp(0, -a * z).sum(), bounds=(0, 50), options={"xatol": 1e-10}
    )
    # P(right order) = sigmoid(a r) = 0.8 at the resolution r.
    wanted = math.log(0.8 / 0.2) / best.x
    assert _resolution(scores, targets, split) == pytest.approx(wanted, rel=1e-5)


def test_resolution_scales_with_the_scores() -> None:
    scores, targets, split = held_out_scores(3, 1.0)
    one, ten = (_resolution(np.float32(f) * scores, targets, split) for f in (1, 10))
    assert ten == pytest.approx(10 * one, rel=1e-4)


def test_resolution_of_scores_that_are_no_better_than_chance() -> None:
    scores, targets, split = held_out_scores(0, 1.0)
    assert _resolution(-scores, targets, split) == math.inf
    assert math.isnan(_resolution(0 * scores, targets, split))
    assert math.isnan(_resolution(scores[:, :0], targets, split._replace(held=split.held[:, :0])))


def test_resolution_of_scores_that_are_always_right() -> None:
    _, targets, split = held_out_scores(0, 1.0)
    scores = targets[split.held]
    closest = np.abs(signed_differences(scores, targets, split)).min()
    assert 0 < _resolution(scores, targets, split) < closest


# ---- configuration ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "mentions"),
    [
        *(
            ({name: 0}, (f"{name} must be at least 1", 0))
            for name in ("width", "members", "steps", "batch", "evaluations", "components")
        ),
        *(
            ({name: value}, (f"{name} must be at least 0", value))
            for name in ("weight_decay", "token_noise")
            for value in (-0.1, math.nan, math.inf)
        ),
        ({"seed": -1}, ("seed must be at least 0", -1)),
        ({"held_out": -1}, ("held_out must be at least 0", -1)),
        ({"learning_rate": 0.0}, ("learning_rate must be positive", 0.0)),
        ({"learning_rate": math.nan}, ("learning_rate", "nan")),
        ({"scaling": "whiten"}, ("scaling", "pca", "'whiten'")),
        ({"dropout": 1.0}, ("dropout must be in [0, 1)", 1.0)),
        ({"dropout": -0.1}, ("dropout", -0.1)),
        ({"token_dropout": 1.0}, ("token_dropout must be in [0, 1)", 1.0)),
        ({"aggregate": "median"}, ("aggregate", "mean_z", "'median'")),
        ({"teachers": ()}, ("teachers", "logme", "()")),
        ({"teachers": ("knn", "nce")}, ("teachers", "nce")),
    ],
    ids=str,
)
def test_a_wrong_configuration_is_refused(
    refused: Refused, changes: dict[str, Any], mentions: tuple[object, ...]
) -> None:
    with refused(*mentions):
        TrainConfig(**changes)


@pytest.mark.parametrize(
    ("changes", "mention"),
    [
        ({"count": 0}, "count"),
        ({"max_datasets": 0}, "max_datasets"),
        ({"single": 1.5}, "single must be in [0, 1]"),
        ({"min_classes": 1}, "min_classes"),
        ({"min_classes": 5, "max_classes": 4}, "min_classes <= max_classes"),
        ({"min_per_class": 0}, "min_per_class"),
        ({"min_per_class": 9, "max_per_class": 8}, "min_per_class <= max_per_class"),
    ],
    ids=str,
)
def test_a_wrong_configuration_of_tasks_is_refused(
    refused: Refused, changes: dict[str, Any], mention: str
) -> None:
    with refused("tasks", mention):
        TaskConfig(**changes)
