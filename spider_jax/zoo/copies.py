"""Rows that are near-copies of others: augmentations, frames of a video, crops, records twice."""

import logging
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Shaped
from numpy.typing import NDArray

from spider_jax.errors import InputError
from spider_jax.zoo.store import FeatureStore

log = logging.getLogger("spider_jax")

QUERIES = 64  # rows that are looked at, drawn with a fixed seed
NEIGHBOURS = 20  # of each: sets of copies up to this size are found
BLOCK = 4096  # rows whose distances are held at a time
# A set of copies is this much nearer than the next row. Without copies the ratio of two distances
# that follow each other is below it in a share 1/4^D of the rows, D the dimension they lie in.
GAP = 0.25
SHARE = 0.1  # of the rows that have near-copies, from which on it is said
EQUAL_SHARE = 0.05
EQUAL = 1e-6  # of the distance to the last neighbour
NARROWEST = 3  # columns: in fewer, gaps are common
FEWEST = 30  # rows: among fewer nothing can be said


class Copies(NamedTuple):
    """How many rows of a sample have copies.

    Attributes:
        equal: share of the rows that are equal to another one.
        near: share of the rows that have others far nearer than the rest.
        size: median number of the copies of those.
    """

    equal: float
    near: float
    size: float


def find_copies(features: Float[np.ndarray, "N D"], labels: Shaped[np.ndarray, "N ..."]) -> Copies:
    """Look for copies among the neighbours of some rows.

    The k nearest rows of a row are its copies where they are at most a quarter as far as the next
    one, and are not its whole class.

    Args:
        features: of one model.
        labels: of the rows; classes where they are whole numbers.

    Returns:
        The shares of the rows.
    """
    N, D = features.shape
    queries = np.random.default_rng(0).permutation(N)[:QUERIES]
    far = _distances(features, queries, min(NEIGHBOURS + 1, N - 1))
    equal = far[:, 0] <= EQUAL * np.maximum(far[:, -1], np.finfo(np.float32).tiny)
    members = np.full(len(queries), N)
    if labels.ndim == 1 and labels.dtype.kind in "iu":
        members = np.bincount(labels)[labels[queries]]
    k = np.arange(1, far.shape[1])
    gaps = far[:, :-1] < GAP * far[:, 1:]
    gaps &= k + 1 < members[:, None]
    near = gaps.any(1) & (D >= NARROWEST)
    size = float(np.median(gaps.argmax(1)[near] + 1)) if near.any() else 0.0
    return Copies(float(equal.mean()), float(near.mean()), size)


def _distances(
    features: Float[np.ndarray, "N D"], queries: NDArray[np.int64], count: int
) -> NDArray[np.float64]:
    """The smallest distances of some rows to all others, in ascending order, [Q, count]."""
    Q = np.asarray(features[queries], np.float64)
    middle = Q.mean(0)  # near 0 the difference of squares loses least
    Q -= middle
    best = np.full((len(Q), count), np.inf)
    for start in range(0, len(features), BLOCK):
        F = np.asarray(features[start : start + BLOCK], np.float64) - middle
        squared = (Q**2).sum(1)[:, None] - 2 * Q @ F.T + (F**2).sum(1)
        own = np.flatnonzero((start <= queries) & (queries < start + len(F)))
        squared[own, queries[own] - start] = np.inf
        both = np.concatenate([best, squared], 1)
        best = np.partition(both, count - 1, axis=1)[:, :count]
    return np.sqrt(np.maximum(np.sort(best, 1), 0))


def warn_of_copies(zoo: FeatureStore, task: str, *, most: int | None = None) -> None:
    """Say that rows of a task have copies, by the features of its narrowest model.

    Args:
        zoo: the zoo.
        task: its name.
        most: bytes of features that are read for it; None: however many there are.
    """
    models = sorted(zoo.models_of(task), key=zoo.width)
    try:
        model = next(name for name in models if zoo.width(name) >= NARROWEST)
        rows, labels = zoo.training_rows(task), zoo.labels(task)
        if len(rows) < FEWEST or (most is not None and zoo.nbytes(model, task) > most):
            return
        features = zoo.features(model, task)
        whole = len(rows) == len(features)
        found = find_copies(features if whole else features[rows], labels[rows])
    except (InputError, StopIteration):  # whoever uses the task says what is wrong with it
        return
    if found.equal > EQUAL_SHARE or found.near > SHARE:
        log.warning(
            "task %r: %.0f %% of the rows are equal rows, %.0f %% near-copies of others (by %s): "
            "nearest neighbours find the copies, so kNN and other scores are too good; keep one "
            "row of each set of copies",
            *(task, 100 * found.equal, 100 * found.near, model),
        )
