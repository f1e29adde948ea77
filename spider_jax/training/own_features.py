"""What training reads of models' own features: scaled class centres of some models of each task.

A spider that re-ranks by attention learns a projection P_m of every model's own class centres.
Widths differ from model to model, so features are first standardised and turned to their leading
principal components, as many for all models; P_m acts on these, and the product of both on raw
features.
"""

import logging
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float32, Int32, Int64
from numpy.typing import NDArray

from spider_jax.runtime.progress import progress
from spider_jax.tasks.moments import BLOCK_NUMBERS, datasets_of, rows_of_files
from spider_jax.tasks.sampling import MetaTask
from spider_jax.tasks.scaling import Scaling, fit_scaling
from spider_jax.zoo.store import FeatureStore

log = logging.getLogger("spider_jax")

SCALING_ROWS = 4096  # of all sources together, that a model's scaling is fitted to
NUMBERS = 1 << 27  # of the tokens of all tasks: 512 MB


class OwnFeatures(NamedTuple):
    """Own class centres of R models on each of T tasks.

    Attributes:
        scalings: of M models, from the width of their features to q.
        tokens: scaled class centres, padded with 0.
        models: positions of the R models that a task has tokens of, ascending.
    """

    scalings: tuple[Scaling, ...]
    tokens: Float32[np.ndarray, "T R C q"]
    models: Int32[np.ndarray, "T R"]


def own_features(
    zoo: FeatureStore,
    models: Sequence[str],
    meta: Sequence[MetaTask],
    mask: Bool[np.ndarray, "T C"],
    datasets: Sequence[str],
    *,
    width: int,
    least: int,
    seed: int = 0,
    show_progress: bool = False,
) -> OwnFeatures:
    """Compute class centres of models' own features on meta-tasks, of all models if they fit.

    Args:
        zoo: features of the models on the datasets.
        models: M names.
        meta: T tasks.
        mask: True where a place of a task is a class.
        datasets: names of the source datasets.
        width: q, principal components that features are reduced to.
        least: models a task has tokens of, at least, where those of all would not fit in NUMBERS.
        seed: of the draw of models that a task has tokens of.
        show_progress: a bar on stderr.

    Returns:
        The tokens, padded with 0, and how raw features become them.

    Raises:
        InputError: features that cannot be read.
    """
    T, C = mask.shape
    M = len(models)
    R = min(M, max(least, NUMBERS // max(1, T * C * width)))
    rng = np.random.default_rng([seed, 2])
    chosen = np.stack([np.sort(rng.permutation(M)[:R]) for _ in range(T)]).astype(np.int32)
    tokens = np.zeros((T, R, C, width), np.float32)
    scalings = []
    for i, model in enumerate(progress(models, "own features", show_progress)):
        task, place = np.nonzero(chosen == i)
        scaling = own_scaling(zoo, model, datasets, width)
        found = _centres(zoo, model, scaling, [meta[int(t)] for t in task], C)
        size = np.sqrt((found**2).sum() / max(1, mask[task].sum()) / width)
        unit = np.float32(1 / max(size, 1e-30)) if len(task) else np.float32(1)
        tokens[task, place] = found * unit
        scalings.append(scaling._replace(matrix=scaling.matrix * unit))
    return OwnFeatures(tuple(scalings), tokens, chosen)


def _centres(
    zoo: FeatureStore, model: str, scaling: Scaling, meta: Sequence[MetaTask], classes: int
) -> NDArray[np.float32]:
    """[T, C, q] scaled class centres, padded with 0; rows are scaled first, to be narrower."""
    from scipy.sparse import csr_array  # slow to import

    tasks = rows_of_files(zoo, meta)
    sums = np.zeros((len(tasks) * classes, scaling.matrix.shape[1]))
    counts = np.zeros(len(sums))
    for name in datasets_of(tasks):
        touch = [i for i, task in enumerate(tasks) if name in task.datasets]
        here = [tasks[i].source == tasks[i].datasets.index(name) for i in touch]
        row = np.concatenate([tasks[i].rows[h] for i, h in zip(touch, here, strict=True)])
        cell = np.concatenate(
            [i * classes + tasks[i].labels[h] for i, h in zip(touch, here, strict=True)]
        )
        used, place = np.unique(row, return_inverse=True)
        scaled = scale_own(scaling, zoo.features(model, name), used)
        sums += csr_array((np.ones(len(cell)), (cell, place)), (len(sums), len(used))) @ scaled
        counts += np.bincount(cell, minlength=len(sums))
    centres = sums / np.maximum(counts, 1)[:, None]
    return centres.reshape(len(tasks), classes, -1).astype(np.float32)


def own_scaling(zoo: FeatureStore, model: str, datasets: Sequence[str], width: int) -> Scaling:
    """Fit standardised principal components of a model's features on the source datasets.

    SCALING_ROWS rows are read, spread over the sources.

    Args:
        zoo: features of the model on the datasets.
        model: its name.
        datasets: names of the source datasets.
        width: q, the number of components.

    Returns:
        The scaling; a model with fewer than q features has zeros in its last columns.

    Raises:
        InputError: features that cannot be read.
    """
    share = max(2, SCALING_ROWS // max(1, len(datasets)))
    parts = []
    for name in datasets:
        rows = zoo.training_rows(name)
        step = max(1, len(rows) // share)
        parts.append(np.asarray(zoo.features(model, name)[rows[::step][:share]], np.float32))
    scaling = fit_scaling(np.concatenate(parts), kind="pca", components=width, spread=False)
    missing = width - scaling.matrix.shape[1]
    return scaling._replace(matrix=np.pad(scaling.matrix, ((0, 0), (0, missing))))


def scale_own(
    scaling: Scaling, features: Float[np.ndarray, "N D"], rows: Int64[np.ndarray, " n"]
) -> Float32[np.ndarray, "n q"]:
    """Scale some rows of a model's features, one block after another.

    Args:
        scaling: of the model.
        features: of the model on a dataset; may be a memmap.
        rows: positions of the rows.

    Returns:
        The scaled rows.
    """
    out = np.empty((len(rows), scaling.matrix.shape[1]), np.float32)
    step = max(1, BLOCK_NUMBERS // features.shape[1])
    for start in range(0, len(rows), step):
        block = np.asarray(features[rows[start : start + step]], np.float32)
        out[start : start + step] = (block - scaling.mean) @ scaling.matrix
    return out
