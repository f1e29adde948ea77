"""OTCE: how far the source's features are from the target's, and what their coupling says."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float64
from numpy.typing import ArrayLike

from spider_jax.errors import InputError
from spider_jax.metrics.shared.inputs import check_labels, finite_features, one_hot
from spider_jax.runtime.buckets import CLASS_BUCKET, ROW_BUCKET, pad, run

MARGINAL_ERROR = 1e-9
ROUND_STEPS, MAX_ROUNDS = 50, 2000
RATE_STEPS = 11  # the last ones of a round, over which the rate of convergence is measured
MAX_RELAXATION = 1.99
MAX_LOG_SCALING = 100.0

State = tuple[Array, ...]  # of a loop


def otce(
    source_features: ArrayLike,
    source_labels: ArrayLike,
    features: ArrayLike,
    labels: ArrayLike,
    *,
    regularization: float = 0.01,
    weights: Sequence[float] = (1.0, 1.0),
) -> float:
    """Minus the distance of source and target rows, minus the entropy of labels coupled to them.

    -(weights[0] W + weights[1] H(y | source label)) under an optimal coupling of the rows.
    Cost c_ij = |x_i - x_j|^2; T the entropic optimal coupling of uniform weights, with entropy
    weight regularization * mean(c); W = sum T c; J[a, b] the mass of T between source class a and
    class b; H = -sum J ln(J / sum_b J).

    Range: (-inf, 0]; larger is better: distance and conditional entropy both grow with the
    difficulty of the transfer, hence the minus. It depends on the scale of the features and on C,
    so it does not compare across tasks, nor models of different feature scale unless weights[0] is
    0.
    Cost: O(S N D), then O(S N) per step, some hundred steps; S N numbers in memory.
    N < D, a class of one sample, a constant feature: nothing special.
    Precision: float64; float32 input moves it by about 1e-6 of its size.

    Args:
        source_features: [S, D] the model's features of rows of its source task.
        source_labels: [S] int.
        features: [N, D] the model's features of rows of the target task.
        labels: [N] int.
        regularization: entropy weight, as a share of the mean cost.
        weights: two numbers, of distance and conditional entropy.

    Returns:
        The score, a float, at a summed error of the marginals of 1e-9. After 100,000 steps it is
        that of the coupling reached, which happens at a regularization of 1e-3 or less.

    Raises:
        InputError: shapes that do not match, values that are not finite, one class only, an option
            out of its range.

    References:
        Tan et al., "OTCE: a transferability metric for cross-domain cross-task representations",
        CVPR 2021, which learns the weights from fine-tuned tasks. Published code (Model-Spider,
        mptms/OTCE.py) returns W + H without a sign: ranking by it picks the farthest model. Exact
        transport there is O(N^3) and its coupling depends on ties; here it is smoothed.
    """
    if not 0 < regularization < np.inf:
        raise InputError(f"regularization must be a positive number, got {regularization}")
    pair = np.asarray(weights)
    if pair.shape != (2,) or pair.dtype.kind not in "fiu" or not np.isfinite(pair).all():
        raise InputError(f"weights must be two numbers, got {weights}")
    try:
        X = finite_features(source_features)
        x = check_labels(source_labels, len(X))
    except InputError as error:
        raise InputError(f"source_{error}") from None
    F = finite_features(features)
    y = check_labels(labels, len(F))
    if X.shape[1] != F.shape[1]:
        raise InputError(
            f"features must have the columns of source_features (D={X.shape[1]}), got {F.shape[1]}"
        )
    arrays = [pad(one_hot(side), ROW_BUCKET, CLASS_BUCKET) for side in (x, y)]
    cost = _squared_distances(X, F)
    entropy = regularization * cost.mean()
    scaled = pad(cost / entropy if entropy > 0 else cost, ROW_BUCKET, ROW_BUCKET)
    return float(run(otce_core, scaled, *arrays, np.float64(entropy), pair.astype(np.float64)))


def _squared_distances(
    X: Float64[np.ndarray, "S D"], F: Float64[np.ndarray, "N D"]
) -> Float64[np.ndarray, "S N"]:
    """|x_i - f_j|^2, computed about a common mean, so that little cancels."""
    centre = F.mean(0)
    X, F = X - centre, F - centre
    lengths = np.einsum("nd,nd->n", X, X)[:, None] + np.einsum("nd,nd->n", F, F)
    return np.maximum(lengths - 2 * X @ F.T, 0)


def otce_core(
    cost: Float[Array, "S N"],
    source: Float[Array, "S A"],
    target: Float[Array, "N C"],
    entropy: Float[Array, ""],
    weights: Float[Array, " 2"],
) -> Float[Array, ""]:
    """OTCE from costs and labels of both sides, padded.

    Args:
        cost: in units of the entropy weight.
        source: one-hot source classes.
        target: one-hot target classes.
        entropy: the entropy weight.
        weights: of distance and conditional entropy.

    Returns:
        The score.
    """
    T = coupling(cost, source.sum(1) > 0, target.sum(1) > 0)
    joint = source.T @ T @ target
    given = joint / jnp.maximum(joint.sum(1, keepdims=True), np.finfo(cost.dtype).tiny)
    conditional = -jax.scipy.special.xlogy(joint, jnp.where(joint > 0, given, 1.0)).sum()
    return -(weights[0] * entropy * (T * cost).sum() + weights[1] * conditional)


def coupling(
    cost: Float[Array, "S N"], rows: Bool[Array, " S"], columns: Bool[Array, " N"]
) -> Float[Array, "S N"]:
    """argmin over T with uniform marginals on the real rows and columns of sum T cost + T ln T.

    Sinkhorn's updates in rounds: one in the log domain, where nothing overflows, then up to
    ROUND_STEPS as products with the kernel, absorbed into the potentials. From the second round on
    these are over-relaxed (Lehmann et al., 2021), by an amount that follows from the rate of
    convergence in the round before.

    Args:
        cost: in units of the entropy weight.
        rows: which rows are real.
        columns: which columns are real.

    Returns:
        The coupling, 0 for padding.
    """
    a, b = (side.astype(cost.dtype) / side.sum().astype(cost.dtype) for side in (rows, columns))
    log_a, log_b = jnp.log(a), jnp.log(b)

    def kernel(f: Array, g: Array) -> Array:
        return jnp.exp((f + log_a)[:, None] + (g + log_b)[None] - cost)

    def one_round(state: State) -> State:
        _, g, error, relaxation, count = state
        f = -jax.nn.logsumexp((g + log_b)[None] - cost, axis=1)
        g = -jax.nn.logsumexp((f + log_a)[:, None] - cost, axis=0)
        u, v, errors, done = _scalings(kernel(f, g), a, b, relaxation)
        full = done == ROUND_STEPS
        # after a round that made it worse: plain steps again
        relaxation = jnp.where(full & (errors[-1] < error), relaxation, 1.0)
        relaxation = jnp.where(full, _best_relaxation(relaxation, errors), relaxation)
        return f + jnp.log(u), g + jnp.log(v), errors[-1], relaxation, count + 1

    def more(state: State) -> Array:
        return (state[2] > MARGINAL_ERROR) & (state[4] < MAX_ROUNDS)

    one = jnp.ones((), cost.dtype)
    start: State = (0 * a, 0 * b, one * jnp.inf, one, jnp.zeros((), jnp.int32))
    f, g, *_ = jax.lax.while_loop(more, one_round, start)
    return kernel(f, g)


def _best_relaxation(relaxation: Array, errors: Array) -> Array:
    """The best over-relaxation w, from the rate at which the last steps converged.

    rate + w - 1 = w sqrt(rate) sqrt(plain) gives the rate of plain steps (Young, 1954), and
    w = 2/(1 + sqrt(1 - plain)) is the best.
    """
    rate = jnp.clip((errors[-1] / errors[0]) ** (1 / (len(errors) - 1)), 1e-3, 1.0)
    plain = jnp.minimum((rate + relaxation - 1) ** 2 / (relaxation**2 * rate), 1.0)
    return jnp.minimum(2 / (1 + jnp.sqrt(1 - plain)), MAX_RELAXATION)


def _scalings(K: Array, a: Array, b: Array, relaxation: Array) -> tuple[Array, Array, Array, Array]:
    """u and v that bring diag(u) K diag(v) nearer to the marginals a and b.

    Then the errors of the last RATE_STEPS steps, and how many steps were done: fewer than
    ROUND_STEPS where the error is small enough, or where u or v come near an overflow.
    """
    tiny = np.finfo(K.dtype).tiny

    def update(scaling: Array, marginal: Array, product: Array) -> Array:
        factor = marginal / jnp.maximum(scaling * product, tiny)
        return jnp.where(marginal > 0, scaling * factor**relaxation, 1.0)

    def step(state: State) -> State:
        u, v, errors, count = state
        product = K @ v
        error = jnp.abs(u * product - a).sum()
        u = update(u, a, product)
        product = u @ K
        error += jnp.abs(v * product - b).sum()
        v = update(v, b, product)
        return u, v, jnp.append(errors[1:], error), count + 1

    def more(state: State) -> Array:
        u, v, errors, count = state
        largest = jnp.maximum(jnp.abs(jnp.log(u)).max(), jnp.abs(jnp.log(v)).max())
        return (errors[-1] > MARGINAL_ERROR) & (count < ROUND_STEPS) & (largest < MAX_LOG_SCALING)

    far = jnp.full(RATE_STEPS, jnp.inf, K.dtype)
    start: State = (jnp.ones_like(a), jnp.ones_like(b), far, jnp.zeros((), jnp.int32))
    u, v, errors, count = jax.lax.while_loop(more, step, start)
    return u, v, errors, count
