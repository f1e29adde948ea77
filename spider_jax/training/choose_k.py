"""How many models are worth a look: judged on the source tasks that members were held out from.

The loss of a look at k models is how far the first model's target lies below the best one, in
deviations of the targets. The targets are the teachers' (corrected by known accuracies), so
"evidence", which asks the same teachers, is judged by what it is made of: its curve tells how deep
the first pass hides the best model, not how good the teachers are.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

from spider_jax.ranking.aggregate import mean_z
from spider_jax.spider.attention import score_tasks, score_with_own
from spider_jax.spider.rerank import ATTENTION, EVIDENCE, in_front
from spider_jax.spider.weights import OwnTokens, Weights
from spider_jax.training.arrays import TrainingArrays
from spider_jax.training.loop import TrainingResult

MOST = 10
Look = Callable[[NDArray[np.float64], NDArray[np.int64], tuple[int, int]], NDArray[np.float64]]


def choose_looks(
    lesson: TrainingArrays, learned: TrainingResult, metrics: NDArray[np.floating]
) -> dict[str, dict[str, Any]]:
    """The smallest k whose loss is within a standard error of the best, for each sort of look.

    Args:
        lesson: of the training. learned: what came of it. metrics: [S, K, M] of the teachers.

    Returns:
        by sort: {"k": chosen, "loss": mean loss for k = 0, 1, ...}; none without held-out tasks.
    """
    if lesson.held.size == 0:
        return {}
    targets = lesson.targets[lesson.held].astype(np.float64)

    def by_evidence(
        first: NDArray[np.float64], top: NDArray[np.int64], at: tuple[int, int]
    ) -> NDArray[np.float64]:
        z = mean_z(metrics[lesson.held[at]][:, top])
        return in_front(first, top, np.nan_to_num(z), keep=True)

    looks: dict[str, Look] = {EVIDENCE: by_evidence}
    if lesson.own is not None:
        gain = own_gains(learned.weights, lesson)

        def by_attention(
            first: NDArray[np.float64], top: NDArray[np.int64], at: tuple[int, int]
        ) -> NDArray[np.float64]:
            new = first.copy()
            new[top] += gain[at][top]
            return new

        looks[ATTENTION] = by_attention
    return {name: _chosen(look, learned.held, targets) for name, look in looks.items()}


def _chosen(look: Look, held: NDArray[np.float32], targets: NDArray[np.float64]) -> dict[str, Any]:
    """The curve of one sort of look over held-out scores [E, V, M], and where it is good enough."""
    E, V, M = held.shape
    losses = np.zeros((min(MOST, M) + 1, E, V))
    for at in np.ndindex(E, V):
        first, truth = held[at].astype(np.float64), targets[at]
        order = np.argsort(-first, kind="stable")
        scale = truth.std() or 1.0
        for k in range(len(losses)):
            new = look(first, order[:k], at) if k else first
            losses[(k, *at)] = (truth.max() - truth[new.argmax()]) / scale
    mean = losses.mean((1, 2))
    best = int(mean.argmin())
    error = losses[best].std() / np.sqrt(E * V)
    k = int(np.flatnonzero(mean <= mean[best] + error)[0])
    return {"k": k, "loss": [round(float(loss), 4) for loss in mean]}


def own_gains(weights: Weights, lesson: TrainingArrays) -> NDArray[np.float32]:
    """[E, V, M]: what every member's scores on its held-out tasks gain by the models' own tokens.

    0 for models whose own tokens the lesson does not hold.
    """
    assert lesson.own is not None
    gains = np.zeros((*lesson.held.shape, lesson.targets.shape[1]), np.float32)
    for e, tasks in enumerate(lesson.held):
        member = jax.tree.map(lambda a, e=e: a[e], weights)
        models = lesson.own.models[tasks]
        own = OwnTokens(lesson.own.tokens[tasks], models)
        found = np.asarray(_gain(member, lesson.tokens[tasks], lesson.mask[tasks], own))
        np.put_along_axis(gains[e], np.asarray(models), found, axis=1)
    return gains


@jax.jit
def _gain(weights: Weights, tokens: Any, mask: Any, own: OwnTokens) -> Any:
    looked = score_with_own(weights, tokens, mask, own)
    general = score_tasks(weights, tokens, mask)
    return looked - jax.numpy.take_along_axis(general, own.models, axis=1)
