"""Small made-up features, labels and tokens that the tests of several modules share."""

import numpy as np

from spider_jax.tasks.padding import pad_tokens
from spider_jax.tasks.tokens import TaskTokens


def blobs(n=40, width=6, classes=3, *, noise=1.0, seed=0):
    """Features [n, width] around a random mean per class, labels [n]."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(n) % classes)
    means = rng.normal(size=(classes, width))
    return means[labels] + noise * rng.normal(size=(n, width)), labels


def rank_deficient(n, width, rank):
    F, y = blobs(n, rank, noise=0.5)
    return F @ np.random.default_rng(1).normal(size=(rank, width)), y


def with_columns(*columns):
    F, y = blobs(noise=0.5)
    return np.hstack([F, np.tile(np.array(columns, float), (len(F), 1))]), y


def columns_twice():
    F, y = blobs(noise=0.5)
    return np.hstack([F, F[:, :3]]), y


def rows_twice(n, width):
    F, y = blobs(n, width)
    return np.vstack([F, F]), np.hstack([y, y])


def rows_twice_in_two_classes():
    F, y = rows_twice(8, 30)
    return F, np.hstack([y[:8], (y[:8] + 1) % 3])


def linear_labels():
    """Every class indicator is a linear function of 5 features."""
    rng = np.random.default_rng(2)
    _, y = blobs(30)
    return np.hstack([np.eye(3)[y], rng.normal(size=(30, 2))]) @ rng.normal(size=(5, 5)), y


def standardized(F):
    F, sd = np.float64(F), np.float64(F).std(0)
    return (F - F.mean(0)) / np.where(sd > 0, sd, 1)


def random_tokens(sizes, width=6, seed=0):
    rng = np.random.default_rng(seed)
    tasks = [TaskTokens(rng.normal(size=(c, width)).astype(np.float32)) for c in sizes]
    return pad_tokens(tasks)[:2]
