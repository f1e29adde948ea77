"""The optimisation of an ensemble: all members at once, blocks of steps compiled as one call."""

import logging
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array
from numpy.typing import NDArray

from spider_jax.attention import Weights, fold, score_tasks
from spider_jax.losses import plackett_luce_loss
from spider_jax.measures import weighted_tau
from spider_jax.progress import progress
from spider_jax.spider import SpiderNet
from spider_jax.train_config import TrainConfig

log = logging.getLogger("spider_jax")

WARM_UP = 20


class Lesson(NamedTuple):
    """What members learn from.

    tokens [T, C, p], mask [T, C]: scaled. targets [T, M]. prior [E, T, M]: what the score of every
    member begins with. chance [E, T]: with which a member draws a task. held [E, V]: tasks that
    each is judged on.
    """

    tokens: Any
    mask: Any
    targets: Any
    prior: Any
    chance: Any
    held: Any


class Learned(NamedTuple):
    """The best weights [E, ...], the history of the training, the held-out scores [E, V, M]."""

    weights: Weights
    history: list[dict[str, Any]]
    held: NDArray[np.float32]


class _State(NamedTuple):
    """One member while it trains."""

    parameters: Any
    optimizer: optax.OptState


def optimize(config: TrainConfig, lesson: Lesson, *, show_progress: bool = False) -> Learned:
    """Train all members; the step with the best held-out tau counts."""
    models, token_width = lesson.targets.shape[1], lesson.tokens.shape[2]
    # one compilation serves every seed
    start, run, weights_of = _compile(replace(config, seed=0), models, token_width)
    keys = jax.random.split(jax.random.key(config.seed), config.members)
    state, given = start(keys), jax.tree.map(jnp.asarray, lesson)
    best: tuple[float, Any, Any] = (-np.inf, None, None)
    history = []
    for block in progress(range(config.evaluations), "training", show_progress, unit="block"):
        state, loss = run(state, keys, given, block)
        weights = weights_of(state)
        scores = np.asarray(_held_out_scores(weights, given))
        tau = _mean_tau(lesson.targets[lesson.held], scores)
        step = (block + 1) * _block_steps(config)
        history.append({"step": step, "loss": float(loss), "held_out_tau": tau})
        log.info("step %d: loss %.4f, held-out tau %.4f", step, loss, tau)
        if not tau <= best[0]:
            best = (tau, weights, scores)
    return Learned(best[1], [_json_safe(entry) for entry in history], best[2])


@jax.jit
def _held_out_scores(weights: Weights, given: Lesson) -> Array:
    """[E, V, M] scores of every member on its own held-out tasks."""

    def of_member(w: Weights, prior: Array, rows: Array) -> Array:
        return score_tasks(fold(w), given.tokens[rows], given.mask[rows]) + prior[rows]

    return jax.vmap(of_member)(weights, given.prior, given.held)


@lru_cache(maxsize=8)
def _compile(
    config: TrainConfig, models: int, token_width: int
) -> tuple[Callable[..., _State], Callable[..., tuple[_State, Array]], Callable[..., Weights]]:
    """Start, a block of steps, and weights of all members, compiled."""

    def build(key: Array) -> SpiderNet:
        return SpiderNet(models, token_width, config.width, nnx.Rngs(key))

    graph = nnx.split(nnx.eval_shape(lambda: build(jax.random.key(0))))[0]
    optimizer = _optimizer(config)
    block_steps = _block_steps(config)

    def start(key: Array) -> _State:
        parameters = nnx.split(build(key))[1]
        return _State(parameters, optimizer.init(parameters))

    def weights_of(state: _State) -> Weights:
        return nnx.merge(graph, state.parameters).weights()

    def member(
        state: _State, key: Array, prior: Array, chance: Array, given: Lesson, block: Array
    ) -> tuple[_State, Array]:
        bounds = jnp.cumsum(chance)

        def step(state: _State, i: Array) -> tuple[_State, Array]:
            pick, noise = jax.random.split(jax.random.fold_in(key, i))
            drawn = jnp.searchsorted(bounds, jax.random.uniform(pick, (config.batch,)) * bounds[-1])

            def loss(parameters: Any) -> Array:
                weights = nnx.merge(graph, parameters).weights()
                tokens, mask = given.tokens[drawn], given.mask[drawn]
                scores = _noisy_scores(config, weights, tokens, mask, noise) + prior[drawn]
                return plackett_luce_loss(scores, given.targets[drawn]).mean()

            value, gradient = jax.value_and_grad(loss)(state.parameters)
            updates, inner = optimizer.update(gradient, state.optimizer, state.parameters)
            return _State(optax.apply_updates(state.parameters, updates), inner), value

        state, losses = jax.lax.scan(step, state, block * block_steps + jnp.arange(block_steps))
        return state, losses.mean()

    over_members = jax.vmap(member, (0, 0, 0, 0, None, None))

    def run(state: _State, keys: Array, given: Lesson, block: Array) -> tuple[_State, Array]:
        state, loss = over_members(state, keys, given.prior, given.chance, given, block)
        return state, loss.mean()

    return jax.jit(jax.vmap(start)), jax.jit(run, donate_argnums=0), jax.jit(jax.vmap(weights_of))


def _block_steps(config: TrainConfig) -> int:
    """Steps between two looks at the held-out tasks."""
    return max(1, config.steps // config.evaluations)


def _optimizer(config: TrainConfig) -> optax.GradientTransformation:
    steps = max(config.steps, WARM_UP + 1)
    rate = optax.warmup_cosine_decay_schedule(
        0.0, config.learning_rate, WARM_UP, steps, config.learning_rate * 0.02
    )

    def matrices(parameters: Any) -> Any:
        return jax.tree.map(lambda p: p.ndim > 1, parameters)

    decayed = optax.adamw(rate, weight_decay=config.weight_decay, mask=matrices)
    return optax.chain(optax.clip_by_global_norm(1.0), decayed)


def _noisy_scores(
    config: TrainConfig, weights: Weights, tokens: Array, mask: Array, key: Array
) -> Array:
    """Scores with dropped classes, shifted tokens and dropout, against fitting the few sources."""
    drop_class, shift, drop_output = jax.random.split(key, 3)
    mask = mask & jax.random.bernoulli(drop_class, 1 - config.token_dropout, mask.shape)
    shape = (len(tokens), 1, tokens.shape[2])
    tokens = tokens + config.token_noise * jax.random.normal(shift, shape)

    def regularize(attended: Array) -> Array:
        keep = 1 - config.dropout
        kept = jax.random.bernoulli(drop_output, keep, attended.shape)
        return jnp.where(kept, attended / keep, 0.0)

    return score_tasks(fold(weights), tokens, mask, regularize)


def _mean_tau(targets: NDArray[np.float32], scores: NDArray[np.float32]) -> float:
    """Mean weighted tau over [E, V, M]; NaN where nothing is held out."""
    M = targets.shape[-1]
    pairs = zip(targets.reshape(-1, M), scores.reshape(-1, M), strict=True)
    taus = [weighted_tau(t, s) for t, s in pairs]
    return float(np.mean(taus)) if taus else float("nan")


def _json_safe(entry: dict[str, Any]) -> dict[str, Any]:
    return {name: value if np.isfinite(value) else None for name, value in entry.items()}
