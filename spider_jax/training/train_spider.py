"""A training from a zoo to a spider: meta-tasks, target orders, the optimisation, what is kept.

An ensemble is trained at once. Each member leaves other source datasets out of its training; on
these the number of steps is chosen and the resolution of the ranking is measured, so that no
dataset is lost to all members.
"""

import logging
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import jax
import numpy as np

from spider_jax.runtime.processes import gather, share
from spider_jax.runtime.single_precision import single_precision
from spider_jax.spider.folding import form_for
from spider_jax.spider.own_maps import OwnMaps
from spider_jax.spider.spider import Spider
from spider_jax.spider.state import Description, TeacherTable
from spider_jax.spider.task_kernel import embed
from spider_jax.spider.task_memory import Memory, MemoryWeights, process_rows
from spider_jax.spider.weights import OwnTokens, Weights
from spider_jax.storage.run_folder import RunFolder
from spider_jax.tasks.description import source_unit
from spider_jax.tasks.moments import digest_of
from spider_jax.tasks.scaling import Scaling, apply_scaling, fit_scaling, with_unit_tokens
from spider_jax.tasks.tokens import load_sources
from spider_jax.training.arrays import TrainingArrays
from spider_jax.training.choose_k import choose_rerank_k
from spider_jax.training.config import TrainConfig
from spider_jax.training.holdout import Split, leave_datasets_out
from spider_jax.training.learn_belief import Learned, domains_of, learn_belief
from spider_jax.training.loop import optimize
from spider_jax.training.network_share import held_prior, network_share
from spider_jax.training.own_features import OwnFeatures, own_features
from spider_jax.training.resolution import measured_resolution
from spider_jax.training.training_set import (
    TrainingSet,
    readable_datasets,
    refuse_untrainable,
    source_datasets,
    training_set,
    with_targets,
)
from spider_jax.zoo.store import FeatureStore

log = logging.getLogger("spider_jax")

# Settings that say how a training runs and not what comes of it: a run goes on with others.
HOW_IT_RUNS = ("parallel", "model_shards", "checkpoint_every")
EXTRACTOR_FACTS = ("weights_sha256", "preprocessing", "layer")


@single_precision
def train(
    zoo: FeatureStore,
    config: TrainConfig | None = None,
    *,
    datasets: Sequence[str] | None = None,
    run: str | Path | None = None,
    show_progress: bool = False,
) -> Spider:
    """Train a spider on a zoo.

    Under `jax.distributed` every process reads and scores its share of the meta-tasks, and all
    return the same spider.

    Args:
        zoo: features of all models and of the general extractor, labels of the source datasets.
        config: see TrainConfig; default: TrainConfig().
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
    names, lost = readable_datasets(zoo, names, config.targets)
    folder = None if run is None else RunFolder(Path(run), _identity(zoo, config, names))
    given = shared_training_set(zoo, config, names, show_progress=show_progress)
    given = given._replace(problems=(*lost, *given.problems))
    return fit(zoo, config, names, given, run=folder, show_progress=show_progress)


@single_precision
def shared_training_set(
    zoo: FeatureStore,
    config: TrainConfig,
    datasets: Sequence[str],
    *,
    show_progress: bool = False,
) -> TrainingSet:
    """Make a training set of which every process computes its share.

    Args:
        zoo: as for `training_set`.
        config: as for `training_set`.
        datasets: as for `training_set`.
        show_progress: a bar on stderr.

    Returns:
        The whole training set, the same in every process.

    Raises:
        InputError: as for `training_set`.
    """
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


def _identity(zoo: FeatureStore, config: TrainConfig, datasets: Sequence[str]) -> dict[str, object]:
    """What must be the same for a training to go on; the number of devices need not."""
    return {**_config_of(config), "datasets": list(datasets), "zoo": zoo.fingerprint()}


def _config_of(config: TrainConfig) -> dict[str, object]:
    """The configuration without what does not change the spider."""
    return {name: value for name, value in asdict(config).items() if name not in HOW_IT_RUNS}


@single_precision
def fit(
    zoo: FeatureStore,
    config: TrainConfig,
    datasets: Sequence[str],
    given: TrainingSet,
    *,
    run: RunFolder | None = None,
    own: OwnFeatures | None = None,
    show_progress: bool = False,
) -> Spider:
    """Train on a prepared training set: the part that runs on the devices.

    Args:
        zoo: features of the extractor on the source datasets; of all models with `config.k_max`.
        config: see TrainConfig.
        datasets: names of the source datasets.
        given: with target orders.
        run: where checkpoints are kept; None: none are kept.
        own: the models' own features, which are read where `config.k_max` is above 0; default: read
            here.
        show_progress: bars on stderr.

    Returns:
        The spider.

    Raises:
        InputError: features that cannot be read, no task left for a member to train on, a training
            that diverges, or devices that cannot be split as `config` says.
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
    learned = None
    if config.memory:
        domains = domains_of({name: zoo.task_info(name) for name in datasets}, datasets)
        learned = learn_belief(given, config, unit, datasets, domains)
    arrays, memory = training_arrays(config, scaling, given, split, learned)
    if config.k_max:
        own = own or read_own(zoo, config, datasets, given, show_progress=show_progress)
        arrays = arrays._replace(own=OwnTokens(own.tokens, own.models))  # type: ignore[arg-type]
    with jax.numpy_dtype_promotion("standard"):  # optax mixes int counts with float rates
        result = optimize(config, arrays, run=run, show_progress=show_progress)
    share = network_share(config, arrays, result, learned)
    scores = result.held_scores
    if learned is not None and arrays.prior is not None:
        scores = share * (scores - held_prior(arrays)) + held_prior(arrays) / config.memory
    description = Description(
        models=given.models,
        widths={model: zoo.width(model) for model in given.models},
        extractor={"name": zoo.extractor, "width": zoo.width(zoo.extractor)},
        width=config.width,
        members=config.members,
        token_width=scaling.width,
        resolution=measured_resolution(scores, given.targets, split),
        form=form_for(len(given.models)),
        training={
            "config": _config_of(config),
            "datasets": list(datasets),
            "held_out": split.datasets,
            "zoo": zoo.fingerprint(),
            "meta_tasks": digest_of(given.meta),
            "extractor_facts": _facts(zoo),
            "left_out": [str(problem) for problem in given.problems],
            "history": result.history,
            "looks": choose_rerank_k(arrays, result, given.metrics if learned is None else None),
            "network_weight": share,
        },
    )
    general, maps = split_own_maps(result.weights, own)
    teacher_table = TeacherTable.of(given.metrics, given.accuracies, datasets)
    beliefs = None if learned is None else learned.state
    return Spider(description, scaling, general, memory, maps, teacher_table, beliefs)


def _facts(zoo: FeatureStore) -> dict[str, object]:
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
    """Read the models' own features on the tasks of a training set.

    Args:
        zoo: features of the models on the source datasets.
        config: its `own_components`, `k_max` and `seed` are read here.
        datasets: names of the source datasets.
        given: the training set.
        show_progress: a bar on stderr.

    Returns:
        Own class centres of the models, and how raw features become them.

    Raises:
        InputError: features that cannot be read.
    """
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


def split_own_maps(weights: Weights, own: OwnFeatures | None) -> tuple[Weights, OwnMaps | None]:
    """Split learned weights into those that read general tokens and the models' own maps.

    Args:
        weights: of E members, as trained.
        own: the own features that were read; None for none.

    Returns:
        The weights without projections of own tokens; and the maps from models' raw features to own
        tokens, None where none were learned.
    """
    general = weights._replace(own_project=None, own_bias=None)
    if own is None or weights.own_project is None:
        return general, None
    learned = np.asarray(weights.own_project), np.asarray(weights.own_bias)
    return general, OwnMaps.join(own.scalings, *learned)


def training_arrays(
    config: TrainConfig,
    scaling: Scaling,
    given: TrainingSet,
    split: Split,
    learned: Learned | None,
) -> tuple[TrainingArrays, Memory | None]:
    """Make the arrays that the members learn from, and the memory that the spider will have.

    A member's score on a training task begins with what a memory of tasks from other datasets says,
    so the member learns beside the memory as it will be on a new task.

    Args:
        config: its `memory` is read here.
        scaling: of the extractor's features.
        given: the training set.
        split: the tasks that each member trains on and is judged on.
        learned: for beliefs; None where `config.memory` is 0 and the network ranks alone.

    Returns:
        The arrays, without models' own features; and the memory, None without `learned`.
    """
    tokens, inside = np.asarray(apply_scaling(scaling, given.tokens, given.mask)), split.weight > 0
    memory, prior = None, None
    if learned is not None:
        embeddings = embed(tokens, given.mask).astype(np.float32)
        weights = MemoryWeights(embeddings, process=learned.process)
        memory = Memory(weights, learned.standings)
        said = process_rows(learned.process, learned.standings, given.meta, inside)
        prior = np.float32(config.memory) * said
    arrays = TrainingArrays(
        tokens=tokens,
        mask=given.mask,
        targets=given.targets,
        prior=prior,
        inside=inside,
        held=split.held,
    )
    return arrays, memory
