"""Class centres of many classes are summed by segments: the same numbers, in bounded memory."""

import tracemalloc

import numpy as np
import pytest

from spider_jax.tasks import tokens


@pytest.mark.parametrize(("rows", "classes", "width"), [(60, 3, 5), (1000, 400, 7), (50, 2, 1)])
def test_segments_are_the_means(rows, classes, width, monkeypatch):
    rng = np.random.default_rng(0)
    y = np.r_[np.arange(classes), rng.integers(0, classes, rows - classes)]
    F = rng.normal(size=(rows, width)) + 100
    small = tokens.class_centres(F, y)
    monkeypatch.setattr(tokens, "MOST_INDICATORS", 16)
    segments = tokens.class_centres(F, y)
    expected = np.stack([F[y == c].mean(0) for c in range(classes)])
    np.testing.assert_allclose(segments, expected, rtol=1e-6)
    np.testing.assert_allclose(small, expected, rtol=1e-6)


def test_memory_does_not_grow_with_the_classes():
    rows, classes, width = 40_000, 1000, 8
    F = np.random.default_rng(0).normal(size=(rows, width)).astype(np.float32)
    tokens.task_tokens(F[:2000], np.arange(2000) % classes)  # imports
    tracemalloc.start()
    tokens.task_tokens(F, np.arange(rows) % classes)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 12 * F.nbytes  # a table rows x classes would take 250 times as much
