"""A linear first pass over an index: few models are scored exactly, and the answer is checked.

The score of a task is nearly linear in what is folded of the model's token (R^2 .92 to .99). So a
plane is fitted to some models that are scored exactly, all models are placed by one product that
reads a third of the rows, and those that may be among the best are scored exactly. Which ones may
be, the plane's errors on models that it was not fitted to say: with t the k-th best exact score so
far and q an error that of all models fewer than MISSES in the mean exceed, every model placed above
t - q is scored. The tail of the errors is taken as exponential from their 90 % quantile on, which
is heavier than a normal one.
"""

from collections.abc import Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Bool, Float32, Float64, Int

from spider_jax.index.best import all_scores
from spider_jax.index.files import Block, open_block
from spider_jax.index.search import Found, TaskBlock, one_device
from spider_jax.runtime.device_kinds import kind_of
from spider_jax.spider.folding import ModelRows, Shared, padded
from spider_jax.spider.scoring import TaskSide, task_blocks, task_side

SAMPLE, PER_NUMBER = 4000, 6  # models scored exactly first: so many, and so many a coefficient
HELD = 4  # every HELD-th of them tells the errors
GAIN = 4  # models to the one that is scored exactly, at least: else the exact search is made
TAIL = 0.1  # share of the errors that the tail is fitted to
MISSES = 0.01  # models in the mean that are missed, if the tail is as it was fitted


class Plane(NamedTuple):
    """score = base . weights + constant + memory, but for an error that seldom exceeds `reach`.

    Attributes:
        weights: [E, d].
        constant: of all models.
        reach: q, see the module.
    """

    weights: Float32[np.ndarray, "E d"]
    constant: float
    reach: float


class _Search:
    """One task over an index."""

    def __init__(
        self, folder: Path, blocks: Sequence[Block], shared: Shared, task: TaskBlock
    ) -> None:
        self.blocks, self.open = blocks, lru_cache(maxsize=2)(partial(open_block, folder))
        self.starts = np.cumsum([0, *(block.rows for block in blocks)])
        self.device = one_device()
        self.span = kind_of(self.device.platform).span
        self.shared = jax.device_put(shared, self.device)
        self.side, self.memory = _side(self.shared, task, self.device)

    def exact(self, rows: Int[np.ndarray, " n"]) -> Float32[np.ndarray, " n"]:
        """Scores of some rows of the index, in rising order: the bits of the exact search."""
        found = [self._scored(rows[i : i + self.span]) for i in range(0, len(rows), self.span)]
        return np.concatenate(found) if found else np.zeros(0, np.float32)

    def _scored(self, rows: Int[np.ndarray, " n"]) -> Float32[np.ndarray, " n"]:
        part = jax.tree.map(lambda a: padded(a, self.span), self.gather(rows))
        scores = all_scores(jax.device_put(part, self.device), self.shared, self.side)
        return np.asarray(scores)[: len(rows)]

    def gather(self, rows: Int[np.ndarray, " n"]) -> ModelRows:
        """Folded rows of the index, in rising order."""
        parts = []
        for i, block in enumerate(self.blocks):
            here = rows[(rows >= self.starts[i]) & (rows < self.starts[i + 1])] - self.starts[i]
            if len(here):
                parts.append(jax.tree.map(lambda a, h=here: a[:, h], self.open(block.name)))
        return jax.tree.map(lambda *a: np.concatenate(a, axis=1), *parts)

    def recalled(self, rows: ModelRows) -> Float32[np.ndarray, " n"] | float:
        """What the memory adds: it is linear as it stands."""
        if self.memory is None or rows.memory is None:
            return 0.0
        found: Float32[np.ndarray, " n"] = np.asarray(rows.memory[0]) @ self.memory
        return found

    def places(self, plane: Plane) -> Float32[np.ndarray, " rows"]:
        """Of all rows, by the plane: one product over their base alone."""
        found = np.empty(self.starts[-1], np.float32)
        for start, block in zip(self.starts, self.blocks, strict=False):
            rows = self.open(block.name)
            base = np.asarray(rows.base)
            place = sum(b @ w for b, w in zip(base, plane.weights, strict=True))
            found[start : start + block.rows] = place + self.recalled(rows) + plane.constant
        return found


def _side(
    shared: Shared, task: TaskBlock, device: jax.Device
) -> tuple[TaskSide, Float32[np.ndarray, " S"] | None]:
    """What the task brings to every pair, as the exact search has it."""
    kind = kind_of(device.platform)
    ((tokens, mask),) = task_blocks(shared, task.tokens, task.mask, rows=kind.span, kind=kind)
    side = task_side(shared, *jax.device_put((tokens, mask), device))
    if task.memory is None:
        return side, None
    return side._replace(memory=jax.device_put(task.memory, device)), task.memory[0]


def linear_top_k(
    folder: Path,
    blocks: Sequence[Block],
    shared: Shared,
    task: TaskBlock,
    k: int,
    allowed: Bool[np.ndarray, " rows"] | None = None,
) -> Found | None:
    """The best k rows for one task by a linear first pass, scored exactly.

    Args:
        folder: of the index.
        blocks: of the index.
        shared: of all its models.
        task: one.
        k: at most the rows that count.
        allowed: rows of the index that count. Default: all that were not removed.

    Returns:
        Scores float32 [1, k], best first, and rows int64 [1, k]; None where the exact search costs
        no more: few models, many that may be among the best.
    """
    counts = np.concatenate([block.alive() for block in blocks])
    usable = np.flatnonzero(counts if allowed is None else counts & allowed)
    numbers = int(np.prod(shared.head.shape)) + 1
    size = max(SAMPLE, PER_NUMBER * numbers)
    if GAIN * max(size, 4 * k) > len(usable):
        return None
    search = _Search(folder, blocks, shared, task)
    plane = _fitted(search, usable, size)
    places = search.places(plane)
    at = places[usable]
    first = np.sort(usable[np.argpartition(-at, 4 * k)[: 4 * k]])
    scores = search.exact(first)
    worst = np.partition(scores, -k)[-k]
    may_be = usable[at >= worst - plane.reach]
    if GAIN * len(may_be) > len(usable):
        return None
    rest = np.setdiff1d(may_be, first)
    rows, scores = np.concatenate([first, rest]), np.concatenate([scores, search.exact(rest)])
    order = np.lexsort((rows, -scores))[:k]
    return scores[order][None], rows[order].astype(np.int64)[None]


def _fitted(search: _Search, usable: Int[np.ndarray, " n"], size: int) -> Plane:
    """The plane through a sample of the models, and how far others are from it."""
    chosen = np.sort(np.random.default_rng(0).choice(usable, size, replace=False))
    rows = search.gather(chosen)
    base = np.asarray(rows.base, np.float64)
    X = np.column_stack([*base, np.ones(size)])
    y = search.exact(chosen).astype(np.float64) - search.recalled(rows)
    held = np.arange(size) % HELD == 0
    found = np.linalg.lstsq(X[~held], y[~held], rcond=None)[0]
    weights = found[:-1].reshape(len(base), -1).astype(np.float32)
    return Plane(weights, float(found[-1]), _reach((y - X @ found)[held], len(usable)))


def _reach(errors: Float64[np.ndarray, " n"], models: int) -> float:
    """The error that of so many models MISSES in the mean exceed, by the errors' upper tail.

    >>> errors = np.random.default_rng(0).exponential(size=10_000)
    >>> 17 < _reach(errors, 10**6) < 20  # ln(10^6 / MISSES) = 18.4
    True
    """
    start = float(np.quantile(errors, 1 - TAIL))
    over = errors[errors > start]
    excess = float((over - start).mean()) if len(over) else 0.0
    return max(start, 0.0) + excess * float(np.log(TAIL * models / MISSES))
