"""What the metrics from features share: labels as columns, and the spectrum of the features.

F = U diag(sqrt s) V^T. Every metric here needs only s, U and the labels, never the D x D side, so
models of any width meet in the same N-dimensional space. Decompositions run on the host in float64
(batched eigh under XLA on CPU has hung and has corrupted memory: jax-ml/jax issue 39292); what
follows is jitted. Shapes are padded to buckets (zero rows, zero columns and empty classes change
nothing), so that another task or model does not recompile.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import numpy as np
from numpy.typing import ArrayLike, NDArray

from spider_jax.errors import InputError

ROW_BUCKET = 64
CLASS_BUCKET = 8
# Eigenvalues of a float64 Gram matrix below this share of the largest are rounding.
RANK_TOLERANCE = 1e-12

Float64 = NDArray[np.float64]


class Spectrum(NamedTuple):
    """Eigenvalues s [..., k] of F F^T, 0 where unused, and left singular vectors U [..., N, k]."""

    s: Any
    U: Any


class Statistics(NamedTuple):
    """One model on one task, float64, padded; with leading axes, a batch of them.

    gram [N, N] inner products of the rows, targets [N, C] (one column a class or target), rows [N]
    True where real, n the number of real rows, width the number of feature columns, raw and
    centred spectra.
    """

    gram: Any
    targets: Any
    rows: Any
    n: Any
    width: Any
    raw: Spectrum
    centred: Spectrum


def spectrum(features: NDArray[np.floating]) -> Spectrum:
    """s and U of F F^T = U diag(s) U^T, from the smaller side, k = min(N, D) padded.

    N <= D: eigenvectors of F F^T. N > D: F = Q R, eigenvectors W of R R^T, U = Q W: orthonormal to
    rounding, which dividing F V by sqrt(s) is not.
    """
    N, D = features.shape[-2:]
    if N <= D:
        return without_rounding(*np.linalg.eigh(gram(features)))
    Q, R = np.linalg.qr(np.asarray(features, np.float64))
    s, W = np.linalg.eigh(gram(R))
    unused = [(0, 0)] * (features.ndim - 1) + [(0, bucket(D, ROW_BUCKET) - D)]
    return without_rounding(np.pad(s, unused[1:]), np.pad(Q @ W, unused))


def without_rounding(s: Float64, U: Float64) -> Spectrum:
    """The spectrum with what is only rounding set to 0."""
    kept = s > RANK_TOLERANCE * s.max(-1, keepdims=True)
    return Spectrum(np.where(kept, s, 0.0), np.where(kept[..., None, :], U, 0.0))


def gram(A: NDArray[np.floating]) -> Float64:
    """A A^T, float64 (the product in the precision of A)."""
    return np.asarray(A @ np.swapaxes(A, -1, -2), np.float64)


def centred(features: NDArray[np.floating], rows: NDArray[np.bool_]) -> NDArray[np.floating]:
    """F - mean over the real rows; padding stays 0."""
    real = rows[..., None]
    n = rows.sum(-1)[..., None, None].astype(features.dtype)
    return (features - (features * real).sum(-2, keepdims=True) / n) * real


def standardized(features: NDArray[np.floating], rows: NDArray[np.bool_]) -> NDArray[np.floating]:
    """(F - mean) / sd per column over the real rows; constant columns and padding become 0."""
    F = centred(features, rows)
    n = rows.sum(-1)[..., None, None].astype(features.dtype)
    sd = np.sqrt((F**2).sum(-2, keepdims=True) / n)
    alive = sd > 1e-6 * sd.max(-1, keepdims=True)
    return np.where(alive, F / np.where(alive, sd, 1), 0).astype(features.dtype)


def statistics(
    features: NDArray[np.floating],
    targets: Float64,
    rows: NDArray[np.bool_],
    width: int,
    *,
    standardize: bool = False,
    centre: bool = False,
) -> Statistics:
    """Statistics of padded features [..., N, D], targets [..., N, C] and rows [..., N].

    standardize or centre the features first: one decomposition then serves raw and centred.
    """
    n = rows.sum(-1).astype(np.float64)
    widths = np.full(n.shape, float(width))
    if standardize or centre:
        features = (standardized if standardize else centred)(features, rows)
        raw = about_mean = spectrum(features)
    else:
        raw, about_mean = spectrum(features), spectrum(centred(features, rows))
    return Statistics(gram(features), targets, rows, n, widths, raw, about_mean)


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
    N, C = bucket(n, ROW_BUCKET), bucket(targets.shape[1], CLASS_BUCKET)
    F = np.pad(features, ((0, N - n), (0, 0)))
    Y = np.pad(targets, ((0, N - n), (0, C - targets.shape[1])))
    given = statistics(F, Y, np.arange(N) < n, width, standardize=standardize)
    with jax.enable_x64(True):
        run = compiled(core, tuple(sorted(options.items())))
        return jax.tree.map(np.asarray, run(given))


@lru_cache(maxsize=256)
def compiled(core: Core, options: tuple[tuple[str, Any], ...] = (), *, batch: bool = False) -> Core:
    """core(statistics, **options), jitted; over a leading axis of the statistics if `batch`."""

    def run(given: Statistics) -> Any:
        return core(given, **dict(options))

    return jax.jit(jax.vmap(run) if batch else run)
