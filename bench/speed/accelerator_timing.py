"""How accelerator.py times: calls in turns, measured rates, and what could not be measured."""

import json
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bench.speed.accelerator_ours import Timed

RUNS, LONGEST = 15, 2.0  # of a call: so many, or so many seconds


class Report:
    """What is found, and what is left out, as it comes.

    Attributes:
        rows: figures by program.
        left_out: lines.
        begun: when.
        end: when the time is up.
    """

    def __init__(self, minutes: float) -> None:
        self.rows: list[dict[str, Any]] = []
        self.left_out: list[str] = []
        self.begun = time.monotonic()
        self.end = self.begun + 60 * minutes

    def passed(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self.begun

    def measure(self, name: str, make: Callable[[], dict[str, Any]]) -> None:
        """Measure a cell, unless the time is up; what cannot be made is left out.

        Args:
            name: of the cell.
            make: its figures.
        """
        if time.monotonic() > self.end:
            self.leave(name, "the time is up")
            return
        try:
            row = {"program": name, **make()}
        except Exception as error:  # out of memory has a class of its own in each library
            self.leave(name, f"{type(error).__name__}: {error}")
            return
        self.rows.append(row)
        print(json.dumps(row), flush=True)

    def leave(self, name: str, why: str) -> None:
        """Say what is not measured.

        Args:
            name: of it.
            why: of which the first line is kept.
        """
        line = f"{name}: {' '.join(why.split())[:200]}"
        self.left_out.append(line)
        print(f"left out: {line}", flush=True)


def seconds(calls: Mapping[str, Callable[[], Any]], report: Report, name: str) -> dict[str, float]:
    """Median seconds of calls that take turns; one that fails is left out.

    Args:
        calls: by name.
        report: told what fails.
        name: of the cell.
    """
    able = dict(calls)
    for each, call in calls.items():
        try:
            call()  # compiles
            call()
        except Exception as error:
            report.leave(f"{name}, {each}", f"{type(error).__name__}: {error}")
            del able[each]
    taken: dict[str, list[float]] = {each: [] for each in able}
    for _ in range(RUNS):
        for each, call in able.items():
            if sum(taken[each]) < LONGEST:
                begun = time.perf_counter()
                call()
                taken[each].append(time.perf_counter() - begun)
    return {each: float(np.median(times)) for each, times in taken.items()}


def rates(copied: int, rows: int) -> dict[str, float]:
    """Bytes a second of a copy, and operations a second of matrix products, as measured here.

    Args:
        copied: bytes of the copy.
        rows: of the square matrices.
    """
    x = jnp.zeros(copied // 4)
    add = jax.jit(lambda x: x + 1)
    a = jnp.ones((rows, rows))
    found: dict[str, Callable[[], Any]] = {"bytes": lambda: add(x)}
    for name in ("float32", "bfloat16"):
        wide = a.astype(name)
        product = jax.jit(
            lambda a, b: jnp.matmul(a, b, precision="highest", preferred_element_type=jnp.float32)
        )
        found[name] = partial(product, wide, wide)

    def done(call: Callable[[], Any]) -> Callable[[], Any]:
        return lambda: jax.block_until_ready(call())

    calls = {name: done(call) for name, call in found.items()}
    taken = seconds(calls, Report(1), "rates")
    work = dict.fromkeys(calls, 2.0 * rows**3) | {"bytes": 2.0 * copied}
    return {name: work[name] / taken[name] for name in taken}


def figures(
    timed: Mapping[str, Timed],
    others: Mapping[str, Callable[[], Any]],
    precision: str,
    rate: Mapping[str, float],
    report: Report,
    name: str,
) -> dict[str, Any]:
    """Milliseconds, the ratio to the fastest torch form, and the share of the measured roofline.

    Args:
        timed: ours.
        others: torch's.
        precision: of the products.
        rate: of `rates`.
        report: told what fails.
        name: of the cell.
    """
    taken = seconds({n: t.call for n, t in timed.items()} | dict(others), report, name)
    mine = [n for n in timed if n in taken]
    theirs = [taken[n] for n in others if n in taken]
    row: dict[str, Any] = {"milliseconds": {n: 1e3 * s for n, s in taken.items()}}
    if mine:
        best = min(mine, key=lambda n: taken[n])
        work = timed[best]
        floor = max(work.operations / rate[precision], work.needed / rate["bytes"])
        row["share of roofline"] = floor / taken[best]
        if theirs:
            row["torch / ours"] = min(theirs) / taken[best]
    return row
