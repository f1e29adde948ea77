"""kNN: leave-one-out accuracy of the k nearest neighbours."""

import jax.numpy as jnp
from jaxtyping import Array, Float
from numpy.typing import ArrayLike

from spider_jax.errors import InputError
from spider_jax.metrics.statistics import (
    Statistics,
    check_features,
    check_labels,
    evaluate,
    one_hot,
)


def knn(features: ArrayLike, labels: ArrayLike, *, k: int = 5, standardize: bool = False) -> float:
    """Leave-one-out accuracy of the k nearest neighbours in cosine similarity.

    Each row is named by the majority of its k nearest other rows (itself never among them). Equal
    similarity: the smaller row. Equal votes: the larger summed similarity, then the smaller class.

    Range: [0, 1]; larger is better; an accuracy, so it compares across tasks as accuracies do.
    Cost: O(N^2 D). N < D: no special case. A class of one sample: that row is always missed. A
    constant feature: shifts every similarity (standardise to remove it). A zero row: similarity 0.

    Args:
        features: [N, D] numbers. labels: [N] int.
        k: neighbours; where k > N - 1 all others vote.
        standardize: standardise the columns of the features first.

    Returns:
        The accuracy, a float.

    Raises:
        InputError: k < 1, shapes that do not match, values that are not finite, one class only.

    References:
        "kNN as a simple and effective estimator of transferability", arXiv 2503.18528.
    """
    if k < 1:
        raise InputError(f"k must be at least 1, got {k}")
    F = check_features(features)
    Y = one_hot(check_labels(labels, len(F)))
    return float(evaluate(knn_core, F, Y, standardize=standardize, k=min(k, len(F) - 1)))


def knn_core(given: Statistics, k: int = 5) -> Float[Array, ""]:
    """Leave-one-out kNN accuracy of padded statistics."""
    lengths = jnp.sqrt(jnp.diagonal(given.gram))
    lengths = jnp.where(lengths > 0, lengths, 1.0)
    similarity = given.gram / (lengths[:, None] * lengths[None])
    itself = jnp.eye(len(lengths), dtype=bool)
    similarity = jnp.where(given.rows[None] & ~itself, similarity, -jnp.inf)
    votes = weight = jnp.zeros_like(given.targets)
    places = jnp.arange(len(similarity))
    for _ in range(k):  # k passes are cheaper than a sort of every row
        nearest = similarity.argmax(1)
        value = similarity.max(1)
        there = jnp.isfinite(value)[:, None]
        heard = jnp.where(there, given.targets[nearest], 0.0)
        votes = votes + heard
        weight = weight + heard * jnp.where(there, value[:, None], 0.0)
        similarity = jnp.where(places[None] == nearest[:, None], -jnp.inf, similarity)
    most = votes == votes.max(1, keepdims=True)
    winner = jnp.where(most, weight, -jnp.inf).argmax(1)
    hit = jnp.take_along_axis(given.targets, winner[:, None], axis=1)[:, 0]
    return jnp.where(given.rows, hit, 0.0).sum() / given.n
