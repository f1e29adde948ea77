"""Calls dealt over the cores: order, every item once, errors."""

import os
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from spider_jax.runtime import threads as cores
from spider_jax.runtime.threads import aligned, one_core, over_cores


@pytest.mark.parametrize("items", [0, 1, 2, 5, 16])
@pytest.mark.parametrize("usable", [1, 2, 3])
def test_the_order_of_the_items_is_kept(monkeypatch, items, usable):
    monkeypatch.setattr(cores, "usable_cores", lambda: (0,) * usable)
    seen = []
    assert over_cores(lambda i: seen.append(i) or 10 * i, range(items)) == [
        10 * i for i in range(items)
    ]
    assert sorted(seen) == list(range(items))


def test_two_cores_are_two_threads_at_once(monkeypatch):
    monkeypatch.setattr(cores, "usable_cores", lambda: (0, 0))
    both = threading.Barrier(2, timeout=600)  # broken, an error, if the calls came one by one
    over_cores(lambda _: both.wait(), range(2))


@pytest.mark.parametrize("bad", [0, 1])
def test_an_error_of_either_share_is_raised(monkeypatch, bad):
    monkeypatch.setattr(cores, "usable_cores", lambda: (0, 0))
    with pytest.raises(ZeroDivisionError):
        over_cores(lambda i: 1 // (i - bad), range(4))


def test_without_affinity_all_cores_count(monkeypatch):
    monkeypatch.setattr(cores, "os", SimpleNamespace(cpu_count=lambda: 3))
    assert cores.usable_cores() == (0, 1, 2)


def test_whoever_is_free_takes_the_next_item(monkeypatch):
    monkeypatch.setattr(cores, "usable_cores", lambda: (0, 0))
    others, all_done = [], threading.Event()

    def call(i):
        if i == 0:
            return all_done.wait(30)  # False if this thread's share had to wait for it
        others.append(i)
        if len(others) == 5:
            all_done.set()
        return True

    assert all(over_cores(call, range(6)))


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="threads cannot be placed here")
def test_every_thread_stays_on_its_core():
    usable = os.sched_getaffinity(0)
    both = threading.Barrier(len(usable), timeout=600)
    places = over_cores(lambda _: (both.wait(), os.sched_getaffinity(0))[1], range(len(usable)))
    assert sorted(places, key=min) == [{core} for core in sorted(usable)]
    assert os.sched_getaffinity(0) == usable  # the caller is left alone


def test_a_program_of_one_core_runs_in_the_thread_that_calls_it():
    x = jax.device_put(np.ones((1000, 1000), np.float32), one_core())
    product = jax.jit(lambda x: jnp.exp(x @ x / 1e6))
    product(x).block_until_ready()
    process, thread = time.process_time(), time.thread_time()
    for _ in range(10):
        product(x).block_until_ready()
    process, thread = time.process_time() - process, time.thread_time() - thread
    assert thread > 0.9 * process  # of two threads each would have half


def test_the_device_of_one_core_leaves_jax_as_it_was():
    code = """
import os, jax, numpy as np
os.environ["PJRT_NPROC"] = "2"
from spider_jax.runtime.threads import one_core
device = one_core()
assert os.environ["PJRT_NPROC"] == "2"
assert device not in jax.devices() and one_core() is device
assert jax.numpy.zeros(3).devices() == {jax.devices()[0]}
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_the_constructor_it_is_jaxs_own_device(monkeypatch):
    import jaxlib.xla_client

    one_core.cache_clear()
    monkeypatch.delattr(jaxlib.xla_client, "make_cpu_client")
    try:
        assert one_core() == jax.devices("cpu")[0]
        assert cores.THREADS_OF_A_CLIENT not in os.environ
    finally:
        one_core.cache_clear()


@pytest.mark.parametrize("shape", [(1,), (3, 5), (0, 4)])
def test_aligned_memory_is_taken_as_it_is(shape):
    memory = aligned(shape, np.float32)
    memory[...] = 7
    assert memory.shape == shape
    taken = jax.device_put(memory, one_core())
    if memory.size:
        assert taken.unsafe_buffer_pointer() == memory.ctypes.data
