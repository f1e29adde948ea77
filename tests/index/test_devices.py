"""The index on four devices, of one process and of two: one answer, whoever reads what."""

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from jax.sharding import Mesh

from programs import index_devices
from programs.index_devices import CASES, TASKS, best
from spider_jax.index import files as index_files
from spider_jax.index.zoo_index import ZooIndex
from support.processes import free_port, on_four_devices
from support.toy_index import toy_spider

pytestmark = pytest.mark.slow

Refused = Callable[..., AbstractContextManager[None]]
Found = dict[str, dict[str, Any]]
MODELS = 5500


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> ZooIndex:
    """Six blocks in which tokens repeat and rows were removed, a whole block of them too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index_files, "BLOCK_BYTES", 1)
        spider = toy_spider(MODELS, distinct=500)
        whole = ZooIndex.build(spider, tmp_path_factory.mktemp("devices") / "index")
    return whole.remove([f"m{i}" for i in {*range(0, MODELS, 9), *range(1024, 2048)}])


def run(index: ZooIndex, folder: Path, *others: tuple[object, ...]) -> list[Found]:
    """What each of processes with these arguments finds."""
    outs = [folder / f"{i}.json" for i in range(len(others))]
    arguments = [(index.folder, out, *more) for out, more in zip(outs, others, strict=True)]
    on_four_devices(index_devices.__file__, folder, *arguments)
    return [json.loads(out.read_text()) for out in outs]


def assert_same(found: Found, index: ZooIndex, case: str) -> None:
    expected = best(index, case)
    assert "error" not in found[case], found[case]
    assert len(found[case]["best"]) == len(expected)
    assert found[case]["resident"] == found[case]["best"]  # to the bit
    for (names, scores), (wanted, values) in zip(found[case]["best"], expected, strict=True):
        assert len(names) == min(CASES[case][-1], len(index))
        assert names == wanted  # so equal scores keep model order
        np.testing.assert_allclose(scores, values, rtol=0, atol=1e-6)


def rows(found: Found, case: str) -> list[int]:
    return [row for first, last in found[case]["read"] for row in range(first, last + 1)]


def test_four_devices_find_what_one_does(index: ZooIndex, tmp_path: Path) -> None:
    (found,) = run(index, tmp_path, ())
    for case in CASES:
        assert_same(found, index, case)
        assert sorted(rows(found, case)) == list(range(MODELS))  # each row once


def test_two_processes_share_the_rows_and_find_what_one_does(
    index: ZooIndex, tmp_path: Path
) -> None:
    port = free_port()
    both = run(index, tmp_path, (port, 0), (port, 1))
    for case in CASES:
        for found in both:
            assert_same(found, index, case)
        first, second = (set(rows(found, case)) for found in both)
        assert first | second == set(range(MODELS))
        if case != "grid":  # in which each process has all that is along "model"
            assert first.isdisjoint(second)
            assert min(len(first), len(second)) > MODELS // 4


def test_a_mesh_without_models(index: ZooIndex, refused: Refused) -> None:
    with refused("mesh", '"model"', "('data',)"):
        index.top_k(TASKS[0], 1, mesh=Mesh(np.array(jax.devices()[:1]), ("data",)))
