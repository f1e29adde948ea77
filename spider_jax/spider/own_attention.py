"""The best models looked at with their own features: exact, without a second pass over the zoo.

With its own class centres nu_1..nu_h a model's sum has h more tokens, x_j = P_m nu_j + p_m. Softmax
merges, so of the first pass only its largest logit, its denominator and its average are needed:

    top' = max(top, l_1..l_h),  w_j = exp(l_j - top'),  l_j = <P_m^T key_m, nu_j> + <key_m, p_m>,
    total' = total exp(top - top') + sum_j w_j,
    value' = (exp(top - top') total value + W_o W_v (P_m sum_j w_j nu_j + p_m sum_j w_j)) / total'.

A model costs 2 d D_m operations to fold P_m^T key_m, 4 h D_m for its logits and their average, and
2 d D_m + 2 d^2 for P_m and W_o W_v once, whatever the classes of the first pass and the models.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float32

from spider_jax.spider.folding import Checkpoint, ModelRows, RowMaps, Shared, fold_rows, padded
from spider_jax.spider.own_maps import OwnMap
from spider_jax.spider.scoring import Attention, attend, read_out, task_side
from spider_jax.tasks.padding import class_bucket, pad_tokens
from spider_jax.tasks.scaling import Scaling, apply_scaling
from spider_jax.tasks.tokens import TaskTokens

ROWS = 8  # models whose first pass is computed again in one call


def first_pass(
    checkpoint: Checkpoint,
    theta: Float32[np.ndarray, "E k d"],
    tokens: TaskTokens,
    scaling: Scaling | None = None,
) -> tuple[ModelRows, Attention]:
    """What some models have seen of a task in the first pass.

    The first pass over the zoo keeps scores only; of the few models that are looked at again the
    rest is computed here, 4 C d operations each.

    Args:
        checkpoint: of the spider.
        theta: [E, k, d] their tokens.
        tokens: of the task.
        scaling: of the tokens, as in `score_pairs`.

    Returns:
        their rows, and the attention [E, k, ...] of every member.
    """
    given, mask, _ = pad_tokens([tokens])
    scaled = given if scaling is None else apply_scaling(scaling, given, mask)
    side = task_side(checkpoint.shared, scaled, mask, form=checkpoint.form)
    kind = checkpoint.chunks[0].key.dtype
    parts = []
    for start in range(0, theta.shape[1], ROWS):
        rows = fold_rows(checkpoint.maps, padded(theta[:, start : start + ROWS], ROWS))
        rows = rows._replace(key=rows.key.astype(kind))
        seen = _attend(rows, checkpoint.shared, side.partners, side.values, side.mask)
        parts.append((rows, seen))
    joined = jax.tree.map(lambda *a: np.concatenate(a, axis=1)[:, : theta.shape[1]], *parts)
    found: tuple[ModelRows, Attention] = joined
    return found


@jax.jit
def _attend(
    rows: ModelRows,
    shared: Shared,
    partners: Float[Array, "E 1 C K"],
    values: Float[Array, "E 1 C v"],
    mask: Bool[Array, "1 C"],
) -> Attention:
    """`attend` of every member on one task."""
    of_member = jax.vmap(attend, (0, 0, 0, 0, None))
    return of_member(rows, shared, partners[:, 0], values[:, 0], mask[0])


def general_score(
    checkpoint: Checkpoint, seen: tuple[ModelRows, Attention]
) -> Float32[np.ndarray, "E k"]:
    """The networks' scores [E, k] of the first pass, from what it saw."""
    base, value = np.asarray(seen[0].base), np.asarray(seen[1].value)
    parts = []
    for start in range(0, base.shape[1], ROWS):  # one program whoever else is among the k
        rows = (padded(part[:, start : start + ROWS], ROWS) for part in (base, value))
        parts.append(np.asarray(_general(checkpoint.shared, *rows)))
    return np.concatenate(parts, axis=1)[:, : base.shape[1]]


@jax.jit
def _general(
    shared: Shared, base: Float[Array, "E k d"], value: Float[Array, "E k d"]
) -> Float[Array, "E k"]:
    return jax.vmap(read_out)(shared, base + value)


def score_again(
    checkpoint: Checkpoint,
    theta: Float32[np.ndarray, "E k d"],
    seen: tuple[ModelRows, Attention],
    own: OwnMap,
    centres: Float32[np.ndarray, "h D"],
    model: int,
) -> Float32[np.ndarray, " E"]:
    """Score of one model with its own class centres, by the network of every member.

    Args:
        checkpoint: of the spider.
        theta: [E, k, d] as given to `first_pass`.
        seen: what that found.
        own: of the model.
        centres: [h, D_m] raw.
        model: its place among the k.

    Returns:
        float32 [E]; padding of h and D_m leaves it as it is.
    """
    h, D = class_bucket(len(centres)), class_bucket(len(own.mean))
    more = D - len(own.mean)
    wide = own._replace(
        mean=np.pad(own.mean, (0, more)), matrix=np.pad(own.matrix, ((0, more), (0, 0)))
    )
    nu = np.pad(centres, ((0, h - len(centres)), (0, more)))
    base, attention = seen[0].base[:, model], jax.tree.map(lambda a: a[:, model], seen[1])
    real = np.arange(h) < len(centres)
    found = _score(
        checkpoint.maps, checkpoint.shared, theta[:, model], base, attention, wide, nu, real
    )
    return np.asarray(found)


@jax.jit
def _score(
    maps: RowMaps,
    shared: Shared,
    theta: Float[Array, "E d"],
    base: Float[Array, "E d"],
    seen: Attention,
    own: OwnMap,
    centres: Float[Array, "h D"],
    real: Bool[Array, " h"],
) -> Float[Array, " E"]:
    def of_member(
        maps: RowMaps,
        shared: Shared,
        theta: Any,
        base: Any,
        seen: Any,
        project: Any,
        bias: Any,
    ) -> Array:
        key = _dot(theta, maps.self_logit)
        met = _dot(own.matrix, _dot(project, key))
        offset = _dot(bias, key) - _dot(own.mean, met) - _dot(theta, maps.self_shift)
        logits = jnp.where(real, _dot(centres, met) + offset, -jnp.inf)
        top = jnp.maximum(seen.top, logits.max())
        weights = jnp.exp(logits - top)
        before, added = seen.total * jnp.exp(seen.top - top), weights.sum()
        average = _dot(_dot(weights, centres) - added * own.mean, own.matrix)
        value = _dot(_dot(average, project) + added * bias, maps.self_value)
        merged = (before * seen.value + value) / (before + added)
        return read_out(shared, (base + merged)[None])[0]

    found: Array = jax.vmap(of_member)(maps, shared, theta, base, seen, own.project, own.bias)
    return found


def _dot(a: Any, b: Any) -> Array:
    return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)
