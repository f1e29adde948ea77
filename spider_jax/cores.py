"""Calls that use one core each, dealt over the cores."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import TypeVar

Given = TypeVar("Given")
Found = TypeVar("Found")


def usable_cores() -> int:
    """How many this process may use.

    >>> usable_cores() >= 1
    True
    """
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@lru_cache(maxsize=1)
def _helpers(process: int, threads: int) -> ThreadPoolExecutor:
    """Threads beside the caller's, kept: to start them costs more than a short call."""
    return ThreadPoolExecutor(threads, thread_name_prefix=f"spider_jax-{process}")


def over_cores(call: Callable[[Given], Found], items: Sequence[Given]) -> list[Found]:
    """[call(item) for item in items], every core with a share of them, the caller's included.

    Args:
        call: leaves the interpreter's lock for most of its time. items: of about the same cost.

    Raises:
        Exception: the first that a call of the caller's share raises, else of another's.
    """
    cores = min(usable_cores(), len(items))
    if cores < 2:
        return [call(item) for item in items]
    pool = _helpers(os.getpid(), usable_cores() - 1)  # not that of a process that was forked
    shares = [pool.submit(_each, call, items[core::cores]) for core in range(1, cores)]
    found = [_each(call, items[::cores]), *(share.result() for share in shares)]
    return [found[i % cores][i // cores] for i in range(len(items))]


def _each(call: Callable[[Given], Found], items: Sequence[Given]) -> list[Found]:
    return [call(item) for item in items]
