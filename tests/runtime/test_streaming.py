"""Blocks on a device: the same numbers as the file, in order, read before they are asked for."""

import threading
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from spider_jax.runtime import streaming as module
from spider_jax.runtime.streaming import aligned_rows, device_blocks


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("rows", [None, 1, 7, 50, 1000])
def test_the_numbers_of_the_file(tmp_path: Path, dtype: Any, rows: int | None) -> None:
    wanted = np.random.default_rng(0).normal(size=(50, 9)).astype(dtype)
    np.save(tmp_path / "a.npy", wanted)
    matrix = np.load(tmp_path / "a.npy", mmap_mode="r")
    blocks = list(device_blocks(matrix, rows=rows))
    assert [start for start, _ in blocks] == list(range(0, 50, rows or 50))
    assert all(isinstance(block, jax.Array) and block.dtype == dtype for _, block in blocks)
    assert (np.concatenate([np.asarray(block) for _, block in blocks]) == wanted).all()


def test_what_is_no_memmap(tmp_path: Path) -> None:
    matrix = np.random.default_rng(0).normal(size=(9, 20)).astype(np.float32)[:, ::2]
    found = np.concatenate([np.asarray(block) for _, block in device_blocks(matrix, rows=4)])
    assert (found == matrix).all()
    assert list(device_blocks(matrix[:0])) == []


def test_sums_over_blocks(monkeypatch: Any) -> None:
    monkeypatch.setattr(module, "BLOCK_BYTES", 4096)
    matrix = np.arange(6000.0, dtype=np.float32).reshape(1000, 6)
    total = jnp.zeros(6)
    for _, block in device_blocks(matrix):
        total = total + block.sum(0)
    assert total.tolist() == matrix.sum(0, dtype=np.float64).tolist()


def test_the_next_block_is_read_meanwhile(monkeypatch: Any) -> None:
    """While the caller holds block k, block k + 1 gets loaded without being asked for."""
    loaded = [threading.Event() for _ in range(4)]
    load = module._load

    def seen(matrix: Any, start: int, *rest: Any) -> Any:
        block = load(matrix, start, *rest)
        loaded[start].set()
        return block

    monkeypatch.setattr(module, "_load", seen)
    for start, _ in device_blocks(np.ones((4, 2), np.float32), rows=1):
        ahead = min(start + 1, 3)
        assert loaded[ahead].wait(30)
        assert not any(event.is_set() for event in loaded[ahead + 1 :])  # two at a time, not all


def test_a_caller_may_leave(tmp_path: Path) -> None:
    blocks = device_blocks(np.ones((100, 2), np.float32), rows=1)
    assert next(blocks)[0] == 0
    blocks.close()
    assert [t for t in threading.enumerate() if t.name.startswith("ThreadPoolExecutor")] == []


def test_aligned_rows() -> None:
    for width in (1, 3, 64, 1000, 1280, 2048):
        for dtype in (np.float16, np.float32):
            rows = aligned_rows(np.empty((1, width), dtype))
            size = rows * width * np.dtype(dtype).itemsize
            assert size % module.ALIGNMENT == 0
            assert size <= max(module.BLOCK_BYTES, module.ALIGNMENT * width * 4)
