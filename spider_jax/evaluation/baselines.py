"""What every evaluation stands beside: constant and random orders, metrics, kernel and ridge."""

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from spider_jax.errors import InputError
from spider_jax.metrics.table import METRICS
from spider_jax.ranking.aggregate import z_scores
from spider_jax.spider.task_kernel import task_kernel
from spider_jax.spider.task_ridge import fit_task_ridge
from spider_jax.tasks.description import describe, design, source_unit
from spider_jax.tasks.padding import pad_tokens
from spider_jax.tasks.scaling import fit_scaling
from spider_jax.tasks.tokens import load_sources, zoo_tokens
from spider_jax.training.training_set import TrainingSet
from spider_jax.zoo.scores import score_zoo
from spider_jax.zoo.store import FeatureStore

RANDOM_ORDERS = 200


CONSTANT = "constant order"


KNOWN_FACTS = {"params": "parameter count", "source_accuracy": "source accuracy"}


class Method(NamedTuple):
    """A method of a comparison.

    Attributes:
        scores: [R, T, M] in R runs (seeds) on T tasks.
        reads: what it reads of the target task.
    """

    scores: Float[np.ndarray, "R T M"]
    reads: str


def truth_of(
    zoo: FeatureStore, tasks: Sequence[str], models: Sequence[str]
) -> Float[np.ndarray, "T M"]:
    """True accuracies [T, M] from the zoo's accuracies.csv.

    Raises:
        InputError: one is missing.
    """
    missing = [(m, t) for t in tasks for m in models if (m, t) not in zoo.accuracies]
    if missing:
        raise InputError(
            f"accuracies.csv of {zoo.folder} has no row for {missing[0][0]!r} on {missing[0][1]!r}"
        )
    return np.array([[zoo.accuracies[m, t] for m in models] for t in tasks])


def baseline_methods(
    zoo: FeatureStore, tasks: Sequence[str], models: Sequence[str], *, seed: int = 0
) -> dict[str, Method]:
    """The orders that never look at the target, for `tasks`.

    The constant order is the mean z-scored true accuracy over all other tasks of the zoo with
    known accuracies (leave one target out). Random is 200 orders. Parameter count and source
    accuracy where the manifest knows them for every model.

    Raises:
        InputError: no other task with known accuracies.
    """
    known = [t for t in zoo.tasks if all((m, t) in zoo.accuracies for m in models)]
    alone = [t for t in tasks if not set(known) - {t}]
    if alone:
        raise InputError(
            f"accuracies.csv of {zoo.folder} knows no other task than {alone[0]!r} for all models: "
            "the constant order needs at least one"
        )
    z = {t: z_scores(truth_of(zoo, [t], models)[0]) for t in known}
    constant = [np.mean([z[o] for o in known if o != t], axis=0) for t in tasks]
    found = {CONSTANT: Method(np.array(constant)[None], "nothing")}
    for fact, name in KNOWN_FACTS.items():
        values = [zoo.model_info(model).get(fact) for model in models]
        if all(isinstance(value, int | float) for value in values):
            order = np.array(values, np.float64)
            found[name] = Method(np.tile(order, (1, len(tasks), 1)), "nothing")
    rng = np.random.default_rng(seed)
    orders = rng.random((RANDOM_ORDERS, len(tasks), len(models)))
    return found | {"random": Method(orders, "nothing")}


def metric_methods(
    zoo: FeatureStore,
    tasks: Sequence[str],
    models: Sequence[str],
    metrics: Sequence[str],
    *,
    show_progress: bool = False,
) -> dict[str, Method]:
    """Training-free metrics that run every model on the target; those without input are left out.

    Raises:
        InputError: a model of `models` has no features on a task.
    """
    columns: dict[str, list[NDArray[np.float64]]] = {name: [] for name in metrics}
    for task in tasks:
        table = score_zoo(zoo, task, metrics, show_progress=show_progress)
        lost = set(models) - set(table.models)
        if lost:
            raise InputError(f"{sorted(lost)[0]!r} has no usable features on {task!r}")
        order = [table.models.index(model) for model in models]
        for name in metrics:
            columns[name].append(table.column(name)[order])
    return {
        name: Method(np.array(rows)[None], "all models" + (" (probe)" * METRICS[name].probe))
        for name, rows in columns.items()
        if np.isfinite(rows).all()
    }


def kernel_method(
    zoo: FeatureStore, sources: Sequence[str], tasks: Sequence[str], given: TrainingSet
) -> Float[np.ndarray, "T M"]:
    """Scores [T, M] of the task kernel on `tasks`, from the spider's own training set."""
    assert zoo.extractor is not None
    features = load_sources(zoo, zoo.extractor, sources)
    scaling = fit_scaling(np.concatenate(list(features.values())), kind="standardize", spread=False)
    tokens = pad_tokens([zoo_tokens(zoo, task) for task in tasks])
    known = np.asarray(scaling(jnp.asarray(given.tokens), jnp.asarray(given.mask)))
    asked = np.asarray(scaling(jnp.asarray(tokens.centres), jnp.asarray(tokens.mask)))
    return task_kernel(known, given.mask, z_scores(given.targets), asked, tokens.mask)


def ridge_method(
    zoo: FeatureStore, sources: Sequence[str], tasks: Sequence[str], given: TrainingSet
) -> Float[np.ndarray, "T M"]:
    """Scores [T, M] of the task ridge on `tasks`, from the spider's own training set."""
    assert zoo.extractor is not None
    features = load_sources(zoo, zoo.extractor, sources)
    unit = source_unit(np.concatenate(list(features.values())))
    ridge = fit_task_ridge(
        design(describe(given.tokens, given.mask, given.deviations, unit)), unit, 1.0
    )
    tokens = pad_tokens([zoo_tokens(zoo, task) for task in tasks])
    assert tokens.deviations is not None  # of a zoo's task they are known
    asked = describe(tokens.centres, tokens.mask, tokens.deviations, unit)
    return np.asarray(ridge.weights(asked) @ z_scores(given.targets))
