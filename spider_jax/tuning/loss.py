"""What a student learns from: the loss of its task, and the penalty of a method."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Float64
from numpy.typing import ArrayLike

from spider_jax.errors import InputError
from spider_jax.tuning.students import Params

HIGHEST = jax.lax.Precision.HIGHEST


class Hyper(NamedTuple):
    """What differs between runs; with a leading axis where there are several.

    Attributes:
        learning_rate: of the student.
        weight: of the penalty (lambda).
        pi: weights of the K teachers, of sum 1.
    """

    learning_rate: Float[Array, "..."]
    weight: Float[Array, "..."]
    pi: Float[Array, "... K"]


class Frozen(NamedTuple):
    """What never learns.

    Attributes:
        start: the student's first params.
        mean: LogME's posterior means of the student's first features.
    """

    start: Params
    mean: Float[Array, "C D"]


# ---- the task --------------------------------------------------------------------------------


def task_loss(
    outputs: Float[Array, "B C"], Y: Float[Array, "B C"], kind: str
) -> Float[Array, " B"]:
    """Loss of every row: cross-entropy, mean binary cross-entropy over labels, or mean square.

    Args:
        outputs: of the head.
        Y: targets, see `make_targets`.
        kind: of the task: "classification", "multi-label" or "regression".
    """
    if kind == "classification":
        return optax.losses.softmax_cross_entropy(outputs, Y)
    if kind == "multi-label":
        return optax.losses.sigmoid_binary_cross_entropy(outputs, Y).mean(1)
    return ((outputs - Y) ** 2).mean(1)


# ---- B-Tuning --------------------------------------------------------------------------------


def teacher_weights(
    scores: ArrayLike, temperature: float, *, standardise: bool = True
) -> Float64[np.ndarray, " K"]:
    """How much each teacher counts: softmax(scores / temperature).

    LogME of good models differs in the second decimal, so that the raw scores give nearly equal
    weights at the published temperature 0.1. Standardised by the teachers' own mean and deviation
    they do not, and one temperature means the same on every task.

    Args:
        scores: [K] LogME of the teachers.
        temperature: above 0; the smaller, the more the best teacher counts.
        standardise: the scores first; equal ones become 0.

    Returns:
        The weights, of sum 1.

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
        deviation = values.std()
        values = (values - values.mean()) / (deviation if deviation > 0 else 1)
    weights = np.exp((values - values.max()) / temperature)
    return np.asarray(weights / weights.sum())


def prediction_gap(
    features: Float[Array, "B D"],
    mean: Float[Array, "C D"],
    pi: Float[Array, " K"],
    predictions: Float[Array, "B K C"],
) -> Float[Array, " B"]:
    """|f_s(x) M_s^T - sum_k pi_k f_k(x) M_k^T|^2 / C of every row x.

    The C predicted columns are the same for features of any width, so that teachers of other
    architectures need no adapter. No gradient reaches M_s, pi or the teachers.

    Args:
        features: f_s(x) of the student.
        mean: M_s, LogME's posterior means of the student's first features.
        pi: weights of the teachers.
        predictions: f_k(x) M_k^T of the teachers.
    """
    mean, pi, predictions = jax.lax.stop_gradient((mean, pi, predictions))
    target = jnp.einsum("k,bkc->bc", pi, predictions, precision=HIGHEST)
    return ((jnp.matmul(features, mean.T, precision=HIGHEST) - target) ** 2).mean(1)


# ---- every method ----------------------------------------------------------------------------


class Method(NamedTuple):
    """A way to tune.

    Attributes:
        penalty: penalty(features, params, guide, frozen, hyper), one number a row, added to the
            task loss; None for none.
        guide: what it reads of teachers: "predictions" [K, C], "features" (principal components of
            the best one alone), or None.
        weights: of the penalty, the default grid.
        frozen: only the head learns.
        decay: weight decay acts on the student too.
    """

    penalty: Callable[..., Float[Array, " B"]] | None = None
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
    guide: Float[Array, "B ..."],
    weight: Float[Array, " B"],
    frozen: Frozen,
    hyper: Hyper,
    *,
    method: str,
    kind: str,
) -> Float[Array, ""]:
    """sum_b weight_b (task loss_b + hyper.weight penalty_b) / sum_b weight_b.

    Args:
        features: of the student.
        outputs: of its head.
        params: of the run: {"student", "head", ...}.
        Y: targets.
        guide: what the method reads of teachers.
        weight: of the rows; 0 for padding.
        frozen: what never learns.
        hyper: of the run.
        method: name in METHODS.
        kind: of the task.
    """
    each = task_loss(outputs, Y, kind)
    penalty = METHODS[method].penalty
    if penalty is not None:
        each = each + hyper.weight * penalty(features, params, guide, frozen, hyper)
    return (weight * each).sum() / weight.sum()
