"""Calls dealt over the cores: order, every item once, errors."""

import threading
from types import SimpleNamespace

import pytest

from spider_jax import cores
from spider_jax.cores import over_cores


@pytest.mark.parametrize("items", [0, 1, 2, 5, 16])
@pytest.mark.parametrize("usable", [1, 2, 3])
def test_the_order_of_the_items_is_kept(monkeypatch, items, usable):
    monkeypatch.setattr(cores, "usable_cores", lambda: usable)
    seen = []
    assert over_cores(lambda i: seen.append(i) or 10 * i, range(items)) == [
        10 * i for i in range(items)
    ]
    assert sorted(seen) == list(range(items))


def test_two_cores_are_two_threads_at_once(monkeypatch):
    monkeypatch.setattr(cores, "usable_cores", lambda: 2)
    both = threading.Barrier(2, timeout=30)  # broken, an error, if the calls came one by one
    over_cores(lambda _: both.wait(), range(2))


@pytest.mark.parametrize("bad", [0, 1])
def test_an_error_of_either_share_is_raised(monkeypatch, bad):
    monkeypatch.setattr(cores, "usable_cores", lambda: 2)
    with pytest.raises(ZeroDivisionError):
        over_cores(lambda i: 1 // (i - bad), range(4))


def test_without_affinity_all_cores_count(monkeypatch):
    monkeypatch.setattr(cores, "os", SimpleNamespace(cpu_count=lambda: 3))
    assert cores.usable_cores() == 3
