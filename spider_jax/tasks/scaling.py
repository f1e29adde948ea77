"""Scaling of raw extractor features, fitted on source tasks, kept with the spider."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float32

from spider_jax.errors import InputError

KINDS = ("raw", "standardize", "pca")


class Scaling(NamedTuple):
    """tokens -> (tokens - mean) @ matrix, with the spread of the classes appended if asked for.

    Attributes:
        mean: [D].
        matrix: [D, p], or [D] for a diagonal one.
        spread: |token - mean of the task's tokens| stands beside each token, so that an average
            over tokens also tells how far apart the classes lie.
    """

    mean: Float32[np.ndarray, " D"]
    matrix: Float32[np.ndarray, "D ..."]
    spread: bool

    @property
    def width(self) -> int:
        """Width of a scaled token."""
        return int(self.matrix.shape[-1]) * (2 if self.spread else 1)

    @property
    def folds(self) -> bool:
        """Whether it is one factor per feature, which the projection can take over exactly."""
        return self.matrix.ndim == 1 and not self.spread and not np.any(self.mean)

    def __call__(
        self, tokens: Float[Array, "T C D"], mask: Bool[Array, "T C"]
    ) -> Float[Array, "T C p"]:
        """Scale padded tokens; padding stays 0."""
        real = mask[..., None].astype(tokens.dtype)
        centred = tokens - self.mean[None, None]
        if self.matrix.ndim == 1:
            scaled = centred * self.matrix[None, None] * real
        else:
            scaled = jnp.matmul(centred, self.matrix, precision="highest") * real
        if not self.spread:
            return scaled
        centre = scaled.sum(1, keepdims=True) / real.sum(1, keepdims=True)
        return jnp.concatenate([scaled, jnp.abs(scaled - centre) * real], axis=-1)


def apply_scaling(
    scaling: Scaling, tokens: Float32[np.ndarray, "T C D"], mask: Bool[np.ndarray, "T C"]
) -> Float[Array, "T C p"]:
    """The scaling of padded tokens [T, C, D], compiled once per bucket."""
    return _apply(scaling.mean, scaling.matrix, tokens, mask, scaling.spread)


@partial(jax.jit, static_argnums=4)
def _apply(mean: Any, matrix: Any, tokens: Any, mask: Any, spread: bool) -> Array:
    return Scaling(mean, matrix, spread)(tokens, mask)


def fit_scaling(
    features: Float[np.ndarray, "N D"],
    *,
    kind: str = "pca",
    components: int = 32,
    spread: bool = True,
) -> Scaling:
    """Fit a scaling to the extractor's features of the source tasks.

    raw: no change but one factor. standardize: each feature to mean 0, deviation 1. pca:
    standardised, rotated to the leading principal components, not whitened: the directions in
    which tasks differ most keep their weight, and a network fitted to few source datasets leans on
    these first.

    Args:
        features: [N, D] raw.
        kind: one of KINDS.
        components: of pca.
        spread: see Scaling.

    Returns:
        The scaling, float32.

    Raises:
        InputError: an unknown kind, or fewer than one component.
    """
    if kind not in KINDS:
        raise InputError(f"scaling must be one of {KINDS}, got {kind!r}")
    if components < 1:
        raise InputError(f"components must be at least 1, got {components}")
    F = np.asarray(features, np.float64)
    D = F.shape[1]
    if kind == "raw":
        return Scaling(np.zeros(D, np.float32), np.ones(D, np.float32), spread)
    mean, sd = F.mean(0), F.std(0)
    alive = sd > 1e-6 * sd.max()
    matrix = np.where(alive, 1 / np.where(alive, sd, 1.0), 0.0)
    if kind == "pca":
        Z = (F - mean) * matrix
        _, vectors = np.linalg.eigh(Z.T @ Z)
        vectors = vectors[:, ::-1][:, :components]
        signs = np.sign(vectors[np.abs(vectors).argmax(0), np.arange(vectors.shape[1])])
        matrix = matrix[:, None] * vectors * signs
    return Scaling(mean.astype(np.float32), matrix.astype(np.float32), spread)


def with_unit_tokens(
    scaling: Scaling, tokens: Float32[np.ndarray, "T C D"], mask: Bool[np.ndarray, "T C"]
) -> Scaling:
    """The scaling that brings these padded tokens [T, C, D] to unit mean square ("raw" too)."""
    scaled = np.asarray(scaling(jnp.asarray(tokens), jnp.asarray(mask)), np.float64)
    size = np.sqrt((scaled**2).sum() / mask.sum() / scaling.width)
    return scaling._replace(matrix=np.asarray(scaling.matrix / max(size, 1e-30), np.float32))
