"""The optimisation: what it draws, how often it compiles, what stays on the devices."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from numpy.typing import NDArray

from programs.train_devices import CONFIG, flat, toy_arrays, trained
from spider_jax.ranking.losses import LOSSES
from spider_jax.spider.attention import score_tasks
from spider_jax.spider.network import SpiderNet
from spider_jax.spider.weights import Weights
from spider_jax.training import loop as module
from spider_jax.training.arrays import TrainingArrays, deal
from spider_jax.training.config import TrainConfig
from spider_jax.training.step import WARM_UP, _orders
from support.small_training import for_training

pytestmark = pytest.mark.slow

Refused = Callable[..., AbstractContextManager[None]]
QUIET: dict[str, Any] = {"token_dropout": 0.0, "token_noise": 0.0, "members": 1}


def of_one(given: TrainingArrays) -> TrainingArrays:
    """The arrays of the first member."""
    assert given.prior is not None
    return given._replace(prior=given.prior[:1], inside=given.inside[:1], held=given.held[:1])


def start(config: TrainConfig, given: TrainingArrays, member: int = 0) -> Weights:
    from flax import nnx

    key = jax.random.split(jax.random.key(config.seed), config.members)[member]
    models, width = given.targets.shape[1], given.tokens.shape[2]
    return SpiderNet(models, width, config.width, nnx.Rngs(key)).weights()


# ---- against a plain loop --------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"loss": "listnet"},
        {"loss": "pairwise"},
        {"clip": 0.1},
        {"optimizer": "adamw", "weight_decay": 0.3, "learning_rate": 1e-3},
    ],
    ids=str,
)
def test_one_batch_of_all_tasks_is_a_plain_loop(changes: dict[str, Any]) -> None:
    """Every step sees all tasks, so nothing hangs on the draws: optax alone gives the weights."""
    given = of_one(toy_arrays(tasks=6))
    config = replace(CONFIG, **QUIET, epochs=25, batch=6, **changes)
    tasks = np.flatnonzero(given.inside[0])
    assert given.prior is not None
    tokens, mask, y = (jnp.asarray(a[tasks]) for a in (given.tokens, given.mask, given.targets))
    prior = jnp.asarray(given.prior[0, tasks])
    if config.optimizer == "sgd":
        plain = optax.sgd(config.learning_rate)
    else:
        rate = optax.warmup_cosine_decay_schedule(
            0.0, config.learning_rate, WARM_UP, config.epochs, 0.02 * config.learning_rate
        )
        names = ("theta", "project", "query", "key", "value", "output", "head")
        decayed = Weights._make(name in names for name in Weights._fields)
        plain = optax.adamw(rate, weight_decay=config.weight_decay, mask=decayed)
    if config.clip:
        plain = optax.chain(optax.clip_by_global_norm(config.clip), plain)
    with for_training():

        def loss(w: Weights) -> Any:
            return LOSSES[config.loss](score_tasks(w, tokens, mask) + prior, y).mean()

        @jax.jit
        def step(w: Weights, state: Any) -> tuple[Weights, Any]:
            updates, state = plain.update(jax.grad(loss)(w), state, w)
            return optax.apply_updates(w, updates), state

        weights = start(config, given)
        state = plain.init(weights)
        for _ in range(config.epochs):
            weights, state = step(weights, state)
    found = trained("1 device", config, given).weights
    for name, expected in weights.arrays().items():
        if config.optimizer == "adamw" and name in ("head_norm_bias", "head_bias"):
            continue  # they move all scores alike: Adam makes steps of what rounding leaves
        got = found.arrays()[name][0]
        np.testing.assert_allclose(got, expected, rtol=0, atol=2e-6, err_msg=name)


def test_members_train_as_if_alone() -> None:
    """Two learning rates in one ensemble: each member is what it is alone."""
    config = replace(CONFIG, learning_rates=(0.05, 0.01), epochs=2)
    both = trained("1 device", config)
    swapped = trained("1 device", replace(config, learning_rates=(0.05, 0.03)))
    np.testing.assert_array_equal(both.weights.theta[0], swapped.weights.theta[0])
    assert np.abs(both.weights.theta[1] - swapped.weights.theta[1]).max() > 1e-4


# ---- draws -----------------------------------------------------------------------------------


@pytest.mark.parametrize("tasks", [1, 5, 6, 7, 30])
@pytest.mark.parametrize("multiple", [1, 4])
def test_every_task_is_dealt_once(tasks: int, multiple: int) -> None:
    given = toy_arrays(tasks=tasks)._replace(inside=np.ones((2, tasks), bool))
    lanes = deal(given, CONFIG, multiple)
    assert len(lanes.inside) % multiple == 0
    assert lanes.inside.shape[1] == -(-tasks // CONFIG.batch)
    dealt = lanes.targets[np.asarray(lanes.inside[..., 0])]
    np.testing.assert_array_equal(np.sort(dealt, axis=0), np.sort(given.targets, axis=0))
    np.testing.assert_array_equal(lanes.inside[..., 0], lanes.inside[..., 1])


def orders(epoch: int, seed: int = 0) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    inside = np.random.default_rng(1).random((3, 9, 2)) < 0.6
    inside[2, :, 0] = False
    keys = jax.random.key_data(jax.random.split(jax.random.key(seed), 2))
    found = _orders(keys, jnp.int32(epoch), jnp.arange(3), jnp.asarray(inside))
    return np.asarray(found[0]), np.asarray(found[1]), inside


def test_a_member_draws_its_tasks_and_each_once_before_any_twice() -> None:
    order, known, inside = orders(0)
    assert order.shape == (2, 3, 9)
    for e in range(2):
        for b in range(3):
            may = np.flatnonzero(inside[b, :, e])
            assert known[e, b] == len(may)
            assert sorted(order[e, b, : len(may)]) == may.tolist()
            assert sorted(order[e, b]) == list(range(9))


def test_epochs_seeds_members_and_lanes_differ() -> None:
    first = orders(0)[0]
    assert (orders(0)[0] == first).all()
    assert (orders(1)[0] != first).any()
    assert (orders(0, seed=1)[0] != first).any()
    full = np.ones((3, 9, 2), bool)
    keys = jax.random.key_data(jax.random.split(jax.random.key(0), 2))
    order = np.asarray(_orders(keys, jnp.int32(0), jnp.arange(3), jnp.asarray(full))[0])
    rows = {tuple(row) for row in order.reshape(6, 9)}
    assert len(rows) == 6


# ---- compiled once, on the devices -----------------------------------------------------------


@pytest.mark.parametrize("parallel", ["mesh", "pmap"])
def test_an_epoch_compiles_once_and_moves_nothing(parallel: str) -> None:
    """A third training epoch under the guard, with no compilation after the first."""
    config = replace(CONFIG, parallel=parallel, checkpoint_every=100, learning_rate=0.04)
    counted: list[str] = []

    def count(name: str, *_: Any, **__: Any) -> None:
        if name == "/jax/core/compile/backend_compile_duration":
            counted.append(name)

    with for_training():
        training = module._Training(config, toy_arrays(held=4), None, None)
        training.advance()
        jax.monitoring.register_event_duration_secs_listener(count)
        try:
            with jax.transfer_guard("disallow"):
                training.advance()
            compiled_in_second = len(counted)
            training.advance()
        finally:
            jax.monitoring.clear_event_listeners()
    assert training.epoch == 3
    assert compiled_in_second == len(counted) == 0


def test_seeds_share_a_compilation() -> None:
    trained("1 device")
    before = module._runner.cache_info().misses
    trained("1 device", replace(CONFIG, seed=5, learning_rate=0.01))
    assert module._runner.cache_info().misses == before


# ---- early stop ------------------------------------------------------------------------------


def test_an_impatient_training_stops_early() -> None:
    config = replace(CONFIG, epochs=6, learning_rate=1e-12)  # it gets no better
    learned = trained("1 device", replace(config, patience=2), toy_arrays(held=4))
    assert len(learned.history) == 3
    assert len(trained("1 device", config, toy_arrays(held=4)).history) == 6


def test_a_training_that_diverges_says_so(refused: Refused) -> None:
    with refused("diverged", "nan", "smaller learning_rate"):
        trained("1 device", replace(CONFIG, learning_rate=1e20), toy_arrays(held=4))


# ---- chunks of models ------------------------------------------------------------------------


@pytest.mark.parametrize("chunk", [1, 30, 60])
@pytest.mark.parametrize("models", [13, 20])
def test_chunks_do_not_change_scores_or_gradients(chunk: int, models: int) -> None:
    """4 tasks x 13 models x 8 are at least 6 chunks."""
    given = toy_arrays(tasks=4, models=models)
    weights = start(CONFIG, given)

    def loss(w: Weights, elements: int) -> Any:
        tokens, mask = jnp.asarray(given.tokens), jnp.asarray(given.mask)
        scores = score_tasks(w, tokens, mask, pair_elements=elements)
        return LOSSES["plackett_luce"](scores, jnp.asarray(given.targets)).sum()

    with for_training():
        graded = jax.jit(jax.value_and_grad(loss), static_argnums=1)
        whole, parts = graded(weights, 1 << 19), graded(weights, chunk)
    for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(parts), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=3e-6)


def test_the_best_epoch_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    taus = iter([0.1, 0.5, 0.2, 0.5])
    monkeypatch.setattr(module, "_mean_tau", lambda *_: next(taus))
    learned = trained("1 device", replace(CONFIG, epochs=4), toy_arrays(held=4))
    monkeypatch.undo()
    second = trained("1 device", replace(CONFIG, epochs=2), toy_arrays())
    assert [line["held_out_tau"] for line in learned.history] == [0.1, 0.5, 0.2, 0.5]
    np.testing.assert_array_equal(learned.weights.theta, second.weights.theta)
    assert flat(learned).size > flat(second).size  # with held-out scores
