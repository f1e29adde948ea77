"""The training step of one device: the tasks it draws, their gradient, the update.

Tasks are dealt into as many lanes as a batch has places, and every step takes one task from each
lane, so a device holds the lanes of its places and nothing else, and the batches do not depend on
the number of devices. All members of an ensemble step at once, under vmap.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int, UInt32

from spider_jax.ranking.losses import LOSSES
from spider_jax.spider.weights import PER_MODEL, Weights
from spider_jax.training.config import TrainConfig
from spider_jax.training.regularize import draw_own, noisy_scores
from spider_jax.training.state import Axes, Batch, Lanes, Members, State

WARM_UP = 20  # steps in which the learning rate rises
LAST_RATE = 0.02  # of the first, as published: 2.5e-4 to 5e-6
MATRICES = ("theta", "project", "query", "key", "value", "output", "head", "own_project")

Tree = TypeVar("Tree")
Out = TypeVar("Out")
Call = Callable[[State, Lanes, Members, Array, Array, Array], tuple[State, Array]]


def make_call(config: TrainConfig, axes: Axes, models: int, steps: int) -> Call:
    """Make the function that runs steps first..first + count of an epoch on one device.

    Args:
        config: of the training.
        axes: of the devices.
        models: M without padding.
        steps: of the whole training, for the schedule of the learning rate.

    Returns:
        (state, lanes, members, epoch, first, count) -> (state, mean loss [E]); weights.theta holds
        the rows of this device, lanes those of this device, all else is whole.
    """
    step = _make_step(config, axes, models, steps)

    def call(
        state: State, lanes: Lanes, members: Members, epoch: Array, first: Array, count: Array
    ) -> tuple[State, Array]:
        B = len(lanes.inside)
        lane = jax.lax.axis_index(axes.data) * B + jnp.arange(B)
        orders, known = _orders(members.keys, epoch, lane, lanes.inside)

        def body(i: Array, carry: tuple[State, Array]) -> tuple[State, Array]:
            state, total = carry
            slots = jax.vmap(_pick, (0, 0, None))(orders, known, i)
            state, loss = step(state, lanes, members, slots, known > 0, lane)
            return state, total + loss

        nothing = jnp.zeros(len(members.rates), jnp.float32)
        state, total = jax.lax.fori_loop(first, first + count, body, (state, nothing))
        return state, total / count.astype(jnp.float32)

    return call


def _orders(
    keys: UInt32[Array, "E 2"], epoch: Array, lane: Int[Array, " B"], inside: Bool[Array, "B S E"]
) -> tuple[Int[Array, "E B S"], Int[Array, "E B"]]:
    """The order in which every member takes each lane's tasks in this epoch, and how many it may.

    Those that it may not train on come last; a lane that has few begins again.
    """

    def of_lane(key: Array, lane: Array, may: Array) -> tuple[Array, Array]:
        chance = jax.random.uniform(jax.random.fold_in(key, lane), may.shape)
        return jnp.argsort(jnp.where(may, chance, 2.0)), may.sum()

    def of_member(data: Array, may: Array) -> tuple[Array, Array]:
        key = jax.random.fold_in(jax.random.split(jax.random.wrap_key_data(data))[0], epoch)
        return jax.vmap(of_lane, (None, 0, 0))(key, lane, may)

    return jax.vmap(of_member, (0, 2))(keys, inside)


def _pick(order: Int[Array, "B S"], known: Int[Array, " B"], i: Array) -> Int[Array, " B"]:
    """The task of every lane at step i of the epoch."""
    place = (i % jnp.maximum(known, 1)).astype(jnp.int32)
    return jnp.take_along_axis(order, place[:, None], axis=1)[:, 0]


def _make_step(
    config: TrainConfig, axes: Axes, models: int, steps: int
) -> Callable[..., tuple[State, Array]]:
    """(state, lanes, members, slots [E, B], use [E, B], lane [B]) -> (state, loss [E])."""
    optimizer = direction(config)
    schedule = optax.warmup_cosine_decay_schedule(
        0.0, 1.0, WARM_UP, max(steps, WARM_UP + 1), LAST_RATE
    )

    def of_member(
        weights: Weights,
        moments: optax.OptState,
        data: UInt32[Array, " 2"],
        rate: Float[Array, ""],
        slot: Int[Array, " B"],
        use: Bool[Array, " B"],
        prior: Float[Array, "B S M"] | None,
        *,
        shared: tuple[Lanes, Array, Array],
    ) -> tuple[Weights, optax.OptState, Float[Array, ""]]:
        lanes, lane, step = shared
        noise = jax.random.fold_in(jax.random.split(jax.random.wrap_key_data(data))[1], step)
        place = jnp.arange(len(lane))
        batch = Batch(
            lanes.tokens[place, slot],
            lanes.mask[place, slot],
            lanes.targets[place, slot],
            None if prior is None else prior[place, slot],
            use.astype(jnp.float32),
            jax.vmap(jax.random.fold_in, (None, 0))(noise, lane),
            None if lanes.own is None else draw_own(config, lanes.own, place, slot, noise, lane),
        )
        loss, gradient = _mean_gradient(config, axes, models, weights, batch)
        if config.clip:
            gradient = _clip(gradient, config.clip, axes)
        updates, moments = optimizer.update(gradient, moments, weights)
        size = rate if config.optimizer == "sgd" else rate * schedule(step)
        weights = jax.tree.map(lambda w, u: w - size * u, weights, updates)
        return weights, moments, loss

    def step(
        state: State, lanes: Lanes, members: Members, slots: Array, use: Array, lane: Array
    ) -> tuple[State, Array]:
        shared = lanes._replace(prior=None), lane, state.step
        prior = None if lanes.prior is None else jnp.moveaxis(lanes.prior, 2, 0)
        given = state.weights, state.moments, *members, slots, use, prior
        weights, moments, loss = _over_members(partial(of_member, shared=shared), given)
        return State(weights, moments, state.step + 1), loss

    return step


def _over_members(function: Callable[..., Out], given: tuple[object, ...]) -> Out:
    """The function of every member, given arrays with a leading axis of members.

    One member goes without vmap: products with a batch of one take a third more time.
    """
    if len(jax.tree.leaves(given)[0]) > 1:
        return jax.vmap(function)(*given)
    alone = jax.tree.map(lambda a: a[0], given)
    return jax.tree.map(lambda a: a[None], function(*alone))


def direction(config: TrainConfig) -> optax.GradientTransformation:
    """Make the optimizer whose update is a step before it is multiplied by the learning rate.

    Args:
        config: its `optimizer`, `weight_decay` and `k_max` are read here.

    Returns:
        AdamW's update, whose decay acts on MATRICES alone, or the gradient itself for "sgd".
    """
    if config.optimizer == "sgd":
        return optax.identity()
    decayed = Weights._make(name in MATRICES for name in Weights._fields)
    if config.k_max == 0:
        decayed = decayed._replace(own_project=None, own_bias=None)
    return optax.chain(
        optax.scale_by_adam(), optax.add_decayed_weights(config.weight_decay, decayed)
    )


def _mean_gradient(
    config: TrainConfig, axes: Axes, models: int, weights: Weights, batch: Batch
) -> tuple[Array, Weights]:
    """Mean loss over the tasks of all devices and its gradient, theta's for this device's rows.

    No derivative is taken through a collective: the scores of all models are gathered, the loss is
    differentiated by them alone, and each device pulls back its own columns; then one sum.
    """
    tasks = jnp.maximum(_sum(batch.weight.sum(), axes.data), 1)
    batch = batch._replace(weight=batch.weight / tasks)  # here, not a pass over the gradient later
    parts = jax.tree.map(lambda a: a.reshape(config.accumulate, -1, *a.shape[1:]), batch)

    def add(carry: tuple[Array, Weights], part: Batch) -> tuple[tuple[Array, Weights], None]:
        found = _sum_gradient(config, axes, models, weights, part)
        return jax.tree.map(jnp.add, carry, found), None

    if config.accumulate == 1:
        loss, gradient = _sum_gradient(config, axes, models, weights, batch)
    else:
        nothing = jnp.float32(0), jax.tree.map(jnp.zeros_like, weights)
        (loss, gradient), _ = jax.lax.scan(add, nothing, parts)
    rows = _sum({name: getattr(gradient, name) for name in PER_MODEL}, axes.data)
    no_rows: dict[str, Any] = dict.fromkeys(PER_MODEL)
    gradient = _sum(gradient._replace(**no_rows), axes.data, axes.model)
    return _sum(loss, axes.data), gradient._replace(**rows)


def _sum(tree: Tree, *axes: str | None) -> Tree:
    """The sum over devices; over one, XLA on CPU would copy what it is given."""
    several = tuple(axis for axis in axes if axis and jax.lax.axis_size(axis) > 1)
    return jax.lax.psum(tree, several) if several else tree


def _sum_gradient(
    config: TrainConfig, axes: Axes, models: int, weights: Weights, batch: Batch
) -> tuple[Array, Weights]:
    """Weighted loss of this device's tasks, and its gradient through this device's models."""
    local, pull = jax.vjp(lambda w: noisy_scores(config, axes, w, batch), weights)

    def total(scores: Array) -> Array:
        scores = scores[:, :models]  # padding gets no gradient
        if batch.prior is not None:
            scores = scores + batch.prior
        losses = LOSSES[config.loss](scores, batch.targets)
        return (losses * batch.weight).sum()

    if axes.model is None:
        loss, slope = jax.value_and_grad(total)(local)
    else:
        scores = jax.lax.all_gather(local, axes.model, axis=1, tiled=True)
        loss, slope = jax.value_and_grad(total)(scores)
        start = jax.lax.axis_index(axes.model) * local.shape[1]
        slope = jax.lax.dynamic_slice_in_dim(slope, start, local.shape[1], axis=1)
    return loss, pull(slope)[0]


def _clip(gradient: Weights, most: float, axes: Axes) -> Weights:
    """The gradient, shortened to a norm of at most `most` over all devices.

    Squares of rows of models are summed over the devices that hold other rows; all else is the same
    on each of them.
    """
    squares = jax.tree.map(lambda g: (g**2).sum(), gradient)
    rows = [getattr(squares, name) for name in PER_MODEL]
    rows = _sum(rows, axes.model)
    shared = [array for name, array in squares.arrays().items() if name not in PER_MODEL]
    norm = jnp.sqrt(sum(jax.tree.leaves([rows, shared])))
    return jax.tree.map(lambda g: g * (most / jnp.maximum(norm, most)), gradient)
