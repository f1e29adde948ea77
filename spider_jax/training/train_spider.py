"""Training: meta-tasks, teachers' orders as targets, Plackett-Luce, early stop on held-out sources.

An ensemble is trained at once. Each member leaves other source datasets out of its training; on
these the number of steps is chosen and the resolution of the ranking is measured, so that no
dataset is lost to all members.
"""

import logging
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from numpy.typing import NDArray

from spider_jax.errors import InputError
from spider_jax.onboarding.placement import Yardstick
from spider_jax.runtime.processes import gather, share
from spider_jax.spider.attention import OwnTokens, Weights
from spider_jax.spider.folding import CHUNK
from spider_jax.spider.own_attention import OwnMaps
from spider_jax.spider.spider import Description, Spider
from spider_jax.spider.task_memory import Memory, Notes, memorize, recall_own
from spider_jax.spider.task_ridge import source_unit
from spider_jax.storage.run_folder import TrainingRun
from spider_jax.tasks.moments import digest_of
from spider_jax.tasks.scaling import Scaling, apply_scaling, fit_scaling, with_unit_tokens
from spider_jax.tasks.tokens import MetaTask, load_sources
from spider_jax.training.choose_k import choose_looks
from spider_jax.training.config import TrainConfig
from spider_jax.training.loop import Lesson, optimize
from spider_jax.training.own_features import OwnFeatures, own_features
from spider_jax.training.training_set import (
    TrainingSet,
    refuse_untrainable,
    source_datasets,
    training_set,
    with_targets,
)
from spider_jax.zoo.store import FeatureStore

log = logging.getLogger("spider_jax")

HOW_IT_RUNS = ("parallel", "model_shards", "checkpoint_every")  # and not what comes of it
HELD_OUT_TASKS = 48
EXTRACTOR_FACTS = ("weights_sha256", "preprocessing", "layer")
CONFIDENCE = 0.8
PAIRS = 10_000  # of a task that the resolution is measured on


class Split(NamedTuple):
    """What members leave out. weight [E, T]: 1 where one trains. held [E, V]: held-out tasks."""

    datasets: list[list[str]]
    weight: NDArray[np.float32]
    held: NDArray[np.int64]


def train(
    zoo: FeatureStore,
    config: TrainConfig | None = None,
    *,
    datasets: Sequence[str] | None = None,
    run: str | Path | None = None,
    show_progress: bool = False,
) -> Spider:
    """Train a spider on a zoo.

    Under `jax.distributed` every process reads and teaches its share of the meta-tasks, and all
    return the same spider.

    Args:
        zoo: features of all models and of the general extractor, labels of the source datasets.
        config: see TrainConfig.
        datasets: names of the source datasets; default: every classification task whose manifest
            entry does not say "held_out".
        run: folder for checkpoints and figures; the same call goes on where it was interrupted.
            None: nothing is written, and an interrupted training begins again.
        show_progress: bars on stderr.

    Returns:
        The spider; `description.training` tells what it was trained on and the models left out.

    Raises:
        InputError: no extractor in the zoo, an unknown dataset, or fewer than two usable models.
    """
    config = config or TrainConfig()
    names = source_datasets(zoo) if datasets is None else tuple(datasets)
    refuse_untrainable(zoo, names)  # before a folder is made
    disk = None if run is None else TrainingRun(Path(run), _identity(zoo, config, names))
    given = shared_training_set(zoo, config, names, show_progress=show_progress)
    return fit(zoo, config, names, given, run=disk, show_progress=show_progress)


def shared_training_set(
    zoo: FeatureStore,
    config: TrainConfig,
    datasets: Sequence[str],
    *,
    show_progress: bool = False,
) -> TrainingSet:
    """`training_set`, of which every process computes its share."""
    groups, size = config.tasks.count, config.tasks.resamples
    mine = share(groups, size)
    given = training_set(zoo, config, datasets, only=mine, show_progress=show_progress)
    if mine is None:
        return given
    whole = given._replace(
        tokens=gather(given.tokens, groups, size),
        deviations=gather(given.deviations, groups, size),
        metrics=gather(given.metrics, groups, size),
    )
    return with_targets(whole, config)


def _identity(zoo: FeatureStore, config: TrainConfig, datasets: Sequence[str]) -> dict[str, Any]:
    """What must be the same for a training to go on; the number of devices need not."""
    return {**_config_of(config), "datasets": list(datasets), "zoo": zoo.fingerprint()}


def _config_of(config: TrainConfig) -> dict[str, Any]:
    """The configuration without what does not change the spider."""
    return {name: value for name, value in asdict(config).items() if name not in HOW_IT_RUNS}


def fit(
    zoo: FeatureStore,
    config: TrainConfig,
    datasets: Sequence[str],
    given: TrainingSet,
    *,
    run: TrainingRun | None = None,
    own: OwnFeatures | None = None,
    show_progress: bool = False,
) -> Spider:
    """Train on a prepared training set: the part that runs on the device.

    own: of the models, where the configuration's k_max asks for it; default: read here.
    """
    assert zoo.extractor is not None  # training_set has seen to it
    features = load_sources(zoo, zoo.extractor, datasets)
    scaling = fit_scaling(
        np.concatenate(list(features.values())),
        kind=config.scaling,
        components=config.components,
        spread=config.spread,
    )
    scaling = with_unit_tokens(scaling, given.tokens, given.mask)
    split = leave_datasets_out(given.meta, datasets, config)
    unit = source_unit(np.concatenate(list(features.values())))
    lesson, memory = lesson_of(config, scaling, unit, given, split)
    if config.k_max:
        own = own or read_own(zoo, config, datasets, given, show_progress=show_progress)
        lesson = lesson._replace(own=OwnTokens(own.tokens, own.models))  # type: ignore[arg-type]
    with jax.numpy_dtype_promotion("standard"):  # optax mixes int counts with float rates
        learned = optimize(config, lesson, run=run, show_progress=show_progress)
    description = Description(
        models=given.models,
        widths={model: zoo.width(model) for model in given.models},
        extractor={"name": zoo.extractor, "width": zoo.width(zoo.extractor)},
        width=config.width,
        members=config.members,
        token_width=scaling.width,
        resolution=_resolution(learned.held, given.targets, split),
        form="few" if len(given.models) <= CHUNK["few"] else "many",
        training={
            "config": _config_of(config),
            "datasets": list(datasets),
            "held_out": split.datasets,
            "zoo": zoo.fingerprint(),
            "meta_tasks": digest_of(given.meta),
            "extractor_facts": _facts(zoo),
            "left_out": [str(problem) for problem in given.problems],
            "history": learned.history,
            "looks": choose_looks(lesson, learned, given.metrics),
        },
    )
    general, maps = apart(learned.weights, own)
    yardstick = Yardstick.of(given.metrics, given.accuracies, datasets)
    return Spider(description, scaling, general, memory, maps, yardstick)


def _facts(zoo: FeatureStore) -> dict[str, Any]:
    """What the zoo records of how its extractor ran, so that another is not taken for it."""
    info = zoo.model_info(str(zoo.extractor))
    return {name: info[name] for name in EXTRACTOR_FACTS if name in info}


def read_own(
    zoo: FeatureStore,
    config: TrainConfig,
    datasets: Sequence[str],
    given: TrainingSet,
    *,
    show_progress: bool = False,
) -> OwnFeatures:
    """What models' own features say of the tasks of a training set."""
    return own_features(
        zoo,
        given.models,
        given.meta,
        given.mask,
        datasets,
        width=config.own_components,
        least=config.k_max,
        seed=config.seed,
        show_progress=show_progress,
    )


def apart(weights: Weights, own: OwnFeatures | None) -> tuple[Weights, OwnMaps | None]:
    """Weights of general tokens, and the maps of models' own."""
    general = weights._replace(own_project=None, own_bias=None)
    if own is None or weights.own_project is None:
        return general, None
    learned = np.asarray(weights.own_project), np.asarray(weights.own_bias)
    return general, OwnMaps.join(own.scalings, *learned)


def lesson_of(
    config: TrainConfig,
    scaling: Scaling,
    unit: NDArray[np.float32],
    given: TrainingSet,
    split: Split,
) -> tuple[Lesson, Memory | None]:
    """What the members learn from, and the memory that the spider will have.

    unit: [D] deviation of the sources' features.
    """
    tokens, inside = np.asarray(apply_scaling(scaling, given.tokens, given.mask)), split.weight > 0
    memory, prior = None, None
    if config.memory:
        notes = Notes(
            tokens, given.tokens, given.mask, given.deviations, unit, given.targets, config.memory
        )
        memory, prior = memorize(notes, given.meta), recall_own(notes, given.meta, inside)
    lesson = Lesson(
        tokens=tokens,
        mask=given.mask,
        targets=given.targets,
        prior=prior,
        inside=inside,
        held=split.held,
    )
    return lesson, memory


def leave_datasets_out(
    meta: Sequence[MetaTask], datasets: Sequence[str], config: TrainConfig
) -> Split:
    """Deal the source datasets out to the members: each leaves some out, every one about as often.

    A member trains on tasks that touch none of its left-out datasets, and is judged on those that
    touch nothing else.
    """
    rng = np.random.default_rng(config.seed)
    count = min(config.held_out, len(datasets) // 2)
    if count == 0 and config.held_out > 0:
        log.warning("one source dataset only: nothing can be held out to stop early on")
    dealt: list[str] = []
    left_out, weight, held = [], [], []
    for _ in range(config.members):
        while len(dealt) < count:
            dealt += [d for d in map(str, rng.permutation(datasets)) if d not in dealt]
        out, dealt = set(dealt[:count]), dealt[count:]
        inside = np.array([not out & set(task.datasets) for task in meta])
        outside = np.flatnonzero([bool(out) and out >= set(task.datasets) for task in meta])
        left_out.append(sorted(out))
        weight.append(inside.astype(np.float32))
        held.append(rng.permutation(outside)[:HELD_OUT_TASKS])
        if not inside.any():
            raise InputError("tasks: no meta-task is left to train on; sample more of them")
    fewest = min(map(len, held))
    return Split(left_out, np.stack(weight), np.stack([h[:fewest] for h in held]))


def _pairs(models: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """All pairs of models, or PAIRS of them drawn at random where there are more."""
    if models * (models - 1) // 2 <= PAIRS:
        return np.triu_indices(models, 1)
    rng = np.random.default_rng(0)
    first = rng.integers(0, models, PAIRS)
    return first, (first + rng.integers(1, models, PAIRS)) % models


def _resolution(scores: NDArray[np.float32], targets: NDArray[np.float32], split: Split) -> float:
    """Score difference from which CONFIDENCE of the held-out pairs were ordered as the target.

    P(right order) = sigmoid(a |difference|), a by maximum likelihood over the pairs of each
    member's own held-out tasks; the mean over members is steadier than one, so this is cautious.
    """
    M = targets.shape[1]
    first, second = _pairs(M)
    truth = targets[split.held].reshape(-1, M).astype(np.float64)
    guess = scores.reshape(-1, M).astype(np.float64)
    right = np.sign(truth[:, first] - truth[:, second])
    z = (right * (guess[:, first] - guess[:, second])).ravel()
    z = z[z != 0]
    if len(z) == 0:
        return float("nan")
    slope = 0.0
    for _ in range(50):  # Newton on a concave function of one variable
        p = 1 / (1 + np.exp(np.clip(slope * z, -500, 500)))
        slope += (p * z).sum() / (p * (1 - p) * z**2).sum()
    return float(np.log(CONFIDENCE / (1 - CONFIDENCE)) / slope) if slope > 0 else float("inf")
