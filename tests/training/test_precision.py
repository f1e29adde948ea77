"""A process that asks JAX for 64 bits, for its own work, trains and ranks the same."""

from pathlib import Path

import jax
import numpy as np

from spider_jax.index.zoo_index import ZooIndex
from spider_jax.spider.spider import Spider
from spider_jax.tasks.tokens import zoo_tokens
from spider_jax.zoo.store import FeatureStore
from support.small_training import train


def test_sixty_four_bits_change_nothing(small_zoo: Path, tmp_path: Path) -> None:
    zoo = FeatureStore(small_zoo)
    spider = train(zoo)  # here, as users compile: the shared one may be compiled quickly
    tokens = zoo_tokens(zoo, "apples")
    with jax.enable_x64(True):
        again = train(zoo)
        again.save(tmp_path / "spider")
        loaded = Spider.load(tmp_path / "spider")
        index = ZooIndex.build(loaded, tmp_path / "index")
        found = loaded.rank_task(zoo, "apples", k=2)
        best = index.top_k(tokens, 2)
        belief = loaded.belief(tokens)
    wanted = spider.rank_task(zoo, "apples", k=2)
    assert found.names == wanted.names
    np.testing.assert_array_equal(found.scores, wanted.scores)
    plain = ZooIndex.build(spider, tmp_path / "plain").top_k(tokens, 2)
    np.testing.assert_array_equal(best.scores, plain.scores)
    np.testing.assert_array_equal(belief.mean, spider.belief(tokens).mean)
