"""Distances of models, clusters and representatives; the published counts on published matrices."""

from itertools import combinations

import numpy as np
import pytest

from spider_jax.records.clusters import FAR, cluster_models, model_distances, representatives
from support.recorded_curves import matrix

NAN = float("nan")


def test_the_distance_is_the_mean_of_the_largest_gaps() -> None:
    A = np.array([[0.0, 0.0, 0.0], [0.5, 0.25, 0.125]])
    np.testing.assert_allclose(model_distances(A, k=2), [[0, 0.375], [0.375, 0]])


def test_models_with_too_little_in_common_are_far() -> None:
    A = np.array([[0.1, 0.2, 0.3], [0.1, NAN, 0.3], [0.1, 0.2, 0.4]])
    found = model_distances(A, k=2)
    assert found[0, 1] == found[1, 2] == FAR
    np.testing.assert_allclose(found[0, 2], 0.05)
    assert (model_distances(A, k=3) == FAR - FAR * np.eye(3)).all()


def average_linkage(distances: np.ndarray, threshold: float) -> list[set[int]]:
    """Straight from the rule: merge the closest pair of clusters by mean pairwise distance."""
    clusters = [{i} for i in range(len(distances))]
    while len(clusters) > 1:
        pairs = [
            (np.mean([distances[i, j] for i in a for j in b]), a, b)
            for a, b in combinations(clusters, 2)
        ]
        least, a, b = min(pairs, key=lambda pair: pair[0])
        if least > threshold:
            break
        clusters = [c for c in clusters if c not in (a, b)] + [a | b]
    return sorted(clusters, key=min)


def test_clusters_are_those_of_the_rule() -> None:
    rng = np.random.default_rng(0)
    for threshold in (0.2, 0.35, 0.5):
        A = rng.uniform(size=(14, 9))
        A[rng.uniform(size=A.shape) < 0.1] = NAN
        distances = model_distances(A, k=5)
        found = cluster_models(distances, threshold)
        groups = [set(np.flatnonzero(found == c).tolist()) for c in range(found.max() + 1)]
        assert groups == average_linkage(distances, threshold)  # numbered by first appearance


def test_one_model_is_one_cluster() -> None:
    assert cluster_models(np.zeros((1, 1)), 0.1).tolist() == [0]


def test_representatives_have_the_best_mean_of_clusters_of_several() -> None:
    means = np.array([0.5, 0.7, 0.9, NAN, 0.7])
    assert representatives(means, np.array([0, 0, 1, 2, 0])).tolist() == [1]
    assert representatives(means, np.array([0, 1, 1, 0, 2])).tolist() == [0, 2]


@pytest.mark.parametrize(
    ("name", "threshold", "sizes"),
    [
        ("two_phase_nlp", 0.09, [1] * 8 + [2, 2, 3, 3, 4, 5, 5, 7]),
        ("two_phase_cv", 0.03, [1, 2, 2, 4, 7, 14]),
    ],
)
def test_published_clusters(name: str, threshold: float, sizes: list[int]) -> None:
    A = matrix(name)
    clusters = cluster_models(model_distances(A), threshold)
    assert sorted(np.bincount(clusters)) == sizes
    assert len(representatives(np.nanmean(A, 1), clusters)) == sum(size > 1 for size in sizes)
