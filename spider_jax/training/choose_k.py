"""How many models are worth re-ranking by their own features: judged on held-out source tasks.

A task is re-ranked by its k best models, for every k; its loss is how far the target of the model
that is then first lies below the best one, in deviations of the targets. The targets are the
teachers' (corrected by known accuracies), so "evidence", which asks the same teachers, is judged by
what it is made of: its curve tells how deep the first ranking hides the best model, not how good
the teachers are. A spider with beliefs chooses its looks by these, and is not judged by "evidence".
"""

from collections.abc import Callable, Mapping
from typing import TypedDict

import jax
import numpy as np
from jaxtyping import Array, Bool, Float, Float32, Float64, Int64
from numpy.typing import NDArray

from spider_jax.ranking.aggregate import mean_z
from spider_jax.spider.attention import score_tasks, score_with_own
from spider_jax.spider.rerank import ATTENTION, EVIDENCE, in_front
from spider_jax.spider.weights import OwnTokens, Weights
from spider_jax.training.arrays import TrainingArrays
from spider_jax.training.loop import TrainingResult

MOST = 10  # models that are tried
# (first scores [M], the k best models, (member, its held-out task)) -> new scores [M]
Rerank = Callable[
    [Float64[np.ndarray, " M"], Int64[np.ndarray, " k"], tuple[int, int]],
    Float64[np.ndarray, " M"],
]


class ChosenK(TypedDict):
    """The choice for one way of re-ranking, as it stands in a spider's JSON.

    Attributes:
        k: the chosen number of models.
        loss: mean loss for k = 0, 1, ...
    """

    k: int
    loss: list[float]


def choose_rerank_k(
    arrays: TrainingArrays,
    result: TrainingResult,
    metrics: Float[np.ndarray, "T K M"] | None = None,
) -> Mapping[str, ChosenK]:
    """Choose the smallest k whose loss is within a standard error of the best, for each way.

    Args:
        arrays: of the training.
        result: what came of it.
        metrics: the teachers' metrics of the M models on the T training tasks; None for a spider
            with beliefs.

    Returns:
        The choice by the name of the way of re-ranking; empty without held-out tasks.
    """
    if arrays.held.size == 0:
        return {}
    targets = arrays.targets[arrays.held].astype(np.float64)
    ways: dict[str, Rerank] = {}
    if metrics is not None:
        asked = metrics[arrays.held]

        def by_evidence(
            first: NDArray[np.float64], top: NDArray[np.int64], at: tuple[int, int]
        ) -> NDArray[np.float64]:
            z = mean_z(asked[at][:, top])
            return in_front(first, top, np.nan_to_num(z), keep=True)

        ways[EVIDENCE] = by_evidence
    if arrays.own is not None:
        gain = own_gains(result.weights, arrays)

        def by_attention(
            first: NDArray[np.float64], top: NDArray[np.int64], at: tuple[int, int]
        ) -> NDArray[np.float64]:
            new = first.copy()
            new[top] += gain[at][top]
            return new

        ways[ATTENTION] = by_attention
    return {name: _chosen(way, result.held_scores, targets) for name, way in ways.items()}


def _chosen(rerank: Rerank, held: NDArray[np.float32], targets: NDArray[np.float64]) -> ChosenK:
    """The curve of one way over held-out scores [E, V, M], and the k where it is good enough."""
    E, V, M = held.shape
    losses = np.zeros((min(MOST, M) + 1, E, V))
    for at in np.ndindex(E, V):
        first, truth = held[at].astype(np.float64), targets[at]
        order = np.argsort(-first, kind="stable")
        scale = truth.std() or 1.0
        for k in range(len(losses)):
            new = rerank(first, order[:k], at) if k else first
            losses[(k, *at)] = (truth.max() - truth[new.argmax()]) / scale
    mean = losses.mean((1, 2))
    best = int(mean.argmin())
    error = losses[best].std() / np.sqrt(E * V)
    k = int(np.flatnonzero(mean <= mean[best] + error)[0])
    return {"k": k, "loss": [round(float(loss), 4) for loss in mean]}


def own_gains(weights: Weights, arrays: TrainingArrays) -> Float32[np.ndarray, "E V M"]:
    """Compute what members' scores on their held-out tasks gain by the models' own tokens.

    Args:
        weights: of E members.
        arrays: of the training, with own tokens.

    Returns:
        The gain of every model; 0 for models whose own tokens `arrays` does not hold.
    """
    assert arrays.own is not None
    gains = np.zeros((*arrays.held.shape, arrays.targets.shape[1]), np.float32)
    for e, tasks in enumerate(arrays.held):
        member = jax.tree.map(lambda a, e=e: a[e], weights)
        models = arrays.own.models[tasks]
        own = OwnTokens(arrays.own.tokens[tasks], models)
        found = np.asarray(_gain(member, arrays.tokens[tasks], arrays.mask[tasks], own))
        np.put_along_axis(gains[e], np.asarray(models), found, axis=1)
    return gains


@jax.jit
def _gain(
    weights: Weights,
    tokens: Float[Array, "V C p"],
    mask: Bool[Array, "V C"],
    own: OwnTokens,
) -> Float[Array, "V R"]:
    with_own = score_with_own(weights, tokens, mask, own)
    general = score_tasks(weights, tokens, mask)
    return with_own - jax.numpy.take_along_axis(general, own.models, axis=1)
