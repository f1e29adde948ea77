"""PACTran-Gauss: PAC-Bayes bound of a linear head under a Gaussian prior."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float
from numpy.typing import ArrayLike

from spider_jax.errors import InputError
from spider_jax.metrics.compiled import CLASS_BUCKET, ROW_BUCKET, pad, run
from spider_jax.metrics.inputs import check_features, check_labels
from spider_jax.metrics.statistics import Statistics

GRADIENT_TOLERANCE = 1e-8
MAX_STEPS = 50  # ten or so are needed
MAX_CG_STEPS = 50
CG_TOLERANCE = 0.1  # of the preconditioned residual: the next Newton step corrects the rest
SEARCH_TOLERANCE = 0.3
MAX_SEARCH_STEPS = 12
SMALLEST_CURVATURE = 1e-9


def pactran_gauss(
    features: ArrayLike, labels: ArrayLike, *, penalty: float = 1.0, prior_variance: float = 10.0
) -> float:
    """-(J + (C s)/(2 l N) ln(H l N / (D C))), l the penalty and s the prior variance, where

    J = min over W, b of mean_n cross-entropy(softmax(F_c W + b), y_n) + |W|^2 / (2 l N), F_c the
    centred features, and H = sum_ncd f_nd^2 p_nc (1 - p_nc) + D C/(l N) + sum_nc p_nc (1 - p_nc).

    Range: any real number; larger is better; depends on C and N, so it does not compare across
    tasks. Cost: O(N D min(N, D)) once, then about 100 times O(N min(N, D) C). N < D: solved in N
    dimensions. A class of one sample: as any other. A constant feature: only its part in D.
    The minimum is to |gradient| <= 1e-8 in every principal coordinate, in float64; float32 input
    moves the score by about 1e-5.

    Args:
        features: [N, D] numbers. labels: [N] int.
        penalty: the l of |W|^2 / (2 l N). prior_variance: the s of the prior N(0, s/D).

    Returns:
        The score in nats, a float.

    Raises:
        InputError: shapes that do not match, values that are not finite, one class only, an option
            out of its range.

    References:
        Ding et al., "PACTran: PAC-Bayesian metrics for estimating the transferability of
        pretrained models to classification tasks", ECCV 2022. Published code returns the negative
        after at most 100 steps of L-BFGS from random weights: not yet at the minimum.
    """
    F = check_features(features)
    given = Statistics(F, check_labels(labels, len(F)))
    return pactran_gauss_of(given, penalty=penalty, prior_variance=prior_variance)


def pactran_gauss_of(
    given: Statistics, *, penalty: float = 1.0, prior_variance: float = 10.0
) -> float:
    """PACTran-Gauss of shared statistics."""
    for name, value in (("penalty", penalty), ("prior_variance", prior_variance)):
        if not 0 < value < np.inf:
            raise InputError(f"{name} must be a positive number, got {value}")
    everything = min(given.n, given.width)
    Z = pad(given.coordinates(everything), ROW_BUCKET, ROW_BUCKET)
    Y = pad(given.targets(), ROW_BUCKET, CLASS_BUCKET)
    rows = np.arange(len(Z)) < given.n
    s = (Z**2).sum(0)
    scalars = map(np.float64, (given.n, given.width, penalty, prior_variance))
    return float(run(pactran_core, Z, s, Y, rows, *scalars))


def pactran_core(
    Z: Float[Array, "N k"],
    s: Float[Array, " k"],
    targets: Float[Array, "N C"],
    rows: Bool[Array, " N"],
    n: Float[Array, ""],
    width: Float[Array, ""],
    penalty: Float[Array, ""],
    prior_variance: Float[Array, ""],
) -> Float[Array, ""]:
    """PACTran-Gauss from padded principal coordinates.

    F_c = Z V^T with V orthonormal: the best W lies in the span of V, and |W| and the length of
    every row are the same in its coordinates. Only D enters the constants.

    Args:
        Z: centred, with orthogonal columns of squared length s. targets: one-hot. rows: real ones.
        n, width: N and D without padding. penalty, prior_variance: as in `pactran_gauss`.
    """
    real = rows[:, None].astype(Z.dtype)
    Y = targets.T
    classes = (Y.sum(1) > 0).sum().astype(Z.dtype)
    # the intercept is a column of ones without a penalty: the columns are centred, so orthogonal
    X = jnp.concatenate([Z, real], axis=1)
    ridge = jnp.full(X.shape[1], 1 / (penalty * n)).at[-1].set(0.0)
    fit = minimize_cross_entropy(X, jnp.append(s, n), Y, real[:, 0], ridge, n)
    spread = (fit.probabilities * (1 - fit.probabilities)).sum(0)
    hessian = ((Z**2).sum(1) + 1) @ spread + width * classes / (penalty * n)
    flatness = jnp.log(hessian * penalty * n / (width * classes))
    return -(fit.loss + 0.5 * classes * prior_variance / (penalty * n) * flatness)


class Fit(NamedTuple):
    """State of the minimisation: W [C, k], logits and probabilities [C, N], gradient [C, k]."""

    W: Array
    logits: Array
    probabilities: Array
    gradient: Array
    loss: Array
    steps: Array
    products: Array


def minimize_cross_entropy(
    X: Float[Array, "N k"],
    s: Float[Array, " k"],
    Y: Float[Array, "C N"],
    real: Float[Array, " N"],
    ridge: Float[Array, " k"],
    n: Float[Array, ""],
) -> Fit:
    """min over W [C, k] of mean cross-entropy(softmax(W x_n), y_n) + 1/2 sum ridge W^2.

    Newton's method in the dtype of X; its equations are solved roughly, by conjugate gradients in
    float32, preconditioned by s_j/n mean_n p_nc (1 - p_nc) + ridge_j, which is near the diagonal
    of the Hessian as the columns are orthogonal. The step length is a root of the slope: along a
    line the logits are linear, so that costs no product with X. A class without a row is left out.
    """
    present = (Y.sum(1) > 0)[:, None]
    tolerance, rough = _tolerance(s, n), X.astype(jnp.float32)

    def at(W: Array, logits: Array, steps: Array, products: Array) -> Fit:
        masked = jnp.where(present, logits, -jnp.inf)
        p = jax.nn.softmax(masked, axis=0) * real[None]
        gradient = _matmul((p - Y) / n, X) + ridge[None] * W
        loss = (jax.nn.logsumexp(masked, axis=0) * real).sum() - (logits * Y).sum()
        loss = loss / n + 0.5 * (ridge[None] * W**2).sum()
        return Fit(W, logits, p, gradient, loss, steps, products)

    def step(fit: Fit) -> Fit:
        direction, products = _newton_direction(rough, s, fit.probabilities, fit.gradient, ridge, n)
        change = _matmul(direction, X.T)

        def slope(length: Array) -> Array:
            ahead = jnp.where(present, fit.logits + length * change, -jnp.inf)
            error = jax.nn.softmax(ahead, axis=0) * real[None] - Y
            pull = ridge[None] * (fit.W + length * direction)
            return (error * change).sum() / n + (pull * direction).sum()

        length = _root(slope, jnp.ones((), X.dtype))
        W, logits = fit.W + length * direction, fit.logits + length * change
        return at(W, logits, fit.steps + 1, fit.products + products)

    def more(fit: Fit) -> Array:
        return (jnp.abs(fit.gradient).max() > tolerance) & (fit.steps < MAX_STEPS)

    C, N = Y.shape
    zero = jnp.zeros((), jnp.int32)
    start = at(jnp.zeros((C, X.shape[1]), X.dtype), jnp.zeros((C, N), X.dtype), zero, zero)
    return jax.lax.while_loop(more, step, start)


def _tolerance(s: Array, n: Array) -> Array:
    """GRADIENT_TOLERANCE, or what rounding allows: an entry of the gradient sums x_nj / n."""
    return jnp.maximum(GRADIENT_TOLERANCE, 16 * np.finfo(s.dtype).eps * jnp.sqrt(s.max() / n))


def _newton_direction(
    rough: Array, s: Array, p: Array, gradient: Array, ridge: Array, n: Array
) -> tuple[Array, Array]:
    """-(Hessian)^-1 gradient to CG_TOLERANCE, and how many products with the Hessian it took."""
    scale = jnp.maximum(jnp.sqrt((gradient**2).sum()), np.finfo(s.dtype).tiny)
    curvature = jnp.maximum((p * (1 - p)).sum(1) / n, SMALLEST_CURVATURE)
    diagonal = (curvature[:, None] * s[None] / n + ridge[None]).astype(jnp.float32)
    p, ridge, n, right = (a.astype(jnp.float32) for a in (p, ridge, n, -gradient / scale))

    def hessian(V: Array) -> Array:
        u = _matmul(V, rough.T)
        u = p * (u - (p * u).sum(0)[None]) / n
        return _matmul(u, rough) + ridge[None] * V

    def step(state: Any) -> Any:
        x, rest, along, size, count = state
        image = hessian(along)
        length = size / (along * image).sum()
        x, rest = x + length * along, rest - length * image
        scaled = rest / diagonal
        new = (rest * scaled).sum()
        return x, rest, scaled + new / size * along, new, count + 1

    first = right / diagonal
    size = (right * first).sum()

    def more(state: Any) -> Array:
        return (state[3] > CG_TOLERANCE**2 * size) & (state[4] < MAX_CG_STEPS)

    start = (jnp.zeros_like(right), right, first, size, jnp.zeros((), jnp.int32))
    x, _, _, _, count = jax.lax.while_loop(more, step, start)
    return x.astype(s.dtype) * scale, count


def _root(f: Callable[[Array], Array], guess: Array) -> Array:
    """Where the increasing f, f(0) < 0, is within SEARCH_TOLERANCE |f(0)| of 0: regula falsi.

    The end of the bracket that stays has its value halved (Illinois), or a step would crawl.
    """
    below = f(jnp.zeros_like(guess))

    def more(state: Any) -> Array:
        far = jnp.abs(state[1]) > SEARCH_TOLERANCE * jnp.abs(below)
        return far & (state[6] < MAX_SEARCH_STEPS)

    def step(state: Any) -> Any:
        a, value, low, f_low, high, f_high, count = state
        over = value > 0
        low, f_low = jnp.where(over, low, a), jnp.where(over, f_low / 2, value)
        high, f_high = jnp.where(over, a, high), jnp.where(over, value, f_high / 2)
        between = low - f_low * (high - low) / (f_high - f_low)
        a = jnp.where(jnp.isinf(high), 4 * a, between)
        return a, f(a), low, f_low, high, f_high, count + 1

    no, zero = jnp.full_like(guess, jnp.inf), jnp.zeros_like(guess)
    state = (guess, f(guess), zero, 2 * below, no, jnp.ones_like(guess), jnp.zeros((), jnp.int32))
    return jax.lax.while_loop(more, step, state)[0]


def _matmul(A: Array, B: Array) -> Array:
    return jnp.matmul(A, B, precision=jax.lax.Precision.HIGHEST)
