"""The best models of a ranking looked at with their own features on the task, and sorted again.

Three sorts of looks. "attention" adds a model's own class centres to what the network attends to,
as published, and sorts the whole list again; the spider must have learned it (k_max). A metric's
name sorts the k models by that metric. "evidence", the default, adds the mean z-score of the
spider's teachers over the k models to their scores, in units of the deviation of all scores: the
first pass is one voice, the metrics another of the same weight. A metric tells how the k compare,
not whether they should fall behind models that were not looked at, so these k stay in front.
"""

import logging
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float32, Float64, Int64
from numpy.typing import NDArray

from spider_jax.errors import InputError
from spider_jax.metrics.table import METRICS
from spider_jax.ranking.aggregate import mean_z
from spider_jax.ranking.ranking import Ranking
from spider_jax.spider.own_attention import first_pass, general_score, score_again
from spider_jax.spider.state import SpiderState
from spider_jax.tasks.tokens import TaskTokens, task_centres
from spider_jax.zoo.scores import score_zoo
from spider_jax.zoo.store import FeatureStore, Skipped

log = logging.getLogger("spider_jax")

EVIDENCE, ATTENTION = "evidence", "attention"
LOOKS = (EVIDENCE, ATTENTION, *(n for n, m in METRICS.items() if m.needs == "features"))
TEACHERS = ("logme", "knn", "ridge")  # of a spider that does not say who taught it
ASKED = (0, 1, 3, 5, 10)  # numbers of models whose cost is stated


def checked_k(
    spider: SpiderState,
    k: int | Literal["auto"],
    zoo: FeatureStore | None,
    task: str | None,
    by: str,
) -> int:
    """How many models to look at.

    Raises:
        InputError: no number of models, an unknown `by`, or k > 0 without zoo and task.
    """
    if by not in LOOKS:
        raise InputError(f"by must be one of {', '.join(LOOKS)}, got {by!r}")
    if k == "auto":
        chosen = spider.description.training.get("looks", {}).get(by)
        if chosen is None:
            raise InputError(
                f'k = "auto" needs a spider that was judged by {by!r} on held-out source tasks: '
                "give a number"
            )
        k = int(chosen["k"])
    if isinstance(k, bool) or not isinstance(k, int) or k < 0:
        raise InputError(f'k must be a whole number of at least 0, or "auto", got {k!r}')
    if k > 0 and (zoo is None or task is None):
        raise InputError(f"k = {k} needs zoo and task: the k best models' own features on the task")
    return min(k, len(spider.models))


class Looked(NamedTuple):
    """What a look at the best models has brought.

    Attributes:
        scores: [M] new ones, in model order.
        models: that were looked at.
        problems: why others were not.
    """

    scores: Float64[np.ndarray, " M"]
    models: tuple[str, ...]
    problems: tuple[Skipped, ...]


def rerank_scores(
    spider: SpiderState,
    first: Float32[np.ndarray, " M"],
    tokens: TaskTokens,
    zoo: FeatureStore,
    task: str,
    *,
    k: int,
    by: str,
) -> Looked:
    """Scores after a look at the k best models; the others keep theirs.

    Args:
        spider: that gave the scores.
        first: [M] of the first pass.
        tokens: of the task.
        zoo: labels of the task, and the k models' features on it.
        task: its name.
        k: how many.
        by: one of LOOKS.

    Returns:
        What was seen; a model without usable features keeps its score.

    Raises:
        InputError: another `by`, or attention that the spider has not learned.
    """
    top = np.argsort(-first, kind="stable")[:k]
    if by == ATTENTION:
        return _attended(spider, first, tokens, zoo, task, top)
    teachers = spider.description.training.get("config", {}).get("teachers", TEACHERS)
    metrics = tuple(teachers) if by == EVIDENCE else (by,)
    names = [spider.models[i] for i in top]
    table = score_zoo(zoo, task, metrics, models=names)
    values = mean_z(table.values.T) if len(table.models) else np.zeros(0)
    found = {m: v for m, v in zip(table.models, values, strict=True) if np.isfinite(v)}
    seen = np.array([i for i in top if spider.models[i] in found], np.int64)
    z = np.array([found[spider.models[i]] for i in seen])
    prior = first.astype(np.float64)
    return Looked(
        in_front(prior, seen, z, keep=by == EVIDENCE),
        tuple(spider.models[i] for i in seen),
        _without(names, found, table.problems, task),
    )


def in_front(
    first: Float64[np.ndarray, " M"],
    seen: Int64[np.ndarray, " k"],
    z: Float64[np.ndarray, " k"],
    *,
    keep: bool,
) -> Float64[np.ndarray, " M"]:
    """Scores [M] in which models `seen` are ordered by z [k] and stay before all that follow them.

    new = first + sd z, or sd z + mean first where the first score is not kept, raised together so
    that none falls to the best score of those that were not looked at and stood behind.
    """
    new = first.copy()
    if len(seen) == 0:
        return new
    sd = first.std() or 1.0
    new[seen] = (first[seen] if keep else first[seen].mean()) + sd * z
    behind = np.setdiff1d(np.flatnonzero(first <= first[seen].min()), seen)
    if len(behind):
        floor = np.nextafter(np.float32(first[behind].max()), np.float32(np.inf))
        new[seen] += max(0.0, float(floor) - new[seen].min())
    return new


def _attended(
    spider: SpiderState,
    first: NDArray[np.float32],
    tokens: TaskTokens,
    zoo: FeatureStore,
    task: str,
    top: NDArray[np.int64],
) -> Looked:
    """The network's scores of the best models with their own class centres."""
    if spider.own is None:
        raise InputError(
            'by = "attention" needs a spider that has learned models\' own tokens: train it with '
            'k_max, or look by "evidence"'
        )
    theta = np.asarray(spider.weights.theta)[:, top]
    seen = first_pass(spider.network, theta, tokens, spider.token_scaling)
    general = general_score(spider.network, seen).mean(0)
    labels = zoo.training_labels(task)
    new, looked, problems = first.astype(np.float64), [], []
    for place, i in enumerate(top):
        name = spider.models[i]
        try:
            centres = task_centres(zoo.training_features(name, task), labels)
            check_width(name, task, centres.shape[1], spider.own.width(int(i)))
        except InputError as error:
            problems.append(Skipped(name, task, str(error)))
            continue
        found = score_again(spider.network, theta, seen, spider.own.of(int(i)), centres, place)
        new[i] += float(found.mean() - general[place])
        looked.append(name)
    return Looked(new, tuple(looked), tuple(problems))


def check_width(model: str, task: str, found: int, wanted: int) -> None:
    """Refuse features that the spider has learned nothing of."""
    if wanted == 0:
        raise InputError(f"the spider has learned no own tokens of {model!r}")
    if found != wanted:
        raise InputError(
            f"features of {model!r} on {task!r} must be {wanted} wide as in training, got {found}"
        )


def _without(
    names: Sequence[str],
    found: dict[str, float],
    problems: Sequence[Skipped],
    task: str,
) -> tuple[Skipped, ...]:
    """Why models of the top were not looked at."""
    said = {p.model: p for p in problems}
    none = "no features in the zoo"
    return tuple(said.get(n) or Skipped(n, task, none) for n in names if n not in found)


def reranked(
    ranking: Ranking, spider: SpiderState, looked: Looked, zoo: FeatureStore, task: str, *, by: str
) -> Ranking:
    """The ranking by the new scores: what it cost, what it left out, what more would cost."""
    new = Ranking.from_scores(
        spider.models,
        looked.scores,
        resolution=ranking.resolution,
        task=ranking.task,
        accuracies=ranking.accuracies,
        notes=(*ranking.notes, *_told(ranking, spider, looked, zoo, task, by)),
    )
    skipped = tuple(str(problem) for problem in looked.problems)
    return replace(new, skipped=skipped, looked_at=looked.models)


def _told(
    first: Ranking, spider: SpiderState, looked: Looked, zoo: FeatureStore, task: str, by: str
) -> tuple[str, ...]:
    """Notes on what was looked at, and the price of other numbers of models."""
    kept = f"; {len(looked.problems)} kept their first score" if looked.problems else ""
    return cost_of_looks(spider, first.names, looked.models, zoo, task, by=by, more=kept)


def cost_of_looks(
    spider: SpiderState,
    first: Sequence[str],
    looked: Collection[str],
    zoo: FeatureStore,
    task: str,
    *,
    by: str = EVIDENCE,
    more: str = "",
) -> tuple[str, ...]:
    """Notes on what looks cost: forward passes and megabytes.

    Args:
        spider: that ranks.
        first: names of its models before the looks, best first.
        looked: names of those that were looked at.
        zoo: that holds their features.
        task: its name.
        by: how they were looked at.
        more: what is said of others.

    Returns:
        What was looked at, and the price of other numbers of models.
    """
    rows, M = len(zoo.training_rows(task)), len(first)
    extractor = str(spider.description.extractor["name"])

    def passes(models: Iterable[str]) -> int:
        return len({extractor, *models})

    read = sum(zoo.nbytes(model, task) for model in looked)
    others = [n for n in ASKED if n < M] + [M]
    price = [f"{'all ' * (n == M)}{n}: {passes(first[:n])}" for n in others]
    return (
        f"looked at {len(looked)} of {M} models by {by}: {passes(looked)} forward passes with the "
        f"extractor's, each over {rows} samples; {read / 1e6:.1f} MB of own features read{more}",
        f"forward passes for k = {', '.join(price)}",
    )
