"""Training: what it tells, what members leave out, the resolution, its configuration."""

import inspect
import logging
import math
import re
import shutil
from dataclasses import fields, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from spider_jax.errors import InputError
from spider_jax.spider.spider import Spider
from spider_jax.tasks.description import source_unit
from spider_jax.tasks.sampling import MetaTask, TaskConfig
from spider_jax.tasks.scaling import fit_scaling, with_unit_tokens
from spider_jax.training.config import AT_LEAST_1, TrainConfig
from spider_jax.training.holdout import Split, leave_datasets_out
from spider_jax.training.learn_belief import learn_belief
from spider_jax.training.loop import optimize
from spider_jax.training.resolution import measured_resolution
from spider_jax.training.train_spider import training_arrays
from spider_jax.training.training_set import TrainingSet, source_datasets, training_set
from spider_jax.zoo.store import FeatureStore
from support.small_training import CONFIG, Refused, for_training, tokens, train
from support.small_zoo import SMALL_CLASSES, SMALL_WIDTHS
from support.small_zoo import SMALL_MODELS as MODELS

pytestmark = pytest.mark.slow

# ---- training --------------------------------------------------------------------------------


def test_the_loss_falls_and_the_history_is_whole(spider: Spider) -> None:
    history = spider.description.training["history"]
    steps = CONFIG.tasks.count // CONFIG.batch
    assert [entry["step"] for entry in history] == [steps * (i + 1) for i in range(CONFIG.epochs)]
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


@pytest.mark.parametrize("memory", [0.0, 2.0])
def test_left_out_tasks_leave_no_trace_in_a_members_weights(small_zoo: Path, memory: float) -> None:
    """Neither in what it is taught nor in what the memory says."""
    zoo, config = FeatureStore(small_zoo), replace(CONFIG, memory=memory)
    given = training_set(zoo, CONFIG, zoo.tasks)
    features = np.concatenate([zoo.training_features("psi", task) for task in zoo.tasks])
    scaling = fit_scaling(features, components=CONFIG.components)
    scaling = with_unit_tokens(scaling, given.tokens, given.mask)
    split, unit = leave_datasets_out(given.meta, zoo.tasks, CONFIG), source_unit(features)
    # Without held-out tasks the last step is taken, so that the choice of step is out of it.
    split = split._replace(held=np.zeros((CONFIG.members, 0), np.int64))

    learned = learn_belief(given, config, unit, zoo.tasks, {}) if memory else None

    def weights(given: TrainingSet, sign: NDArray[np.float32]) -> Any:
        said = learned and learned._replace(standings=sign * learned.standings)
        with for_training():
            arrays, _ = training_arrays(config, scaling, given, split, said)
            return optimize(config, arrays).weights

    left_out = split.weight[0] == 0
    assert left_out.any()
    assert split.weight[1][left_out].any()
    sign = np.where(left_out[:, None], -1, 1).astype(np.float32)
    before = weights(given, np.ones_like(sign))
    after = weights(given._replace(targets=sign * given.targets), sign)
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
    assert measured_resolution(scores, targets, split) == pytest.approx(wanted, rel=1e-5)


def test_resolution_scales_with_the_scores() -> None:
    scores, targets, split = held_out_scores(3, 1.0)
    one, ten = (measured_resolution(np.float32(f) * scores, targets, split) for f in (1, 10))
    assert ten == pytest.approx(10 * one, rel=1e-4)


def test_resolution_of_scores_that_are_no_better_than_chance() -> None:
    scores, targets, split = held_out_scores(0, 1.0)
    assert measured_resolution(-scores, targets, split) == math.inf
    assert math.isnan(measured_resolution(0 * scores, targets, split))
    assert math.isnan(
        measured_resolution(scores[:, :0], targets, split._replace(held=split.held[:, :0]))
    )


def test_resolution_of_scores_that_are_always_right() -> None:
    _, targets, split = held_out_scores(0, 1.0)
    scores = targets[split.held]
    closest = np.abs(signed_differences(scores, targets, split)).min()
    assert 0 < measured_resolution(scores, targets, split) < closest


# ---- configuration ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "mentions"),
    [
        *(({name: 0}, (f"{name} must be at least 1", 0)) for name in AT_LEAST_1),
        *(
            ({name: value}, (f"{name} must be at least 0 and finite", value))
            for name in ("weight_decay", "token_noise", "memory", "clip", "calibration")
            for value in (-0.1, math.nan, math.inf)
        ),
        ({"seed": -1}, ("seed must be at least 0", -1)),
        ({"held_out": -1}, ("held_out must be at least 0", -1)),
        ({"learning_rate": 0.0}, ("learning_rate must be positive and finite", 0.0)),
        ({"learning_rate": math.nan}, ("learning_rate must be positive and finite", "nan")),
        ({"learning_rate": math.inf}, ("learning_rate must be positive and finite", "inf")),
        ({"learning_rates": (0.1,)}, ("learning_rates must be one a member (4)", 1)),
        (
            {"learning_rates": (0.1, 0.0, 1.0, 1.0)},
            ("learning_rates, entry 1 must be positive and finite", 0.0),
        ),
        ({"loss": "hinge"}, ("loss must be one of", "plackett_luce", "'hinge'")),
        ({"optimizer": "adam"}, ("optimizer must be one of", "adamw", "'adam'")),
        ({"parallel": "none"}, ("parallel must be one of", "pmap", "'none'")),
        ({"targets": "guesses"}, ("targets must be one of", "accuracies", "'guesses'")),
        ({"clip": -1.0}, ("clip must be at least 0", -1.0)),
        ({"scaling": "whiten"}, ("scaling must be one of", "pca", "'whiten'")),
        ({"dropout": 1.0}, ("dropout must be in [0, 1)", 1.0)),
        ({"dropout": -0.1}, ("dropout must be in [0, 1)", -0.1)),
        ({"token_dropout": 1.0}, ("token_dropout must be in [0, 1)", 1.0)),
        ({"aggregate": "median"}, ("aggregate must be one of", "mean_z", "'median'")),
        ({"teachers": ()}, ("teachers must name at least one", "logme", "()")),
        ({"teachers": ("knn", "nce")}, ("teachers must be some of", "logme", "got 'nce'")),
    ],
    ids=str,
)
def test_a_wrong_configuration_is_refused(
    refused: Refused, changes: dict[str, Any], mentions: tuple[object, ...]
) -> None:
    with refused(*mentions):
        TrainConfig(**changes)


@pytest.mark.parametrize("changes", [{"epochs": 0}, {"clip": -1.0}, {"loss": "x"}], ids=str)
def test_the_message_names_the_one_field_that_is_wrong(changes: dict[str, Any]) -> None:
    with pytest.raises(InputError) as caught:
        TrainConfig(**changes)
    words = set(re.findall(r"\w+", str(caught.value)))
    assert words & {field.name for field in fields(TrainConfig)} == set(changes)


@pytest.mark.parametrize("settings", [TrainConfig, TaskConfig])
def test_every_setting_has_a_line_of_its_own_in_the_help(settings: Any) -> None:
    text = inspect.getdoc(settings) or ""
    named = re.findall(r"^    (\w+): \S", text, re.MULTILINE)
    assert [name for name in named if name != "InputError"] == [f.name for f in fields(settings)]


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
