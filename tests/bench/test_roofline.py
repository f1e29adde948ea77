"""Formulas of the roofline beside what the compiler counts, on small shapes."""

import pytest

from bench.speed.roofline import Run, counted, head_steps, scoring, search, side, training
from spider_jax.runtime.device_kinds import CPU

SMALL = CPU._replace(rows={"many": 512, "few": 24}, span=1024)
WORKS = {
    "scoring": lambda: scoring(1024, 96, 256, "float32", SMALL),
    "search": lambda: search(2048, 96, 256, "float32", SMALL),
    "task side": lambda: side(96, 256),
    "averaged tokens": lambda: training(4, 24, 32, 64),
    "projected tokens": lambda: training(4, 96, 32, 64),
    "heads": lambda: head_steps(8, 128, 256, 8),
}


@pytest.mark.parametrize("name", WORKS)
def test_operations_are_those_of_the_formula(name: str) -> None:
    found = counted(WORKS[name](), Run())
    assert found["operations counted / formula"] == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("name", ["scoring", "search"])
def test_a_search_reads_every_row_once(name: str) -> None:
    """But for what all calls share; every step of it moves more, which is counted too."""
    found = counted(WORKS[name](), Run())
    assert 1 <= found["from outside / needed"] < 1.2
    assert found["every step / needed"] > 2


def test_the_floor_is_the_larger_of_two() -> None:
    found = counted(WORKS["search"](), Run(float32=1e9, bandwidth=1e30))
    assert found["floor, us"] == pytest.approx(found["operations"] / 1e3)
    assert found["bound by"] == "operations"
    found = counted(WORKS["search"](), Run(float32=1e30, bandwidth=1e9))
    assert found["floor, us"] == pytest.approx(found["bytes needed"] / 1e3)
    assert found["bound by"] == "bytes"
