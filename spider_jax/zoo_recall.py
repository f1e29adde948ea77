"""Recall over a zoo: the proxy is run on training rows of the models that need it."""

import logging
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from spider_jax.clustering import cluster_models, model_distances
from spider_jax.errors import InputError
from spider_jax.metrics import METRICS
from spider_jax.performance import Performance
from spider_jax.progress import progress
from spider_jax.recall import needs_proxy, proxy_factor, recall_scores
from spider_jax.spider import Spider
from spider_jax.store import FeatureStore
from spider_jax.tasks import task_deviations, task_tokens

log = logging.getLogger("spider_jax")

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]
PRIOR, SPIDER = "prior", "spider"


def recall_zoo(
    zoo: FeatureStore,
    task: str,
    train: Rows,
    past: Performance,
    proxy: str,
    *,
    spider: Spider | None = None,
    threshold: float = 0.09,
    representatives: bool = False,
    show_progress: bool = False,
) -> Floats:
    """Recall score of every model of `past`, see `recall_scores`.

    Args:
        zoo: features and labels. task: name. train: the rows that may be read.
        past: results of the candidates on other tasks, a row of holes where nothing is known.
        proxy: a metric that alone tells of a model, "prior" (mean accuracy alone) or "spider".
        spider: for "spider".
        threshold: mean gap in accuracy within which models are of one cluster.
        representatives: run a metric on one model of every cluster only.
        show_progress: a bar on stderr.

    Returns:
        float64 [M], larger is better; NaN where nothing can be said.

    Raises:
        InputError: an unknown or unfit proxy, or one that could be run on no model.
    """
    means = past.mean_accuracies()
    if proxy == PRIOR:
        if not np.isfinite(means).any():
            raise InputError("recall='prior' needs past results on other tasks: name a metric")
        return means
    clusters = cluster_models(model_distances(past.accuracies), threshold)
    asked = needs_proxy(means, clusters) if representatives else np.arange(len(means))
    if proxy == SPIDER:
        found = _spider_scores(zoo, task, train, spider)
    else:
        names = [past.models[i] for i in asked]
        found = _metric_scores(zoo, task, train, proxy, names, show_progress)
    factors = proxy_factor(proxy, np.array([found.get(name, np.nan) for name in past.models]))
    if np.nanmin(means, initial=np.inf) <= 0:  # such a mean turns the product around
        means = np.full(len(means), np.nan)
    return recall_scores(means, past.accuracies, clusters, factors)


def _metric_scores(
    zoo: FeatureStore,
    task: str,
    train: Rows,
    name: str,
    models: list[str],
    show_progress: bool,
) -> Mapping[str, float]:
    """A metric of some models on the training rows; a model that it cannot score is left out."""
    metric = METRICS.get(name)
    if metric is None or metric.combine is not None or zoo.kind(task) not in metric.kinds:
        usable = [n for n, m in METRICS.items() if not m.combine and zoo.kind(task) in m.kinds]
        raise InputError(
            f"recall must be one of {', '.join((PRIOR, SPIDER, *usable))} for this task, "
            f"got {name!r}"
        )
    labels, found = zoo.labels(task)[train], {}
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
    return found


def _spider_scores(
    zoo: FeatureStore, task: str, train: Rows, spider: Spider | None
) -> Mapping[str, float]:
    if spider is None:
        raise InputError("recall='spider' needs a spider: give one, or name a metric")
    extractor = str(spider.description.extractor["name"])
    features = np.asarray(zoo.features(extractor, task)[train], np.float32)
    labels = zoo.labels(task)[train]
    ranking = spider.rank(
        task_tokens(features, labels), deviations=task_deviations(features, labels), task=task
    )
    return dict(zip(ranking.names, map(float, ranking.scores), strict=True))
