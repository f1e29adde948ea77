"""The best k models so far, on the device: what one call of a search makes of some rows."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from spider_jax.spider.folding import ModelRows, Shared
from spider_jax.spider.scoring import TaskSide, score_chunk


class Best(NamedTuple):
    """The best models seen so far.

    Attributes:
        scores: [T, k], best first.
        rows: [T, k] of the index; -1 is none.
    """

    scores: Float[Array, "T k"]
    rows: Int[Array, "T k"]


def nothing(tasks: int, k: int, device: jax.Device) -> Best:
    """What a search begins with.

    Args:
        tasks: T.
        k: how many models are wanted.
        device: that searches.

    Returns:
        k places without a model for every task.
    """
    scores, rows = np.full((tasks, k), -np.inf, np.float32), np.full((tasks, k), -1, np.int32)
    best: Best = jax.device_put(Best(scores, rows), device)  # type: ignore[arg-type]
    return best


@jax.jit
def update(
    best: Best,
    rows: ModelRows,
    shared: Shared,
    side: TaskSide,
    alive: Bool[Array, " m"],
    first: Int[Array, ""],
) -> Best:
    """The best of what was kept and of a span; what was kept stands first, so ties keep order."""
    scores = score_chunk(rows, shared, side).mean(0)
    scores = jnp.where(alive[None], scores, -jnp.inf)
    places = jnp.broadcast_to(
        (first + jnp.arange(scores.shape[1], dtype=jnp.int32))[None], scores.shape
    )
    together = jnp.concatenate([best.scores, scores], axis=1)
    top, at = jax.lax.top_k(together, best.scores.shape[1])
    rows_together = jnp.concatenate([best.rows, places], axis=1)
    return Best(top, jnp.take_along_axis(rows_together, at, axis=1))


@jax.jit
def all_scores(rows: ModelRows, shared: Shared, side: TaskSide) -> Float[Array, " m"]:
    """Scores of a span on one task, the mean over the ensemble."""
    return score_chunk(rows, shared, side).mean(0)[0]
