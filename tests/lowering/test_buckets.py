"""Two sizes of one bucket are traced once; another bucket is seen to be traced."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import jax
import numpy as np
import pytest

from spider_jax.belief.gaussian import Observation, Posterior, Standings
from spider_jax.index.zoo_index import ZooIndex
from spider_jax.metrics import METRICS
from spider_jax.spider import own_attention
from spider_jax.spider.folding import fold_checkpoint
from spider_jax.spider.own_maps import OwnMap
from spider_jax.tasks.tokens import TaskTokens
from support.compiled_programs import WIDTH, E, members
from support.toy_index import toy_spider, toy_tokens
from support.toy_tasks import blobs

TRACED = "/jax/core/compile/jaxpr_trace_duration"


class Counter:
    """How often JAX has traced a program; it cannot be taken off, so there is one."""

    def __init__(self) -> None:
        self.count = 0
        jax.monitoring.register_event_duration_secs_listener(self.hear)

    def hear(self, event: str, seconds: float, **more: object) -> None:
        self.count += event == TRACED


counter = Counter()


@contextmanager
def traces() -> Iterator[Callable[[], int]]:
    before = counter.count
    yield lambda: counter.count - before


def once(call: Callable[[int], object], first: int, same: int, other: int) -> None:
    """A size is traced, another of its bucket is not, one of another bucket is."""
    jax.clear_caches()
    call(first)
    with traces() as count:
        call(same)
        assert count() == 0
        call(other)
        assert count() > 0


@pytest.mark.parametrize("models", [20, 120])
def test_classes_of_a_task(models: int) -> None:
    spider = toy_spider(models)
    once(lambda classes: spider.scores([toy_tokens(classes)]), 9, 15, 17)


def test_classes_of_a_search(tmp_path: Path) -> None:
    index = ZooIndex.build(toy_spider(20), tmp_path / "index")
    once(lambda classes: index.top_k(toy_tokens(classes), 3), 9, 15, 17)


def test_own_class_centres() -> None:
    folded, theta = fold_checkpoint(members()), np.zeros((E, 3, WIDTH), np.float32)
    tokens = TaskTokens(np.ones((5, 40), np.float32), None, "psi")
    seen = own_attention.first_pass(folded, theta, tokens)

    def again(size: int) -> None:
        own = OwnMap(*(np.ones(s, np.float32) for s in ((size,), (size, 5), (E, 5, 16), (E, 16))))
        centres = np.ones((size, size), np.float32)
        own_attention.score_again(folded, theta, seen, own, centres, 1)

    once(again, 9, 15, 17)


@pytest.mark.parametrize("name", ["logme", "ridge", "pactran_gauss"])
def test_rows_of_a_metric(name: str) -> None:
    once(lambda rows: METRICS[name].score(*blobs(rows, rows)), 40, 60, 70)


def test_a_belief_is_conditioned_on_the_host() -> None:
    """In NumPy's float64: there is no program that a device might take otherwise."""
    rng = np.random.default_rng(0)
    prior = Standings(rng.normal(size=9), rng.normal(size=(9, 2)), np.ones(9), 1.0)
    seen = Observation(np.array([1, 4]), rng.normal(size=2), np.ones(2))
    with traces() as count:
        found = Posterior(prior, (seen,))
        assert {a.dtype for a in (found.mean, found.variances)} == {np.dtype("float64")}
        assert count() == 0
