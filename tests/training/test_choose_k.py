"""How many models are worth re-ranking, against loops over members and held-out tasks."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import zscore

from spider_jax.spider.attention import score_tasks, score_with_own
from spider_jax.spider.weights import OwnTokens, Weights
from spider_jax.training.arrays import TrainingArrays
from spider_jax.training.choose_k import MOST, _chosen, choose_rerank_k, own_gains
from spider_jax.training.loop import TrainingResult
from support.toy_index import toy_spider

pytestmark = pytest.mark.slow

E, V, S, K, C, D, Q = 2, 4, 20, 3, 4, 5, 3
Array = NDArray[Any]


def arrays_of(
    models: int, own: int = 0, seed: int = 0
) -> tuple[TrainingArrays, TrainingResult, Array]:
    """Arrays with V held-out tasks a member; own: so many models of every task."""
    rng = np.random.default_rng(seed)
    targets = rng.normal(size=(S, models)).astype(np.float32)
    held = np.stack([rng.permutation(S)[:V] for _ in range(E)])
    metrics = (targets[:, None] + 0.4 * rng.normal(size=(S, K, models))).astype(np.float32)
    guess = (targets[held] + 1.5 * rng.normal(size=(E, V, models))).astype(np.float32)
    mask = np.arange(C)[None] < rng.integers(2, C + 1, S)[:, None]
    tokens = (rng.normal(size=(S, C, D)) * mask[..., None]).astype(np.float32)
    weights = toy_spider(models, members=E, features=D).weights
    given = None
    if own:
        chosen = np.stack([np.sort(rng.permutation(models)[:own]) for _ in range(S)])
        centres = rng.normal(size=(S, own, C, Q)) * mask[:, None, :, None]
        given = OwnTokens(jnp.asarray(centres, jnp.float32), jnp.asarray(chosen, jnp.int32))
        width = weights.theta.shape[2]
        drawn = (rng.normal(size=(E, models, *shape)) for shape in ((Q, width), (width,)))
        project, bias = (jnp.asarray(array, jnp.float32) for array in drawn)
        weights = weights._replace(own_project=project, own_bias=bias)
    arrays = TrainingArrays(tokens, mask, targets, None, np.ones((E, S), bool), held, given)
    return arrays, TrainingResult(weights, [], guess), metrics


def curve(
    arrays: TrainingArrays, result: TrainingResult, rerank: Any, most: int
) -> tuple[list[float], int]:
    """Mean loss for every k, and the smallest k within a standard error of the best."""
    losses: list[list[float]] = [[] for _ in range(most + 1)]
    for e in range(E):
        for v in range(V):
            truth = arrays.targets[arrays.held[e, v]].astype(np.float64)
            first = result.held_scores[e, v].astype(np.float64)
            order = sorted(range(len(first)), key=lambda m: -first[m])
            for k, kept in enumerate(losses):
                best = rerank(e, v, first, order[:k]) if k else order[0]
                kept.append((truth.max() - truth[best]) / truth.std())
    means = [float(np.mean(kept)) for kept in losses]
    best = int(np.argmin(means))
    error = np.std(losses[best]) / np.sqrt(E * V)
    return means, next(k for k, mean in enumerate(means) if mean <= means[best] + error)


@pytest.mark.parametrize("models", [3, 15])
@pytest.mark.parametrize("seed", range(3))
def test_evidence_by_loops(models: int, seed: int) -> None:
    """Those that are re-ranked stay in front, so the best of them is first."""
    arrays, result, metrics = arrays_of(models, seed=seed)

    def rerank(e: int, v: int, first: Array, top: list[int]) -> int:
        of_task = metrics[arrays.held[e, v]].astype(np.float64)[:, top]
        z = zscore(of_task, axis=1).mean(0) if len(top) > 1 else np.zeros(1)
        return top[int(np.argmax(first[top] + first.std() * z))]

    found = choose_rerank_k(arrays, result, metrics)
    assert {*found} == {"evidence"}
    means, k = curve(arrays, result, rerank, min(MOST, models))
    np.testing.assert_allclose(found["evidence"]["loss"], means, rtol=0, atol=5.1e-5)
    assert found["evidence"]["k"] == k


@pytest.mark.parametrize("own", [4, 12])
def test_attention_by_loops(own: int) -> None:
    """Models whose own tokens a task lacks keep their score."""
    arrays, result, metrics = arrays_of(12, own)
    gains = own_gains(result.weights, arrays)

    def rerank(e: int, v: int, first: Array, top: list[int]) -> int:
        new = first.copy()
        new[top] += gains[e, v, top]
        return int(new.argmax())

    found = choose_rerank_k(arrays, result, metrics)
    assert {*found} == {"evidence", "attention"}
    means, k = curve(arrays, result, rerank, MOST)
    np.testing.assert_allclose(found["attention"]["loss"], means, rtol=0, atol=5.1e-5)
    assert found["attention"]["k"] == k
    assert choose_rerank_k(arrays, result) == {"attention": found["attention"]}  # with beliefs


def gains_by_loop(arrays: TrainingArrays, weights: Weights) -> Array:
    """One member, one task, one model after another."""
    assert arrays.own is not None
    gains = np.zeros((*arrays.held.shape, arrays.targets.shape[1]))
    for e, tasks in enumerate(arrays.held):
        member = jax.tree.map(lambda a, e=e: a[e], weights)
        for v, t in enumerate(tasks):
            given = jnp.asarray(arrays.tokens[[t]]), jnp.asarray(arrays.mask[[t]])
            general = score_tasks(member, *given)[0]
            for place, model in enumerate(np.asarray(arrays.own.models[t])):
                one = OwnTokens(
                    arrays.own.tokens[t, place][None, None], jnp.asarray([[model]], jnp.int32)
                )
                with_own = score_with_own(member, *given, one)[0, 0]
                gains[e, v, model] = float(with_own) - float(general[model])
    return gains


@pytest.mark.parametrize("own", [2, 5])
def test_gains_of_own_tokens(own: int) -> None:
    arrays, result, _ = arrays_of(5, own)
    found = own_gains(result.weights, arrays)
    expected = gains_by_loop(arrays, result.weights)
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5)
    assert ((found != 0).sum(-1) == own).all()


def test_the_smallest_k_within_a_standard_error() -> None:
    """By hand: on the first task the worst of three models is first and the best last, so the
    loss is 2 steps, then 1 (the second leads until the third is re-ranked), then 0; on the second
    task it is 0."""
    scale = np.array([1.0, 0.0, -1.0]) / np.std([1.0, 0.0, -1.0])
    truth = np.stack([scale[::-1], scale])[None]
    held = np.float32([[[3, 2, 1], [3, 2, 1]]])
    step = scale[0]

    def rerank(first: Array, top: Array, at: tuple[int, int]) -> Array:
        new = first.copy()
        new[top] += 10 * truth[at][top]
        return new

    found = _chosen(rerank, held, truth)
    assert found["loss"] == [round(x, 4) for x in (step, step / 2, step / 2, 0.0)]
    assert found["k"] == 3


def test_no_rerank_pays_where_the_first_is_the_best() -> None:
    arrays, result, metrics = arrays_of(8)
    perfect = result._replace(held_scores=arrays.targets[arrays.held])
    found = choose_rerank_k(arrays, perfect, metrics)["evidence"]
    assert found["k"] == 0
    assert found["loss"][0] == 0


def test_without_held_out_tasks_nothing_is_chosen() -> None:
    arrays, result, metrics = arrays_of(8)
    none = arrays._replace(held=np.zeros((E, 0), np.int64))
    assert choose_rerank_k(none, result, metrics) == {}


def test_models_that_all_have_one_target_lose_nothing() -> None:
    arrays, result, metrics = arrays_of(4)
    flat = arrays._replace(targets=np.zeros_like(arrays.targets))
    found = choose_rerank_k(flat, result, metrics)["evidence"]
    assert found == {"k": 0, "loss": [0.0] * 5}
