"""Models that come and go without training anew: every other model keeps its scores to the bit.

A new model is measured on the spider's own meta-tasks by the teachers and put in its place among
the known models there (`yardstick`). That is its column in the memory; its token theta (and, of a
spider that looks at models, its projection P) is fitted to these orders, all else frozen.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from spider_jax.attention import Weights
from spider_jax.config_file import read_config
from spider_jax.errors import InputError
from spider_jax.fit_tokens import Exercise, fit_tokens
from spider_jax.known_facts import guess
from spider_jax.memory import recall_rows
from spider_jax.meta_tasks import digest_of
from spider_jax.own_features import OwnFeatures, own_features
from spider_jax.rerank import OwnMaps
from spider_jax.scaling import apply_scaling
from spider_jax.spider import Spider
from spider_jax.store import FeatureStore, Problem
from spider_jax.task_ridge import describe, design
from spider_jax.tasks import MetaTask
from spider_jax.teachers import teach
from spider_jax.train import leave_datasets_out
from spider_jax.train_config import TrainConfig
from spider_jax.training_set import (
    SAMPLERS,
    known_accuracies,
    target_orders,
    tokens_of_tasks,
    z_scores,
)
from spider_jax.yardstick import Yardstick, standing

log = logging.getLogger("spider_jax")

FITTED, GUESSED = "fitted to its metrics", "guessed"


class Added(NamedTuple):
    """The spider with its new models, and those that could not be added."""

    spider: Spider
    models: tuple[str, ...]
    problems: tuple[Problem, ...]


class Course(NamedTuple):
    """The meta-tasks of a training, again: what the extractor shows of them."""

    meta: list[MetaTask]
    tokens: NDArray[np.float32]
    mask: NDArray[np.bool_]
    deviations: NDArray[np.float32]


def add(
    spider: Spider,
    zoo: FeatureStore,
    models: Sequence[str] | None = None,
    *,
    cold: bool = False,
    show_progress: bool = False,
) -> Added:
    """Add models of a zoo to a spider.

    Args:
        spider: as trained, perhaps with models added before.
        zoo: labels and extractor's features of the source datasets as in training, and the new
            models' features on them; features of the known models are not needed.
        models: names; default: all of the zoo that the spider does not know.
        cold: models without features are added by a guess from what the manifest tells of them
            (`known_facts.guess`) instead of being left out; rankings say so.
        show_progress: bars on stderr.

    Returns:
        A new spider, the names that were added, and the problems of those that were not.

    Raises:
        InputError: a model that is known already or that the zoo does not know, a spider without a
            yardstick, other labels than in training, or no model that can be added.
    """
    wanted = _wanted(spider, zoo, models)
    able = _able(spider, zoo, wanted)
    found: tuple[str, ...] = ()
    problems: list[Problem] = []
    result = spider
    if able:
        course = recall_course(spider, zoo)
        found, new, lost = measure(spider, zoo, course, able, show_progress=show_progress)
        problems += lost
        result = seat(spider, zoo, course, found, new, show_progress=show_progress)
    rest = [model for model in wanted if model not in able]
    if cold:
        result = guess_places(result, zoo, rest)
        found = (*found, *rest)
    else:
        why = "no features on all source datasets: export them, or add it cold"
        problems += [Problem(model, None, why) for model in rest]
    if not found:
        raise InputError(f"no model could be added: {problems[0]}")
    return Added(result, tuple(found), tuple(problems))


def remove(spider: Spider, models: Sequence[str]) -> Spider:
    """The spider without some models.

    Raises:
        InputError: a model that it does not know, or fewer than two left.
    """
    _refuse_unknown(spider, models)
    kept = [i for i, name in enumerate(spider.models) if name not in set(models)]
    if len(kept) < 2:
        raise InputError(f"at least two models must stay, {len(kept)} would: remove fewer")
    about = spider.description
    names = tuple(about.models[i] for i in kept)
    training = dict(about.training) | {"added": _only(about.training.get("added", {}), names)}
    widths = {name: width for name, width in about.widths.items() if name in names}
    memory, own, yard = spider.memory, spider.own, spider.yardstick
    return replace(
        spider,
        description=replace(about, models=names, widths=widths, training=training),
        weights=spider.weights._replace(theta=spider.weights.theta[:, jnp.array(kept)]),
        memory=None if memory is None else memory._replace(targets=memory.targets[:, kept]),
        own=None if own is None else own.take(kept),
        yardstick=None if yard is None else yard.take(kept),
    )


def rename(spider: Spider, names: Mapping[str, str]) -> Spider:
    """The spider with other names for some models, {old: new}.

    Raises:
        InputError: an old name that it does not know, or a new one that is taken.
    """
    _refuse_unknown(spider, tuple(names))
    about = spider.description
    new = tuple(names.get(name, name) for name in about.models)
    if len(set(new)) < len(new):
        twice = next(name for i, name in enumerate(new) if name in new[:i])
        raise InputError(f"two models would be named {twice!r}: choose another name")
    widths = {names.get(name, name): width for name, width in about.widths.items()}
    added = {names.get(n, n): how for n, how in about.training.get("added", {}).items()}
    training = dict(about.training) | {"added": added}
    return replace(spider, description=replace(about, models=new, widths=widths, training=training))


# ---- who is added ----------------------------------------------------------------------------


def _wanted(spider: Spider, zoo: FeatureStore, models: Sequence[str] | None) -> list[str]:
    everyone = dict.fromkeys([*zoo.models, *zoo.manifest.get("models", {})])
    if models is None:
        new = [model for model in everyone if model not in spider.models]
        if not new:
            raise InputError(f"the spider knows all {len(everyone)} models of {zoo.folder}")
        return new
    known = [model for model in models if model in spider.models]
    if known:
        raise InputError(f"the spider knows {known[0]!r} already: remove it first to add it anew")
    strange = [model for model in models if model not in everyone]
    if strange:
        raise InputError(f"{zoo.folder} knows no model {strange[0]!r}")
    return list(dict.fromkeys(models))


def _able(spider: Spider, zoo: FeatureStore, models: Sequence[str]) -> list[str]:
    """Those with features on every source dataset."""
    datasets = spider.description.training.get("datasets", ())
    there = {name: set(zoo.models_of(name)) for name in datasets if name in zoo.tasks}
    return [m for m in models if there and all(m in zoo_models for zoo_models in there.values())]


def _refuse_unknown(spider: Spider, models: Sequence[str]) -> None:
    unknown = [model for model in models if model not in spider.models]
    if unknown:
        raise InputError(f"the spider knows no model {unknown[0]!r}")


def _only(added: Mapping[str, str], names: Sequence[str]) -> dict[str, str]:
    return {name: how for name, how in added.items() if name in names}


# ---- what is known of them -------------------------------------------------------------------


def recall_course(spider: Spider, zoo: FeatureStore) -> Course:
    """The meta-tasks that the spider was trained on, drawn again.

    Raises:
        InputError: no yardstick, another extractor, or labels that have changed.
    """
    about = spider.description
    if spider.yardstick is None or "meta_tasks" not in about.training:
        raise InputError(
            "the spider keeps no yardstick for new models (it comes from elsewhere or from an "
            "older version): train it again"
        )
    extractor = str(about.extractor["name"])
    if zoo.extractor != extractor:
        raise InputError(
            f"{zoo.folder} has extractor {zoo.extractor!r}, the spider needs {extractor!r}"
        )
    config, datasets = read_config(about.training["config"]), about.training["datasets"]
    labels = {name: zoo.training_labels(name) for name in datasets}
    meta = SAMPLERS[config.targets](labels, config.tasks, config.seed)
    if digest_of(meta) != about.training["meta_tasks"]:
        raise InputError(
            f"labels of the source datasets in {zoo.folder} are not those of the training: new "
            "models cannot be compared with the known ones there"
        )
    everything = np.arange(len(meta))
    seen = tokens_of_tasks(zoo, extractor, meta, everything, config.tasks.max_classes)
    return Course(meta, *seen)


def measure(
    spider: Spider,
    zoo: FeatureStore,
    course: Course,
    models: Sequence[str],
    *,
    show_progress: bool = False,
) -> tuple[tuple[str, ...], Yardstick, tuple[Problem, ...]]:
    """The teachers' metrics of new models on the meta-tasks, and who could not be measured."""
    training = spider.description.training
    config, datasets = read_config(training["config"]), training["datasets"]
    if config.targets == "accuracies":
        return _measure_truth(zoo, course, models, datasets)
    size = config.tasks.resamples
    names, metrics, problems = teach(
        zoo, course.meta[::size], config.teachers, models=models, show_progress=show_progress
    )
    every = np.repeat(metrics, size, axis=0).astype(np.float32)
    return names, Yardstick.of(every, known_accuracies(zoo, names, datasets), datasets), problems


def _measure_truth(
    zoo: FeatureStore, course: Course, models: Sequence[str], datasets: Sequence[str]
) -> tuple[tuple[str, ...], Yardstick, tuple[Problem, ...]]:
    """The same where the true accuracies are what the spider learned."""
    lacks = {m: [d for d in datasets if (m, d) not in zoo.accuracies] for m in models}
    names = tuple(model for model in models if not lacks[model])
    problems = tuple(
        Problem(model, missing[0], "no accuracy in accuracies.csv")
        for model, missing in lacks.items()
        if missing
    )
    table = known_accuracies(zoo, names, datasets)
    rows = [[table[task.datasets[0]]] for task in course.meta] if names else []
    metrics = np.array(rows, np.float32).reshape(len(course.meta), 1, len(names))
    return names, Yardstick.of(metrics, table, datasets), problems


# ---- their places ----------------------------------------------------------------------------


def seat(
    spider: Spider,
    zoo: FeatureStore,
    course: Course,
    models: Sequence[str],
    new: Yardstick,
    *,
    show_progress: bool = False,
) -> Spider:
    """The spider with models of which metrics are known."""
    if not models:
        return spider
    assert spider.yardstick is not None  # recall_course has seen to it
    training = spider.description.training
    config, datasets = read_config(training["config"]), training["datasets"]
    places = standing(config, spider.yardstick, new, course.meta, datasets)

    def own(which: NDArray[np.int64]) -> OwnFeatures:
        some, width = [models[i] for i in which], spider.own.matrix.shape[1]  # type: ignore[union-attr]
        asked = {"width": width, "least": len(some)}
        return own_features(zoo, some, course.meta, course.mask, datasets, **asked)

    exercise = _exercise(spider, config, course, places)
    if spider.own is not None:
        exercise = exercise._replace(own=own)
    start = _start(spider, places)
    tokens, scalings = fit_tokens(spider.weights, exercise, start, show_progress)
    widths = {model: zoo.width(model) for model in models}
    maps = OwnMaps.join(scalings, tokens.project, tokens.bias) if scalings else None
    seated = _joined(spider, models, tokens.theta, config.memory * places, new, widths, maps)
    return _told(seated, dict.fromkeys(models, FITTED))


def _exercise(
    spider: Spider,
    config: TrainConfig,
    course: Course,
    places: NDArray[np.float32],
) -> Exercise:
    """Orders in which the new models must find their place, and what the others score there."""
    datasets = spider.description.training["datasets"]
    inside = leave_datasets_out(course.meta, datasets, config).weight
    scaled = np.asarray(apply_scaling(spider.scaling, course.tokens, course.mask))
    M = len(spider.models)
    prior = np.zeros((len(inside), len(course.meta), M + places.shape[1]), np.float32)
    targets = np.concatenate([_known_places(spider, config, course), places], axis=1)
    memory = spider.memory
    if memory is not None and memory.recall.ridge is not None:
        unit = memory.recall.ridge.unit
        rows = design(describe(course.tokens, course.mask, course.deviations, unit)).rows
        remembered = np.concatenate([memory.targets, config.memory * places], axis=1)
        prior = recall_rows(rows, remembered, course.meta, inside > 0, config.memory, models=M)
    return Exercise(scaled, course.mask, targets, prior, inside, None)


def _known_places(spider: Spider, config: TrainConfig, course: Course) -> NDArray[np.float32]:
    """[S, M] targets of the known models, mean 0 and deviation 1 over those with metrics."""
    assert spider.yardstick is not None
    known = spider.yardstick.measured()
    yard, datasets = spider.yardstick.take(known), spider.description.training["datasets"]
    orders = target_orders(config, yard.metrics, course.meta, yard.by_dataset(datasets))
    places = np.zeros((len(orders), len(spider.models)), np.float32)
    places[:, known] = z_scores(orders)
    return places


def _start(spider: Spider, places: NDArray[np.float32]) -> NDArray[np.float32]:
    """[E, n, d] tokens to begin with: those of the known model whose places are most alike."""
    theta = np.asarray(spider.weights.theta)
    if spider.memory is None:
        return np.repeat(theta.mean(1, keepdims=True), places.shape[1], axis=1)
    known = spider.memory.targets / max(float(spider.memory.targets.std()), 1e-12)
    apart = ((known[:, :, None] - places[:, None]) ** 2).sum(0)
    return theta[:, apart.argmin(0)]


def guess_places(spider: Spider, zoo: FeatureStore, models: Sequence[str]) -> Spider:
    """The spider with models of which nothing is known but what the manifest says."""
    if not models:
        return spider
    facts = {name: zoo.model_info(name) for name in (*spider.models, *models)}
    weights, told = guess(facts, spider.models, models)
    theta = np.einsum("nm,emd->end", weights, np.asarray(spider.weights.theta))
    memory = None if spider.memory is None else spider.memory.targets @ weights.T
    yard = spider.yardstick
    nothing = None
    if yard is not None:
        shapes = ((*yard.metrics.shape[:2], len(models)), (len(yard.accuracies), len(models)))
        nothing = Yardstick(*(np.full(shape, np.nan, np.float32) for shape in shapes))
    seated = _joined(spider, models, theta, memory, nothing, {}, None)
    return _told(seated, {m: f"{GUESSED} from {why}" for m, why in zip(models, told, strict=True)})


def _joined(
    spider: Spider,
    models: Sequence[str],
    theta: NDArray[np.floating],
    remembered: NDArray[np.floating] | None,
    yard: Yardstick | None,
    widths: Mapping[str, int],
    own: OwnMaps | None,
) -> Spider:
    """The spider with columns for new models behind its own; what it has stays as it is."""
    about, memory, maps = spider.description, spider.memory, spider.own
    if memory is not None and remembered is not None:
        columns = memory.targets, np.asarray(remembered, np.float32)
        memory = memory._replace(targets=np.concatenate(columns, axis=1))
    if maps is not None:
        maps = maps.joined(own or _no_maps(maps, len(models)))
    both = spider.weights.theta, jnp.asarray(theta, jnp.float32)
    weights: Weights = spider.weights._replace(theta=jnp.concatenate(both, axis=1))
    names = (*about.models, *models)
    return replace(
        spider,
        description=replace(about, models=names, widths={**about.widths, **widths}),
        weights=weights,
        memory=memory,
        own=maps,
        yardstick=None
        if spider.yardstick is None or yard is None
        else spider.yardstick.joined(yard),
    )


def _no_maps(maps: OwnMaps, models: int) -> OwnMaps:
    """Of models without features of their own."""
    E, _, q, d = maps.project.shape
    empty = np.zeros((0, q), np.float32)
    starts = np.zeros(models + 1, np.int64)
    nothing = np.zeros((E, models, q, d), np.float32), np.zeros((E, models, d), np.float32)
    return OwnMaps(starts, empty[:, 0], empty, *nothing)


def _told(spider: Spider, how: Mapping[str, Any]) -> Spider:
    """The spider whose description says how models were added."""
    training = dict(spider.description.training)
    training["added"] = {**training.get("added", {}), **how}
    return replace(spider, description=replace(spider.description, training=training))
