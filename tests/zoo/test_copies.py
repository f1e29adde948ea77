"""Near-copies among the rows of a task are said; rows that only lie close together are not."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spider_jax.zoo.copies import find_copies
from spider_jax.zoo.store import FeatureStore
from support.command_line import Command

RNG = np.random.default_rng(0)


def with_copies(rows: int, copies: int, width: int, spread: float) -> Any:
    """Every row `copies` times, in any order, with noise; and random labels of the sets."""
    rng = np.random.default_rng(copies)
    order = rng.permutation(rows * copies)
    F = np.repeat(rng.normal(size=(rows, width)), copies, 0)
    F += spread * rng.normal(size=F.shape)
    labels = np.repeat(rng.integers(0, 3, rows), copies)
    return F[order].astype(np.float32), labels[order]


@pytest.mark.parametrize("copies", [2, 3, 6, 10])
@pytest.mark.parametrize("width", [8, 64])
def test_copies_are_found(copies: int, width: int) -> None:
    equal = find_copies(*with_copies(60, copies, width, 0))
    assert (equal.equal, equal.near) == (1, 1)
    near = find_copies(*with_copies(60, copies, width, 0.02))
    assert near.equal == 0
    assert near.near > 0.9
    assert near.size == copies - 1
    assert find_copies(*with_copies(300, 1, width, 0)).near == 0


@pytest.mark.parametrize("width", [3, 5, 20])
def test_neighbours_are_no_copies(width: int) -> None:
    for F in (RNG.normal(size=(500, width)), RNG.uniform(size=(500, width))):
        assert find_copies(F.astype(np.float32), RNG.integers(0, 3, 500)).near < 0.05


def test_classes_that_lie_apart_are_no_copies() -> None:
    labels = np.repeat(np.arange(40), 5)
    F = 20 * RNG.normal(size=(40, 8))[labels] + 0.1 * RNG.normal(size=(200, 8))
    assert find_copies(F.astype(np.float32), labels).near == 0
    assert find_copies(F.astype(np.float32), RNG.integers(0, 2, 200)).near > 0.9


@pytest.mark.parametrize("spread", [0, 0.02])
def test_inspect_and_score_say_it(
    tmp_path: Path, spread: float, command: Command, caplog: pytest.LogCaptureFixture
) -> None:
    for task, copies in (("copied", 5), ("plain", 1)):
        F, labels = with_copies(60, copies, 8, spread)
        FeatureStore.write_labels(tmp_path / "zoo", task, labels)
        FeatureStore.write_features(tmp_path / "zoo", "m", task, F)
    assert command("inspect", tmp_path / "zoo", "--check").code == 0
    (record,) = caplog.records
    assert "task 'copied'" in record.getMessage()
    assert "near-copies" in record.getMessage()
    for task in ("copied", "plain"):
        caplog.clear()
        command("score", tmp_path / "zoo", task, "--metrics", "logme", "--no-cache")
        assert ("near-copies" in caplog.text) == (task == "copied")
