"""Compiled functions in float64, one program per bucket of shapes.

Arrays are padded to a multiple of a step in every axis, so that tasks and models of similar size
share a compiled program. A function that is compiled here is called a core: it is pure, and it
gives the same number for padded arrays.
"""

from collections.abc import Callable, Hashable
from functools import lru_cache
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, PyTree, Shaped

from spider_jax.runtime.double_precision import double_precision

ROW_BUCKET = 64
CLASS_BUCKET = 8

Core = Callable[..., Any]  # each core has a signature of its own


def bucket(size: int, step: int) -> int:
    """The smallest multiple of `step` that is at least `size`.

    Args:
        size: of an axis.
        step: width of a bucket.

    Returns:
        The padded size.

    >>> bucket(65, 64)
    128
    """
    return -(-size // step) * step


def pad(array: Shaped[np.ndarray, "..."], *steps: int) -> Shaped[np.ndarray, "..."]:
    """`array` with zeros behind it, up to a multiple of a step in every axis.

    Args:
        array: of any shape.
        *steps: one for each axis; 1 leaves an axis as it is, unless it is empty.

    Returns:
        A larger copy; an empty axis becomes one step long.

    >>> pad(np.ones((3, 5)), 4, 1).shape
    (4, 5)
    """
    sizes = zip(array.shape, steps, strict=True)
    return np.pad(array, [(0, bucket(max(n, 1), step) - n) for n, step in sizes])


def run(
    core: Core, *arrays: PyTree[np.ndarray | np.generic], **options: Hashable
) -> PyTree[np.ndarray]:
    """core(*arrays, **options) in float64, jitted.

    Args:
        core: a pure function that JAX can compile.
        *arrays: its arrays, padded by the caller; None where the core takes None.
        **options: its static options; another value compiles it again.

    Returns:
        What core returns, as NumPy arrays.

    >>> run(lambda x: x.sum(), np.array([0.5, 0.25])).item()
    0.75
    """
    with double_precision():
        found = compiled(core, tuple(sorted(options.items())))(*arrays)
        return jax.tree.map(np.asarray, found)


@lru_cache(maxsize=256)
def compiled(
    core: Core, options: tuple[tuple[str, Hashable], ...] = (), *, batch: bool = False
) -> Core:
    """core(*arrays, **options), jitted; the 256 last ones are kept.

    Args:
        core: a pure function that JAX can compile.
        options: its static options, by name, as a sorted tuple.
        batch: map it over a leading axis of all arrays.

    Returns:
        A function of the arrays alone.
    """

    def call(*arrays: PyTree[Array]) -> PyTree[Array]:
        return core(*arrays, **dict(options))

    return jax.jit(jax.vmap(call) if batch else call)
