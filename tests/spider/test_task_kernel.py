"""The task kernel against a loop over its definition."""

import math

import numpy as np
import pytest

from spider_jax.spider.task_kernel import BANDWIDTH, task_kernel
from support.toy_tasks import random_tokens


def kernel_by_hand(train, targets, task):
    """The ranking of one task: a loop over training tasks, tokens [C, D] without padding."""

    def embed(tokens):
        return np.hstack([tokens.mean(0), tokens.std(0)]).astype(float)

    distance = [((embed(task) - embed(other)) ** 2).sum() for other in train]
    weight = [math.exp(-(d - min(distance)) / (BANDWIDTH * np.std(distance))) for d in distance]
    return sum(w * target for w, target in zip(weight, targets, strict=True)) / sum(weight)


def test_the_kernel_is_a_weighted_mean_of_training_targets():
    rng = np.random.default_rng(0)
    train, asked = random_tokens((3, 7, 1, 9, 4)), random_tokens((2, 12, 5), seed=1)
    targets = rng.normal(size=(5, 4))
    found = task_kernel(*train, targets, *asked)
    known = [tokens[real] for tokens, real in zip(*train, strict=True)]
    for scores, tokens, real in zip(found, *asked, strict=True):
        np.testing.assert_allclose(scores, kernel_by_hand(known, targets, tokens[real]), rtol=1e-5)


def test_a_training_task_seen_again_is_ranked_mostly_as_it_was():
    train = random_tokens((3, 3, 3, 3))
    targets = np.eye(4)
    assert task_kernel(*train, targets, *train).argmax(1).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("count", [1, 3])
def test_training_tasks_that_look_alike_count_alike(count):
    tokens, mask = random_tokens((3,))
    train = np.repeat(tokens, count, axis=0), np.repeat(mask, count, axis=0)
    targets = np.random.default_rng(0).normal(size=(count, 5))
    found = task_kernel(*train, targets, *random_tokens((4,), seed=1))
    np.testing.assert_allclose(found[0], targets.mean(0), rtol=1e-12)
