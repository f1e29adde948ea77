"""Ranking losses: how far the scores of a list of items are from its targets.

One signature for all, `loss(scores, targets, *, where=None)`, and one table, `LOSSES`. A masked
item counts for nothing, whatever its numbers; a NaN of a valid item makes its list's loss NaN.
"""

from collections.abc import Mapping
from functools import partial
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

PAIRS_AT_ONCE = 2**20  # of pairwise_logistic_loss: 4 MB of float32 for each step of the formula


@runtime_checkable
class Loss(Protocol):
    """What every loss is: a function of scores and targets of lists of M items."""

    def __call__(
        self,
        scores: Float[Array, "*batch M"],
        targets: Float[Array, "*batch M"],
        *,
        where: Bool[Array, "*batch M"] | None = None,
    ) -> Float[Array, "*batch"]:
        """The loss of every list.

        Args:
            scores: larger means better.
            targets: larger means better.
            where: False for items that are not there; None if all are.

        Returns:
            One loss per list.
        """
        ...


def plackett_luce_loss(
    scores: Float[Array, "*batch M"],
    targets: Float[Array, "*batch M"],
    *,
    where: Bool[Array, "*batch M"] | None = None,
) -> Float[Array, "*batch"]:
    """Negative log-likelihood of the target order under Plackett-Luce, per position.

    sum_i [ln sum_{j: y_j <= y_i} exp s_j - s_i] / (n - 1): ties follow Breslow. Finite for any
    spread of scores, and its float32 gradient is as good as the scores are.

    Cost: one sort, O(M log M), is nearly all of it; then O(M) time and memory, in M steps.

    Args:
        scores: [..., M] float, larger means better.
        targets: [..., M] float, larger means better; only their order counts.
        where: [..., M] False for items that are not there; they get no gradient.

    Returns:
        [...] losses, at least 0; 0 where fewer than two items are valid.

    References:
        Zhang et al., "Model Spider", NeurIPS 2023; Breslow, 1974. The published code adds 1e-10
        inside the logarithm after a shift, which is wrong for spreads over about 23.

    >>> plackett_luce_loss(jnp.zeros(2), jnp.array([0.0, 1.0])).round(4).item()  # ln 2
    0.693...
    """
    s, y, valid = _clean(scores, targets, where)
    return jnp.vectorize(_list_loss, signature="(m),(m),(m)->()")(s, y, valid)


def listnet_loss(
    scores: Float[Array, "*batch M"],
    targets: Float[Array, "*batch M"],
    *,
    where: Bool[Array, "*batch M"] | None = None,
) -> Float[Array, "*batch"]:
    """Cross entropy between the softmax of the targets and that of the scores (ListNet, top one).

    -sum_i p_i ln q_i with p = softmax(y), q = softmax(s) over the valid items. The scale of the
    targets counts: divide them by a temperature to sharpen or flatten what is asked for.

    Cost: O(M) time and memory.

    Args:
        scores: [..., M] float, larger means better.
        targets: [..., M] float, larger means better, in units of the scores.
        where: [..., M] False for items that are not there; they get no gradient.

    Returns:
        [...] losses, at least the entropy of p; 0 where fewer than two items are valid.

    References:
        Cao et al., "Learning to rank: from pairwise approach to listwise approach", ICML 2007.
    """
    s, y, valid = _clean(scores, targets, where)
    ln_q = jax.nn.log_softmax(_sink(s, valid), axis=-1)
    p = jax.nn.softmax(_sink(y.astype(s.dtype), valid), axis=-1)
    return -(p * jnp.where(valid, ln_q, 0)).sum(-1)


def pairwise_logistic_loss(
    scores: Float[Array, "*batch M"],
    targets: Float[Array, "*batch M"],
    *,
    where: Bool[Array, "*batch M"] | None = None,
) -> Float[Array, "*batch"]:
    """Logistic loss of the score differences, averaged over the pairs whose order is known.

    mean over the pairs y_i > y_j of ln(1 + exp(s_j - s_i)); ties are no pairs.

    Cost: O(M^2) time, as no exact faster form is known; O(M) memory beside one block of pairs,
    since the derivative computes each block again.

    Args:
        scores: [..., M] float, larger means better.
        targets: [..., M] float, larger means better; only their order counts.
        where: [..., M] False for items that are not there; they get no gradient.

    Returns:
        [...] losses, at least 0; 0 where no two valid items differ in their targets.

    References:
        Burges et al., "Learning to rank using gradient descent", ICML 2005 (RankNet).
    """
    s, y, valid = _clean(scores, targets, where)
    M = s.shape[-1]
    rows = min(M, max(1, PAIRS_AT_ONCE // max(1, s.size)))
    blocks = tuple(_split(a, rows) for a in (s, y, valid))
    of_block = jax.checkpoint(partial(_pairs_of, (s, y, valid)))
    totals, pairs = jax.lax.map(of_block, blocks)
    return totals.sum(0) / jnp.maximum(pairs.sum(0), 1)


LOSSES: Mapping[str, Loss] = {
    "plackett_luce": plackett_luce_loss,
    "listnet": listnet_loss,
    "pairwise": pairwise_logistic_loss,
}


def _clean(scores: Array, targets: Array, where: Array | None) -> tuple[Array, Array, Array]:
    """Scores, targets and mask: masked items are 0, scores of a list with a NaN target are NaN."""
    valid = jnp.ones(scores.shape, bool) if where is None else where
    y = jnp.where(valid, targets, 0)
    known = jnp.where(jnp.isnan(y).any(-1, keepdims=True), jnp.nan, scores)
    return jnp.where(valid, known, 0), y, valid


def _sink(a: Array, valid: Array) -> Array:
    """Masked items below all others: the lowest number, because differences of -inf are NaN."""
    lowest = float(jnp.finfo(a.dtype).min)  # type: ignore[no-untyped-call]
    return jnp.where(valid, a, lowest)


# ---- Plackett-Luce ----------------------------------------------------------------------------


def _list_loss(s: Array, y: Array, valid: Array) -> Array:
    """The loss of one list [M]: sorted from the worst item to the best, the masked ones on top."""
    key = jnp.where(valid, y, jnp.inf)
    order = jnp.argsort(key)
    first, last = _tie_groups(key[order])
    positions = valid.sum().astype(s.dtype) - 1
    return _order_loss(s[order], valid[order], first, last) / jnp.maximum(positions, 1)


def _tie_groups(key: Array) -> tuple[Array, Array]:
    """Index of the first and of the last item of each sorted item's group of equals."""
    M = len(key)
    place, differs, edge = jnp.arange(M), key[1:] != key[:-1], jnp.ones(min(M, 1), bool)
    starts, ends = jnp.concatenate([edge, differs]), jnp.concatenate([differs, edge])
    first = jax.lax.cummax(jnp.where(starts, place, 0))
    last = jax.lax.cummin(jnp.where(ends, place, M - 1), reverse=True)
    return first, last


@jax.custom_vjp
def _order_loss(s: Array, valid: Array, first: Array, last: Array) -> Array:
    return _forward(s, valid, first, last)[0]


def _forward(s: Array, valid: Array, first: Array, last: Array) -> tuple[Array, tuple[Array, ...]]:
    """sum_i [ln sum_{j <= last_i} exp s_j - s_i], each inner sum in units of exp(top)."""
    low = _sink(s, valid)
    top = _tops(low)
    sums = _sums(top, jnp.where(valid, jnp.exp(low - top), 0))[last]
    top = top[last]
    terms = jnp.maximum((top - s) + jnp.log(sums), 0)  # below zero only by rounding
    return jnp.where(valid, terms, 0).sum(), (s, valid, first, top, sums)


def _backward(saved: tuple[Array, ...], upstream: Array) -> tuple[Array, None, None, None]:
    """d/ds_j = exp s_j sum_{i >= first_j} 1 / (inner sum of i) - 1: the same from the other end.

    Differentiating through the sums instead takes twice as long to compile.
    """
    s, valid, first, top, sums = saved
    chances = _sums(top, jnp.where(valid, 1 / sums, 0), reverse=True)[first]
    slopes = jnp.where(valid, jnp.exp(s - top) * chances - 1, 0)
    return slopes * upstream, None, None, None


_order_loss.defvjp(_forward, _backward)


def _tops(s: Array) -> Array:
    """A running maximum that only moves by more than one: each change of units costs rounding."""

    def step(top: Array, x: Array) -> tuple[Array, Array]:
        top = jnp.where(x > top + 1, x, top)
        return top, top

    return jax.lax.scan(step, jnp.full((), -jnp.inf, s.dtype), s)[1]


def _sums(top: Array, terms: Array, *, reverse: bool = False) -> Array:
    """Running sums in units that change from exp(top_i) to exp(top_{i+1}) from item to item.

    The rounding error of each addition is carried along: a list of 100,000 items costs no accuracy.
    """

    def step(
        carry: tuple[Array, Array], given: tuple[Array, Array]
    ) -> tuple[tuple[Array, Array], Array]:
        (x, rest), (decay, term) = carry, given
        x, rest = x * decay, rest * decay
        total = x + term
        added = total - x
        rest = rest + (x - (total - added)) + (term - added)
        return (total, rest), total + rest

    zero, edge = jnp.zeros((), terms.dtype), jnp.ones(min(len(top), 1), top.dtype)
    decays = jnp.exp(top[:-1] - top[1:])
    decays = jnp.concatenate([decays, edge] if reverse else [edge, decays])
    return jax.lax.scan(step, (zero, zero), (decays, terms), reverse=reverse)[1]


# ---- pairs ------------------------------------------------------------------------------------


def _split(a: Array, rows: int) -> Array:
    """[..., M] to [blocks, ..., rows]: the last block is filled with zeros, which are masked."""
    blocks = -(-a.shape[-1] // max(rows, 1))
    room = [(0, 0)] * (a.ndim - 1) + [(0, blocks * rows - a.shape[-1])]
    return jnp.moveaxis(jnp.pad(a, room).reshape(*a.shape[:-1], blocks, rows), -2, 0)


def _pairs_of(items: tuple[Array, ...], block: tuple[Array, ...]) -> tuple[Array, Array]:
    """Sum and number of the pairs of a block of better items with all worse ones."""
    s, y, valid = (a[..., None, :] for a in items)
    better, above, there = (a[..., :, None] for a in block)
    known = (above > y) & there & valid
    losses = jnp.where(known, jax.nn.softplus(s - better), 0)
    return losses.sum((-2, -1)), known.sum((-2, -1)).astype(s.dtype)
