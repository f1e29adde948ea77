"""The orders of models that a spider learns: of its teachers, or of true accuracies."""

import logging
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Float32, Float64

from spider_jax.ranking.aggregate import AGGREGATES, z_scores
from spider_jax.tasks.sampling import MetaTask
from spider_jax.training.config import TrainConfig
from spider_jax.zoo.accuracies import FRACTION, range_of
from spider_jax.zoo.store import FeatureStore

log = logging.getLogger("spider_jax")


def target_orders(
    config: TrainConfig,
    metrics: Float[np.ndarray, "T K M"],
    meta: Sequence[MetaTask],
    accuracies: Mapping[str, Float[np.ndarray, " M"]],
) -> Float32[np.ndarray, "T M"]:
    """Make the target orders: the teachers' metrics in one score, corrected where truth is known.

    Teachers err alike on tasks of one dataset, so

        y_t <- z(y_t + a sum_d share_td (z(accuracies of d) - z(mean y of the tasks of d alone))),

    y z-scored over the models, share the part of a task's rows that come from d, a the
    configuration's `calibration`; 0 leaves y as it is. A model without an accuracy is not corrected
    for d. True accuracies as targets are taken as they are.

    Args:
        config: its `targets`, `aggregate` and `calibration` are read here.
        metrics: the teachers' metrics of M models on T tasks, or their true accuracies (K = 1).
        meta: the T tasks.
        accuracies: true accuracies of the M models by dataset, NaN where unknown.

    Returns:
        One score a model and task; larger is better.
    """
    if config.targets == "accuracies":
        return np.asarray(metrics[:, 0], np.float32)
    scores = AGGREGATES[config.aggregate](metrics)
    if config.calibration == 0:
        return scores.astype(np.float32)
    targets = z_scores(scores)
    shift = np.zeros(targets.shape)
    for name, truth in accuracies.items():
        alone = [i for i, task in enumerate(meta) if task.datasets == (name,)]
        known = np.isfinite(truth)
        if alone and known.any():
            gap = np.zeros(len(truth))
            gap[known] = z_scores(truth[known]) - z_scores(targets[alone].mean(0)[known])
            shift += dataset_shares(meta, name)[:, None] * gap
    return z_scores(targets + config.calibration * shift).astype(np.float32)


def without_holes(metrics: Float32[np.ndarray, "T K M"]) -> Float32[np.ndarray, "T K M"]:
    """Fill what a model lacks on a task by its usual standing on the others.

    A hole becomes mean_tk + sd_tk z_km: mean and deviation of the models that are known on the
    task, and the mean z-score of the model over the tasks on which it is known (0 where there are
    none). So it costs that task's word on the model, and neither the task nor the model.

    Args:
        metrics: of M models on T tasks, NaN where a model lacks one.

    Returns:
        The same array where nothing is missing, else a filled copy.
    """
    if np.isfinite(metrics).all():
        return metrics
    known = np.isfinite(metrics)
    values = np.where(known, metrics, 0).astype(np.float64)
    count = np.maximum(known.sum(-1, keepdims=True), 1)
    mean = values.sum(-1, keepdims=True) / count
    sd = np.sqrt((np.where(known, values - mean, 0) ** 2).sum(-1, keepdims=True) / count)
    z = np.where(known, values - mean, 0) / np.where(sd > 0, sd, 1)
    usual = z.sum(0) / np.maximum(known.sum(0), 1)
    return np.where(known, metrics, mean + sd * usual).astype(np.float32)


def known_accuracies(
    zoo: FeatureStore, models: Sequence[str], datasets: Sequence[str]
) -> dict[str, Float64[np.ndarray, " M"]]:
    """Read the true accuracies that are complete enough to correct the teachers with.

    Args:
        zoo: with accuracies.csv, or without.
        models: M names.
        datasets: names of the source datasets.

    Returns:
        Accuracies of the models by dataset, NaN where unknown; only datasets for which at least
        half of the models have one, and whose measure is a fraction as an accuracy is.
    """
    alike = [d for d in datasets if has_fractions(zoo, d)]
    for dataset in set(datasets) - {*alike}:
        if any((model, dataset) in zoo.accuracies for model in models):
            log.warning("%s", another_measure(zoo, dataset))
    table = {d: np.array([zoo.accuracies.get((m, d), np.nan) for m in models]) for d in alike}
    return {d: row for d, row in table.items() if 2 * np.isfinite(row).sum() >= len(models)}


def has_fractions(zoo: FeatureStore, task: str) -> bool:
    """Whether results on a task are fractions from 0 to 1, as accuracies are.

    Args:
        zoo: whose manifest may name the task's measure.
        task: its name.
    """
    return range_of(zoo.kind(task), zoo.task_info(task).get("measure")) == FRACTION


def another_measure(zoo: FeatureStore, task: str) -> str:
    """Why results on a task do not stand among accuracies.

    Args:
        zoo: whose manifest names the task's measure.
        task: its name.
    """
    measure = zoo.task_info(task).get("measure")
    return f"results on {task!r} are in {measure}, not fractions as accuracies are: not learned"


def dataset_shares(meta: Sequence[MetaTask], name: str) -> Float64[np.ndarray, " T"]:
    """Find the part of every task's rows that come from one dataset.

    Args:
        meta: T tasks.
        name: of the dataset.

    Returns:
        Numbers in [0, 1].
    """
    of = [t.source == t.datasets.index(name) if name in t.datasets else np.zeros(1) for t in meta]
    return np.array([here.mean() for here in of])
