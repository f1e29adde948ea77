"""Multinomial logistic regression to its minimum: the fit that PACTran-Gauss is made of."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

GRADIENT_TOLERANCE = 1e-8
MAX_STEPS = 50  # ten or so are needed
MAX_CG_STEPS = 50
CG_TOLERANCE = 0.1  # of the preconditioned residual: the next Newton step corrects the rest
START_TOLERANCE = 1e-5  # of the start: near the rounding of float32
SEARCH_TOLERANCE = 0.3
MAX_SEARCH_STEPS = 12
SMALLEST_CURVATURE = 1e-9
LARGEST_CONDITION = 1e6  # of the preconditioner: beyond it float32 loses the smaller part

State = tuple[Array, ...]  # of a loop


class Leading(NamedTuple):
    """Directions that hold most of the rows X.

    Attributes:
        V: orthonormal columns; those of X V are orthogonal.
        tail: mean squared length of X in a direction orthogonal to V.
    """

    V: Float[Array, "k r"]
    tail: Float[Array, ""]


class Fit(NamedTuple):
    """The state of the minimisation.

    Attributes:
        W: the weights.
        logits: W x_n of every row.
        probabilities: their softmax over the classes; 0 for padding.
        gradient: of the loss in W.
        loss: the value that is minimised.
        steps: Newton steps done.
        products: products with X done to solve their equations.
    """

    W: Float[Array, "C k"]
    logits: Float[Array, "C N"]
    probabilities: Float[Array, "C N"]
    gradient: Float[Array, "C k"]
    loss: Float[Array, ""]
    steps: Int[Array, ""]
    products: Int[Array, ""]


class Problem(NamedTuple):
    """What is minimised.

    Attributes:
        X: the rows.
        ridge: penalty of every coordinate of W.
        Y: one-hot labels.
        real: 1 for a row, 0 for padding.
        n: how many rows are real.
    """

    X: Float[Array, "N k"]
    ridge: Float[Array, " k"]
    Y: Float[Array, "C N"]
    real: Float[Array, " N"]
    n: Float[Array, ""]


def minimize_cross_entropy(
    X: Float[Array, "N k"],
    s: Float[Array, " r"],
    Y: Float[Array, "C N"],
    real: Float[Array, " N"],
    ridge: Float[Array, " k"],
    n: Float[Array, ""],
    leading: Leading | None = None,
) -> Fit:
    """min over W of mean cross-entropy(softmax(W x_n), y_n) + 1/2 sum ridge W^2.

    Newton's method in the dtype of X. Its equations are solved roughly, by conjugate gradients in
    float32. With `leading` it starts from the minimum among W within V, found in float32, where
    steps cost little: that halves the steps that are left. A class without a row is left out.

    Args:
        X: the rows; without `leading` its columns are orthogonal.
        s: squared lengths of the columns of X, or with `leading` of those of X V.
        Y: one-hot labels.
        real: 1 for a row, 0 for padding.
        ridge: penalty of every coordinate of W.
        n: how many rows are real.
        leading: directions V that hold most of X, where its columns are not orthogonal.

    Returns:
        The state at the minimum, or after 50 steps.
    """
    problem, rough = Problem(X, ridge, Y, real, n), _rough(X, s, ridge, leading)
    start = jnp.zeros((len(Y), X.shape[1]), X.dtype)
    if leading is not None:
        small = _rough(rough.XV, rough.s, rough.pull, None)
        within = Problem(rough.XV, rough.pull, *(a.astype(jnp.float32) for a in (Y, real, n)))
        zero = jnp.zeros((len(Y), len(s)), jnp.float32)
        found = _newton(within, small, zero, jnp.float32(START_TOLERANCE), _largest_entry)
        start = _matmul(found.W, leading.V.T.astype(jnp.float32)).astype(X.dtype)
    largest = _largest_entry if leading is None else _largest_row
    return _newton(problem, rough, start, _tolerance(X, s, n, leading), largest)


def _newton(
    problem: Problem,
    rough: "Rough",
    start: Array,
    tolerance: Array,
    largest: Callable[[Array], Array],
) -> Fit:
    """Newton steps from W = start until `largest` of the gradient is at most the tolerance.

    The step length is a root of the slope. Along a line the logits are linear, so that the search
    costs no product with X.
    """
    X, ridge, Y, real, n = problem
    present = (Y.sum(1) > 0)[:, None]

    def at(W: Array, logits: Array, steps: Array, products: Array) -> Fit:
        masked = jnp.where(present, logits, -jnp.inf)
        p = jax.nn.softmax(masked, axis=0) * real[None]
        gradient = _matmul((p - Y) / n, X) + ridge[None] * W
        loss = (jax.nn.logsumexp(masked, axis=0) * real).sum() - (logits * Y).sum()
        loss = loss / n + 0.5 * (ridge[None] * W**2).sum()
        return Fit(W, logits, p, gradient, loss, steps, products)

    def step(fit: Fit) -> Fit:
        direction, products = _newton_direction(rough, fit.probabilities, fit.gradient, n)
        change = _matmul(direction, X.T)

        def slope(length: Array) -> Array:
            ahead = jnp.where(present, fit.logits + length * change, -jnp.inf)
            error = jax.nn.softmax(ahead, axis=0) * real[None] - Y
            pull = ridge[None] * (fit.W + length * direction)
            return (error * change).sum() / n + (pull * direction).sum()

        below = (fit.gradient * direction).sum()
        length = _root(slope, below, jnp.ones((), X.dtype))
        W, logits = fit.W + length * direction, fit.logits + length * change
        return at(W, logits, fit.steps + 1, fit.products + products)

    def more(fit: Fit) -> Array:
        return (largest(fit.gradient) > tolerance) & (fit.steps < MAX_STEPS)

    zero = jnp.zeros((), jnp.int32)
    return jax.lax.while_loop(more, step, at(start, _matmul(start, X.T), zero, zero))


def _largest_entry(gradient: Array) -> Array:
    """The largest entry of a gradient in principal coordinates."""
    return jnp.abs(gradient).max()


def _largest_row(gradient: Array) -> Array:
    """A bound of the largest entry in principal coordinates, for a gradient in any coordinates.

    It is the largest length over the classes, which no rotation changes.
    """
    return jnp.sqrt((gradient**2).sum(1).max())


def _tolerance(X: Array, s: Array, n: Array, leading: Leading | None) -> Array:
    """GRADIENT_TOLERANCE, or what rounding allows: an entry of the gradient sums x_nj / n."""
    length = s.max() if leading is None else (X**2).sum()
    return jnp.maximum(GRADIENT_TOLERANCE, 16 * np.finfo(X.dtype).eps * jnp.sqrt(length / n))


class Rough(NamedTuple):
    """The problem in float32, for the equations of a Newton step.

    Attributes:
        X: the rows.
        ridge: penalty of every coordinate of W.
        XV: the rows in the leading directions.
        s: squared lengths of the columns of XV.
        pull: penalty of every leading direction.
        V: as in `Leading`, or None where XV is X.
        tail: as in `Leading`, or None where XV is X.
    """

    X: Float[Array, "N k"]
    ridge: Float[Array, " k"]
    XV: Float[Array, "N r"]
    s: Float[Array, " r"]
    pull: Float[Array, " r"]
    V: Float[Array, "k r"] | None
    tail: Float[Array, ""] | None


def _rough(X: Array, s: Array, ridge: Array, leading: Leading | None) -> Rough:
    X, s, ridge = (a.astype(jnp.float32) for a in (X, s, ridge))
    if leading is None:
        return Rough(X, ridge, X, s, ridge, None, None)
    V, tail = (a.astype(jnp.float32) for a in leading)
    return Rough(X, ridge, _matmul(X, V), s, ridge @ V**2, V, tail)


def _newton_direction(rough: Rough, p: Array, gradient: Array, n: Array) -> tuple[Array, Array]:
    """-(Hessian)^-1 gradient to CG_TOLERANCE, and how many products with X and X^T it took.

    Preconditioner: s_j/n mean_n p_nc (1 - p_nc) + ridge_j on the columns of X V. It is near the
    diagonal of the Hessian, because these columns are orthogonal. Where X is not wholly in V, the
    equations are first solved in V, where a product costs little, and then in all coordinates from
    that start.
    """
    scale = jnp.maximum(jnp.sqrt((gradient**2).sum()), np.finfo(gradient.dtype).tiny)
    curvature = jnp.maximum((p * (1 - p)).sum(1) / n, SMALLEST_CURVATURE)
    curvature, p, n, right = (
        a.astype(jnp.float32) for a in (curvature[:, None], p, n, -gradient / scale)
    )
    diagonal = curvature * rough.s[None] / n + rough.pull[None]
    small = _hessian(rough.XV, p, rough.pull, n)
    if rough.V is None or rough.tail is None:
        target = CG_TOLERANCE**2 * (right**2 / diagonal).sum()
        zero = jnp.zeros_like(right)
        x, count = _conjugate_gradients(small, lambda r: r / diagonal, zero, right, target)
        return x.astype(gradient.dtype) * scale, count

    V, ridge = rough.V, rough.ridge.max()
    rest = curvature * rough.tail / n + ridge
    rest = jnp.maximum(rest, diagonal.max(1, keepdims=True) / LARGEST_CONDITION)

    def precondition(r: Array) -> Array:
        a = _matmul(r, V)
        return r / rest + _matmul(a / diagonal - a / rest, V.T)

    target = CG_TOLERANCE**2 * (right * precondition(right)).sum()
    a = _matmul(right, V)
    zero = jnp.zeros_like(a)
    inside, _ = _conjugate_gradients(small, lambda r: r / diagonal, zero, a, target / 4)
    start, whole = _matmul(inside, V.T), _hessian(rough.X, p, rough.ridge, n)
    left = right - whole(start)
    x, count = _conjugate_gradients(whole, precondition, start, left, target)
    return x.astype(gradient.dtype) * scale, count + 1


def _hessian(X: Array, p: Array, ridge: Array, n: Array) -> Callable[[Array], Array]:
    """The function V -> Hessian V of matrices like W."""

    def product(V: Array) -> Array:
        u = _matmul(V, X.T)
        u = p * (u - (p * u).sum(0)[None]) / n
        return _matmul(u, X) + ridge[None] * V

    return product


def _conjugate_gradients(
    hessian: Callable[[Array], Array],
    precondition: Callable[[Array], Array],
    x: Array,
    rest: Array,
    target: Array,
) -> tuple[Array, Array]:
    """x, improved until its residual `rest`, squared and preconditioned, is at most target."""

    def step(state: State) -> State:
        x, rest, along, size, count = state
        image = hessian(along)
        length = size / (along * image).sum()
        x, rest = x + length * along, rest - length * image
        scaled = precondition(rest)
        new = (rest * scaled).sum()
        return x, rest, scaled + new / size * along, new, count + 1

    def more(state: State) -> Array:
        return (state[3] > target) & (state[4] < MAX_CG_STEPS)

    first = precondition(rest)
    start: State = (x, rest, first, (rest * first).sum(), jnp.zeros((), jnp.int32))
    x, _, _, _, count = jax.lax.while_loop(more, step, start)
    return x, count


def _root(f: Callable[[Array], Array], below: Array, guess: Array) -> Array:
    """Where the increasing f, f(0) = below < 0, is within SEARCH_TOLERANCE |below|: regula falsi.

    The value at the end of the bracket that stays is halved (the Illinois rule), or the other end
    would move too slowly.
    """

    def more(state: State) -> Array:
        far = jnp.abs(state[1]) > SEARCH_TOLERANCE * jnp.abs(below)
        return far & (state[6] < MAX_SEARCH_STEPS)

    def step(state: State) -> State:
        a, value, low, f_low, high, f_high, count = state
        over = value > 0
        low, f_low = jnp.where(over, low, a), jnp.where(over, f_low / 2, value)
        high, f_high = jnp.where(over, a, high), jnp.where(over, value, f_high / 2)
        between = low - f_low * (high - low) / (f_high - f_low)
        a = jnp.where(jnp.isinf(high), 4 * a, between)
        return a, f(a), low, f_low, high, f_high, count + 1

    no, zero = jnp.full_like(guess, jnp.inf), jnp.zeros_like(guess)
    start: State = (
        guess,
        f(guess),
        zero,
        2 * below,
        no,
        jnp.ones_like(guess),
        jnp.zeros((), jnp.int32),
    )
    return jax.lax.while_loop(more, step, start)[0]


def _matmul(A: Array, B: Array) -> Array:
    return jnp.matmul(A, B, precision=jax.lax.Precision.HIGHEST)
