"""What keeps a spider from overfitting few source datasets: noise and dropout of a training step.

Every draw hangs on the member, the step and the lane (and the model), never on the device, so the
number of devices does not change a training.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from spider_jax.spider.attention import Regularize, score_tasks, score_with_own
from spider_jax.spider.weights import OwnTokens, Weights
from spider_jax.training.config import TrainConfig
from spider_jax.training.state import Axes, Batch

OF_BATCH = 1 << 30  # folded into a step's key for what is drawn once a batch; lanes are fewer


def draw_own(
    config: TrainConfig,
    own: OwnTokens,
    place: Int[Array, " b"],
    slot: Int[Array, " b"],
    noise: Key[Array, ""],
    lane: Int[Array, " b"],
) -> OwnTokens:
    """Draw k models of every task, whose own tokens a step reads; k is uniform in 0..k_max.

    k is the same for the whole batch, as it is for the tasks of one ranking.

    Args:
        config: its `k_max` is read here.
        own: of R models a task, in lanes: tokens [B, S, R, C, q] of models [B, S, R].
        place: lanes of the batch's tasks among this device's.
        slot: places of the tasks in their lanes.
        noise: the random key of the member's step.
        lane: the same lanes among those of all devices.

    Returns:
        Own tokens [b, k_max, C, q] of models [b, k_max]; places beyond k name no model: -1.
    """
    R, k_max = own.models.shape[2], config.k_max
    k = jax.random.randint(jax.random.fold_in(noise, OF_BATCH), (), 0, k_max + 1)
    keys = jax.vmap(jax.random.fold_in, (None, 0))(noise, OF_BATCH + 1 + lane)
    chosen = jax.vmap(lambda key: jax.random.permutation(key, R)[:k_max])(keys)
    at = place[:, None], slot[:, None], chosen
    models = jnp.where(jnp.arange(k_max)[None] < k, own.models[at], -1)
    return OwnTokens(own.tokens[at], models)


def noisy_scores(
    config: TrainConfig, axes: Axes, weights: Weights, batch: Batch
) -> Float[Array, "b m"]:
    """Score a batch with dropped classes, shifted tokens and dropout of the attention's output.

    Args:
        config: its `token_dropout`, `token_noise` and `dropout` are read here.
        axes: of the devices.
        weights: of one member, with the m rows of models of this device.
        batch: b tasks.

    Returns:
        Scores of this device's models.
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
    return _with_own_scores(weights, tokens, mask, here, scores, regularize)


def _with_own_scores(
    weights: Weights,
    tokens: Array,
    mask: Array,
    own: OwnTokens,
    scores: Float[Array, "b m"],
    regularize: Regularize,
) -> Float[Array, "b m"]:
    """The scores, those of the models with own tokens replaced by what attention to these gives.

    own.models counts from this device's first row; others belong to other devices or to none.
    """
    M = scores.shape[1]
    known = (own.models >= 0) & (own.models < M)
    within = own._replace(models=jnp.clip(own.models, 0, M - 1))
    better = score_with_own(weights, tokens, mask, within, regularize)
    task = jnp.arange(len(scores))[:, None]
    return scores.at[task, jnp.where(known, own.models, M)].set(better, mode="drop")
