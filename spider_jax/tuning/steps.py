"""Steps of many runs at once: a scan on the device, vmapped over the runs."""

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int32, Shaped

from spider_jax.runtime.device_kinds import CPU, default_kind
from spider_jax.tuning.loss import METHODS, Frozen, Hyper, total_loss
from spider_jax.tuning.students import HIGHEST, Apply, Params, applied
from spider_jax.tuning.teachers import Live, live_predictions

Result = TypeVar("Result")


class Rules(NamedTuple):
    """What is compiled in.

    Attributes:
        apply: of the student.
        live: functions of the teachers that run.
        method: name in METHODS.
        kind: of the task.
        momentum: of SGD with Nesterov momentum.
        weight_decay: of SGD.
        head_rate: how many times as fast as the student its head learns.
    """

    apply: Apply
    live: tuple[Apply, ...]
    method: str
    kind: str
    momentum: float
    weight_decay: float
    head_rate: float


class Constants(NamedTuple):
    """Arrays that all runs share and none changes.

    Attributes:
        frozen: the student's first params, and LogME's means of its first features.
        student_frozen: arrays of the student that do not learn.
        live_params: of the teachers that run.
        live_means: LogME's posterior means of the teachers that run.
    """

    frozen: Frozen
    student_frozen: Params
    live_params: tuple[Params, ...]
    live_means: tuple[Float[Array, "C _"], ...]


class State(NamedTuple):
    """Of a run, or of many with a leading axis.

    Attributes:
        params: {"student", "head", ...}.
        momentum: of the same shapes.
    """

    params: Params
    momentum: Params


class Block(NamedTuple):
    """n rows on the device, in V views.

    Attributes:
        x: view by view.
        Y: targets, the same in every view.
        guide: what the method reads of teachers, view by view.
    """

    x: Shaped[Array, "Vn ..."]
    Y: Float[Array, "n C"]
    guide: Float[Array, "Vn ..."]


def outputs_and_features(
    rules: Rules, params: Params, x: Shaped[Array, "B ..."], constants: Constants
) -> tuple[Float[Array, "B C"], Float[Array, "B D"]]:
    """Outputs of the head, and features of the student.

    Args:
        rules: what is compiled in.
        params: of one run.
        x: rows as stored.
        constants: that all runs share.
    """
    student = params.get("student", constants.frozen.start)
    features = applied(rules.apply, student, x, constants.student_frozen)
    if METHODS[rules.method].frozen:
        features = jax.lax.stop_gradient(features)
    head = params["head"]
    return jnp.matmul(features, head["W"], precision=HIGHEST) + head["b"][None], features


def batch_loss(
    params: Params,
    x: Shaped[Array, "B ..."],
    Y: Float[Array, "B C"],
    guide: Float[Array, "B ..."],
    weight: Float[Array, " B"],
    hyper: Hyper,
    constants: Constants,
    rules: Rules,
) -> Float[Array, ""]:
    """The loss of a batch.

    Args:
        params: of one run.
        x: rows as stored.
        Y: targets.
        guide: what the method reads of teachers that do not run.
        weight: of the rows; 0 for padding.
        hyper: of the run.
        constants: that all runs share.
        rules: what is compiled in.
    """
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
def compiled_epoch(rules: Rules, runs: int) -> Callable[..., State]:
    """A part of an epoch, compiled.

    Args:
        rules: what is compiled in.
        runs: how many.

    Returns:
        run(state, block, order [R, S, B], hyper, constants), which gives the state after S steps;
        order holds flat positions v n + i in the block, -1 is padding.
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
def compiled_outputs(rules: Rules, runs: int) -> Callable[..., Float[Array, "R n C"]]:
    """Outputs of the heads, compiled.

    Args:
        rules: what is compiled in.
        runs: how many.

    Returns:
        run(params, x, constants), which gives outputs [R, n, C].
    """

    def outputs(params: Params, x: Array, constants: Constants) -> Array:
        return outputs_and_features(rules, params, x, constants)[0]

    return jax.jit(over_runs(outputs, runs, (0, None, None)))


def over_runs(
    call: Callable[..., Result], runs: int, axes: tuple[int | None, ...]
) -> Callable[..., Result]:
    """vmap over the leading axis; one run goes without, for a batched convolution is slower.

    Args:
        call: of one run.
        runs: how many.
        axes: of every argument: 0, or None where all runs share it.

    Returns:
        The same call of all runs.
    """
    if runs > 1:
        return jax.vmap(call, axes)

    def alone(*given: object) -> Result:
        taken = [
            value if axis is None else jax.tree.map(lambda leaf: leaf[0], value)
            for value, axis in zip(given, axes, strict=True)
        ]
        return jax.tree.map(lambda leaf: leaf[None], call(*taken))

    return alone


def loops_well(
    apply: Apply, params: Params, x: Shaped[Array | np.ndarray, "B ..."], frozen: Params
) -> bool:
    """Whether the steps of an epoch should be one loop on the device.

    On a CPU, XLA takes five times as long for a convolution inside a loop as outside one.

    Args:
        apply: of the student.
        params: of the student, that learn.
        x: some rows; only their shape counts.
        frozen: of the student, that do not learn.
    """
    if default_kind() is not CPU:
        return True
    return "conv_general_dilated" not in str(jax.make_jaxpr(applied, 0)(apply, params, x, frozen))


def batches(
    seed: int, epoch: int, part: int, n: int, views: int, batch: int
) -> Int32[np.ndarray, "S B"]:
    """Positions of one run in a block of rows: every row once, in a view drawn for it.

    Args:
        seed: of the run.
        epoch: from 0.
        part: number of the block.
        n: rows of the block.
        views: of every row.
        batch: B.

    Returns:
        Flat positions v n + i; the last step is filled with -1.
    """
    rng = np.random.default_rng([seed, epoch, part])
    rows, view = rng.permutation(n), rng.integers(views, size=n)
    steps = -(-n // batch)
    order = np.full(steps * batch, -1, np.int32)
    order[:n] = view * n + rows
    return order.reshape(steps, batch)
