"""PACTran: PAC-Bayes evidence of the labels, with a Dirichlet, a gamma or a Gaussian prior."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float64, Int
from numpy.typing import ArrayLike

from spider_jax.errors import InputError
from spider_jax.metrics.shared.few_rows import some_rows
from spider_jax.metrics.shared.inputs import check_features, check_labels, check_probabilities
from spider_jax.metrics.shared.newton import Leading, minimize_cross_entropy
from spider_jax.metrics.shared.statistics import Statistics
from spider_jax.runtime.blas import one_blas_thread
from spider_jax.runtime.buckets import CLASS_BUCKET, ROW_BUCKET, bucket, pad, run

# Of the Dirichlet and the gamma prior.
SMALLEST = 1e-10  # a source probability inside a logarithm, as published

# Of the Gaussian prior.
LEADING = 255  # directions in which the equations are solved first; 256 with the intercept
ROUNDS = 2  # of the iteration that finds them
COLUMN_STEP = 16  # 2,064 columns; products of rows of 2,048 float32 take 1.5 times as long
WHOLE_UP_TO = 1024  # of this size and below an eigendecomposition costs less than it saves
JITTER = 1e-13  # of the trace: no rounding makes the Gram matrix indefinite beyond it


def pactran_dirichlet(
    *, probabilities: ArrayLike, labels: ArrayLike, alpha: float = 1.0, steps: int = 10
) -> float:
    """PACTran bound, per sample, on the log evidence of the labels under a Dirichlet prior.

    y ~ p(.|z), p(.|z) ~ Dirichlet(a0), a0_c = alpha n_c/N, z the source class. From q = P,
    `steps` times A[c, z] = a0_c + sum_{n: y_n = c} q[n, z] and
    q[n, :] = softmax_z(ln P[n, z] + digamma(A[y_n, z]) - digamma(sum_c A[c, z])). Score =
    (sum_z [lnG(sum_c a0_c) - sum_c lnG(a0_c) - lnG(sum_c A) + sum_c lnG(A)] - KL(q, P)) / N,
    a lower bound.

    Range: any real number; larger is better. It depends on C, so it does not compare across tasks.
    Cost: O(N Z) per step.
    A source class that is never predicted: its probability counts as 1e-10.
    A class of one sample: as any other.
    Precision: float64; float32 input moves it by 1e-6.

    Args:
        probabilities: [N, Z] the source head's softmax.
        labels: [N] int.
        alpha: how many samples the prior is worth.
        steps: of the fit, which is not run to convergence.

    Returns:
        The score in nats, a float.

    Raises:
        InputError: shapes that do not match, rows that are no distribution, one class only, an
            option out of its range.

    References:
        Ding et al., "PACTran: PAC-Bayesian metrics for estimating the transferability of
        pretrained models to classification tasks", ECCV 2022. Published code returns the negative,
        divided by N C instead of N, and forms an array [N, C, Z] in every step.
    """
    from scipy.special import gammaln

    P = check_probabilities(probabilities)
    prior, A, divergence, _ = fit_posterior(P, check_labels(labels, len(P)), alpha, steps)
    evidence = P.shape[1] * (gammaln(prior.sum()) - gammaln(prior).sum())
    evidence += gammaln(A).sum() - gammaln(A.sum(0)).sum()
    return float((evidence - divergence) / len(P))


class Posterior(NamedTuple):
    """Which source class z stands behind each row, fitted.

    Attributes:
        prior: a0.
        counts: A at the start of the last step.
        divergence: KL(q, P), summed over the rows, at the end of the last step.
        source: P in float64, rows in the order of their labels.
    """

    prior: Float64[np.ndarray, " C"]
    counts: Float64[np.ndarray, "C Z"]
    divergence: float
    source: Float64[np.ndarray, "N Z"]


def fit_posterior(
    P: Float[np.ndarray, "N Z"],
    y: Int[np.ndarray, " N"],
    alpha: float,
    steps: int,
    *,
    normalize: bool = True,
) -> Posterior:
    """Variational steps that never form q [N, Z].

    q[n, z] = s[n, z] E[y_n, z] / t_n with E [C, Z] and t = sum_z s E. With the rows of a class
    together a step is two products of a matrix with a vector, and ln q - ln s = ln E - ln t.

    Args:
        P: probabilities of the source classes.
        y: classes 0..C-1, each of which occurs.
        alpha: as in the metrics, checked here.
        steps: as in the metrics, checked here.
        normalize: subtract digamma(sum_c A) (Dirichlet), or not (gamma).

    Returns:
        The fit after these steps.

    Raises:
        InputError: alpha that is not positive and finite, steps below 1.
    """
    from scipy.special import digamma

    if not 0 < alpha < np.inf:
        raise InputError(f"alpha must be a positive number, got {alpha}")
    if steps < 1:
        raise InputError(f"steps must be at least 1, got {steps}")
    source = P[np.argsort(y, kind="stable")].astype(np.float64)
    count = np.bincount(y)
    first = np.cumsum(count) - count
    s = np.maximum(source, SMALLEST)
    prior = alpha * count / len(y)
    assigned = np.add.reduceat(source, first, axis=0)
    for _ in range(steps):
        A = prior[:, None] + assigned
        log_E = digamma(A) - (digamma(A.sum(0)) if normalize else 0)
        largest = log_E.max(1)
        E = np.exp(log_E - largest[:, None])
        log_t = 0.0
        for c, rows in enumerate(map(slice, first, first + count)):
            t = s[rows] @ E[c]
            assigned[c] = E[c] * ((1 / t) @ s[rows])
            log_t += np.log(t).sum() + count[c] * largest[c]
    return Posterior(prior, A, float((assigned * log_E).sum() - log_t), source)


def pactran_gamma(
    *, probabilities: ArrayLike, labels: ArrayLike, alpha: float = 1.0, steps: int = 10
) -> float:
    """PACTran bound, per sample, on the log evidence of the labels under a gamma prior.

    The class weights are Gamma(a0, 1), a0_c = alpha n_c/N. From q = P, `steps` times
    A[c, z] = a0_c + sum_{n: y_n = c} q[n, z] and
    q[n, :] = softmax_z(ln P[n, z] + digamma(A[y_n, z])); l_n = sum_z P[n, z] sum_c A[c, z]. Score =
    -(sum_{c,z} [lnG(a0_c) - lnG(A)] + KL(q, P) + sum_n [ln l_n - 1]) / N.

    Range: any real number; larger is better. It depends on C, so it does not compare across tasks.
    Cost: O(N Z) per step.
    A source class that is never predicted: its probability counts as 1e-10.
    A class of one sample: as any other.
    Precision: float64; float32 input moves it by 1e-6.

    Args:
        probabilities: [N, Z] the source head's softmax.
        labels: [N] int.
        alpha: how many samples the prior is worth.
        steps: of the fit, which is not run to convergence.

    Returns:
        The score in nats, a float.

    Raises:
        InputError: shapes that do not match, rows that are no distribution, one class only, an
            option out of its range.

    References:
        Ding et al., "PACTran: PAC-Bayesian metrics for estimating the transferability of
        pretrained models to classification tasks", ECCV 2022. Published code returns the negative,
        divided by N C instead of N, plus 1, and forms an array [N, C, Z] in every step.
    """
    from scipy.special import gammaln

    P = check_probabilities(probabilities)
    y = check_labels(labels, len(P))
    prior, A, divergence, source = fit_posterior(P, y, alpha, steps, normalize=False)
    complexity = P.shape[1] * gammaln(prior).sum() - gammaln(A).sum()
    expected = np.log(source @ A.sum(0)).sum() - len(P)
    return float(-(complexity + divergence + expected) / len(P))


# ---- a Gaussian prior --------------------------------------------------------------------------


def pactran_gauss(
    features: ArrayLike, labels: ArrayLike, *, penalty: float = 1.0, prior_variance: float = 10.0
) -> float:
    """PAC-Bayes bound of a linear classifier on the features, under a Gaussian prior.

    -(J + (C s)/(2 l N) ln(H l N / (D C))), l the penalty and s the prior variance, where
    J = min over W, b of mean_n cross-entropy(softmax(F_c W + b), y_n) + |W|^2 / (2 l N), F_c the
    centred features, and H = sum_ncd f_nd^2 p_nc (1 - p_nc) + D C/(l N) + sum_nc p_nc (1 - p_nc).

    Range: any real number; larger is better. It depends on C and N, so it does not compare across
    tasks.
    Cost: O(N D min(N, D)) once, then 50 to 100 times O(N min(N, D) C). Of more than
    min(65,536, max(2^23 / C, 5 C)) rows so many are read (`some_rows`): the score is that of the
    smaller task, the same one of every model. Version 4: 2^23 / C; 8,388 rows of 1,000 classes.
    N < D: solved in N dimensions.
    A class of one sample: as any other.
    A constant feature: only counts in D.
    Precision: the minimum is to |gradient| <= 1e-8 in every principal coordinate, in float64;
    float32 input moves the score by about 1e-5.

    Args:
        features: [N, D] numbers.
        labels: [N] int.
        penalty: the l of |W|^2 / (2 l N).
        prior_variance: the s of the prior N(0, s/D).

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
    """PACTran-Gauss of shared statistics.

    Args:
        given: statistics of features and classes.
        penalty: as in `pactran_gauss`.
        prior_variance: as in `pactran_gauss`.

    Returns:
        The score in nats.

    Raises:
        InputError: an option out of its range.
    """
    for name, value in (("penalty", penalty), ("prior_variance", prior_variance)):
        if not 0 < value < np.inf:
            raise InputError(f"{name} must be a positive number, got {value}")
    given = some_rows(given)
    Z, s, V = _coordinates(given)
    Y = pad(given.targets(), ROW_BUCKET, CLASS_BUCKET)
    rows = np.arange(len(Z)) < given.n
    scalars = map(np.float64, (given.n, given.width, penalty, prior_variance))
    return float(run(pactran_core, Z, s, Y, rows, *scalars, V))


def _coordinates(
    given: Statistics,
) -> tuple[
    Float64[np.ndarray, "N k"], Float64[np.ndarray, " r"], Float64[np.ndarray, "K r"] | None
]:
    """Z, s and V as `pactran_core` takes them, padded.

    A large problem is not rotated to its principal axes: that costs more than the fit. The centred
    features themselves are taken, or where N < D the Cholesky factor of their Gram matrix.
    """
    size = min(given.n, given.width)
    if size <= WHOLE_UP_TO:
        Z = pad(given.coordinates(size), ROW_BUCKET, ROW_BUCKET)
        return Z, (Z**2).sum(0), None
    Z = np.zeros((bucket(given.n, ROW_BUCKET), bucket(size + 1, COLUMN_STEP)))
    F = Z[: given.n, :size]
    if given.tall:
        for where, block in given.blocks():
            F[where] = block
        F -= F.mean(0)
    else:
        gram = given.centred.gram
        jitter = max(JITTER * np.trace(gram), np.finfo(np.float64).tiny)
        F[:] = np.linalg.cholesky(gram + np.diag(np.full(size, jitter)))
    s, V = _leading(Z[:, :size])
    Z[: given.n, size] = 1
    return Z, s, V


def _leading(
    Z: Float64[np.ndarray, "N K"],
) -> tuple[Float64[np.ndarray, " r"], Float64[np.ndarray, "K r"]]:
    """Directions V near the leading ones, and the squared lengths s of Z V, orthogonal columns.

    Subspace iteration in float32 is near enough: V starts and scales the fit, but does not move its
    minimum.
    """
    from scipy.linalg import qr

    X = Z.astype(np.float32)
    V = X[np.random.default_rng(0).permutation(len(X))[:LEADING]].T
    for _ in range(ROUNDS):
        V = X.T @ (X @ V)
        with one_blas_thread():  # 13 ms; two threads take 58, NumPy 46 [2,048 x 256, two cores]
            V = qr(V, mode="economic", check_finite=False)[0]
    seen = X @ V
    s, turn = np.linalg.eigh((seen.T @ seen).astype(np.float64))
    return np.maximum(s, 0), V @ turn


def pactran_core(
    Z: Float[Array, "N k"],
    s: Float[Array, " r"],
    targets: Float[Array, "N C"],
    rows: Bool[Array, " N"],
    n: Float[Array, ""],
    width: Float[Array, ""],
    penalty: Float[Array, ""],
    prior_variance: Float[Array, ""],
    V: Float[Array, "K r"] | None = None,
) -> Float[Array, ""]:
    """PACTran-Gauss from coordinates Z of the centred features, padded: Z Z^T = F_c F_c^T.

    F_c = Z Q^T with Q orthonormal: the best W lies in the span of Q, and |W| and the length of
    every row are the same in its coordinates. Only D enters the constants.

    Args:
        Z: centred, with orthogonal columns.
        s: squared lengths of the columns of Z, or with V of those of Z V.
        targets: one-hot classes.
        rows: which rows are real.
        n: N, without padding.
        width: D, without padding.
        penalty: as in `pactran_gauss`.
        prior_variance: as in `pactran_gauss`.
        V: if given, orthonormal leading directions of the first K columns of Z. Then the columns of
            Z V are orthogonal, and those of Z need not be. Column K of Z is then the intercept,
            `rows`: Z is large, and not copied again.

    Returns:
        The score in nats.
    """
    real = rows[:, None].astype(Z.dtype)
    Y = targets.T
    classes = (Y.sum(1) > 0).sum().astype(Z.dtype)
    # the intercept is a column of ones without a penalty: orthogonal to all others, as they are
    # centred
    X, place = (jnp.concatenate([Z, real], 1), Z.shape[1]) if V is None else (Z, len(V))
    ridge = jnp.full(X.shape[1], 1 / (penalty * n)).at[place].set(0.0)
    squares, leading = (X**2).sum(1), None
    if V is not None:
        tail = jnp.maximum(squares.sum() - n - s.sum(), 0) / (jnp.minimum(n, width) - V.shape[1])
        one = jnp.zeros((X.shape[1], 1), V.dtype).at[place].set(1.0)
        behind = ((0, X.shape[1] - place), (0, 0))
        leading = Leading(jnp.hstack([jnp.pad(V, behind), one]), tail)
    fit = minimize_cross_entropy(X, jnp.append(s, n), Y, real[:, 0], ridge, n, leading)
    spread = (fit.probabilities * (1 - fit.probabilities)).sum(0)
    hessian = squares @ spread + width * classes / (penalty * n)
    flatness = jnp.log(hessian * penalty * n / (width * classes))
    return -(fit.loss + 0.5 * classes * prior_variance / (penalty * n) * flatness)
