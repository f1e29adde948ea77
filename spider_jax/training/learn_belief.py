"""What a training learns for beliefs: the process over tasks, how models err together, evidence.

Everything is learned by leaving groups of source datasets out: those of one domain together, where
the manifest names domains.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Float64
from numpy.typing import NDArray

from spider_jax.belief.evidence import (
    EvidenceModel,
    MetricNoise,
    Spread,
    learn_metric_noise,
    metric_observation,
)
from spider_jax.belief.factors import Factors, fit_factors
from spider_jax.belief.gaussian import Posterior, Standings
from spider_jax.belief.learn_process import MOST_TASKS, HeldOutTasks, learn_hyper
from spider_jax.belief.state import BeliefState
from spider_jax.belief.task_process import TaskProcess, constant_weights
from spider_jax.ranking.aggregate import AGGREGATES, z_scores
from spider_jax.tasks.description import Design, describe, design
from spider_jax.training.config import TrainConfig
from spider_jax.training.targets import target_orders
from spider_jax.training.training_set import TrainingSet

PER_DATASET = 8  # held-out meta-tasks of a dataset that the numbers are learned on
RESIDUALS = 24  # of a dataset, for the covariance over models
NOISE_FACTORS = (1.0, 1.25, 1.5, 2.0, 3.0)  # of the metrics, that are tried
USUAL_ERROR = 0.1  # standard error of a result, in units of how far results spread


class Learned(NamedTuple):
    """What is learned for beliefs.

    Attributes:
        process: over the training tasks.
        standings: of the models on them, as the process reads them.
        state: covariance over models and evidence.
    """

    process: TaskProcess
    standings: Float32[np.ndarray, "S M"]
    state: BeliefState


def learn_belief(
    given: TrainingSet,
    config: TrainConfig,
    unit: Float32[np.ndarray, " D"],
    datasets: Sequence[str],
    domains: Mapping[str, str],
) -> Learned:
    """Learn how to believe, see the module.

    Args:
        given: the training set, with its whole source datasets.
        config: its `targets`, `aggregate`, `teachers` and `seed` are read here.
        unit: deviation of the source datasets' features.
        datasets: names of the G source datasets.
        domains: by dataset; those of one domain are left out together.

    Returns:
        What is learned.
    """
    tasks = _Tasks.of(given, config, unit, datasets, domains)
    rng = np.random.default_rng(config.seed)
    hyper = learn_hyper(_held_out(tasks, rng))
    predicted = _predict_held_out(tasks, hyper, unit, rng)
    factors = fit_factors(predicted.residuals, predicted.weights, predicted.groups)
    process = TaskProcess.of(tasks.design, unit, constant_weights(tasks.alone), hyper)
    learned = None
    if config.targets == "teachers":
        learned = learn_metric_noise(given.whole.metrics, tasks.truth)
        learned = _honest(learned, factors, predicted, given.whole.metrics, tasks.truth)
    spread = Spread.of(np.array([np.nanstd(row) for row in given.accuracies.values()]))
    evidence = EvidenceModel(
        tuple(config.teachers) if learned is not None else (),
        learned,
        spread,
        USUAL_ERROR * spread.size,
    )
    standings = tasks.standings.astype(np.float32)
    return Learned(process, standings, BeliefState(factors, evidence).stored())


class _Tasks(NamedTuple):
    """Training tasks and whole source datasets, described.

    Attributes:
        design: of the S training tasks.
        standings: of the models on them.
        touch: True where a training task has rows of a dataset.
        alone: True where it has rows of no other.
        whole: scaled descriptions of the G whole datasets.
        truth: true standings on them, NaN where unknown.
        shown: the same, what the teachers say where it is unknown.
        out: for every group True for its datasets.
    """

    design: Design
    standings: Float64[np.ndarray, "S M"]
    touch: Bool[np.ndarray, "G S"]
    alone: Bool[np.ndarray, "G S"]
    whole: Float64[np.ndarray, "G f"]
    truth: Float64[np.ndarray, "G M"]
    shown: Float64[np.ndarray, "G M"]
    out: list[Bool[np.ndarray, " G"]]

    @staticmethod
    def of(
        given: TrainingSet,
        config: TrainConfig,
        unit: Float32[np.ndarray, " D"],
        datasets: Sequence[str],
        domains: Mapping[str, str],
    ) -> "_Tasks":
        found = design(describe(given.tokens, given.mask, given.deviations, unit))
        whole = describe(given.whole.tokens, given.whole.mask, given.whole.deviations, unit)
        touch = np.array([[name in task.datasets for task in given.meta] for name in datasets])
        known = given.accuracies if config.calibration or config.targets == "accuracies" else {}
        truth = _standings_by_truth(known, datasets, len(given.models))
        said = z_scores(np.asarray(_told(config, given.whole.metrics), np.float64))
        domain = np.array([domains.get(name, name) for name in datasets])
        return _Tasks(
            found,
            corrected_standings(given, config),
            touch,
            touch & (touch.sum(0) == 1),
            (whole - found.centre) / found.scale,
            truth,
            np.where(np.isfinite(truth), truth, said),
            [domain == one for one in dict.fromkeys(domain)],
        )


def corrected_standings(given: TrainingSet, config: TrainConfig) -> Float64[np.ndarray, "S M"]:
    """Standard scores of the models on the training tasks, all the way to known accuracies.

    The error that teachers make on all tasks of one dataset is known where its accuracies are: it
    is taken off whole (`target_orders` with calibration 1); not at all where the configuration's
    calibration is 0, which says that accuracies mean something else.

    Args:
        given: the training set.
        config: its `targets`, `aggregate` and `calibration` are read here.

    Returns:
        Standings in standard units.
    """
    orders = target_orders(wholly_calibrated(config), given.metrics, given.meta, given.accuracies)
    return z_scores(orders.astype(np.float64))


def wholly_calibrated(config: TrainConfig) -> TrainConfig:
    """The configuration with calibration 1, or 0 where it is 0.

    Args:
        config: of a training.
    """
    return replace(config, calibration=float(config.calibration > 0))


def _told(config: TrainConfig, metrics: NDArray[np.float32]) -> NDArray[np.float64]:
    if config.targets == "accuracies":
        return np.asarray(metrics[:, 0], np.float64)
    return AGGREGATES[config.aggregate](metrics)


def _standings_by_truth(
    accuracies: Mapping[str, NDArray[np.float64]], datasets: Sequence[str], models: int
) -> NDArray[np.float64]:
    """[G, M] standard scores of known accuracies, NaN for a model without."""
    out = np.full((len(datasets), models), np.nan)
    for row, name in zip(out, datasets, strict=True):
        values = accuracies.get(name)
        if values is not None:
            known = np.isfinite(values)
            row[known] = z_scores(values[known])
    return out


def _held_out(tasks: _Tasks, rng: np.random.Generator) -> HeldOutTasks:
    """Whole datasets and some of their tasks, to learn the process' numbers on."""
    rows = rng.permutation(tasks.standings.shape[0])[:MOST_TASKS]
    asked, truth, whole, group, weight = [], [], [], [], []
    for g, out in enumerate(tasks.out):
        for dataset in np.flatnonzero(out):
            own = rng.permutation(np.flatnonzero(tasks.alone[dataset]))[:PER_DATASET]
            asked += [tasks.whole[dataset], *tasks.design.rows[own]]
            truth += [tasks.shown[dataset], *tasks.standings[own]]
            whole += [True] + [False] * len(own)
            group += [g] * (1 + len(own))
            weight += [1.0] + [1 / max(len(own), 1)] * len(own)
    constants = [constant_weights(tasks.alone[~out]) @ tasks.standings for out in tasks.out]
    return HeldOutTasks(
        tasks.design.rows[rows],
        tasks.standings[rows],
        np.array([~tasks.touch[out][:, rows].any(0) for out in tasks.out]),
        np.array(asked),
        np.array(truth),
        np.array(whole),
        np.array(group, np.int64),
        np.array(weight),
        np.array(constants),
    )


class _Predicted(NamedTuple):
    """Held-out tasks as the process on the others predicts them.

    Attributes:
        residuals: in units of the predicted deviation.
        weights: of the tasks.
        groups: for every group True for its tasks.
        whole: mean and variance by whole dataset.
    """

    residuals: Float64[np.ndarray, "n M"]
    weights: Float64[np.ndarray, " n"]
    groups: list[Bool[np.ndarray, " n"]]
    whole: dict[int, tuple[Float64[np.ndarray, " M"], float]]


def _predict_held_out(
    tasks: _Tasks,
    hyper: Float64[np.ndarray, " 5"],
    unit: Float32[np.ndarray, " D"],
    rng: np.random.Generator,
) -> _Predicted:
    residuals, weights, group = [], [], []
    whole: dict[int, tuple[NDArray[np.float64], float]] = {}
    for g, out in enumerate(tasks.out):
        use = ~tasks.touch[out].any(0)
        if not use.any() or out.all():
            continue
        process = _part(tasks, use, out, hyper, unit)
        for dataset in np.flatnonzero(out):
            own = rng.permutation(np.flatnonzero(tasks.alone[dataset]))[:RESIDUALS]
            rows = np.concatenate([tasks.whole[[dataset]], tasks.design.rows[own]])
            pull, variance = process.predict(rows * tasks.design.scale + tasks.design.centre)
            variance[1:] += (
                hyper[3] - hyper[4]
            )  # a meta-task shows noise where a dataset has a rest
            shown = np.concatenate([tasks.shown[[dataset]], tasks.standings[own]])
            mean = pull @ tasks.standings[use]
            gap = shown - mean
            whole[int(dataset)] = mean[0], float(variance[0])
            residuals.append(gap / np.sqrt(variance)[:, None])
            weights += [1.0] + [1 / max(len(own), 1)] * len(own)
            group += [g] * len(rows)
    if not residuals:
        return _Predicted(np.ones((1, tasks.standings.shape[1])), np.ones(1), [], {})
    places = np.array(group)
    every = [places == g for g in dict.fromkeys(group)]
    return _Predicted(np.concatenate(residuals), np.array(weights), every, whole)


def _honest(
    noise: MetricNoise,
    factors: Factors,
    predicted: _Predicted,
    metrics: Float32[np.ndarray, "G K M"],
    truth: Float64[np.ndarray, "G M"],
) -> MetricNoise:
    """The noise times the factor under which truth is most likely after looks at all models.

    Metrics err more on some tasks than on others; one noise for all is too sure of itself.
    """
    known = [d for d in predicted.whole if np.isfinite(truth[d]).any()]
    if not known:
        return noise
    scores = []
    for factor in NOISE_FACTORS:
        wider = noise._replace(noise=factor * noise.noise)
        scores.append(
            sum(
                _likelihood(wider, factors, predicted.whole[d], metrics[d], truth[d]) for d in known
            )
        )
    return noise._replace(noise=NOISE_FACTORS[int(np.argmax(scores))] * noise.noise)


def _likelihood(
    noise: MetricNoise,
    factors: Factors,
    before: tuple[NDArray[np.float64], float],
    metrics: Float32[np.ndarray, "K M"],
    truth: Float64[np.ndarray, " M"],
) -> float:
    """Mean log likelihood of the true standings of single models after looks at all."""
    now = Posterior(Standings(before[0], factors.loadings, factors.own, before[1]))
    models = np.flatnonzero(np.isfinite(metrics).any(0))
    values = metrics.T[models].astype(np.float64)
    after = now.with_observation(metric_observation(now, noise, models, values))
    there = np.isfinite(truth)
    variance = after.variances[there]
    gap = truth[there] - after.mean[there]
    return float(-(np.log(variance) + gap**2 / variance).mean() / 2)


def _part(
    tasks: _Tasks,
    use: Bool[np.ndarray, " S"],
    out: Bool[np.ndarray, " G"],
    hyper: Float64[np.ndarray, " 5"],
    unit: Float32[np.ndarray, " D"],
) -> TaskProcess:
    """The process on some of the tasks."""
    given = tasks.design._replace(rows=tasks.design.rows[use])
    return TaskProcess.of(given, unit, constant_weights(tasks.alone[~out][:, use]), hyper)


def domains_of(
    infos: Mapping[str, Mapping[str, object]], datasets: Sequence[str]
) -> dict[str, str]:
    """The domain of each dataset, itself where the manifest names none.

    Args:
        infos: what the manifest says of tasks, by name.
        datasets: names.
    """
    return {name: str(infos.get(name, {}).get("domain", name)) for name in datasets}
