"""Linear probe: cross-validated logistic regression, our ground truth on frozen features."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int
from numpy.typing import ArrayLike

from spider_jax.errors import InputError
from spider_jax.metrics.shared.few_rows import some_rows
from spider_jax.metrics.shared.folds import stratified_folds
from spider_jax.metrics.shared.inputs import check_features, check_labels
from spider_jax.metrics.shared.statistics import Statistics
from spider_jax.runtime.buckets import CLASS_BUCKET, ROW_BUCKET, pad

HIGHEST = jax.lax.Precision.HIGHEST
PENALTIES = tuple(float(p) for p in 10.0 ** np.arange(-3, 2))
OUTER_FOLDS, INNER_FOLDS = 5, 3
SELECTION_STEPS, FINAL_STEPS = 50, 200  # to choose a penalty the fit need not converge
GRADIENT_TOLERANCE = 1e-4
AT_ONCE = 1 << 22  # numbers [N, C] of a fit up to which 15 fits are made together: 250 MB a matrix


def linear_probe(features: ArrayLike, labels: ArrayLike, *, seed: int = 0) -> float:
    """Accuracy of multinomial logistic regression on rows it was not fitted on.

    5 stratified folds; in each the penalty, of summed cross-entropy + penalty/2 |W|^2 on
    standardised features, is the best of 1e-3 ... 10 by 3 inner folds of its training rows.

    Range: [0, 1]; larger is better. It compares across tasks as accuracies do.
    Cost: 75 fits of 50 steps and 5 of 200; a step costs O(N min(N, D) C). Of more than
    min(65,536, max(2^23 / C, 5 C)) rows so many are read, n (`some_rows`): the accuracy is that of
    fits to so many rows, with a standard error of at most n^-1/2 / 2. Version 2: 2^23 / C; 8,388
    rows of 1,000 classes.
    N < D: the penalty decides among interpolating fits.
    A class of fewer rows than folds: some folds never see it and miss it.
    A constant feature: no effect.
    It is a probe: our ground truth on frozen features, not a proxy of it.

    Args:
        features: [N, D] numbers.
        labels: [N] int.
        seed: of the folds.

    Returns:
        The accuracy over all rows, each predicted by the fold that left it out.

    Raises:
        InputError: shapes that do not match, values that are not finite, one class only, N < 5.

    References:
        Standardisation uses all rows (no labels): a rotation to min(N, D) columns then changes
        no fit, which is what makes the 80 fits cheap.
    """
    F = check_features(features)
    y = check_labels(labels, len(F))
    if len(F) < OUTER_FOLDS:
        raise InputError(f"features must have at least {OUTER_FOLDS} rows, got {len(F)}")
    given = some_rows(Statistics(F, y, standardize=True))
    y, everything = given.labels, min(given.n, given.width)
    # the same inner products in at most N columns; float32 is enough for an accuracy
    Z = pad(given.coordinates(everything).astype(np.float32), ROW_BUCKET, ROW_BUCKET)
    curvature = pad(given.variances(everything).astype(np.float32), ROW_BUCKET)
    Y = pad(given.targets().astype(np.float32), ROW_BUCKET, CLASS_BUCKET)
    outer, inner = (pad(folds + 1, 1, ROW_BUCKET) - 1 for folds in _folds(y, seed))
    rows = np.arange(len(Z)) < given.n
    return float(_probe(Z, curvature, Y, rows, outer[0], inner))


def _folds(
    y: Int[np.ndarray, " N"], seed: int
) -> tuple[Int[np.ndarray, "1 N"], Int[np.ndarray, "A N"]]:
    """Outer fold of every row, and inner folds for each outer one (-1: not a training row)."""
    rng = np.random.default_rng(seed)
    outer = stratified_folds(y, OUTER_FOLDS, rng)
    inner = np.full((OUTER_FOLDS, len(y)), -1)
    for fold in range(OUTER_FOLDS):
        rows = np.flatnonzero(outer != fold)
        inner[fold, rows] = stratified_folds(y[rows], INNER_FOLDS, rng)
    return outer[None], inner


@jax.jit
def _probe(
    Z: Float[Array, "N k"],
    curvature: Float[Array, " k"],
    Y: Float[Array, "N C"],
    rows: Bool[Array, " N"],
    outer: Int[Array, " N"],
    inner: Int[Array, "A N"],
) -> Float[Array, ""]:
    """The accuracy from padded coordinates."""
    penalties = jnp.array(PENALTIES, Z.dtype)
    fit = partial(_held_out_hits, Z, curvature, Y)

    def one_fold(fold: Array) -> Array:
        training = (outer != fold) & rows

        def inner_hits(held: Array, penalty: Array) -> Array:
            left_out = inner[fold] == held
            return fit(training & ~left_out, training & left_out, penalty, SELECTION_STEPS)

        hits = _over_grid(inner_hits, penalties, Y.size).sum(0)
        return fit(training, (outer == fold) & rows, penalties[hits.argmax()])

    return jax.lax.map(one_fold, jnp.arange(OUTER_FOLDS)).sum() / rows.sum().astype(Z.dtype)


def _over_grid(
    hits: Callable[[Array, Array], Array], penalties: Float[Array, " p"], numbers: int
) -> Float[Array, "f p"]:
    """Hits of every inner fold and penalty: at once, or one after the other where Y is large."""
    folds = jnp.arange(INNER_FOLDS)
    if numbers <= AT_ONCE:
        return jax.vmap(jax.vmap(hits, (None, 0)), (0, None))(folds, penalties)
    return jax.lax.map(lambda f: jax.lax.map(lambda p: hits(f, p), penalties), folds)


def _held_out_hits(
    Z: Float[Array, "N k"],
    curvature: Float[Array, " k"],
    Y: Float[Array, "N C"],
    training: Bool[Array, " N"],
    held: Bool[Array, " N"],
    penalty: Float[Array, ""],
    steps: int = FINAL_STEPS,
) -> Float[Array, ""]:
    """How many held-out rows a fit on the training rows predicts right."""
    W, b = fit_logistic(Z, curvature, Y, training, penalty, steps)
    hit = jnp.take_along_axis(Y, logits(Z, W, b).argmax(1)[:, None], axis=1)[:, 0]
    return jnp.where(held, hit, 0.0).sum()


def logits(
    Z: Float[Array, "N k"], W: Float[Array, "k C"], b: Float[Array, " C"]
) -> Float[Array, "N C"]:
    """Z W + b.

    Args:
        Z: the rows.
        W: the weights.
        b: the intercepts.

    Returns:
        One value per row and class.
    """
    return jnp.matmul(Z, W, precision=HIGHEST) + b[None]


class _Descent(NamedTuple):
    """The state of the fit; a pair is of W and b.

    Attributes:
        ahead: the point where the next gradient is taken.
        done: how many steps.
        last: the point reached.
        size: largest entry of the last gradient.
        t: of the momentum.
    """

    ahead: tuple[Array, Array]
    done: Array | int
    last: tuple[Array, Array]
    size: Array
    t: Array


def fit_logistic(
    Z: Float[Array, "N k"],
    curvature: Float[Array, " k"],
    Y: Float[Array, "N C"],
    training: Bool[Array, " N"],
    penalty: Float[Array, ""],
    max_steps: int = FINAL_STEPS,
    tolerance: float = GRADIENT_TOLERANCE,
) -> tuple[Float[Array, "k C"], Float[Array, " C"]]:
    """argmin over W, b of sum over training rows of cross-entropy + penalty/2 |W|^2.

    Accelerated majorisation: the Hessian of the loss is at most 1/2 Z^T Z (Boehning, 1992), which
    is diag(curvature)/2 because the columns of Z are orthogonal and centred, so every step is a
    division. The momentum restarts when it points uphill (O'Donoghue and Candes, 2015). A class
    without a training row (padding too) is left out of the softmax.

    Args:
        Z: rows of orthogonal, centred columns.
        curvature: squared length of every column.
        Y: one-hot classes.
        training: the rows to fit to.
        penalty: of |W|^2/2.
        max_steps: how many steps at most.
        tolerance: stop when no entry of the gradient exceeds tolerance * training rows.

    Returns:
        W and b.
    """
    weight = training.astype(Z.dtype)[:, None]
    seen = (weight * Y).sum(0) > 0
    steps = (2 / (curvature[:, None] + 2 * penalty), 2 / weight.sum())
    scale = weight.sum()

    def gradient(W: Array, b: Array) -> tuple[Array, Array]:
        error = weight * (jax.nn.softmax(jnp.where(seen[None], logits(Z, W, b), -jnp.inf)) - Y)
        return jnp.matmul(Z.T, error, precision=HIGHEST) + penalty * W, error.sum(0)

    def more(state: _Descent) -> Array:
        return (state.done < max_steps) & (state.size > tolerance * scale)

    def step(state: _Descent) -> _Descent:
        at, last, t = state.ahead, state.last, state.t
        down = gradient(*at)
        new = jax.tree.map(lambda x, g, h: x - h * g, at, down, steps)
        uphill = sum((g * (x - y)).sum() for g, x, y in zip(down, new, last, strict=True))
        t = jnp.where(uphill > 0, 1.0, t)
        t_next = (1 + jnp.sqrt(1 + 4 * t**2)) / 2
        ahead = jax.tree.map(lambda x, y: x + (t - 1) / t_next * (x - y), new, last)
        size = jnp.maximum(jnp.abs(down[0]).max(), jnp.abs(down[1]).max())
        return _Descent(ahead, state.done + 1, new, size, t_next)

    zero = (jnp.zeros((Z.shape[1], Y.shape[1]), Z.dtype), jnp.zeros(Y.shape[1], Z.dtype))
    one = jnp.ones((), Z.dtype)
    start = _Descent(ahead=zero, done=0, last=zero, size=one * jnp.inf, t=one)
    fitted: _Descent = jax.lax.while_loop(more, step, start)
    return fitted.last
