"""Cores in float64, compiled once per bucket of shapes, not again for another task or model."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

ROW_BUCKET = 64
CLASS_BUCKET = 8

Core = Callable[..., Any]


def bucket(size: int, step: int) -> int:
    """The smallest multiple of `step` that is at least `size`.

    >>> bucket(65, 64)
    128
    """
    return -(-size // step) * step


def pad(array: NDArray[Any], *steps: int) -> NDArray[Any]:
    """`array` with zeros up to a multiple of a step in every axis; a step of 1 leaves an axis.

    >>> pad(np.ones((3, 5)), 4, 1).shape
    (4, 5)
    """
    sizes = zip(array.shape, steps, strict=True)
    return np.pad(array, [(0, bucket(max(n, 1), step) - n) for n, step in sizes])


def run(core: Core, *arrays: Any, **options: Any) -> Any:
    """core(*arrays, **options) in float64, jitted; the options are static.

    Args:
        core: jit-able and without a state of its own. arrays: padded by the caller.

    Returns:
        What core returns, as NumPy.
    """
    with jax.enable_x64(True):
        found = compiled(core, tuple(sorted(options.items())))(*arrays)
        return jax.tree.map(np.asarray, found)


@lru_cache(maxsize=256)
def compiled(core: Core, options: tuple[tuple[str, Any], ...] = (), *, batch: bool = False) -> Core:
    """core(*arrays, **options), jitted; over a leading axis of the arrays if `batch`."""

    def call(*arrays: Any) -> Any:
        return core(*arrays, **dict(options))

    return jax.jit(jax.vmap(call) if batch else call)
