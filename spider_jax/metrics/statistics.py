"""What the metrics from features share: labels as columns, and the spectrum of the features.

F = U diag(sqrt s) V^T. Every metric here needs only s, U and the labels, never the D x D side, so
models of any width meet in the same N-dimensional space. Shapes are padded to buckets (zero rows,
zero columns and empty classes change nothing), so that another task or model does not recompile.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float
from numpy.typing import ArrayLike, NDArray

from spider_jax.errors import InputError

ROW_BUCKET = 64
CLASS_BUCKET = 8
# Eigenvalues of a float64 Gram matrix below this share of the largest are rounding.
RANK_TOLERANCE = 1e-12


class Spectrum(NamedTuple):
    """Eigenvalues s [k] of F F^T (0 where there is none) and left singular vectors U [N, k]."""

    s: Float[Array, " k"]
    U: Float[Array, "N k"]


class Statistics(NamedTuple):
    """One model on one task, float64, padded.

    gram [N, N] inner products of the rows, targets [N, C] (one column a class or target), rows [N]
    True where real, n the number of real rows, width the number of real columns, raw and centred
    spectra.
    """

    gram: Float[Array, "N N"]
    targets: Float[Array, "N C"]
    rows: Bool[Array, " N"]
    n: Float[Array, ""]
    width: Float[Array, ""]
    raw: Spectrum
    centred: Spectrum


def spectrum(features: Float[Array, "N D"]) -> Spectrum:
    """s and U of F F^T = U diag(s) U^T, from the smaller side.

    N <= D: eigenvectors of F F^T. N > D: F = Q R, eigenvectors W of R R^T, U = Q W: orthonormal to
    rounding, which dividing F V by sqrt(s) is not.
    """
    n, width = features.shape
    if n <= width:
        s, U = jnp.linalg.eigh(gram(features))
    else:
        Q, R = jnp.linalg.qr(features)
        s, W = jnp.linalg.eigh(gram(R))
        U = jnp.matmul(Q, W, precision=jax.lax.Precision.HIGHEST)
    return _without_rounding(s, U)


def _without_rounding(s: Float[Array, " k"], U: Float[Array, "N k"]) -> Spectrum:
    kept = s > RANK_TOLERANCE * jnp.max(s)
    return Spectrum(jnp.where(kept, s, 0.0), jnp.where(kept, U, 0.0))


def gram(A: Float[Array, "a b"]) -> Float[Array, "a a"]:
    """A A^T."""
    return jnp.matmul(A, A.T, precision=jax.lax.Precision.HIGHEST)


def standardized(features: Float[Array, "N D"], rows: Bool[Array, " N"]) -> Float[Array, "N D"]:
    """(F - mean) / sd per column over the real rows; constant columns and padding become 0."""
    weight = rows.astype(features.dtype)[:, None]
    n = weight.sum()
    centred = (features - (features * weight).sum(0) / n) * weight
    sd = jnp.sqrt((centred**2).sum(0) / n)
    alive = sd > 1e-6 * jnp.max(sd)
    return jnp.where(alive, centred / jnp.where(alive, sd, 1.0), 0.0)


def statistics(
    features: Float[Array, "N D"],
    targets: Float[Array, "N C"],
    rows: Bool[Array, " N"],
    width: Float[Array, ""],
    *,
    standardize: bool = False,
) -> Statistics:
    """Statistics of padded float64 arrays, for use inside jit (what is not used costs nothing)."""
    if standardize:  # centred already: one decomposition serves both
        features = standardized(features, rows)
        raw = centred = spectrum(features)
    else:
        raw = spectrum(features)
        weight = rows.astype(features.dtype)[:, None]
        centred = spectrum((features - (features * weight).sum(0) / weight.sum()) * weight)
    n = rows.sum().astype(features.dtype)
    return Statistics(gram(features), targets, rows, n, width, raw, centred)


def statistics_from_gram(
    inner: Float[Array, "N N"],
    targets: Float[Array, "N C"],
    rows: Bool[Array, " N"],
    width: Float[Array, ""],
) -> Statistics:
    """Statistics from the inner products of centred features: one shape for models of any width."""
    spectra = _without_rounding(*jnp.linalg.eigh(inner))
    n = rows.sum().astype(inner.dtype)
    return Statistics(inner, targets, rows, n, width, spectra, spectra)


def bucket(size: int, step: int) -> int:
    """The smallest multiple of `step` that is at least `size`.

    >>> bucket(65, 64)
    128
    """
    return -(-size // step) * step


def check_features(features: ArrayLike) -> NDArray[np.float64]:
    """`features` as finite float64 [N, D].

    Raises:
        InputError: another rank, no row or column, or values that are not finite.
    """
    F = np.asarray(features)
    if F.ndim != 2 or 0 in F.shape or F.dtype.kind not in "fiub":
        raise InputError(f"features must be numbers [N, D], got {F.dtype} {F.shape}")
    F = F.astype(np.float64)
    bad = ~np.isfinite(F).all(1)
    if bad.any():
        raise InputError(
            f"features must be finite, got NaN or infinity in {bad.sum()} rows. "
            f"First row: {int(np.flatnonzero(bad)[0])}"
        )
    return F


def check_labels(labels: ArrayLike, n: int) -> NDArray[np.int64]:
    """`labels` as int [N] re-encoded to 0..C-1 in sorted order.

    Raises:
        InputError: another length, not integers, or fewer than two classes.
    """
    y = np.asarray(labels)
    if y.ndim != 1 or y.dtype.kind not in "iub":
        raise InputError(f"labels must be int [N], got {y.dtype} {y.shape}")
    if len(y) != n:
        raise InputError(f"labels must have one entry per row of features (N={n}), got {len(y)}")
    found, encoded = np.unique(y, return_inverse=True)
    if len(found) < 2:
        raise InputError(f"labels must have at least two classes, got only {found.tolist()}")
    return encoded


def one_hot(labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """[N] classes 0..C-1 as 0/1 columns [N, C]."""
    return np.eye(labels.max() + 1)[labels]


Core = Callable[..., Any]


def evaluate(
    core: Core,
    features: NDArray[np.float64],
    targets: NDArray[np.float64],
    *,
    standardize: bool = False,
    **options: Any,
) -> Any:
    """core(statistics, **options) in float64, compiled once per bucket of shapes.

    Args:
        core: a function of Statistics, jit-able; its options are static.
        features: [N, D] float64. targets: [N, C] float64.
        standardize: use standardised features.

    Returns:
        What core returns, as NumPy.
    """
    n, width = features.shape
    N, D = bucket(n, ROW_BUCKET), bucket(width, ROW_BUCKET)
    C = bucket(targets.shape[1], CLASS_BUCKET)
    F = np.pad(features, ((0, N - n), (0, D - width)))
    Y = np.pad(targets, ((0, N - n), (0, C - targets.shape[1])))
    with jax.enable_x64(True):
        run = _compiled(core, standardize, tuple(sorted(options.items())))
        return jax.tree.map(np.asarray, run(F, Y, np.arange(N) < n, np.float64(width)))


@lru_cache(maxsize=256)
def _compiled(core: Core, standardize: bool, options: tuple[tuple[str, Any], ...]) -> Core:
    def run(features: Array, targets: Array, rows: Array, width: Array) -> Any:
        given = statistics(features, targets, rows, width, standardize=standardize)
        return core(given, **dict(options))

    return jax.jit(run)
