"""An index in the memory of a device gives the answers of the one on disk, to the bit."""

import logging
from pathlib import Path

import jax
import pytest
from jax.sharding import AxisType

from spider_jax.index import files
from spider_jax.index.zoo_index import ZooIndex
from support.toy_index import by_name, toy_spider, toy_tokens

MODELS = 2500  # more than a span of a CPU, in blocks that spans do not divide
REMOVED = ["m3", *(f"m{i}" for i in range(1024, 1100))]


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> ZooIndex:
    folder = tmp_path_factory.mktemp("resident") / "index"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "BLOCK_BYTES", 1)
        whole = ZooIndex.build(toy_spider(MODELS, members=2, distinct=900), folder)
    return whole.remove(REMOVED)


@pytest.mark.parametrize("with_mesh", [False, True])
def test_answers_are_those_of_the_stream(index: ZooIndex, with_mesh: bool) -> None:
    mesh = jax.make_mesh((1,), ("model",), (AxisType.Auto,)) if with_mesh else None
    resident = index.to_device(mesh=mesh)
    tasks = [toy_tokens(classes, seed=classes) for classes in (3, 9, 5)]
    for among in (None, [f"m{i}" for i in range(0, 40, 3)]):
        streamed = index.top_k_tasks(tasks, 30, among=among)
        found = resident.top_k_tasks(tasks, 30, among=among)
        assert [list(by_name(r).items()) for r in found] == [
            list(by_name(r).items()) for r in streamed
        ]
    assert not {*REMOVED} & {name for ranking in found for name in ranking.names}


def test_nothing_is_read_from_disk(index: ZooIndex, tmp_path: Path) -> None:
    """The blocks' rows may go; their names are read as before."""
    here = tmp_path / "index"
    here.mkdir()
    for path in index.folder.rglob("*"):
        copy = here / path.relative_to(index.folder)
        copy.mkdir(exist_ok=True) if path.is_dir() else copy.write_bytes(path.read_bytes())
    resident = ZooIndex.open(here).to_device()
    for path in here.glob("blocks/*/*.npy"):
        path.unlink()
    found = resident.top_k(toy_tokens(), 20)
    assert by_name(found) == by_name(index.top_k(toy_tokens(), 20))
    with pytest.raises(Exception, match="npy"):
        ZooIndex.open(here).top_k(toy_tokens(), 20)


def test_what_does_not_fit_stays_on_disk(index: ZooIndex, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "spider_jax"):
        same = index.to_device(most=1000)
    assert same.resident is None
    (line,) = caplog.messages
    assert line.startswith("the index stays on disk: its rows take")
    assert by_name(same.top_k(toy_tokens(), 20)) == by_name(index.top_k(toy_tokens(), 20))
    assert index.to_device(most=10**9).resident is not None


def test_another_mesh_reads_from_disk(index: ZooIndex) -> None:
    mesh = jax.make_mesh((1,), ("model",), (AxisType.Auto,))
    resident = index.to_device()
    assert resident._where(mesh)[1] is None
    assert resident._where(None)[1] is not None
    assert by_name(resident.top_k(toy_tokens(), 9, mesh=mesh)) == by_name(
        index.top_k(toy_tokens(), 9)
    )
