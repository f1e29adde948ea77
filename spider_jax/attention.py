"""The attention block of the spider in the form that training differentiates.

Only the row of the model token is read after attention, so the products of weights fold per model
or per task, and a pair costs C logits, one average over C tokens and a read-out:

    score(m, t) = head(LN(LN(theta_m + b_o + sum_j a_j W_o W_v x_j))),
    a = softmax_j(<key_m, x_j>), key_m = W_k^T W_q theta_m / sqrt(d), x_0 = theta_m, x_j = U mu_j.

`scoring` holds the same sum for ranking, folded further and compiled in chunks.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

HIGHEST = jax.lax.Precision.HIGHEST
LAYER_NORM_EPSILON = 1e-5


class Weights(NamedTuple):
    """Parameters of the spider. x @ matrix everywhere; [in, out]."""

    theta: Float[Array, "M d"]
    project: Float[Array, "D d"]
    project_bias: Float[Array, " d"]
    query: Float[Array, "d d"]
    key: Float[Array, "d d"]
    value: Float[Array, "d d"]
    output: Float[Array, "d d"]
    output_bias: Float[Array, " d"]
    norm_scale: Float[Array, " d"]
    norm_bias: Float[Array, " d"]
    head_norm_scale: Float[Array, " d"]
    head_norm_bias: Float[Array, " d"]
    head: Float[Array, " d"]
    head_bias: Float[Array, ""]


class ModelRows(NamedTuple):
    """What is folded per model; a row depends on that model's token and the shared weights only."""

    key: Float[Array, "M d"]
    self_logit: Float[Array, " M"]
    self_value: Float[Array, "M d"]
    base: Float[Array, "M d"]


class Shared(NamedTuple):
    """What all models share when scoring."""

    project: Float[Array, "D d"]
    project_bias: Float[Array, " d"]
    output_value: Float[Array, "d d"]
    norm_scale: Float[Array, " d"]
    norm_bias: Float[Array, " d"]
    head_norm_scale: Float[Array, " d"]
    head_norm_bias: Float[Array, " d"]
    head: Float[Array, " d"]
    head_bias: Float[Array, ""]


class Folded(NamedTuple):
    """A checkpoint ready to score."""

    models: ModelRows
    shared: Shared


def _dot(a: Array, b: Array) -> Array:
    return jnp.matmul(a, b, precision=HIGHEST)


def fold(w: Weights) -> Folded:
    """Fold the weights per model: O(M d^2), once per checkpoint."""
    key = _dot(_dot(w.theta, w.query), w.key.T) / w.theta.shape[-1] ** 0.5
    output_value = _dot(w.value, w.output)
    return Folded(
        ModelRows(
            key=key,
            self_logit=(key * w.theta).sum(-1),
            self_value=_dot(w.theta, output_value),
            base=w.theta + w.output_bias[None],
        ),
        Shared(
            project=w.project,
            project_bias=w.project_bias,
            output_value=output_value,
            norm_scale=w.norm_scale,
            norm_bias=w.norm_bias,
            head_norm_scale=w.head_norm_scale,
            head_norm_bias=w.head_norm_bias,
            head=w.head,
            head_bias=w.head_bias,
        ),
    )


def attend(
    folded: Folded, tokens: Float[Array, "C D"], mask: Bool[Array, " C"]
) -> Float[Array, "M d"]:
    """sum_j a_j W_o W_v x_j of every model on one task: the attention output without its bias."""
    models, shared = folded
    X = _dot(tokens, shared.project) + shared.project_bias[None]
    logits = jnp.where(mask[None], _dot(models.key, X.T), -jnp.inf)
    top = jnp.maximum(logits.max(-1), models.self_logit)
    weights = jnp.exp(logits - top[:, None])
    self_weight = jnp.exp(models.self_logit - top)
    total = weights.sum(-1) + self_weight
    if len(models.key) > len(tokens):  # apply W_o W_v on the smaller side
        attended = _dot(weights, _dot(X, shared.output_value))
    else:
        attended = _dot(_dot(weights, X), shared.output_value)
    return (attended + self_weight[:, None] * models.self_value) / total[:, None]


def read_out(folded: Folded, attended: Float[Array, "M d"]) -> Float[Array, " M"]:
    """head(LN(LN(base + attended))): two layer norms in a row, as published."""
    models, shared = folded
    h = _layer_norm(models.base + attended, shared.norm_scale, shared.norm_bias)
    h = _layer_norm(h, shared.head_norm_scale, shared.head_norm_bias)
    return _dot(h, shared.head) + shared.head_bias


def _layer_norm(x: Array, scale: Array, bias: Array) -> Array:
    centred = x - x.mean(-1, keepdims=True)
    variance = (centred**2).mean(-1, keepdims=True)
    return centred * jax.lax.rsqrt(variance + LAYER_NORM_EPSILON) * scale[None] + bias[None]


def score_tasks(
    folded: Folded,
    tokens: Float[Array, "T C D"],
    mask: Bool[Array, "T C"],
    regularize: Callable[[Array], Array] = lambda attended: attended,
) -> Float[Array, "T M"]:
    """Scores of all models on all tasks.

    Args:
        folded: of one member. tokens: [T, C, D] scaled, padded. mask: [T, C] True where real.
        regularize: applied to the attention outputs [T, M, d] (dropout while training).

    Returns:
        float32 [T, M].
    """
    attended = jax.vmap(attend, (None, 0, 0))(folded, tokens, mask)
    return jax.vmap(read_out, (None, 0))(folded, regularize(attended))
