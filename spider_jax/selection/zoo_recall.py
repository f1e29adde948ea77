"""Recall on a zoo: the proxy is run on training rows of the models that need it."""

import logging
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Int

from spider_jax.errors import InputError
from spider_jax.metrics.table import METRICS
from spider_jax.recommend.records_prior import RecordsPrior
from spider_jax.records.clusters import cluster_models, model_distances
from spider_jax.records.performance import PastResults
from spider_jax.runtime.progress import progress
from spider_jax.selection.recall import needs_proxy, proxy_factor, recall_scores
from spider_jax.spider.spider import Spider
from spider_jax.tasks.tokens import zoo_tokens
from spider_jax.zoo.store import FeatureStore

log = logging.getLogger("spider_jax")

PRIOR, SPIDER, RECORDS = "prior", "spider", "records"


def recall_zoo(
    zoo: FeatureStore,
    task: str,
    train: Int[np.ndarray, " n"],
    past: PastResults,
    proxy: str,
    *,
    spider: Spider | None = None,
    records: RecordsPrior | None = None,
    describe: str = "",
    threshold: float = 0.09,
    representatives: bool = False,
    show_progress: bool = False,
) -> Float[np.ndarray, " M"]:
    """Recall score of every model of `past`, see `recall_scores`.

    Args:
        zoo: features and labels.
        task: name.
        train: the rows that may be read.
        past: results of the candidates on other tasks, a row of holes where nothing is known.
        proxy: a metric that alone tells of a model, "prior" (mean accuracy alone), "spider", or
            "records" (what records of results say of the described task).
        spider: for "spider".
        records: for "records": a prior that has seen no result on the task.
        describe: the task, in words, for "records".
        threshold: mean gap in accuracy within which models are of one cluster.
        representatives: run a metric on one model of every cluster only.
        show_progress: a bar on stderr.

    Returns:
        Larger is better; NaN where nothing can be said.

    Raises:
        InputError: an unknown or unfit proxy, or one that could be run on no model.
    """
    means = past.mean_accuracies()
    if proxy == PRIOR:
        if not np.isfinite(means).any():
            raise InputError("recall='prior' needs past results on other tasks: name a metric")
        return means
    if proxy == RECORDS:
        said = _records_scores(records, task, describe)
        return np.array([said.get(name, np.nan) for name in past.models])
    clusters = cluster_models(model_distances(past.accuracies), threshold)
    asked = needs_proxy(means, clusters) if representatives else np.arange(len(means))
    if proxy == SPIDER:
        found = _spider_scores(zoo, task, train, spider)
    else:
        names = [past.models[i] for i in asked]
        found = _metric_scores(zoo, task, train, proxy, names, show_progress)
    means = raise_to_positive(means)
    scores = np.array([found.get(name, np.nan) for name in past.models])
    factors = proxy_factor(proxy, scores, means)
    return recall_scores(means, past.accuracies, clusters, factors)


def raise_to_positive(means: Float[np.ndarray, " M"]) -> Float[np.ndarray, " M"]:
    """Means that can be multiplied by a factor: all above 0.

    A mean at or below 0 would turn the product around; it becomes a hundredth of the best mean.

    Args:
        means: mean results; NaN where nothing is known.

    Returns:
        Positive means; all NaN (nothing known) where none is above 0.
    """
    best = np.nanmax(means, initial=-np.inf)
    if best <= 0:
        return np.full(len(means), np.nan)
    low = means <= 0
    if low.any():
        log.warning("mean past results of %d models are not above 0: they are last", low.sum())
    return np.where(low, best / 100, means)


def _metric_scores(
    zoo: FeatureStore,
    task: str,
    train: Int[np.ndarray, " n"],
    name: str,
    models: list[str],
    show_progress: bool,
) -> Mapping[str, float]:
    """A metric of some models on the training rows; a model that it cannot score is left out."""
    metric = METRICS.get(name)
    if metric is None or metric.combine is not None or zoo.kind(task) not in metric.kinds:
        usable = [n for n, m in METRICS.items() if not m.combine and zoo.kind(task) in m.kinds]
        raise InputError(
            f"recall must be a spider, {PRIOR}, or one of {', '.join(usable)} for this task, "
            f"got {name!r}"
        )
    labels, found, reason = zoo.labels(task)[train], {}, "they have no probabilities"
    for model in progress(models, "recall", show_progress):
        try:
            if metric.needs == "features":
                features = np.asarray(zoo.features(model, task)[train], np.float32)
                found[model] = float(metric.score(features, labels))
            elif zoo.has_probabilities(model, task):
                given = zoo.probabilities(model, task)[train]
                found[model] = float(metric.score(probabilities=given, labels=labels))
        except InputError as error:
            log.warning("recall without %s of %s: %s", name, model, error)
            reason = str(error)
    if not found:
        raise InputError(
            f"recall by {name} is possible for no model on {task!r} ({reason}): name another "
            f'metric, or "{PRIOR}"'
        )
    return found


def _spider_scores(
    zoo: FeatureStore, task: str, train: Int[np.ndarray, " n"], spider: Spider | None
) -> Mapping[str, float]:
    if spider is None:
        raise InputError("recall='spider' needs a spider: give one, or name a metric")
    if task in spider.description.training.get("datasets", ()):
        raise InputError(
            f"the spider was trained on {task!r}, what is known of it among the rest: train one "
            'with "held_out" in that task\'s manifest entry, or name a metric'
        )
    tokens = zoo_tokens(zoo, task, spider.description.extractor, rows=train)
    ranking = spider.rank(tokens, task=task)
    return dict(zip(ranking.names, map(float, ranking.scores), strict=True))


def _records_scores(records: RecordsPrior | None, task: str, describe: str) -> Mapping[str, float]:
    if records is None:
        raise InputError("recall='records' needs a prior from records: give one, or name a metric")
    if task in records.words.tasks and np.any(
        records.scaled.task == records.words.tasks.index(task)
    ):
        raise InputError(
            f"the prior has seen results on {task!r}, what is asked for among them: fit it with "
            f"--hold-out {task}, or name a metric"
        )
    found = records.belief(describe or task)
    return dict(zip(found.names, found.mean.tolist(), strict=True))
