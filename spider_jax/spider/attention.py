"""The attention block of the spider in the form that training differentiates.

Only the row of the model token is read after attention, so a pair costs C logits, one average over
C tokens and a read-out; all else is a product per model or per task:

    score(m, t) = head(LN(LN(theta_m + b_o + sum_j a_j W_o W_v x_j))),
    a = softmax_j(<key_m, x_j>), key_m = W_k^T W_q theta_m / sqrt(d), x_0 = theta_m, x_j = U mu_j.

A model that is looked at with its own features has its own class centres in the sum as well,
x_j = P_m nu_j + p_m. `scoring` and `rerank` hold the same sums for ranking, folded further.
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from spider_jax.runtime.device_kinds import default_kind
from spider_jax.spider.weights import OwnTokens, Weights

HIGHEST = jax.lax.Precision.HIGHEST
LAYER_NORM_EPSILON = 1e-5

Map = Callable[[Array], Array]
Regularize = Callable[[Float[Array, "T m d"], Int[Array, "..."]], Float[Array, "T m d"]]


def score_tasks(
    w: Weights,
    tokens: Float[Array, "T C D"],
    mask: Bool[Array, "T C"],
    regularize: Regularize = lambda attended, rows: attended,
    *,
    pair_elements: int | None = None,
) -> Float[Array, "T M"]:
    """Scores of all models on all tasks.

    Many models go by in chunks that the backward pass computes again: memory does not grow with
    T M d but with T M, and what is computed twice is cheaper than what is read from memory.

    Args:
        w: of one member.
        tokens: [T, C, D] scaled, padded.
        mask: [T, C] True where real.
        regularize: applied to the attention outputs [T, m, d] of these rows of theta, [m] or [T, m]
            (dropout while training).
        pair_elements: T m d of a chunk of m models; up to four chunks stay one. Default: the
            `pair_numbers` of the default device's kind.

    Returns:
        float32 [T, M].
    """
    M, d = w.theta.shape
    few = tokens.shape[1] >= M
    of_models = (_of_raw if few else _of_projected)(w, tokens, mask)

    def score(theta: Array, rows: Array) -> Array:
        return read_out(w, theta, regularize(of_models(theta), rows))

    most = pair_elements or default_kind().pair_numbers
    chunks = -(-len(tokens) * M * d // most)
    if few or chunks <= 4:
        return score(w.theta, jnp.arange(M))
    size = -(-M // chunks)
    theta = jnp.pad(w.theta, ((0, chunks * size - M), (0, 0))).reshape(chunks, size, d)
    rows = jnp.arange(chunks * size).reshape(chunks, size)
    again = jax.checkpoint(score)
    _, scores = jax.lax.scan(lambda _, chunk: (None, again(*chunk)), None, (theta, rows))
    return jnp.moveaxis(scores, 0, 1).reshape(len(tokens), -1)[:, :M]


def _of_projected(w: Weights, tokens: Array, mask: Array) -> Map:
    """theta [m, d] -> sum_j a_j W_o W_v x_j [T, m, d], from tokens projected once: many models."""
    T, C, _ = tokens.shape
    X = _dot(tokens.reshape(T * C, -1), w.project) + w.project_bias[None]
    apply_value = _compose(w.value, w.output, T * C + len(w.theta))
    values = apply_value(X).reshape(T, C, -1)
    apply_key = _compose(w.query, w.key.T, len(w.theta))

    def attend(theta: Array) -> Array:
        key = apply_key(theta) / theta.shape[-1] ** 0.5
        logits = _dot(key, X.T).reshape(-1, T, C).swapaxes(0, 1)
        share, own = _softmax(logits, (key * theta).sum(-1)[None], mask)
        return _dot(share, values) + own[..., None] * _repeat(apply_value(theta), T)

    return attend


def _of_raw(w: Weights, tokens: Array, mask: Array) -> Map:
    """The same from averages of raw tokens, which are then projected: few models, many classes.

    <key, U mu + b> = <U^T key, mu> + <key, b>, and sum_j a_j x_j = U sum_j a_j mu_j + (1 - a_0) b
    + a_0 theta.
    """
    T, C, D = tokens.shape
    flat = tokens.reshape(T * C, D)
    apply_value = _compose(w.value, w.output, T * len(w.theta))

    def attend(theta: Array) -> Array:
        m, d = theta.shape
        key = _dot(_dot(theta, w.query), w.key.T) / d**0.5
        logits = _dot(_dot(key, w.project.T), flat.T).reshape(m, T, C).swapaxes(0, 1)
        offset = _dot(key, w.project_bias)
        self_logit = (key * theta).sum(-1)[None]
        share, own = _softmax(logits + offset[None, :, None], self_logit, mask)
        seen = _dot(_dot(share, tokens).reshape(T * m, D), w.project).reshape(T, m, d)
        mixed = seen + own[..., None] * _repeat(theta - w.project_bias[None], T)
        mixed = mixed.reshape(T * m, d) + _repeat(w.project_bias, T * m)
        return apply_value(mixed).reshape(T, m, d)

    return attend


def score_with_own(
    w: Weights,
    tokens: Float[Array, "T C D"],
    mask: Bool[Array, "T C"],
    own: OwnTokens,
    regularize: Regularize = lambda attended, rows: attended,
) -> Float[Array, "T k"]:
    """Scores of some models of every task with their own class centres beside the general ones.

    Args:
        w: with own_project and own_bias.
        tokens: as `score_tasks`; the mask is of both sorts of tokens.
        mask: as `score_tasks`; the mask is of both sorts of tokens.
        regularize: as `score_tasks`; the mask is of both sorts of tokens.
        own: of k models a task, rows of theta.

    Returns:
        float32 [T, k].
    """
    assert w.own_project is not None
    assert w.own_bias is not None
    T, k, C, _ = own.tokens.shape
    theta, P, p = (rows[own.models] for rows in (w.theta, w.own_project, w.own_bias))
    key = _dot(_dot(theta, w.query), w.key.T) / theta.shape[-1] ** 0.5
    X = _dot(tokens, w.project) + w.project_bias[None, None]
    met = jnp.einsum("tkpd,tkd->tkp", P, key, precision=HIGHEST)
    own_logits = jnp.einsum("tkcp,tkp->tkc", own.tokens, met, precision=HIGHEST)
    own_logits += (key * p).sum(-1, keepdims=True)
    logits = jnp.concatenate([_dot(key, X.swapaxes(1, 2)), own_logits], -1)
    both = jnp.concatenate([mask, mask], -1)
    share, self_share = _softmax(logits, (key * theta).sum(-1), both)
    average = jnp.einsum("tkc,tkcp->tkp", share[..., C:], own.tokens, precision=HIGHEST)
    mixed = _dot(share[..., :C], X) + jnp.einsum("tkp,tkpd->tkd", average, P, precision=HIGHEST)
    mixed += share[..., C:].sum(-1, keepdims=True) * p + self_share[..., None] * theta
    attended = regularize(_dot(_dot(mixed, w.value), w.output), own.models)
    flat = attended.reshape(1, T * k, -1)
    return read_out(w, theta.reshape(T * k, -1), flat).reshape(T, k)


def _softmax(logits: Array, self_logit: Array, mask: Array) -> tuple[Array, Array]:
    """Attention over the classes [T, m, C] and over the model itself [T, m]; they sum to 1.

    self_logit: [1, m] or [T, m].
    """
    logits = jnp.where(mask[:, None], logits, -jnp.inf)
    top = jax.lax.stop_gradient(jnp.maximum(logits.max(-1), self_logit))
    share = jnp.exp(logits - top[..., None])
    own = jnp.exp(self_logit - top)
    total = share.sum(-1) + own
    return share / total[..., None], own / total


def _compose(first: Array, second: Array, rows: int) -> Map:
    """x -> x first second for so many rows x; the matrices first where that is less work."""
    if rows <= len(first):
        return lambda x: _dot(_dot(x, first), second)
    both = _dot(first, second)
    return lambda x: _dot(x, both)


def read_out(
    w: Weights, theta: Float[Array, "m d"], attended: Float[Array, "T m d"]
) -> Float[Array, "T m"]:
    """head(LN(LN(theta + b_o + attended))): two layer norms in a row, as published.

    With y centred, g and b the scale and bias of the first norm, v the head times the scale of the
    second, b and v centred, r = 1/sd(y): the second norm sees u = r g y + b, whose variance and
    whose product with v need five sums over y. As products they are one pass forwards and one
    backwards; as written above, XLA makes many.
    """
    T, m, d = attended.shape
    y = _repeat(theta + w.output_bias[None], T) + attended
    y = (y - y.mean(-1, keepdims=True)).reshape(T * m, d)
    g, b = w.norm_scale, w.norm_bias - w.norm_bias.mean()
    v = w.head_norm_scale * w.head
    constant, v = (v * b).sum(), v - v.mean()
    total, shifted, read = _sums(jnp.stack([g, g * b, g * v]), y)
    square, scaled = _sums(jnp.stack([jnp.ones_like(g), g * g]), y * y)
    r = jax.lax.rsqrt(square / d + LAYER_NORM_EPSILON)
    variance = (r**2 * (scaled - total**2 / d) + 2 * r * shifted + (b**2).sum()) / d
    score = (r * read + constant) * jax.lax.rsqrt(variance + LAYER_NORM_EPSILON)
    return (score + (w.head_norm_bias * w.head).sum() + w.head_bias).reshape(T, m)


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def _repeat(x: Array, times: int) -> Array:
    """x, so often, along a new first axis.

    Its gradient is a product with ones: the sum over a leading axis that it would be takes XLA on
    CPU 10 to 40 times as long [1.6 to 5.6 ms for 2 to 3 MB].
    """
    return jnp.broadcast_to(x[None], (times, *x.shape))


def _repeat_forward(x: Array, times: int) -> tuple[Array, None]:
    return _repeat(x, times), None


def _repeat_backward(times: int, _: None, slope: Array) -> tuple[Array]:
    ones = jnp.ones((1, times), slope.dtype)
    return (_dot(ones, slope.reshape(times, -1)).reshape(slope.shape[1:]),)


_repeat.defvjp(_repeat_forward, _repeat_backward)


def _sums(weights: Float[Array, "k d"], y: Float[Array, "n d"]) -> Float[Array, "k n"]:
    """Weighted sums of every row, the few weights on the left.

    So the products of its gradient lie as XLA on CPU wants them: .35 to .55 of the time of y @
    weights.T with its gradient [n = 672 and 16,000].
    """
    return jnp.einsum("kd,nd->kn", weights, y, precision=HIGHEST)


def _dot(a: Array, b: Array) -> Array:
    return jnp.matmul(a, b, precision=HIGHEST)
