"""Steps of many runs at once: a scan on the device, vmapped over the runs."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from numpy.typing import NDArray

from spider_jax.tuning.loss import METHODS, Frozen, Hyper, Params, total_loss
from spider_jax.tuning.students import HIGHEST, applied
from spider_jax.tuning.teachers import Live, live_predictions


class Rules(NamedTuple):
    """What is compiled in. SGD with Nesterov momentum; the head learns head_rate times as fast."""

    apply: Callable[..., Array]
    live: tuple[Callable[[Params, Array], Array], ...]
    method: str
    kind: str
    momentum: float
    weight_decay: float
    head_rate: float


class Constants(NamedTuple):
    """Arrays that all runs share and none changes."""

    frozen: Frozen
    student_frozen: Params
    live_params: tuple[Params, ...]
    live_means: tuple[Array, ...]


class State(NamedTuple):
    """params: {"student", "head", ...}; momentum: the same shapes. A leading axis for runs."""

    params: Params
    momentum: Params


class Block(NamedTuple):
    """Rows on the device: x [V n, ...], Y [n, C], guide [V n, ...]."""

    x: Array
    Y: Array
    guide: Array


def outputs_and_features(
    rules: Rules, params: Params, x: Array, constants: Constants
) -> tuple[Array, Array]:
    """Head outputs [B, C] and student features [B, D]."""
    student = params.get("student", constants.frozen.start)
    features = applied(rules.apply, student, x, constants.student_frozen)
    if METHODS[rules.method].frozen:
        features = jax.lax.stop_gradient(features)
    head = params["head"]
    return jnp.matmul(features, head["W"], precision=HIGHEST) + head["b"][None], features


def batch_loss(
    params: Params,
    x: Array,
    Y: Array,
    guide: Array,
    weight: Array,
    hyper: Hyper,
    constants: Constants,
    rules: Rules,
) -> Array:
    """The loss of a batch; rows of weight 0 are padding."""
    outputs, features = outputs_and_features(rules, params, x, constants)
    if METHODS[rules.method].guide == "predictions" and rules.live:
        live = Live(rules.live, constants.live_params, constants.live_means)
        running = [p[:, None] for p in live_predictions(live, x)]
        guide = jnp.concatenate([guide, *running], axis=1)
    return total_loss(
        features,
        outputs,
        params,
        Y,
        guide,
        weight,
        constants.frozen,
        hyper,
        method=rules.method,
        kind=rules.kind,
    )


def _update(rules: Rules, state: State, gradient: Params, rate: Array) -> State:
    """m <- mu m + g + wd w; w <- w - rate (g + wd w + mu m)."""
    mu, new = rules.momentum, {}
    for name, down in gradient.items():
        decay = rules.weight_decay
        if name == "student" and not METHODS[rules.method].decay:
            decay = 0.0
        factor = rate if name == "student" else rate * rules.head_rate
        w, m = state.params[name], state.momentum[name]
        down = jax.tree.map(lambda g, w, decay=decay: g + decay * w, down, w)
        m = jax.tree.map(lambda m, g: mu * m + g, m, down)
        w = jax.tree.map(lambda w, g, m, r=factor: w - r * (g + mu * m), w, down, m)
        new[name] = w, m
    return State({n: w for n, (w, _) in new.items()}, {n: m for n, (_, m) in new.items()})


@lru_cache(maxsize=32)
def compiled_epoch(rules: Rules, runs: int) -> Any:
    """run(state, block, order [R, S, B], hyper, constants) -> state after S steps.

    order: flat positions v n + i in the block, -1 is padding.
    """

    def epoch(
        state: State, block: Block, order: Array, hyper: Hyper, constants: Constants
    ) -> State:
        n = block.Y.shape[0]

        def step(state: State, at: Array) -> tuple[State, None]:
            weight = (at >= 0).astype(jnp.float32)
            at = jnp.maximum(at, 0)
            given = block.x[at], block.Y[at % n], block.guide[at], weight
            down = jax.grad(batch_loss)(state.params, *given, hyper, constants, rules)
            return _update(rules, state, down, hyper.learning_rate), None

        if len(order) == 1:  # outside any loop, see `loops_well`
            return step(state, order[0])[0]
        return jax.lax.scan(step, state, order)[0]

    return jax.jit(over_runs(epoch, runs, (0, None, 0, 0, None)))


@lru_cache(maxsize=32)
def compiled_outputs(rules: Rules, runs: int) -> Any:
    """run(params, x, constants) -> outputs [R, n, C]."""

    def outputs(params: Params, x: Array, constants: Constants) -> Array:
        return outputs_and_features(rules, params, x, constants)[0]

    return jax.jit(over_runs(outputs, runs, (0, None, None)))


def over_runs(call: Callable[..., Any], runs: int, axes: tuple[int | None, ...]) -> Any:
    """vmap over the leading axis; one run goes without, for a batched convolution is slower."""
    if runs > 1:
        return jax.vmap(call, axes)

    def alone(*given: Any) -> Any:
        taken = [
            value if axis is None else jax.tree.map(lambda leaf: leaf[0], value)
            for value, axis in zip(given, axes, strict=True)
        ]
        return jax.tree.map(lambda leaf: leaf[None], call(*taken))

    return alone


def loops_well(apply: Callable[..., Array], params: Params, x: Any, frozen: Params) -> bool:
    """Whether the steps of an epoch should be one loop on the device.

    On a CPU, XLA takes five times as long for a convolution inside a loop as outside one.
    """
    if jax.default_backend() != "cpu":
        return True
    return "conv_general_dilated" not in str(jax.make_jaxpr(applied, 0)(apply, params, x, frozen))


def batches(seed: int, epoch: int, part: int, n: int, views: int, batch: int) -> NDArray[np.int32]:
    """[S, B] positions of one run in a block of n rows: every row once, in a view drawn for it."""
    rng = np.random.default_rng([seed, epoch, part])
    rows, view = rng.permutation(n), rng.integers(views, size=n)
    steps = -(-n // batch)
    order = np.full(steps * batch, -1, np.int32)
    order[:n] = view * n + rows
    return order.reshape(steps, batch)
