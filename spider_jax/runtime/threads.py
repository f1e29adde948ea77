"""Programs that run on one core each, several of them side by side.

JAX's own CPU device spreads every step of a program over its threads. In a call of a few
milliseconds these are woken 10 to 20 times, 50 to 100 us each, and wait longer than they work.
"""

import math
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import lru_cache
from typing import Any, TypeVar

import jax
import numpy as np
from jaxtyping import Shaped
from numpy.typing import DTypeLike

from spider_jax.runtime.streaming import ALIGNMENT

THREADS_OF_A_CLIENT = "PJRT_NPROC"  # read once, when a client of XLA is made

Given = TypeVar("Given")
Found = TypeVar("Found")


@lru_cache(maxsize=1)
def one_core() -> jax.Device:
    """A CPU device whose programs run in the thread that calls them, and in no other.

    It is a client of XLA beside JAX's own, with one thread and without asynchronous dispatch. No
    option of a program has that effect (`xla_cpu_multi_thread_eigen` has none in jax 0.10). Where
    jaxlib has no such constructor it is JAX's CPU device: equal numbers, slower calls.
    """
    before = os.environ.get(THREADS_OF_A_CLIENT)
    os.environ[THREADS_OF_A_CLIENT] = "1"
    try:
        from jaxlib.xla_client import make_cpu_client

        client: Any = make_cpu_client(asynchronous=False)
        device: jax.Device = client.devices()[0]
        return device
    except (ImportError, AttributeError, TypeError):
        return jax.devices("cpu")[0]
    finally:
        if before is None:
            del os.environ[THREADS_OF_A_CLIENT]
        else:
            os.environ[THREADS_OF_A_CLIENT] = before


def aligned(shape: tuple[int, ...], dtype: DTypeLike) -> Shaped[np.ndarray, "..."]:
    """An array in aligned memory, which a program reads without a copy; its values are not set.

    Args:
        shape: of the array.
        dtype: of the array.

    Returns:
        The array; XLA copies an array that is not aligned to 64 bytes.

    >>> aligned((2, 3), "float32").ctypes.data % ALIGNMENT
    0
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    memory = np.empty(size + ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    return memory[start : start + size].view(dtype).reshape(shape)


def over_cores(call: Callable[[Given], Found], items: Sequence[Given]) -> list[Found]:
    """[call(item) for item in items], by one thread on each core.

    Args:
        call: a function that releases the interpreter's lock for most of its time. It must not call
            `over_cores` itself.
        items: a thread that is free takes the next; a single item is left to the caller's thread.

    Returns:
        The results, in the order of the items.

    Raises:
        Exception: one that a call raises.

    >>> over_cores(abs, [-1, 2, -3])
    [1, 2, 3]
    """
    cores = usable_cores()
    if min(len(cores), len(items)) < 2:
        return [call(item) for item in items]
    queue, found = enumerate(items), [None] * len(items)

    def work() -> None:
        for i, item in queue:  # under the interpreter's lock no two threads take the same item
            found[i] = call(item)  # type: ignore[call-overload]

    pool = _threads(os.getpid(), cores)  # by process: a forked one cannot use its parent's threads
    for done in [pool.submit(work) for _ in range(min(len(cores), len(items)))]:
        done.result()
    return found  # type: ignore[return-value]


def usable_cores() -> tuple[int, ...]:
    """The numbers of the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return tuple(sorted(os.sched_getaffinity(0)))
    return tuple(range(os.cpu_count() or 1))


@lru_cache(maxsize=1)
def _threads(process: int, cores: tuple[int, ...]) -> ThreadPoolExecutor:
    """A thread bound to each core. They are kept: to start them costs more than a short call.

    Some kernels wake a sleeping thread on the core of the thread that woke it, where it waits for
    3 ms although another core is idle [Linux 6.18, virtual machine]. So that processes do not all
    begin with core 0, the first core follows from the process.
    """
    first = process % len(cores)
    places = iter(cores[first:] + cores[:first])
    return ThreadPoolExecutor(len(cores), f"spider_jax-{process}", _stay, (places,))


def _stay(places: Iterator[int]) -> None:
    if hasattr(os, "sched_setaffinity"):
        with suppress(OSError):  # where this is not allowed, the kernel places the thread
            os.sched_setaffinity(0, {next(places)})
