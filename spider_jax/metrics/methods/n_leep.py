"""N-LEEP: LEEP of the components of a Gaussian mixture on the features; it needs no source head."""

from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float64, Int
from numpy.typing import ArrayLike

from spider_jax.errors import InputError
from spider_jax.metrics.shared.few_rows import some_rows
from spider_jax.metrics.shared.inputs import check_features, check_labels
from spider_jax.metrics.shared.statistics import Statistics
from spider_jax.runtime.buckets import CLASS_BUCKET, ROW_BUCKET, bucket, pad, run

if TYPE_CHECKING:
    from scipy.sparse import csr_array

DIRECTIONS = 64  # tried before a full spectrum, where that costs more
FULL_BELOW = 1024
DIRECTION_BUCKET = 16
COMPONENT_BUCKET = 8
VARIANCE_FLOOR = 1e-6  # of the mean square of the coordinates
EMPTY = 1e-9
BLOCK_NUMBERS = 1 << 17  # of the responsibilities in memory at a time
SEEDING_ROWS = 1 << 14
LLOYD_STEPS = 5


def n_leep(
    features: ArrayLike,
    labels: ArrayLike,
    *,
    components: int | None = None,
    variance: float = 0.8,
    steps: int = 25,
    seed: int = 0,
    responsibilities: ArrayLike | None = None,
) -> float:
    """LEEP with the components of a Gaussian mixture on the features in place of source classes.

    LEEP of R, R_nk ~ pi_k prod_j N(z_nj; mean_kj, var_kj), K components fitted by EM.
    Z: the fewest principal coordinates that hold the share `variance` of the total variance.
    pi_k = sum_n R_nk / N, means and variances (diagonal) weighted by R, variances plus 1e-6 of the
    mean square of Z; started from seeded k-means, then a fixed number of steps.
    K = min(N, 5 C, max(min(C, N // 5), N // 10)).

    Range: (-inf, 0]; larger is better. It depends on C, so it does not compare across tasks.
    Cost: O(N D min(N, D)), then O(steps N K V) for V coordinates. Of more than
    min(65,536, max(2^23 / C, 5 C)) rows so many are read, n (`some_rows`): the score is that of the
    smaller task, the same one of every model, with a standard error of about n^-1/2 of the
    deviation of ln p over rows. Version 2: 2^23 / C; 8,388 rows of 1,000 classes.
    N < D: no special case.
    A class of one sample: as any other.
    A constant feature: no effect. All features constant: sum_c n_c/N ln n_c/N.
    The order of the rows counts only in rounding.

    Args:
        features: [N, D] numbers.
        labels: [N] int.
        components: K, at most N.
        variance: share of the variance to keep, in (0, 1].
        steps: of EM, at least 1.
        seed: of the k-means++ start.
        responsibilities: [N, K] a start instead of k-means, rows that sum to 1.

    Returns:
        The score in nats, a float.

    Raises:
        InputError: an option out of its range, shapes that do not match, values that are not
            finite, one class only.

    References:
        Li et al., "Ranking neural checkpoints", CVPR 2021. Published codes fit full covariances
        without a seed until the likelihood settles (here diagonal: the coordinates are already
        uncorrelated, and it stays well-posed with fewer rows than V per component); SFDA's copy
        takes K = 5 C, which can exceed N, and leaves out the logarithm.
    """
    F = check_features(features)
    given = Statistics(F, check_labels(labels, len(F)))
    return n_leep_of(
        given,
        components=components,
        variance=variance,
        steps=steps,
        seed=seed,
        responsibilities=responsibilities,
    )


def n_leep_of(
    given: Statistics,
    *,
    components: int | None = None,
    variance: float = 0.8,
    steps: int = 25,
    seed: int = 0,
    responsibilities: ArrayLike | None = None,
) -> float:
    """N-LEEP of shared statistics.

    Args:
        given: statistics of features and classes.
        components: as in `n_leep`.
        variance: as in `n_leep`.
        steps: as in `n_leep`.
        seed: as in `n_leep`.
        responsibilities: as in `n_leep`.

    Returns:
        The score in nats.

    Raises:
        InputError: an option out of its range.
    """
    if responsibilities is None:
        given = some_rows(given)
    _check_options(given.n, components, variance, steps)
    R = None if responsibilities is None else _check_start(responsibilities, given.n, components)
    Z, y = _coordinates(given, variance), np.asarray(given.labels, np.int64)
    if R is not None:
        return _leep_of_mixture(Z, y, R, steps)
    K = _default_components(given.n, given.classes) if components is None else components
    order = np.argsort(Z[:, 0], kind="stable")  # the start depends on rows, not their order
    Z, y = Z[order], y[order]
    return _leep_of_mixture(Z, y, _members(_kmeans(Z, K, np.random.default_rng(seed))), steps)


def _check_options(n: int, components: int | None, variance: float, steps: int) -> None:
    if components is not None and not 1 <= components <= n:
        raise InputError(f"components must be from 1 to the number of rows, {n}, got {components}")
    if not 0 < variance <= 1:
        raise InputError(f"variance must be in (0, 1], got {variance}")
    if steps < 1:
        raise InputError(f"steps must be at least 1, got {steps}")


def _check_start(
    responsibilities: ArrayLike, n: int, components: int | None
) -> Float64[np.ndarray, "N K"]:
    R = np.asarray(responsibilities)
    if components is not None:
        raise InputError(f"components must be None where responsibilities are, got {components}")
    if R.ndim != 2 or R.shape[0] != n or R.shape[1] == 0 or R.dtype.kind not in "fiub":
        raise InputError(f"responsibilities must be numbers [N={n}, K], got {R.dtype} {R.shape}")
    R = R.astype(np.float64)
    right = (R >= 0).all(1) & (np.abs(R.sum(1) - 1) <= 1e-5)
    if not right.all():
        raise InputError(
            f"responsibilities must sum to 1 in every row, {(~right).sum()} do not. "
            f"First row: {int(right.argmin())}"
        )
    return R


def _default_components(n: int, classes: int) -> int:
    return min(n, 5 * classes, max(min(classes, n // 5), n // 10, 1))


def _coordinates(given: Statistics, variance: float) -> Float64[np.ndarray, "N V"]:
    """The fewest principal coordinates that hold that share; one of zeros if none does."""
    gram = given.centred.gram
    wanted = variance * float(np.trace(gram))
    if len(gram) > FULL_BELOW:
        Z = given.coordinates(DIRECTIONS)
        held = np.cumsum((Z**2).sum(0))
        if held.size and held[-1] >= wanted:
            return Z[:, : _enough(held, wanted)]
    held = np.cumsum(given.centred_spectrum.s[::-1])
    Z = given.coordinates(_enough(held, wanted))
    return Z if Z.size else np.zeros((given.n, 1))


def _enough(held: Float64[np.ndarray, " V"], wanted: float) -> int:
    """How many directions the cumulated variances take to what is wanted, up to rounding."""
    return int(np.searchsorted(held, wanted * (1 - 1e-12))) + 1


# ---- the start ---------------------------------------------------------------------------------


def _kmeans(
    Z: Float64[np.ndarray, "N V"], K: int, rng: np.random.Generator
) -> Int[np.ndarray, " N"]:
    """Cluster of every row: k-means++, then a few Lloyd steps; a cluster may stay empty."""
    centres = _seeds(Z, K, rng)
    for _ in range(LLOYD_STEPS):
        members = _members(_nearest(Z, centres), len(centres))
        mass = members.sum(0)
        moved = (members.T @ Z) / np.maximum(mass, 1)[:, None]
        centres = np.where(mass[:, None] > 0, moved, centres)
    return _nearest(Z, centres)


def _seeds(
    Z: Float64[np.ndarray, "N V"], K: int, rng: np.random.Generator
) -> Float64[np.ndarray, "K V"]:
    """k-means++: rows drawn by squared distance from those drawn before; at most K distinct."""
    if len(Z) > max(SEEDING_ROWS, 4 * K):
        Z = Z[np.sort(rng.choice(len(Z), max(SEEDING_ROWS, 4 * K), replace=False))]
    lengths = np.einsum("nv,nv->n", Z, Z)
    far, chosen = np.full(len(Z), 1.0), []
    for k, draw in enumerate(rng.random(K)):
        reached = np.cumsum(far)
        if k and reached[-1] <= 1e-12 * lengths.sum():
            break  # no other row is left
        row = min(int(np.searchsorted(reached, draw * reached[-1], side="right")), len(Z) - 1)
        chosen.append(row)
        distance = np.maximum(lengths - 2 * (Z @ Z[row]) + lengths[row], 0)
        far = distance if k == 0 else np.minimum(far, distance)
    return Z[chosen]


def _nearest(
    Z: Float64[np.ndarray, "N V"], centres: Float64[np.ndarray, "K V"]
) -> Int[np.ndarray, " N"]:
    half = (centres**2).sum(1) / 2
    size = max(1, BLOCK_NUMBERS // len(centres))
    blocks = (Z[start : start + size] for start in range(0, len(Z), size))
    return np.concatenate([(block @ centres.T - half).argmax(1) for block in blocks])


def _members(cluster: Int[np.ndarray, " N"], K: int | None = None) -> "csr_array":
    """One-hot clusters [N, K]."""
    from scipy.sparse import csr_array

    n, K = len(cluster), int(cluster.max()) + 1 if K is None else K
    return csr_array((np.ones(n), cluster, np.arange(n + 1)), shape=(n, K))


# ---- the mixture -------------------------------------------------------------------------------


def _leep_of_mixture(
    Z: Float64[np.ndarray, "N V"],
    y: Int[np.ndarray, " N"],
    R: "np.ndarray | csr_array",
    steps: int,
) -> float:
    """LEEP after so many EM steps from R [N, K]."""
    n, square = len(Z), float((Z**2).mean())
    Z = pad(Z, 1, DIRECTION_BUCKET)
    sums = np.asarray(R.T @ np.hstack([np.ones((n, 1)), Z, Z**2]))
    sums = pad(sums, COMPONENT_BUCKET, 1)
    size = min(bucket(n, ROW_BUCKET), bucket(BLOCK_NUMBERS // len(sums) + 1, ROW_BUCKET))
    blocks = pad(Z, size, 1).reshape(-1, size, Z.shape[1])
    classes = np.pad(y, (0, blocks.shape[0] * size - n), constant_values=-1).reshape(-1, size)
    floor = np.float64(VARIANCE_FLOOR * square if square > 0 else 1)
    scalars, C = (np.float64(n), floor, np.int64(steps)), bucket(int(y.max()) + 1, CLASS_BUCKET)
    return float(run(n_leep_core, blocks, classes, sums, *scalars, classes=C))


class Mixture(NamedTuple):
    """ln pi_k + ln N(z; mean_k, var_k) = constant_k + linear_k^T [z, z^2] + what all share.

    Attributes:
        linear: the coefficients of z and z^2, W = 2 V of them for every component.
        constant: of every component; -inf for an empty one.
    """

    linear: Float[Array, "K W"]
    constant: Float[Array, " K"]


def n_leep_core(
    Z: Float[Array, "B b V"],
    labels: Int[Array, "B b"],
    sums: Float[Array, "K S"],
    n: Float[Array, ""],
    floor: Float[Array, ""],
    steps: Int[Array, ""],
    *,
    classes: int,
) -> Float[Array, ""]:
    """N-LEEP of rows in blocks, from the sums R^T [1, Z, Z^2] of the first responsibilities.

    The responsibilities of one block are in memory at a time; the last ones are computed twice.

    Args:
        Z: the rows in blocks.
        labels: their classes, -1 for padding.
        sums: R^T [1, Z, Z^2], S = 1 + 2 V columns.
        n: how many rows are real.
        floor: added to every variance.
        steps: of EM.
        classes: how many, padded.

    Returns:
        The score in nats.
    """

    def step(_: Array | int, sums: Array) -> Array:
        mixture = maximise(sums, n, floor)

        def add(sums: Array, rows: tuple[Array, Array]) -> tuple[Array, None]:
            A = moments(rows[0])
            R = expect(mixture, A) * (rows[1] >= 0).astype(A.dtype)[None]
            return sums + jnp.concatenate([R.sum(1)[:, None], R @ A], 1), None

        return jax.lax.scan(add, jnp.zeros_like(sums), (Z, labels))[0]

    mixture = maximise(jax.lax.fori_loop(1, steps, step, sums), n, floor)

    def count(joint: Array, rows: tuple[Array, Array]) -> tuple[Array, None]:
        Y = jax.nn.one_hot(rows[1], classes, dtype=joint.dtype)  # 0 where there is no row
        return joint + expect(mixture, moments(rows[0])) @ Y, None

    joint, _ = jax.lax.scan(count, jnp.zeros((len(sums), classes), Z.dtype), (Z, labels))
    total = joint.sum(1, keepdims=True)
    given = joint / jnp.where(total > 0, total, 1.0)

    def gain(rows: tuple[Array, Array]) -> Array:
        expected = (given[:, rows[1]] * expect(mixture, moments(rows[0]))).sum(0)
        return jnp.log(jnp.where(rows[1] >= 0, expected, 1.0)).sum()

    return jax.lax.map(gain, (Z, labels)).sum() / n


def moments(Z: Float[Array, "b V"]) -> Float[Array, "b W"]:
    """[z, z^2].

    Args:
        Z: rows.

    Returns:
        W = 2 V columns.
    """
    return jnp.concatenate([Z, Z**2], 1)


def maximise(sums: Float[Array, "K S"], n: Float[Array, ""], floor: Float[Array, ""]) -> Mixture:
    """The M step: weights, means and variances; a component without rows stays empty.

    Args:
        sums: R^T [1, Z, Z^2].
        n: how many rows are real.
        floor: added to every variance.

    Returns:
        The mixture.
    """
    mass, (first, second) = sums[:, 0], jnp.split(sums[:, 1:], 2, axis=1)
    alive = mass >= EMPTY
    mass = jnp.where(alive, mass, 1.0)
    mean = first / mass[:, None]
    var = jnp.maximum(second / mass[:, None] - mean**2, 0.0) + floor
    constant = jnp.log(mass / n) - (jnp.log(var) + mean**2 / var).sum(1) / 2
    linear = jnp.concatenate([mean / var, -0.5 / var], 1)
    return Mixture(linear, jnp.where(alive, constant, -jnp.inf))


def expect(mixture: Mixture, A: Float[Array, "b W"]) -> Float[Array, "K b"]:
    """The E step: responsibilities; the components come first, which saves a transposed copy.

    Args:
        mixture: the mixture.
        A: rows as `moments` gives them.

    Returns:
        The responsibility of every component for every row.
    """
    logits = mixture.linear @ A.T + mixture.constant[:, None]
    weight = jnp.exp(logits - logits.max(0, keepdims=True))
    return weight / weight.sum(0, keepdims=True)
