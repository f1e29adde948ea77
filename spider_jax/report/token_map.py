"""A map of things by their tokens: two principal components of one vector a task, or a model.

    X = tokens - their mean,  X = U S V^T,  places U S of the first two components

What is near on the map is alike in its tokens, as far as two components say so: `share` of the
variance. Where no tokens are at hand a page has the map of the scores, see `web.overview.biplot`.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float64

from spider_jax.errors import InputError

LEAST = 3  # two lie on a line, whatever they are


class TokenMap(NamedTuple):
    """N tasks or models on a plane.

    Attributes:
        what: "tasks" or "models".
        names: of all.
        places: float64 [N, 2].
        share: of the variance that both components hold, 0 to 1.
        of: what the tokens are, for the caption.
    """

    what: str
    names: tuple[str, ...]
    places: Float64[np.ndarray, "N 2"]
    share: float
    of: str


def token_map(
    what: str, names: Sequence[str], tokens: Float[np.ndarray, "N d"], of: str
) -> TokenMap | None:
    """Two principal components of tokens.

    Args:
        what: "tasks" or "models".
        names: of all, each once.
        tokens: [N, d] one vector each.
        of: what the tokens are, for the caption.

    Returns:
        The map; None of fewer than three, or where all tokens are equal.

    Raises:
        InputError: tokens that do not fit the names, or are not finite.

    >>> import numpy as np
    >>> from spider_jax.report.token_map import token_map
    >>> found = token_map("tasks", "abc", np.array([[0.0, 0], [2, 0], [4, 0]]), "means")
    >>> found.places[:, 0].tolist(), found.share
    ([-2.0, 0.0, 2.0], 1.0)
    """
    tokens = np.asarray(tokens, np.float64)
    if tokens.ndim != 2 or len(tokens) != len(names) or not np.isfinite(tokens).all():
        raise InputError(
            f"tokens of {what} must be finite [N, d], one row per name (N={len(names)}), got shape "
            f"{tokens.shape}"
        )
    centred = tokens - tokens.mean(0)
    whole = float((centred**2).sum())
    if len(names) < LEAST or whole <= np.finfo(np.float64).tiny:
        return None
    places = centred @ _directions(centred)
    return TokenMap(what, tuple(names), places, float((places**2).sum()) / whole, of)


def _directions(centred: Float64[np.ndarray, "N d"]) -> Float64[np.ndarray, "d 2"]:
    """The first two right singular vectors, from the smaller Gram matrix, largest entry positive.

    With N < d: X X^T u = s^2 u gives v = X^T u / s.
    """
    N, d = centred.shape
    small = centred.T @ centred if d <= N else centred @ centred.T
    _, vectors = np.linalg.eigh(small)
    found = vectors[:, :-3:-1]
    if d > N:
        found = centred.T @ found
        lengths = np.linalg.norm(found, axis=0)
        found = found / np.where(lengths > 1e-9 * max(lengths[0], 1e-300), lengths, np.inf)
    if found.shape[1] < 2:  # tokens of one number
        found = np.concatenate([found, np.zeros((d, 1))], axis=1)
    largest = found[np.abs(found).argmax(0), np.arange(2)]
    return found * np.where(largest < 0, -1.0, 1.0)
