"""The memory of training tasks: what is recalled, and that scores, files and index carry it."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from toy_index import toy_spider, toy_tokens

from spider_jax.index import ZooIndex
from spider_jax.memory import Memory, memorize, recall, recall_own
from spider_jax.scaling import apply_scaling
from spider_jax.spider import Spider
from spider_jax.tasks import MetaTask

S, C, WIDTH, M = 6, 4, 3, 5


def remembered_tasks(seed=0):
    """Tokens [S, C, WIDTH] with rubbish where a task has no class, mask, targets [S, M]."""
    rng = np.random.default_rng(seed)
    mask = np.arange(C)[None] < rng.integers(2, C + 1, S)[:, None]
    tokens = np.where(mask[..., None], rng.normal(size=(S, C, WIDTH)), 1e6)
    return tokens.astype(np.float32), mask, rng.normal(size=(S, M)).astype(np.float32)


def expected_weights(embeddings, tokens):
    """exp(-(D - min D) / (0.3 sd D)), normalised, for one task without padding."""
    asked = np.concatenate([tokens.mean(0), tokens.std(0)])
    distance = np.array([((asked - known) ** 2).sum() for known in embeddings.astype(np.float64)])
    weights = np.exp(-(distance - distance.min()) / (0.3 * distance.std()))
    return weights / weights.sum()


def test_a_task_recalls_by_distance_to_mean_and_deviation_of_its_tokens():
    memory = memorize(*remembered_tasks(), 1.0)
    tokens, mask, _ = remembered_tasks(1)
    found = recall(memory.embeddings, tokens, mask)
    for t in range(S):
        real = tokens[t][mask[t]].astype(np.float64)
        np.testing.assert_allclose(found[t], expected_weights(memory.embeddings, real), atol=1e-6)


def test_a_task_of_padding_recalls_nothing():
    memory = memorize(*remembered_tasks(), 1.0)
    tokens, mask, _ = remembered_tasks(1)
    mask[2] = False
    found = recall(memory.embeddings, tokens, mask)
    np.testing.assert_allclose(found.sum(1), [1, 1, 0, 1, 1, 1], atol=1e-6)


def test_targets_are_kept_with_mean_0_and_the_weight_as_deviation():
    targets = memorize(*remembered_tasks(), 2.5).targets
    np.testing.assert_allclose(targets.mean(1), 0, atol=1e-6)
    np.testing.assert_allclose(targets.std(1), 2.5, rtol=1e-5)


def test_a_training_task_recalls_none_that_shares_a_dataset():
    sources = [("a",), ("a", "b"), ("b",), ("c",), ("c", "d"), ("e",)]
    nothing = np.zeros(0, np.int32)
    meta = [MetaTask(names, nothing, nothing.astype(np.int64), nothing) for names in sources]
    memory = memorize(*remembered_tasks(), 1.0)
    inside = np.array([True, True, True, True, True, False])
    found = recall_own(memory, meta, inside)
    for t, names in enumerate(sources):
        allowed = [s for s in range(S) if inside[s] and not {*names} & {*sources[s]}]
        known = memory.embeddings[allowed].astype(np.float64)
        distance = ((memory.embeddings[t] - known) ** 2).sum(1)
        weights = np.exp(-(distance - distance.min()) / (0.3 * distance.std()))
        expected = weights @ memory.targets[allowed] / weights.sum()
        np.testing.assert_allclose(found[t], expected, atol=1e-5)


def test_nothing_to_recall_says_nothing():
    nothing = np.zeros(0, np.int32)
    meta = [MetaTask(("a",), nothing, nothing.astype(np.int64), nothing)] * S
    found = recall_own(memorize(*remembered_tasks(), 1.0), meta, np.ones(S, bool))
    np.testing.assert_array_equal(found, np.zeros((S, M), np.float32))


# ---- a spider that remembers ------------------------------------------------------------------


def remembering(models: int, form: str = "many", members: int = 2) -> Spider:
    spider = toy_spider(models, members=members)
    width = 2 * spider.description.token_width
    rng = np.random.default_rng(0)
    memory = Memory(
        rng.normal(size=(S, width)).astype(np.float32),
        rng.normal(size=(S, models)).astype(np.float32),
    )
    about = dataclasses.replace(spider.description, form=form)
    return dataclasses.replace(spider, description=about, memory=memory)


def scaled(spider: Spider, tokens: np.ndarray) -> np.ndarray:
    mask = np.ones((1, len(tokens)), bool)
    return np.asarray(apply_scaling(spider.scaling, tokens[None], mask))[0]


@pytest.mark.parametrize("form", ["many", "few"])
def test_scores_are_the_networks_and_what_is_recalled(form):
    spider = remembering(9, form)
    assert spider.memory is not None
    tasks = [toy_tokens(classes) for classes in (3, 12, 5)]
    alone = dataclasses.replace(spider, memory=None).scores(tasks)
    for tokens, network, found in zip(tasks, alone, spider.scores(tasks), strict=True):
        weights = expected_weights(spider.memory.embeddings, scaled(spider, tokens).astype(float))
        expected = network + weights @ spider.memory.targets
        np.testing.assert_allclose(found, expected, atol=2e-6 * max(1, np.ptp(expected)))


def test_it_is_saved_and_loaded(tmp_path: Path):
    spider = remembering(9)
    spider.save(tmp_path / "spider")
    tasks = [toy_tokens(4)]
    again = Spider.load(tmp_path / "spider")
    np.testing.assert_array_equal(again.scores(tasks), spider.scores(tasks))


def test_an_index_carries_it(tmp_path: Path):
    spider = remembering(9)
    index = ZooIndex.build(spider, tmp_path / "index")
    tasks = [toy_tokens(classes) for classes in (3, 12, 5)]
    found = index.top_k_tasks(tasks, 9)
    for ranking, scores in zip(found, spider.scores(tasks), strict=True):
        order = np.argsort(-scores, kind="stable")
        assert ranking.names == tuple(spider.models[i] for i in order)
        np.testing.assert_allclose(ranking.scores, scores[order], atol=1e-6)
    assert index.verify() == ()
