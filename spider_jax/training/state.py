"""What a training step reads and changes."""

from typing import Any, NamedTuple

from jaxtyping import Array, Bool, Float, Int, UInt32

from spider_jax.spider.weights import OwnTokens, Weights


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


class Batch(NamedTuple):
    tokens: Float[Array, "b C p"]
    mask: Bool[Array, "b C"]
    targets: Float[Array, "b M"]
    prior: Float[Array, "b M"] | None
    weight: Float[Array, " b"]
    keys: Any
    own: OwnTokens | None = None
