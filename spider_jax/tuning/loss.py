"""What a student learns from: its task, and a penalty that says what else should stay near what."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float
from numpy.typing import ArrayLike, NDArray

from spider_jax.errors import InputError

HIGHEST = jax.lax.Precision.HIGHEST
Params = Any


class Hyper(NamedTuple):
    """What differs between runs. learning_rate; weight: of the penalty; pi: [K] of the teachers."""

    learning_rate: Array
    weight: Array
    pi: Array


class Frozen(NamedTuple):
    """What never learns: the student's first params, and the LogME means [C, D] of its features."""

    start: Params
    mean: Array


# ---- the task --------------------------------------------------------------------------------


def task_loss(
    outputs: Float[Array, "B C"], Y: Float[Array, "B C"], kind: str
) -> Float[Array, " B"]:
    """Cross-entropy, mean binary cross-entropy over labels, or mean squared error, a row."""
    if kind == "classification":
        return optax.losses.softmax_cross_entropy(outputs, Y)
    if kind == "multi-label":
        return optax.losses.sigmoid_binary_cross_entropy(outputs, Y).mean(1)
    return ((outputs - Y) ** 2).mean(1)


# ---- B-Tuning --------------------------------------------------------------------------------


def teacher_weights(
    scores: ArrayLike, temperature: float, *, standardise: bool = True
) -> NDArray[np.float64]:
    """How much each teacher counts: softmax(scores / temperature).

    LogME of good models differs in the second decimal, so that the raw scores give nearly equal
    weights at the published temperature 0.1; standardised by the teachers' own mean and deviation
    they do not, and one temperature means the same on every task.

    Args:
        scores: [K] LogME. temperature: > 0. standardise: the scores first; equal ones become 0.

    Returns:
        float64 [K], of sum 1.

    Raises:
        InputError: a temperature that is not positive, or scores that are not finite [K].

    >>> teacher_weights([0.94, 0.93], 0.1, standardise=False).round(3).tolist()
    [0.525, 0.475]
    >>> teacher_weights([0.94, 0.93], 1.0).round(3).tolist()
    [0.881, 0.119]
    """
    values = np.asarray(scores, np.float64)
    if not temperature > 0:
        raise InputError(f"temperature must be > 0, got {temperature}")
    if values.ndim != 1 or len(values) == 0 or not np.isfinite(values).all():
        raise InputError(f"scores must be finite [K], one for a teacher, got {values.tolist()}")
    if standardise:
        spread = values.std()
        values = (values - values.mean()) / (spread if spread > 0 else 1)
    weights = np.exp((values - values.max()) / temperature)
    return np.asarray(weights / weights.sum())


def prediction_gap(
    features: Float[Array, "B D"],
    mean: Float[Array, "C D"],
    pi: Float[Array, " K"],
    predictions: Float[Array, "B K C"],
) -> Float[Array, " B"]:
    """|f_s(x) M_s^T - sum_k pi_k f_k(x) M_k^T|^2 / C, a row; `predictions` are the f_k(x) M_k^T.

    Features of any width meet where they predict the same C columns, so that teachers of other
    architectures need no adapter. No gradient reaches M_s, pi or the teachers.
    """
    mean, pi, predictions = jax.lax.stop_gradient((mean, pi, predictions))
    target = jnp.einsum("k,bkc->bc", pi, predictions, precision=HIGHEST)
    return ((jnp.matmul(features, mean.T, precision=HIGHEST) - target) ** 2).mean(1)


# ---- every method ----------------------------------------------------------------------------


class Method(NamedTuple):
    """A way to tune. penalty(features, params, guide, frozen, hyper) -> [B], beside the task loss.

    guide: what it reads of teachers: "predictions" [K, C], "features" (principal components of the
    best one alone), or None. weights: of the penalty, the default grid. frozen: only the head
    learns. decay: weight decay acts on the student too.
    """

    penalty: Callable[..., Array] | None = None
    guide: str | None = None
    weights: tuple[float, ...] = (0.0,)
    frozen: bool = False
    decay: bool = True


def _b_tuning(features: Array, params: Params, guide: Array, frozen: Frozen, hyper: Hyper) -> Array:
    return prediction_gap(features, frozen.mean, hyper.pi, guide)


def _distillation(
    features: Array, params: Params, guide: Array, frozen: Frozen, hyper: Hyper
) -> Array:
    """Mean squared error to the best teacher's principal components, by a learned projection."""
    mapped = jnp.matmul(features, params["projection"], precision=HIGHEST)
    return ((mapped - jax.lax.stop_gradient(guide)) ** 2).mean(1)


def _l2_sp(features: Array, params: Params, guide: Array, frozen: Frozen, hyper: Hyper) -> Array:
    """Half the squared distance from where the student began."""
    gaps = jax.tree.map(lambda w, w0: ((w - w0) ** 2).sum(), params["student"], frozen.start)
    total = sum(jax.tree.leaves(gaps), jnp.zeros((), features.dtype))
    return jnp.broadcast_to(0.5 * total, features.shape[:1])


METHODS: dict[str, Method] = {
    "b-tuning": Method(_b_tuning, "predictions", (1.0, 10.0, 100.0, 1000.0)),
    "fine-tuning": Method(),
    "l2-sp": Method(_l2_sp, weights=(0.001, 0.01, 0.1, 1.0), decay=False),
    "distillation": Method(_distillation, "features", (0.1, 1.0, 10.0, 100.0)),
    "head-only": Method(frozen=True),
}


def total_loss(
    features: Float[Array, "B D"],
    outputs: Float[Array, "B C"],
    params: Params,
    Y: Float[Array, "B C"],
    guide: Array,
    weight: Float[Array, " B"],
    frozen: Frozen,
    hyper: Hyper,
    *,
    method: str,
    kind: str,
) -> Float[Array, ""]:
    """sum_b weight_b (task loss_b + hyper.weight penalty_b) / sum_b weight_b."""
    each = task_loss(outputs, Y, kind)
    penalty = METHODS[method].penalty
    if penalty is not None:
        each = each + hyper.weight * penalty(features, params, guide, frozen, hyper)
    return (weight * each).sum() / weight.sum()
