"""32 bits whatever a process asks for: a user's `JAX_ENABLE_X64=1` changes nothing here."""

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import jax

P = ParamSpec("P")
R = TypeVar("R")


def single_precision(call: Callable[P, R]) -> Callable[P, R]:
    """Run a function in JAX's 32-bit mode, in this thread and for this call.

    What a spider computes is defined in float32; what needs float64 asks for it inside.

    Args:
        call: any function.

    Returns:
        The same function, whose arrays of default type are of 32 bits.

    >>> with jax.enable_x64(True):
    ...     str(single_precision(jax.numpy.zeros)(2).dtype)
    'float32'
    """

    @functools.wraps(call)
    def called(*args: P.args, **kwargs: P.kwargs) -> R:
        with jax.enable_x64(False):
            return call(*args, **kwargs)

    return called
