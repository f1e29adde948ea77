"""What a training step reads and changes, as it lies on the devices.

Shapes are those of the whole. A device of a mesh holds its lanes and its rows of models; under pmap
a first axis of devices comes before every shape.
"""

from typing import NamedTuple

import optax
from jaxtyping import Array, Bool, Float, Int, Key, UInt32

from spider_jax.spider.weights import OwnTokens, Weights


class Lanes(NamedTuple):
    """Training tasks dealt into B lanes of S places, as many lanes as there are tasks in a batch.

    Attributes:
        tokens: scaled class centres, padded with 0.
        mask: True where a token is a class.
        targets: the order of the models that is learned.
        prior: what the score of every member begins with; None for nothing.
        inside: where a member may train.
        own: own class centres of R models a task, tokens [B, S, R, C, q] of models [B, S, R]; None
            where no model's own features are read.
    """

    tokens: Float[Array, "B S C p"]
    mask: Bool[Array, "B S C"]
    targets: Float[Array, "B S M"]
    prior: Float[Array, "B S E M"] | None
    inside: Bool[Array, "B S E"]
    own: OwnTokens | None = None


class Members(NamedTuple):
    """What tells the members of an ensemble apart.

    Attributes:
        keys: data of each member's random key.
        rates: learning rates.
    """

    keys: UInt32[Array, "E 2"]
    rates: Float[Array, " E"]


class State(NamedTuple):
    """What a step changes.

    Attributes:
        weights: of all members, with a leading axis of members.
        moments: the optimizer's state of all members, likewise.
        step: number of steps done.
    """

    weights: Weights
    moments: optax.OptState
    step: Int[Array, ""]


class Axes(NamedTuple):
    """Names of the device axes.

    Attributes:
        data: the axis that tasks are dealt over.
        model: the axis that rows of models are split over; None where they are not split.
    """

    data: str
    model: str | None


class Batch(NamedTuple):
    """The tasks of one step of one member: one of every lane of this device.

    Attributes:
        tokens: scaled class centres, padded with 0.
        mask: True where a token is a class.
        targets: the order of the models that is learned.
        prior: what the member's scores begin with; None for nothing.
        weight: of each task in the loss, 0 for a lane without tasks.
        keys: a random key for each task.
        own: own class centres of k_max models a task, tokens [b, k, C, q] of models [b, k], -1 for
            no model; None where no model's own features are read.
    """

    tokens: Float[Array, "b C p"]
    mask: Bool[Array, "b C"]
    targets: Float[Array, "b M"]
    prior: Float[Array, "b M"] | None
    weight: Float[Array, " b"]
    keys: Key[Array, " b"]
    own: OwnTokens | None = None
