"""What is known of the models of an index: what their spider knows, streamed from the disk."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from spider_jax.belief.belief import Belief
from spider_jax.errors import InputError
from spider_jax.index.zoo_index import ZooIndex
from spider_jax.spider.spider import Spider
from spider_jax.tasks.tokens import TaskTokens
from spider_jax.zoo.store import FeatureStore
from support.small_training import PSI_WIDTH, Refused, tokens, train
from support.small_zoo import write_small_zoo

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def spider(tmp_path_factory: pytest.TempPathFactory) -> Spider:
    return train(FeatureStore(write_small_zoo(tmp_path_factory.mktemp("zoo") / "small_zoo")))


def task(seed: int = 0) -> TaskTokens:
    deviations = np.random.default_rng(seed).uniform(0.2, 1, (2, PSI_WIDTH)).astype(np.float32)
    return TaskTokens(tokens(seed), deviations)


def assert_same(found: Belief, expected: Belief, models: list[int] | None = None) -> None:
    which: list[int] | NDArray[np.int64] = models or np.arange(len(expected.names))
    assert found.names == tuple(expected.names[i] for i in which)
    np.testing.assert_allclose(found.mean, expected.mean[which], rtol=0, atol=1e-6)
    np.testing.assert_allclose(found.sd, expected.sd[which], rtol=1e-6)
    np.testing.assert_allclose(
        found.covariance(found.names), expected.covariance(found.names), atol=1e-7
    )
    assert found.explained == expected.explained


def test_it_is_the_spiders(spider: Spider, tmp_path: Path) -> None:
    index = ZooIndex.build(spider, tmp_path / "index")
    for given in (task(), task(1), TaskTokens(tokens())):
        assert_same(index.belief(given), spider.belief(given))
    names = spider.models[:2]
    seen = dict(zip(names, (0.5, 0.7), strict=True))
    assert_same(index.belief(task()).observe(seen), spider.belief(task()).observe(seen))


def test_models_come_and_go(spider: Spider, tmp_path: Path) -> None:
    index = ZooIndex.build(spider, tmp_path / "index").remove([spider.models[1]])
    left = [i for i in range(len(spider.models)) if i != 1]
    assert_same(index.belief(task()), spider.belief(task()), left)
    index = index.append(spider)
    assert_same(index.belief(task()), spider.belief(task()), [*left, 1])


def test_what_it_reads_is_checked(spider: Spider, tmp_path: Path) -> None:
    index = ZooIndex.build(spider, tmp_path / "index")
    (path,) = (tmp_path / "index").rglob("errors.npy")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert [line for line in index.verify() if "errors.npy" in line]
    path.write_bytes(content[:-4])
    with pytest.raises(InputError, match=r"errors\.npy"):
        ZooIndex.open(tmp_path / "index")


def test_an_index_of_an_older_spider_says_so(
    spider: Spider, tmp_path: Path, refused: Refused
) -> None:
    older = ZooIndex.build(replace(spider, beliefs=None), tmp_path / "index")
    with refused("does not know how sure it is", "build it anew"):
        older.belief(task())
    with refused("train it anew"):
        replace(spider, beliefs=None).belief(task())
