"""Listwise losses: how far the scores are from the target order."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


def plackett_luce_loss(
    scores: Float[Array, "*batch M"],
    targets: Float[Array, "*batch M"],
    *,
    where: Bool[Array, "*batch M"] | None = None,
) -> Float[Array, "*batch"]:
    """Negative log-likelihood of the target order under Plackett-Luce, per position.

    sum_i [ln sum_{j: y_j <= y_i} exp s_j - s_i] / (n - 1): ties follow Breslow. One sort, then
    cumulative logsumexps in both directions: O(M log M), finite for any spread of scores.

    Args:
        scores: [..., M] float, larger means better. targets: [..., M], larger means better.
        where: [..., M] False for items that are not there; they get no gradient.

    Returns:
        [...] losses; 0 where fewer than two items are valid.

    References:
        Zhang et al., "Model Spider", NeurIPS 2023; Breslow, 1974. The published code adds 1e-10
        inside the logarithm after a shift, which is wrong for spreads over about 23.
    """
    valid = jnp.ones(scores.shape, bool) if where is None else where
    order = jnp.argsort(jnp.where(valid, -targets, jnp.inf), axis=-1)
    s, y, valid = (jnp.take_along_axis(a, order, axis=-1) for a in (scores, targets, valid))
    first, last = _tie_groups(y, valid)
    n = valid.sum(-1).astype(s.dtype)
    return _order_loss(s, valid, first, last) / jnp.maximum(n - 1, 1)


def _tie_groups(y: Float[Array, "*batch M"], valid: Bool[Array, "*batch M"]) -> tuple[Array, Array]:
    """Index of the first and of the last item of each sorted item's group of equals."""
    M = y.shape[-1]
    place = jnp.broadcast_to(jnp.arange(M), y.shape)
    same = (y[..., 1:] == y[..., :-1]) & (valid[..., 1:] == valid[..., :-1])
    edge = jnp.ones((*y.shape[:-1], 1), bool)
    starts = jnp.concatenate([edge, ~same], axis=-1)
    ends = jnp.concatenate([~same, edge], axis=-1)
    axis = y.ndim - 1
    first = jax.lax.cummax(jnp.where(starts, place, 0), axis=axis)
    last = jax.lax.cummin(jnp.where(ends, place, M - 1), axis=axis, reverse=True)
    return first, last


def _tails(s: Array, valid: Array, first: Array) -> Array:
    """ln of the summed exp of each item's group and everything below it."""
    low = jnp.where(valid, s, -jnp.inf)
    below = jax.lax.cumlogsumexp(low, axis=s.ndim - 1, reverse=True)
    return jnp.take_along_axis(below, first, axis=-1)


@jax.custom_vjp
def _order_loss(s: Array, valid: Array, first: Array, last: Array) -> Array:
    return jnp.where(valid, _tails(s, valid, first) - s, 0.0).sum(-1)


def _forward(s: Array, valid: Array, first: Array, last: Array) -> tuple[Array, tuple[Array, ...]]:
    tails = _tails(s, valid, first)
    return jnp.where(valid, tails - s, 0.0).sum(-1), (s, tails, valid, last)


def _backward(saved: tuple[Array, ...], upstream: Array) -> tuple[Array, None, None, None]:
    """d loss/d s_j = sum_{i: y_i >= y_j} exp(s_j - tail_i) - 1: a second cumulative logsumexp.

    Differentiating through the first one instead takes seconds more to compile.
    """
    s, tails, valid, last = saved
    above = jax.lax.cumlogsumexp(jnp.where(valid, -tails, -jnp.inf), axis=s.ndim - 1)
    share = jnp.exp(s + jnp.take_along_axis(above, last, axis=-1))
    return jnp.where(valid, share - 1, 0.0) * upstream[..., None], None, None, None


_order_loss.defvjp(_forward, _backward)
