"""One thread for NumPy's and SciPy's BLAS, where the caller has threads of its own.

Two OpenBLAS threads on one small matrix wait for each other, and for those of XLA: on two busy
cores `eigh` of 64 x 64 took 50 ms instead of 1 ms. XLA takes its LAPACK from SciPy.
"""

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from importlib import import_module

MODULES = ("numpy.linalg._umath_linalg", "scipy.linalg.cython_lapack")
NAMES = ("scipy_openblas_{}64_", "openblas_{}64_", "scipy_openblas_{}", "openblas_{}")

Threads = tuple[Callable[[], int], Callable[[int], object]]  # how many, and the setter


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """OpenBLAS uses one thread inside the block; another BLAS is left as it is.

    The number belongs to the process, not to the calling thread. It is set back at the end.
    """
    found = [threads for module in MODULES if (threads := _openblas(module)) is not None]
    before = [get() for get, _ in found]
    for _, put in found:
        put(1)
    try:
        yield
    finally:
        for (_, put), count in zip(found, before, strict=True):
            put(count)


@lru_cache
def _openblas(module: str) -> Threads | None:
    """Getter and setter of the OpenBLAS that a module is linked with; None for another BLAS."""
    try:
        library = ctypes.CDLL(str(import_module(module).__file__))
    except (ImportError, OSError):
        return None
    for name in NAMES:
        get, put = name.format("get_num_threads"), name.format("set_num_threads")
        if hasattr(library, get) and hasattr(library, put):
            return getattr(library, get), getattr(library, put)
    return None
