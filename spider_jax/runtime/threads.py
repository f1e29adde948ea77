"""Programs that run on one core each, dealt over the cores.

JAX's own CPU device deals every step of a program over its threads. In calls of a few milliseconds
they are woken 10 to 20 times, 50 to 100 us each, and wait longer than they work.
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
from numpy.typing import NDArray

from spider_jax.runtime.streaming import ALIGNMENT

THREADS_OF_A_CLIENT = "PJRT_NPROC"  # read once, where a client of XLA begins

Given = TypeVar("Given")
Found = TypeVar("Found")


@lru_cache(maxsize=1)
def one_core() -> jax.Device:
    """A CPU device whose programs run where they are called, in that thread alone.

    It is a client of XLA beside JAX's own, with one thread, that does not dispatch: no option of a
    program has that effect (`xla_cpu_multi_thread_eigen` has none in jax 0.10). Where jaxlib has no
    such constructor it is JAX's CPU device, as right and slower.
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


def aligned(shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
    """Memory, not set to anything, that a program reads where it is: elsewhere XLA copies it.

    >>> aligned((2, 3), "float32").ctypes.data % ALIGNMENT
    0
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    memory = np.empty(size + ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    return memory[start : start + size].view(dtype).reshape(shape)


def over_cores(call: Callable[[Given], Found], items: Sequence[Given]) -> list[Found]:
    """[call(item) for item in items], by a thread on each core; a single item by the caller.

    Args:
        call: leaves the interpreter's lock for most of its time, deals nothing itself. items:
            whoever is free takes the next.

    Raises:
        Exception: one that a call raises.
    """
    cores = usable_cores()
    if min(len(cores), len(items)) < 2:
        return [call(item) for item in items]
    queue, found = enumerate(items), [None] * len(items)

    def work() -> None:
        for i, item in queue:  # the interpreter's lock makes taking the next one step
            found[i] = call(item)  # type: ignore[call-overload]

    pool = _threads(os.getpid(), cores)  # not that of a process that was forked
    for done in [pool.submit(work) for _ in range(min(len(cores), len(items)))]:
        done.result()
    return found  # type: ignore[return-value]


def usable_cores() -> tuple[int, ...]:
    """Numbers of the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return tuple(sorted(os.sched_getaffinity(0)))
    return tuple(range(os.cpu_count() or 1))


@lru_cache(maxsize=1)
def _threads(process: int, cores: tuple[int, ...]) -> ThreadPoolExecutor:
    """A thread that stays on each core, kept: to start them costs more than a short call.

    Some kernels wake a sleeping thread on its waker's core, where it waits for 3 ms although
    another is idle [Linux 6.18, virtual machine]. Processes begin with different cores.
    """
    first = process % len(cores)
    places = iter(cores[first:] + cores[:first])
    return ThreadPoolExecutor(len(cores), f"spider_jax-{process}", _stay, (places,))


def _stay(places: Iterator[int]) -> None:
    if hasattr(os, "sched_setaffinity"):
        with suppress(OSError):  # where it is not allowed, the kernel places it
            os.sched_setaffinity(0, {next(places)})
