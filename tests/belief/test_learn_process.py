"""The numbers of the process: a minimum of the stated objective, and near those that drew data."""

import numpy as np
import pytest

from spider_jax.belief.learn_process import BOUNDS, PLAIN, HeldOutTasks, learn_hyper
from support.references.beliefs import held_out_objective, task_kernel

TRUE = np.array([0.3, 0.3, 0.8, 0.1, 0.2])


def drawn(seed, *, groups=12, per_group=6, models=30, features=4, hyper=TRUE):
    """Groups of tasks near each other, standings of models drawn from the process itself."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(groups, features))
    group = np.repeat(np.arange(groups), per_group)
    rows = centres[group] + 0.5 * rng.normal(size=(len(group), features))
    whole = centres + 0.2 * rng.normal(size=(groups, features))
    places = np.concatenate([rows, whole])
    root = np.linalg.cholesky(task_kernel(places, places, hyper) + 1e-9 * np.eye(len(places)))
    constant = rng.normal(size=models)
    standings = constant + root @ rng.normal(size=(len(places), models))
    standings[: len(rows)] += np.sqrt(hyper[3]) * rng.normal(size=(len(rows), models))
    standings[len(rows) :] += np.sqrt(hyper[4]) * rng.normal(size=(groups, models))
    return HeldOutTasks(
        rows=rows,
        targets=standings[: len(rows)],
        use=group[None] != np.arange(groups)[:, None],
        asked=places,
        truth=standings,
        whole=np.arange(len(places)) >= len(rows),
        group=np.concatenate([group, np.arange(groups)]),
        weight=np.concatenate([np.full(len(rows), 1 / per_group), np.ones(groups)]),
        constants=np.tile(constant, (groups, 1)),
    )


def assert_minimum(held, hyper):
    """No number moved by 5 % either way makes the objective lower."""
    p = np.log(hyper)
    lowest, (least, most) = held_out_objective(p, *held), BOUNDS
    for i in range(len(p)):
        for step in (-0.05, 0.05):
            moved = p.copy()
            moved[i] = np.clip(p[i] + step, least, most)
            assert held_out_objective(moved, *held) >= lowest - 1e-6, (i, step)


@pytest.mark.parametrize("seed", [0, 1])
def test_a_minimum_of_the_objective(seed):
    held = drawn(seed, groups=5, per_group=4, models=6)
    hyper = learn_hyper(held)
    assert np.abs(np.log(hyper) - np.log(PLAIN)).max() > 0.05  # it has gone somewhere
    assert_minimum(held, hyper)
    start = held_out_objective(np.log(np.array(PLAIN)), *held)
    assert held_out_objective(np.log(hyper), *held) < start


def test_a_minimum_where_weights_and_allowed_tasks_differ():
    held = drawn(2, groups=4, per_group=4, models=6)
    rng = np.random.default_rng(3)
    use = held.use & (rng.random(held.use.shape) < 0.7)
    weight = rng.uniform(0.1, 3, size=len(held.weight))
    held = held._replace(use=use, weight=weight, constants=rng.normal(size=held.constants.shape))
    assert_minimum(held, learn_hyper(held))


def test_a_minimum_at_a_bound():
    """What the models do on every task is the same to the last digit: no noise is too little."""
    held = drawn(4, groups=12, per_group=2, models=5)
    held = held._replace(
        targets=np.zeros_like(held.targets),
        truth=np.zeros_like(held.truth),
        constants=np.zeros_like(held.constants),
    )
    hyper = learn_hyper(held)
    least, most = np.exp(BOUNDS)
    assert (hyper >= least * (1 - 1e-9)).all()
    assert (hyper <= most * (1 + 1e-9)).all()
    assert hyper[2:].min() < 1.01 * least
    assert_minimum(held, hyper)


@pytest.mark.parametrize("seed", [5, 6])
def test_the_numbers_that_drew_the_tasks_come_back(seed):
    found = learn_hyper(drawn(seed, groups=16, per_group=6, models=60)) / TRUE
    for name, ratio in zip("absng", found, strict=True):
        assert 1 / 2.5 < ratio < 2.5, (name, ratio)


def test_more_models_cost_nothing_and_copies_of_them_change_nothing():
    held = drawn(8, groups=5, per_group=3, models=8)
    twice = {
        name: np.tile(getattr(held, name), (1, 2)) for name in ("targets", "truth", "constants")
    }
    np.testing.assert_allclose(learn_hyper(held._replace(**twice)), learn_hyper(held), rtol=1e-6)


def test_without_held_out_tasks_the_numbers_are_plain():
    held = drawn(9, groups=3, per_group=2, models=4)
    nothing = held._replace(
        asked=held.asked[:0],
        truth=held.truth[:0],
        whole=held.whole[:0],
        group=held.group[:0],
        weight=held.weight[:0],
    )
    assert learn_hyper(nothing).tolist() == list(PLAIN)


def test_a_group_that_may_use_no_task_is_predicted_by_its_constant_order():
    held = drawn(10, groups=4, per_group=3, models=6)
    use = held.use.copy()
    use[2] = False
    held = held._replace(use=use)
    assert_minimum(held, learn_hyper(held))
