"""What similar tasks say, beside loops over dense tables."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spider_jax.recommend import task_kernel
from spider_jax.recommend.scales import scale
from spider_jax.recommend.task_kernel import TaskKernel, learn_kernel, part, predict, residuals
from support.references.recommending import (
    constant_order,
    moved,
    triples,
    without_group,
)
from support.small_records import table_of

KERNEL = TaskKernel(np.array([0.3, -0.4]), np.array([1.2, -0.9, 0.4, -1.1]))
KAPPA, SIGMA2, B = np.exp(KERNEL.others[[0, 1, 3]])
A = 1 / (1 + np.exp(-0.4))
GROUP = np.array([0, 1, 1, 2, 0, 3])


def some_records(seed=0, known=0.7, models=8, tasks=6):
    """Scaled records, Z as a dense table [M, T], and similarities [2, T, T]."""
    table = table_of(models, tasks, known, seed)
    table[:2] = [[0.5], [1.0]]  # every task has records
    given = scale(*triples(table), models, tasks)
    dense = np.full(table.shape, np.nan)
    dense[given.model, given.task] = given.z
    near = np.random.default_rng(seed + 1).uniform(size=(2, tasks, tasks))
    near = (near + near.transpose(0, 2, 1)) / 2
    near[:, range(tasks), range(tasks)] = 1
    return given, dense, near


def weights_of(near, p=KERNEL):
    return np.exp(
        p.others[0] + sum(np.exp(t) * (s - 1) for t, s in zip(p.fields, near, strict=True))
    )


@given(seed=st.integers(0, 2**20), known=st.floats(0, 1))
@settings(max_examples=30)
def test_predictions_are_the_loop(seed, known):
    records, z, _ = some_records(seed, known)
    near = np.random.default_rng(seed).uniform(size=(2, 6))
    constant = constant_order(z, np.linspace(-1, 1, 8))
    found = predict(KERNEL, records, constant, near)
    mean, variance = moved(z, constant, weights_of(near), np.array([SIGMA2, A, B]))
    np.testing.assert_allclose(found.weights, weights_of(near), rtol=1e-12)
    np.testing.assert_allclose(found.mean, mean, rtol=0, atol=1e-10)
    np.testing.assert_allclose(found.variance, variance, rtol=0, atol=1e-10)


def test_a_task_unlike_all_has_the_constant_order_and_the_largest_variance():
    records, z, _ = some_records()
    constant = constant_order(z, np.zeros(8))
    far = TaskKernel(KERNEL.fields + 6, KERNEL.others)
    found = predict(far, records, constant, np.zeros((2, 6)))
    np.testing.assert_allclose(found.mean, constant, rtol=0, atol=1e-12)
    largest = SIGMA2 + B / (records.counts + 1)
    np.testing.assert_allclose(found.variance, largest, rtol=1e-12)
    near = predict(far, records, constant, np.ones((2, 6)))
    assert (near.variance < found.variance).all()


@given(seed=st.integers(0, 2**20))
@settings(max_examples=20)
def test_residuals_are_the_loop_without_the_own_group(seed):
    records, z, near = some_records(seed)
    before, asked = np.linspace(-0.5, 0.5, 8), np.array([1, 2, 4, 5])
    found, places = residuals(KERNEL, records, before, near[:, asked], GROUP, asked)
    expected = {}
    for t in asked:
        left = without_group(z, GROUP, GROUP[t])
        constant = constant_order(left, before)
        w = np.where(GROUP[t] == GROUP, 0.0, weights_of(near[:, t]))
        mean, variance = moved(left, constant, w, np.array([SIGMA2, A, B]))
        for m in np.flatnonzero(np.isfinite(z[:, t])):
            shown = z[m, t] - mean[m], mean[m], mean[m] - constant[m], variance[m]
            expected[m, t] = np.array(shown) / np.sqrt(variance[m])
    pairs = list(zip(records.model[places], records.task[places], strict=True))
    assert sorted(pairs) == sorted(expected)
    np.testing.assert_allclose(found.T, [expected[p] for p in pairs], rtol=0, atol=1e-10)


def test_no_task_asked_has_no_residuals():
    records, _, near = some_records()
    found, at = residuals(KERNEL, records, np.zeros(8), near[:, :0], GROUP, np.zeros(0, np.int64))
    assert (found.shape, len(at)) == ((4, 0), 0)


def dense_objective(p, z, near, before, group):
    """Of the numbers p: every group counts as much, every task in it, every record of a task."""
    kernel = TaskKernel(p[:2], p[2:])
    others = np.array([np.exp(p[3]), 1 / (1 + np.exp(-p[4])), np.exp(p[5])])
    asked = np.flatnonzero(np.isfinite(z).sum(0) >= 5)
    by_group = {}
    for t in asked:
        left = without_group(z, group, group[t])
        w = np.where(group == group[t], 0.0, weights_of(near[:, t], kernel))
        mean, variance = moved(left, constant_order(left, before), w, others)
        there = np.isfinite(z[:, t])
        each = (z[there, t] - mean[there]) ** 2 / variance[there] + np.log(variance[there])
        by_group.setdefault(group[t], []).append(each.mean() / 2)
    fit = np.mean([np.mean(found) for found in by_group.values()])
    apart = p - np.array([0, 0, 1, -1, 0, -1])
    return 4.0 * len(by_group) * fit + (apart @ apart) / (2 * 2.0**2)


def test_what_is_learned_is_the_least_of_the_dense_objective(monkeypatch):
    records, z, near = some_records(3, 0.8, models=9)
    before = np.linspace(-0.3, 0.3, 9)
    seen = []

    def kept(p, *data):
        with jax.enable_x64(True):
            seen.append((p, jax.jit(task_kernel._loss)(p, *data)))
        return loss_and_slope(p, *data)

    loss_and_slope = task_kernel._loss_and_slope
    monkeypatch.setattr(task_kernel, "_loss_and_slope", kept)
    monkeypatch.setattr(task_kernel, "STEPS", 3)
    learn_kernel(records, before, near, GROUP)
    for p, loss in seen[:3]:
        expected = dense_objective(np.asarray(p), z, near, before, GROUP)
        np.testing.assert_allclose(float(loss), expected, rtol=0, atol=1e-9)


def test_what_is_learned_is_a_least_value_in_any_order_of_the_tasks():
    records, z, near = some_records(3, 0.8, models=9)
    before = np.linspace(-0.3, 0.3, 9)
    found = learn_kernel(records, before, near, GROUP)
    p = np.r_[found.fields, found.others]
    best = dense_objective(p, z, near, before, GROUP)
    for step in 0.02 * np.r_[np.eye(6), -np.eye(6)]:
        assert dense_objective(p + step, z, near, before, GROUP) > best - 1e-6
    order = np.array([3, 0, 5, 1, 4, 2])
    model, task = np.nonzero(np.isfinite(z[:, order]))
    value = z[:, order][model, task]
    by_task = np.argsort(task, kind="stable")
    one = part(records, np.arange(6), np.arange(9))
    moved_ = type(one)(
        model[by_task].astype(np.int32),
        task[by_task].astype(np.int32),
        value[by_task],
        9,
        6,
        one.size[order],
    )
    again = learn_kernel(moved_, before, near[:, order][:, :, order], GROUP[order])
    np.testing.assert_allclose(np.r_[again.fields, again.others], p, atol=2e-3)


@pytest.mark.parametrize("models", [1, 4])
def test_tables_too_small_to_learn_from_have_plain_numbers(models):
    records = scale(*triples(table_of(models, 3)), models, 3)
    found = learn_kernel(records, np.zeros(models), np.ones((2, 3, 3)), np.arange(3))
    assert found.fields.tolist() == [0, 0]
    assert found.others.tolist() == [1, -1, 0, -1]


def test_a_part_of_the_records():
    records, z, _ = some_records()
    tasks, models = np.array([1, 4]), np.array([6, 0, 3])
    found = part(records, tasks, models)
    dense = np.full((3, 2), np.nan)
    dense[found.model, found.task] = found.z
    np.testing.assert_array_equal(dense, z[models][:, tasks])
    assert (np.diff(found.task) >= 0).all()
    np.testing.assert_array_equal(found.size, records.size[tasks])
