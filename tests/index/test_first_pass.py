"""A linear first pass finds the models that the exact search finds, and scores few of them."""

from collections.abc import Callable
from contextlib import AbstractContextManager

import jax
import numpy as np
import pytest
from jax.sharding import Mesh

from spider_jax.index import files, first_pass
from spider_jax.index.zoo_index import FIRST_PASS, ZooIndex
from support.toy_index import toy_spider, toy_tokens

Refused = Callable[..., AbstractContextManager[None]]
TASKS = [toy_tokens(classes, seed=classes) for classes in (3, 7)]
MODELS = 6000


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> ZooIndex:
    """Six blocks; the scores are nearly linear in the tokens, as those of a trained spider are."""
    spider = toy_spider(MODELS, members=2)
    near = spider.weights._replace(theta=0.1 * spider.weights.theta)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "BLOCK_BYTES", 1)
        folder = tmp_path_factory.mktemp("index")
        built = ZooIndex.build(type(spider)(spider.description, spider.scaling, near), folder)
    return built.remove([f"m{i}" for i in range(0, MODELS, 9)])


@pytest.fixture
def scored(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many models each call scores exactly; a small sample."""
    counts: list[int] = []
    exact = first_pass._Search.exact
    monkeypatch.setattr(
        first_pass._Search,
        "exact",
        lambda self, rows: counts.append(len(rows)) or exact(self, rows),
    )
    monkeypatch.setattr(first_pass, "SAMPLE", 400)
    return counts


@pytest.mark.parametrize("k", [1, 30])
@pytest.mark.parametrize("among", [None, [f"m{i}" for i in range(900, MODELS)]])
def test_it_finds_the_same_models(
    index: ZooIndex, scored: list[int], k: int, among: list[str] | None
) -> None:
    exact = index.top_k_tasks(TASKS, k, among=among)
    found = index.top_k_tasks(TASKS, k, among=among, first_pass=True)
    assert 0 < sum(scored) < MODELS  # of two tasks
    for ours, theirs in zip(found, exact, strict=True):
        assert ours.names == theirs.names
        np.testing.assert_allclose(ours.scores, theirs.scores, rtol=0, atol=1e-6)
        assert ours.notes == (*theirs.notes, FIRST_PASS)


def test_where_it_saves_nothing_the_exact_search_is_made(
    index: ZooIndex, scored: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = index.top_k(TASKS[0], 2000)
    found = index.top_k(TASKS[0], 2000, first_pass=True)  # a third of the models
    assert (found.names, found.notes, scored) == (expected.names, expected.notes, [])
    monkeypatch.setattr(first_pass, "_reach", lambda errors, models: 1e9)  # a fit that says nothing
    found = index.top_k(TASKS[0], 5, first_pass=True)
    assert found.names == expected.names[:5]
    assert FIRST_PASS not in found.notes


def test_it_runs_on_one_device(index: ZooIndex, refused: Refused) -> None:
    with refused("first_pass", "mesh"):
        index.top_k(TASKS[0], 1, first_pass=True, mesh=Mesh(np.array(jax.devices()), ("model",)))
