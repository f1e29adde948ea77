"""The process over tasks, against the dense formula one task after the other."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spider_jax.belief.task_process import (
    TaskProcess,
    constant_weights,
    kernel,
    predict_apart,
)
from spider_jax.tasks.description import Design
from support.references.beliefs import process_of_tasks, task_kernel

HYPER = np.float32([0.25, 0.125, 0.75, 0.3, 0.2]).astype(np.float64)
S, M, F = 9, 4, 6


def a_process(rng, tasks=S, features=F):
    """Rows that a file of float32 holds exactly, and the process on them."""
    rows, centre = rng.normal(size=(tasks, features)), rng.normal(size=features)
    scale = rng.uniform(0.5, 2, size=features)
    rows, centre, scale = (a.astype(np.float32).astype(np.float64) for a in (rows, centre, scale))
    constant = rng.dirichlet(np.ones(tasks)).astype(np.float32).astype(np.float64)
    given = Design(rows, centre, scale)
    unit = np.ones(features // 2, np.float32)
    return TaskProcess.of(given, unit, constant, HYPER), given, constant


@given(
    seed=st.integers(0, 2**20),
    tasks=st.integers(1, 12),
    half=st.integers(1, 4),
    asked=st.integers(0, 5),
)
@settings(max_examples=40)
def test_prediction_is_that_of_the_dense_process(seed, tasks, half, asked):
    rng = np.random.default_rng(seed)
    process, given, constant = a_process(rng, tasks, 2 * half)
    described, targets = rng.normal(size=(asked, 2 * half)), rng.normal(size=(tasks, M))
    weights, variance = process.predict(described)
    scaled = (described - given.centre) / given.scale
    mean, left = process_of_tasks(given.rows, targets, constant @ targets, scaled, HYPER)
    np.testing.assert_allclose(weights @ targets, mean, rtol=0, atol=1e-8)
    np.testing.assert_allclose(variance, left + HYPER[4], rtol=0, atol=1e-8)


def test_the_kernel_weighs_its_halves_apart():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(3, F)), rng.normal(size=(5, F))
    np.testing.assert_allclose(kernel(a, b, HYPER), task_kernel(a, b, HYPER), rtol=0, atol=1e-12)
    first = a.copy()
    first[:, : F // 2] += 1.0
    near = np.diagonal(kernel(a, first, HYPER))
    np.testing.assert_allclose(near, 0.75 * np.exp(-0.25 * 3), rtol=1e-12)


def test_far_from_all_tasks_it_is_the_constant_order_and_all_is_uncertain():
    rng = np.random.default_rng(1)
    process, _, constant = a_process(rng)
    far = np.full((1, F), 1e3)
    weights, variance = process.predict(far)
    np.testing.assert_allclose(weights[0], constant, rtol=0, atol=1e-12)
    np.testing.assert_allclose(variance, HYPER[2] + HYPER[4], rtol=0, atol=1e-12)
    assert process.explained(far).tolist() == [0.0]


def test_the_variance_grows_with_the_distance():
    rng = np.random.default_rng(2)
    process, given, _ = a_process(rng)
    step = np.zeros(F)
    step[0] = 100 * given.scale[0]
    start = given.rows[3] * given.scale + given.centre
    variance = process.predict(start + np.outer([0.0, 0.02, 0.05, 1.0], step))[1]
    assert (np.diff(variance) > 0).all()
    explained = process.explained(start + np.outer([0.0, 0.02, 0.05, 1.0], step))
    np.testing.assert_allclose(explained, 1 - (variance - HYPER[4]) / HYPER[2], atol=1e-12)
    assert (np.diff(explained) < 0).all()


def test_at_a_task_seen_without_noise_it_is_that_task():
    rng = np.random.default_rng(3)
    process, given, _ = a_process(rng)
    sharp = np.float32([0.25, 0.125, 0.75, 2.0**-30, 0.25]).astype(np.float64)
    exact = TaskProcess(
        process.unit, process.centre, process.scale, process.rows, process.constant, sharp
    )
    weights, variance = exact.predict(given.rows[[4]] * given.scale + given.centre)
    np.testing.assert_allclose(weights[0], np.eye(S)[4], atol=1e-4)
    np.testing.assert_allclose(variance, 0.25, atol=1e-6)


def test_halves_of_different_weight_matter_differently():
    rng = np.random.default_rng(4)
    _, given, constant = a_process(rng)
    hyper = HYPER.copy()
    hyper[0] = 0.0  # the first half counts for nothing
    process = TaskProcess.of(given, np.ones(F // 2, np.float32), constant, hyper)
    moved = np.zeros((2, F))
    moved[1, : F // 2] = 7.0
    one, other = process.predict(moved)[0]
    np.testing.assert_allclose(one, other, rtol=0, atol=1e-12)


# ---- the constant order ------------------------------------------------------------------------


def test_every_dataset_weighs_the_same_in_the_constant_order():
    rows = np.array([[1, 1, 1, 0, 0], [0, 0, 0, 1, 0]], bool)
    np.testing.assert_allclose(constant_weights(rows), [1 / 6, 1 / 6, 1 / 6, 1 / 2, 0], atol=1e-15)


def test_a_dataset_without_a_task_of_its_own_does_not_count():
    rows = np.array([[1, 1, 0], [0, 0, 0]], bool)
    np.testing.assert_allclose(constant_weights(rows), [0.5, 0.5, 0], atol=1e-15)


@pytest.mark.parametrize("datasets", [0, 2])
def test_without_datasets_all_tasks_weigh_the_same(datasets):
    np.testing.assert_allclose(constant_weights(np.zeros((datasets, 4), bool)), 0.25, atol=1e-15)


# ---- groups left out ---------------------------------------------------------------------------


def test_groups_are_predicted_by_the_tasks_that_they_allow():
    rng = np.random.default_rng(5)
    rows, targets = rng.normal(size=(S, F)), rng.normal(size=(S, M))
    groups = np.array([0, 0, 0, 1, 1, 1, 2, 2, 2])
    allowed = groups[None] != np.arange(3)[:, None]
    allowed[0, 5] = False
    constants = allowed / allowed.sum(1, keepdims=True)
    found = predict_apart(rows, targets, HYPER, groups, allowed, constants)
    for group in range(3):
        asked, use = groups == group, allowed[group]
        constant = constants[group] @ targets
        expected, _ = process_of_tasks(rows[use], targets[use], constant, rows[asked], HYPER)
        np.testing.assert_allclose(found[asked], expected, rtol=0, atol=1e-8)


def test_a_group_that_may_use_nothing_is_predicted_as_zero():
    rng = np.random.default_rng(6)
    rows, targets = rng.normal(size=(4, F)), rng.normal(size=(4, M))
    groups, allowed = np.array([0, 0, 1, 1]), np.array([[0, 0, 0, 0], [1, 1, 0, 0]], bool)
    constants = np.full((2, 4), 0.25)
    found = predict_apart(rows, targets, HYPER, groups, allowed, constants)
    assert (found[:2] == 0).all()
    assert (found[2:] != 0).all()


def test_what_a_group_shows_does_not_touch_its_own_prediction():
    rng = np.random.default_rng(7)
    rows, targets = rng.normal(size=(S, F)), rng.normal(size=(S, M))
    groups = np.arange(S) // 3
    allowed = groups[None] != np.arange(3)[:, None]
    constants = allowed / allowed.sum(1, keepdims=True)
    changed = targets.copy()
    changed[groups == 1] += 100
    before, after = (
        predict_apart(rows, shown, HYPER, groups, allowed, constants)
        for shown in (targets, changed)
    )
    assert before[groups == 1].tolist() == after[groups == 1].tolist()
    assert np.abs(before - after)[groups != 1].min() > 0.1
