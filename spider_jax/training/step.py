"""The training step of one device: the tasks it draws, their gradient, the update.

Tasks are dealt into as many lanes as a batch has places, and every step takes one task from each
lane, so a device holds the lanes of its places and nothing else, and the batches do not depend on
the number of devices. All members of an ensemble step at once, under vmap.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int, UInt32

from spider_jax.ranking.losses import LOSSES
from spider_jax.spider.attention import (
    PER_MODEL,
    OwnTokens,
    Regularize,
    Weights,
    score_tasks,
    score_with_own,
)
from spider_jax.training.config import TrainConfig

WARM_UP = 20
LAST_RATE = 0.02  # of the first, as published: 2.5e-4 to 5e-6
MATRICES = ("theta", "project", "query", "key", "value", "output", "head", "own_project")
OF_BATCH = 1 << 30  # folded into a step's key for what is drawn once a batch; lanes are fewer


class Lanes(NamedTuple):
    """Training tasks dealt into B lanes of S places, as many lanes as there are tasks in a batch.

    tokens [B, S, C, p], mask [B, S, C]: scaled. targets [B, S, M]. prior [B, S, E, M]: what the
    score of every member begins with, or None. inside [B, S, E]: where a member may train. own: of
    R models a task, tokens [B, S, R, C, q] and models [B, S, R], or None.
    """

    tokens: Float[Array, "B S C p"]
    mask: Bool[Array, "B S C"]
    targets: Float[Array, "B S M"]
    prior: Float[Array, "B S E M"] | None
    inside: Bool[Array, "B S E"]
    own: OwnTokens | None = None


class Members(NamedTuple):
    """keys [E, 2]: data of each member's random key. rates [E]: learning rates."""

    keys: UInt32[Array, "E 2"]
    rates: Float[Array, " E"]


class State(NamedTuple):
    """What a step changes: weights and moments with a leading axis of members, steps done."""

    weights: Weights
    moments: Any
    step: Int[Array, ""]


class Axes(NamedTuple):
    """Names of the device axes: over tasks, and over models (None where they are not split)."""

    data: str
    model: str | None


class _Batch(NamedTuple):
    tokens: Float[Array, "b C p"]
    mask: Bool[Array, "b C"]
    targets: Float[Array, "b M"]
    prior: Float[Array, "b M"] | None
    weight: Float[Array, " b"]
    keys: Any
    own: OwnTokens | None = None


Call = Callable[[State, Lanes, Members, Array, Array, Array], tuple[State, Array]]


def make_call(config: TrainConfig, axes: Axes, models: int, steps: int) -> Call:
    """The steps first..first + count of an epoch on one device.

    Args:
        config: of the training. axes: of the devices. models: M without padding. steps: of the
            whole training, for the schedule.

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
        moments: Any,
        data: Array,
        rate: Array,
        slot: Array,
        use: Array,
        prior: Array | None,
        *,
        shared: tuple[Lanes, Array, Array],
    ) -> tuple[Weights, Any, Array]:
        lanes, lane, step = shared
        noise = jax.random.fold_in(jax.random.split(jax.random.wrap_key_data(data))[1], step)
        place = jnp.arange(len(lane))
        batch = _Batch(
            lanes.tokens[place, slot],
            lanes.mask[place, slot],
            lanes.targets[place, slot],
            None if prior is None else prior[place, slot],
            use.astype(jnp.float32),
            jax.vmap(jax.random.fold_in, (None, 0))(noise, lane),
            None if lanes.own is None else _draw_own(config, lanes.own, place, slot, noise, lane),
        )
        loss, gradient = mean_gradient(config, axes, models, weights, batch)
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


def _draw_own(
    config: TrainConfig, own: OwnTokens, place: Array, slot: Array, noise: Array, lane: Array
) -> OwnTokens:
    """k models at random of every task, k the same for a batch and uniform in 0..k_max.

    Places beyond k name no model: -1.
    """
    R, k_max = own.models.shape[2], config.k_max
    k = jax.random.randint(jax.random.fold_in(noise, OF_BATCH), (), 0, k_max + 1)
    keys = jax.vmap(jax.random.fold_in, (None, 0))(noise, OF_BATCH + 1 + lane)
    chosen = jax.vmap(lambda key: jax.random.permutation(key, R)[:k_max])(keys)
    at = place[:, None], slot[:, None], chosen
    models = jnp.where(jnp.arange(k_max)[None] < k, own.models[at], -1)
    return OwnTokens(own.tokens[at], models)


def _over_members(function: Callable[..., Any], given: tuple[Any, ...]) -> Any:
    """The function of every member, given arrays with a leading axis of members.

    One member goes without vmap: products with a batch of one take a third more time.
    """
    if len(jax.tree.leaves(given)[0]) > 1:
        return jax.vmap(function)(*given)
    alone = jax.tree.map(lambda a: a[0], given)
    return jax.tree.map(lambda a: a[None], function(*alone))


def direction(config: TrainConfig) -> optax.GradientTransformation:
    """The step before it is multiplied by the learning rate."""
    if config.optimizer == "sgd":
        return optax.identity()
    decayed = Weights._make(name in MATRICES for name in Weights._fields)
    if config.k_max == 0:
        decayed = decayed._replace(own_project=None, own_bias=None)
    return optax.chain(
        optax.scale_by_adam(), optax.add_decayed_weights(config.weight_decay, decayed)
    )


def mean_gradient(
    config: TrainConfig, axes: Axes, models: int, weights: Weights, batch: _Batch
) -> tuple[Array, Weights]:
    """Mean loss over the tasks of all devices and its gradient, theta's for this device's rows.

    No derivative is taken through a collective: the scores of all models are gathered, the loss is
    differentiated by them alone, and each device pulls back its own columns; then one sum.
    """
    tasks = jnp.maximum(_sum(batch.weight.sum(), axes.data), 1)
    batch = batch._replace(weight=batch.weight / tasks)  # here, not a pass over the gradient later
    parts = jax.tree.map(lambda a: a.reshape(config.accumulate, -1, *a.shape[1:]), batch)

    def add(carry: tuple[Array, Weights], part: _Batch) -> tuple[tuple[Array, Weights], None]:
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


def _sum(tree: Any, *axes: str | None) -> Any:
    """The sum over devices; over one, XLA on CPU would copy what it is given."""
    several = tuple(axis for axis in axes if axis and jax.lax.axis_size(axis) > 1)
    return jax.lax.psum(tree, several) if several else tree


def _sum_gradient(
    config: TrainConfig, axes: Axes, models: int, weights: Weights, batch: _Batch
) -> tuple[Array, Weights]:
    """Weighted loss of this device's tasks, and its gradient through this device's models."""
    local, pull = jax.vjp(lambda w: _noisy_scores(config, axes, w, batch), weights)

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


def _noisy_scores(config: TrainConfig, axes: Axes, weights: Weights, batch: _Batch) -> Array:
    """Scores with dropped classes, shifted tokens and dropout, against fitting the few sources.

    Every draw hangs on the member, the step and the lane (and the model), never on the device.
    """
    keys = jax.vmap(lambda k: jax.random.split(k, 4))(batch.keys).T
    drop_class, shift, drop_output, own_shift = keys
    tokens, mask = batch.tokens, batch.mask
    if config.token_dropout:
        keep = 1 - config.token_dropout
        kept = jax.vmap(lambda k: jax.random.bernoulli(k, keep, mask.shape[1:]))(drop_class)
        mask = mask & kept
    if config.token_noise:
        width = tokens.shape[2:]
        moved = jax.vmap(lambda k: jax.random.normal(k, width))(shift)
        tokens = tokens + config.token_noise * moved[:, None]
    M = len(weights.theta)
    first = jax.lax.axis_index(axes.model) * M if axes.model else 0

    def regularize(attended: Array, rows: Array) -> Array:
        if not config.dropout:
            return attended
        keep, d = 1 - config.dropout, attended.shape[-1:]

        def kept(key: Array, row: Array) -> Array:
            return jax.random.bernoulli(jax.random.fold_in(key, row), keep, d)

        of_task = jax.vmap(kept, (None, 0))
        rows = jnp.broadcast_to(first + rows, attended.shape[:2])
        return jnp.where(jax.vmap(of_task)(drop_output, rows), attended / keep, 0.0)

    scores = score_tasks(weights, tokens, mask, regularize)
    if batch.own is None:
        return scores
    here = batch.own._replace(models=batch.own.models - first)
    if config.token_noise:
        shape = *here.tokens.shape[1:2], 1, here.tokens.shape[-1]
        moved = jax.vmap(lambda k: jax.random.normal(k, shape))(own_shift)
        here = here._replace(tokens=here.tokens + config.token_noise * moved)
    return _looked_at(weights, tokens, mask, here, scores, regularize)


def _looked_at(
    weights: Weights,
    tokens: Array,
    mask: Array,
    own: OwnTokens,
    scores: Float[Array, "b m"],
    regularize: Regularize,
) -> Float[Array, "b m"]:
    """The scores, those of models that are looked at with their own tokens replaced.

    own.models counts from this device's first row; others belong to other devices or to none.
    """
    M = scores.shape[1]
    known = (own.models >= 0) & (own.models < M)
    within = own._replace(models=jnp.clip(own.models, 0, M - 1))
    better = score_with_own(weights, tokens, mask, within, regularize)
    task = jnp.arange(len(scores))[:, None]
    return scores.at[task, jnp.where(known, own.models, M)].set(better, mode="drop")


def _clip(gradient: Weights, most: float, axes: Axes) -> Weights:
    """The gradient, shortened to a norm of at most `most` over all devices."""
    squares = jax.tree.map(lambda g: (g**2).sum(), gradient)
    rows = [getattr(squares, name) for name in PER_MODEL]
    rows = _sum(rows, axes.model)
    shared = [array for name, array in squares.arrays().items() if name not in PER_MODEL]
    norm = jnp.sqrt(sum(jax.tree.leaves([rows, shared])))
    return jax.tree.map(lambda g: g * (most / jnp.maximum(norm, most)), gradient)
