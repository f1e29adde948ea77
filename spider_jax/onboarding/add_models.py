"""New models in a spider, without training: every other model keeps its scores to the bit.

The teachers score a new model on the spider's own meta-tasks. Its place among the known models
there (`TeacherTable`) is its column in the memory. Its token theta (and its projection P, where the
spider attends to own tokens) is fitted to these orders, all else frozen.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from spider_jax.errors import InputError
from spider_jax.onboarding.cold_start import cold_start_weights
from spider_jax.onboarding.edit import with_models, with_provenance
from spider_jax.onboarding.fit_tokens import FitProblem, fit_tokens
from spider_jax.onboarding.placement import place_among_known
from spider_jax.onboarding.training_tasks import (
    TrainingTasks,
    need_teacher_table,
    redraw_training_tasks,
)
from spider_jax.ranking.aggregate import z_scores
from spider_jax.runtime.single_precision import single_precision
from spider_jax.spider.own_maps import OwnMaps
from spider_jax.spider.spider import Spider
from spider_jax.spider.state import TeacherTable
from spider_jax.spider.task_memory import memory_rows, process_rows
from spider_jax.storage.files import checked_names
from spider_jax.tasks.description import describe, design
from spider_jax.tasks.scaling import apply_scaling
from spider_jax.training.config import TrainConfig, read_config
from spider_jax.training.holdout import leave_datasets_out
from spider_jax.training.learn_belief import wholly_calibrated
from spider_jax.training.own_features import OwnFeatures, own_features
from spider_jax.training.targets import target_orders
from spider_jax.training.teachers import teach
from spider_jax.zoo.store import FeatureStore, Skipped

FITTED, GUESSED = "fitted to its metrics", "guessed"


class Added(NamedTuple):
    """What comes of adding models.

    Attributes:
        spider: with its new models.
        models: names of those that were added.
        problems: of those that could not be added.
    """

    spider: Spider
    models: tuple[str, ...]
    problems: tuple[Skipped, ...]


@single_precision
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
            (`cold_start_weights`) instead of being left out; rankings say so.
        show_progress: bars on stderr.

    Returns:
        A new spider, the names that were added, and the problems of those that were not.

    Raises:
        InputError: a model that is known already or that the zoo does not know, a spider without a
            teacher table, another extractor or other labels than in training, or no model
            that can be added.
    """
    if not cold:
        need_teacher_table(spider)
    wanted = _wanted(spider, zoo, models)
    absent = _without_features(spider, zoo, wanted)
    able, problems = _readable(spider, zoo, [m for m in wanted if m not in absent])
    found: tuple[str, ...] = ()
    result = spider
    if able:
        tasks = redraw_training_tasks(spider, zoo)
        found, new, lost = measure_models(spider, zoo, tasks, able, show_progress=show_progress)
        problems += lost
        result = fit_and_join(spider, zoo, tasks, found, new, show_progress=show_progress)
    if cold:
        result = guess_places(result, zoo, list(absent))
        found = (*found, *absent)
    else:
        why = "no features, which it needs on all source datasets: export them, or add it cold"
        messages = {(p.model, p.task): p.message for p in zoo.problems}
        problems += [Skipped(m, task, messages.get((m, task), why)) for m, task in absent.items()]
    if not found:
        raise InputError(f"no model could be added: {problems[0]}")
    return Added(result, found, tuple(problems))


# ---- who is added ----------------------------------------------------------------------------


def _wanted(spider: Spider, zoo: FeatureStore, models: Sequence[str] | None) -> list[str]:
    everyone = dict.fromkeys([*zoo.models, *zoo.manifest.get("models", {})])
    there = set(spider.models)
    if models is None:
        new = [model for model in everyone if model not in there]
        if not new:
            raise InputError(f"the spider knows all {len(everyone)} models of {zoo.folder}")
        return new
    if not checked_names(models):
        raise InputError("models must name at least one, got none: leave it out for all new ones")
    for model in models:
        if model in there:
            raise InputError(f"the spider knows {model!r} already: remove it first to add it anew")
        if model not in everyone:
            raise InputError(f"{zoo.folder} knows no model {model!r}")
    return list(dict.fromkeys(models))


def _without_features(
    spider: Spider, zoo: FeatureStore, models: Sequence[str]
) -> dict[str, str | None]:
    """Models that lack features, by the first source dataset that they lack them on."""
    datasets = spider.description.training.get("datasets", ())
    if not datasets:
        return dict.fromkeys(models)
    there = {name: set(zoo.models_of(name)) for name in datasets}
    lacks = {m: [name for name, some in there.items() if m not in some] for m in models}
    return {model: names[0] for model, names in lacks.items() if names}


def _readable(
    spider: Spider, zoo: FeatureStore, models: Sequence[str]
) -> tuple[list[str], list[Skipped]]:
    """Models whose features are sound, and what is wrong with the others."""
    able, problems = [], []
    for model in models:
        try:
            for name in spider.description.training["datasets"]:
                zoo.features(model, name)
        except InputError as error:
            problems.append(Skipped(model, None, str(error)))
        else:
            able.append(model)
    return able, problems


# ---- what is known of them -------------------------------------------------------------------


def measure_models(
    spider: Spider,
    zoo: FeatureStore,
    tasks: TrainingTasks,
    models: Sequence[str],
    *,
    show_progress: bool = False,
) -> tuple[tuple[str, ...], TeacherTable, tuple[Skipped, ...]]:
    """Measure new models on the spider's meta-tasks, as training measured the known ones.

    Args:
        spider: that the models are new to.
        zoo: the models' features on the source datasets; accuracies where known.
        tasks: the spider's meta-tasks.
        models: names.
        show_progress: a bar on stderr.

    Returns:
        Names of the n models that could be measured; their teacher table, whose metrics are true
        accuracies where the spider learned these; and the models that could not.

    Raises:
        InputError: no model can be measured.
    """
    training = spider.description.training
    config, datasets = read_config(training["config"]), training["datasets"]
    if config.targets == "accuracies":
        return _measure_truth(zoo, tasks, models, datasets)
    size = config.tasks.resamples
    names, metrics, problems = teach(
        zoo, tasks.meta[::size], config.teachers, models=models, show_progress=show_progress
    )
    every = np.repeat(metrics, size, axis=0).astype(np.float32)
    return names, TeacherTable.of(every, _truths(zoo, names, datasets), datasets), problems


def _truths(
    zoo: FeatureStore, models: Sequence[str], datasets: Sequence[str]
) -> dict[str, NDArray[np.float64]]:
    """Accuracies [n] by dataset, NaN where unknown: each model's, whoever else comes."""
    table = {d: [zoo.accuracies.get((model, d), np.nan) for model in models] for d in datasets}
    return {d: np.array(row, np.float64) for d, row in table.items()}


def _measure_truth(
    zoo: FeatureStore, tasks: TrainingTasks, models: Sequence[str], datasets: Sequence[str]
) -> tuple[tuple[str, ...], TeacherTable, tuple[Skipped, ...]]:
    """The same where the true accuracies are what the spider learned."""
    lacks = {m: [d for d in datasets if (m, d) not in zoo.accuracies] for m in models}
    names = tuple(model for model in models if not lacks[model])
    problems = tuple(
        Skipped(model, missing[0], "no accuracy in accuracies.csv")
        for model, missing in lacks.items()
        if missing
    )
    table = _truths(zoo, names, datasets)
    metrics = np.array([[table[task.datasets[0]]] for task in tasks.meta], np.float32)
    return names, TeacherTable.of(metrics, table, datasets), problems


# ---- their places ----------------------------------------------------------------------------


def fit_and_join(
    spider: Spider,
    zoo: FeatureStore,
    tasks: TrainingTasks,
    models: Sequence[str],
    new: TeacherTable,
    *,
    show_progress: bool = False,
) -> Spider:
    """Fit the tokens of models with known metrics, and join them to a spider.

    Args:
        spider: that the models are new to.
        zoo: the models' features on the source datasets, where the spider has maps of own features;
            else only their widths are read.
        tasks: the spider's meta-tasks.
        models: n names; none gives the spider back.
        new: their teacher table.
        show_progress: a bar on stderr.

    Returns:
        The spider with the models behind its own.
    """
    if not models:
        return spider
    assert spider.teacher_table is not None  # redraw_training_tasks has seen to it
    training = spider.description.training
    config, datasets = read_config(training["config"]), training["datasets"]
    places = place_among_known(config, spider.teacher_table, new, tasks.meta, datasets)
    remembered = np.float32(config.memory) * places
    if spider.beliefs is not None:  # its memory goes all the way to known accuracies
        whole = wholly_calibrated(config)
        remembered = place_among_known(whole, spider.teacher_table, new, tasks.meta, datasets)

    known = spider.teacher_table.measured()
    problem = _fit_problem(spider, config, tasks, known, places, remembered)
    if spider.own is not None:
        width = spider.own.matrix.shape[1]

        def own(which: NDArray[np.int64]) -> OwnFeatures:
            some = [models[i] for i in which]
            asked = {"width": width, "least": len(some)}
            return own_features(zoo, some, tasks.meta, tasks.mask, datasets, **asked)

        problem = problem._replace(own=own)
    among = spider.weights._replace(theta=spider.weights.theta[:, jnp.array(known)])
    start = _start(np.asarray(among.theta), problem)
    tokens, scalings = fit_tokens(among, problem, start, show_progress)
    widths = {model: zoo.width(model) for model in models}
    maps = None
    if tokens.project is not None and tokens.bias is not None:
        maps = OwnMaps.join(scalings, tokens.project, tokens.bias)
    grown = with_models(spider, models, tokens.theta, remembered, new, widths, maps)
    return with_provenance(grown, dict.fromkeys(models, FITTED))


def _fit_problem(
    spider: Spider,
    config: TrainConfig,
    tasks: TrainingTasks,
    known: Sequence[int],
    places: NDArray[np.float32],
    remembered: NDArray[np.float32],
) -> FitProblem:
    """Orders in which new models must find their place among the known ones: not guessed ones."""
    assert spider.teacher_table is not None  # redraw_training_tasks has seen to it
    table, datasets = spider.teacher_table.take(known), spider.description.training["datasets"]
    orders = target_orders(config, table.metrics, tasks.meta, table.by_dataset(datasets))
    targets = np.concatenate([z_scores(orders).astype(np.float32), places], axis=1)
    inside = leave_datasets_out(tasks.meta, datasets, config).weight
    scaled = np.asarray(apply_scaling(spider.scaling, tasks.tokens, tasks.mask))
    prior, memory = np.zeros((len(inside), *targets.shape), np.float32), spider.memory
    if memory is not None and memory.weights.process is not None:
        together = np.concatenate([memory.targets[:, known], remembered], axis=1)
        prior = process_rows(memory.weights.process, together, tasks.meta, inside > 0)
        prior *= np.float32(config.memory)
    elif memory is not None and memory.weights.ridge is not None:
        unit, weight = memory.weights.ridge.unit, config.memory
        rows = design(describe(tasks.tokens, tasks.mask, tasks.deviations, unit)).rows
        together = np.concatenate([memory.targets[:, known], remembered], axis=1)
        prior = memory_rows(rows, together, tasks.meta, inside > 0, weight, models=len(known))
    return FitProblem(scaled, tasks.mask, targets, prior, inside, None)


def _start(theta: NDArray[np.float32], problem: FitProblem) -> NDArray[np.float32]:
    """[E, n, d] tokens to begin with: of the known model, of M, with the places most alike."""
    known, places = np.split(problem.targets, [theta.shape[1]], axis=1)
    nearest = [int(((known - place[:, None]) ** 2).sum(0).argmin()) for place in places.T]
    return theta[:, nearest]


def guess_places(spider: Spider, zoo: FeatureStore, models: Sequence[str]) -> Spider:
    """Join models to a spider of which nothing is known but what the manifest says.

    Args:
        spider: that the models are new to.
        zoo: whose manifest describes known and new models.
        models: n names; none gives the spider back.

    Returns:
        The spider with the models behind its own, each a weighted mean of the known ones.
    """
    if not models:
        return spider
    facts = {name: zoo.model_info(name) for name in (*spider.models, *models)}
    weights, facts_used = cold_start_weights(facts, spider.models, models)
    theta = np.einsum("nm,emd->end", weights, np.asarray(spider.weights.theta))
    memory = None if spider.memory is None else spider.memory.targets @ weights.T
    table, nothing = spider.teacher_table, None
    if table is not None:
        shapes = ((*table.metrics.shape[:2], len(models)), (len(table.accuracies), len(models)))
        nothing = TeacherTable(*(np.full(shape, np.nan, np.float32) for shape in shapes))
    grown = with_models(spider, models, theta, memory, nothing, {}, None)
    how = {m: f"{GUESSED} from {why}" for m, why in zip(models, facts_used, strict=True)}
    return with_provenance(grown, how)
