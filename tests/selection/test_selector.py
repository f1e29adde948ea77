"""Ask and tell: rounds, failures, and a state that goes on from any point."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spider_jax.records.noise import ValidationNoise
from spider_jax.records.performance import PastResults
from spider_jax.selection.policies import BruteForce, NoiseAware, SuccessiveHalving
from spider_jax.selection.policy_table import POLICIES, make_policy
from spider_jax.selection.selector import Selector

SPREAD = ValidationNoise({}, 0.01, ())
RNG = np.random.default_rng(0)
CURVES = {f"m{i}": RNG.uniform(size=5) for i in range(9)}


def past() -> PastResults:
    rng = np.random.default_rng(1)
    A, V = rng.uniform(size=(9, 6)), rng.uniform(size=(9, 6, 5))
    return PastResults(tuple(CURVES), tuple("uvwxyz"), A, V, np.full(6, 500, np.int64))


def tell_all(selector: Selector) -> None:
    for model in selector.ask():
        selector.tell(model, float(CURVES[model][selector.entries[model].epochs]))


def fates(selector: Selector) -> dict[str, str]:
    return {model: entry.fate for model, entry in selector.entries.items()}


def test_a_round_ends_when_all_are_told() -> None:
    selector = Selector(["a", "b"], SuccessiveHalving(), epochs=2)
    assert selector.ask() == ["a", "b"]
    selector.tell("b", 0.5)
    assert selector.ask() == ["a"]
    selector.tell("a", 0.25)
    assert fates(selector) == {"a": "dropped", "b": "training"}
    assert selector.winner is None
    selector.tell("b", 0.5)
    assert (selector.done, selector.winner, selector.spent) == (True, "b", 3)
    assert selector.ask() == []
    assert selector.entries["a"].reason == "validation 0.250, the last one kept 0.500"


def test_the_budget_decides_how_many_start() -> None:
    selector = Selector(list(CURVES), NoiseAware(SPREAD), budget=8)
    assert selector.ask() == ["m0", "m1", "m2", "m3"]
    while not selector.done:
        tell_all(selector)
    assert selector.spent == 8
    assert fates(selector)["m4"] == "not started"


def test_a_failure_is_dropped_with_its_reason_and_the_rest_goes_on() -> None:
    selector = Selector(["a", "b", "c"], BruteForce(), epochs=2)
    selector.tell("a", 0.5)
    selector.fail("b", "out of memory")
    selector.tell("c", math.nan)
    assert fates(selector) == {"a": "training", "b": "failed", "c": "failed"}
    assert selector.entries["b"].reason == "out of memory"
    assert selector.entries["c"].reason == "its validation score is nan"
    selector.tell("a", 0.5)
    assert (selector.winner, selector.spent) == ("a", 4)


def test_a_failure_in_the_middle_of_a_later_round() -> None:
    selector = Selector(["a", "b", "c"], BruteForce(), epochs=3)
    for model in "abc":
        selector.tell(model, 0.5)
    selector.fail("b", "gone")
    assert selector.ask() == ["a", "c"]
    for model in "acac":
        selector.tell(model, 0.5)
    assert selector.winner == "a"


def test_if_the_leader_fails_the_last_dropped_comes_back() -> None:
    selector = Selector(["a", "b", "c", "d"], NoiseAware(SPREAD), epochs=3)
    for model, score in zip("abcd", (0.2, 0.4, 0.3, 0.1), strict=True):
        selector.tell(model, score)
    assert selector.survivors == ("b",)
    selector.tell("b", math.inf)
    assert selector.ask() == ["c"]
    selector.tell("c", 0.3)
    selector.tell("c", 0.3)
    assert (selector.winner, selector.spent) == ("c", 7)
    assert fates(selector) == {"a": "dropped", "b": "failed", "c": "won", "d": "dropped"}


def test_if_all_that_started_fail_the_next_starts() -> None:
    selector = Selector(["a", "b", "c"], BruteForce(), epochs=1, budget=1)
    selector.fail("a", "broken")
    assert selector.ask() == ["b"]
    selector.tell("b", 0.5)
    assert selector.winner == "b"


def test_all_failed_is_an_end_without_a_winner() -> None:
    selector = Selector(["a", "b"], SuccessiveHalving())
    selector.fail("a", "broken")
    selector.fail("b", "broken")
    assert (selector.done, selector.winner) == (True, None)


@pytest.mark.parametrize("name", POLICIES)
def test_it_goes_on_from_any_point(name: str, tmp_path: Path) -> None:
    path = tmp_path / "selection.json"
    whole = Selector(list(CURVES), make_policy(name, past()), budget=60, validation_rows=300)
    interrupted = Selector(list(CURVES), make_policy(name, past()), budget=60, validation_rows=300)
    while not whole.done:
        model = whole.ask()[0]
        interrupted.save(path)
        interrupted = Selector.load(path)
        assert interrupted.ask() == whole.ask()
        for one in (whole, interrupted):
            one.tell(model, float(CURVES[model][one.entries[model].epochs]))
    assert interrupted.to_content() == whole.to_content()
    assert interrupted.winner is not None


def test_a_told_standard_error_is_used_and_kept(tmp_path: Path) -> None:
    policy = NoiseAware(ValidationNoise({"a": 0.8, "b": 0.2}, 0.01, ()))
    winners = {}
    for error in (0.0, 10.0):
        selector = Selector(["a", "b"], policy, epochs=1)
        selector.tell("a", 0.4, standard_error=error)
        selector.save(tmp_path / "selection.json")
        selector = Selector.load(tmp_path / "selection.json")
        selector.tell("b", 0.5, standard_error=error)
        winners[error] = selector.winner
    assert winners == {0.0: "b", 10.0: "a"}


def test_the_size_of_the_validation_set_decides() -> None:
    policy = NoiseAware(ValidationNoise({"a": 0.8, "b": 0.6}, 0.01, ()))
    winners = {}
    for rows in (10, 10_000):
        selector = Selector(["a", "b"], policy, epochs=1, validation_rows=rows)
        selector.tell("a", 0.4)
        selector.tell("b", 0.6)
        winners[rows] = selector.winner
    assert winners == {10: "a", 10_000: "b"}
    # 10 rows: sigma^2 = .025, 2/7 of .2 for b against 5/7 of .2 for a


def test_bad_use_is_refused(refused: Callable[..., object], tmp_path: Path) -> None:
    with refused("models", "at least one"):  # type: ignore[attr-defined]
        Selector([], BruteForce())
    with refused("models must be different"):  # type: ignore[attr-defined]
        Selector(["a", "a"], BruteForce())
    with refused("epochs", "0"):  # type: ignore[attr-defined]
        Selector(["a"], BruteForce(), epochs=0)
    with refused("budget", "5 epochs", "got 4"):  # type: ignore[attr-defined]
        Selector(["a"], NoiseAware(SPREAD), budget=4)
    selector = Selector(["a", "b"], BruteForce())
    with refused("'c' was not asked for", "a, b"):  # type: ignore[attr-defined]
        selector.tell("c", 0.5)
    selector.tell("a", 0.5)
    with refused("'a' was not asked for", "asked are b"):  # type: ignore[attr-defined]
        selector.tell("a", 0.5)
    selector.save(tmp_path / "s.json")
    text = (tmp_path / "s.json").read_text()
    (tmp_path / "s.json").write_text(text.replace('"training"', '"asleep"'))
    with refused("s.json", "asleep"):  # type: ignore[attr-defined]
        Selector.load(tmp_path / "s.json")


@pytest.mark.parametrize("error", [math.inf, math.nan, -0.1, 1e200])
def test_a_standard_error_that_is_none_is_refused(
    error: float, tmp_path: Path, refused: Callable[..., object]
) -> None:
    selector = Selector(["a", "b"], BruteForce())
    with refused("standard_error", error):  # type: ignore[attr-defined]
        selector.tell("a", 0.5, standard_error=error)
    assert selector.spent == 0
    selector.save(tmp_path / "selection.json")
    with refused("validation_rows", -5):  # type: ignore[attr-defined]
        Selector(["a"], BruteForce(), validation_rows=-5)


def entry(content: dict[str, Any], fate: str) -> dict[str, Any]:
    return next(e for e in content["entries"] if e["fate"] == fate)


@pytest.mark.parametrize(
    "edit",
    [
        lambda c: c.update(judged=10),
        lambda c: c.update(epochs=1),
        lambda c: c.update(dropped=["nobody"]),
        lambda c: entry(c, "training").update(validation=[]),
        lambda c: entry(c, "training").update(validation=[float("nan")]),
        lambda c: entry(c, "training").update(standard_error=[]),
        lambda c: entry(c, "training").update(epochs="1"),
        lambda c: entry(c, "training").update(epochs=3),
        lambda c: entry(c, "dropped").update(fate="won"),
        lambda c: [e.update(fate="dropped") for e in c["entries"]],
        lambda c: c["policy"].update(trends={"a": []}),
        lambda c: c["policy"].update(trends={"a": [["x"], ["y"]]}),
        lambda c: c["policy"].update(trends={"a": [[[0.1]], [[0.1], [0.2]]]}),
        lambda c: c["policy"].update(threshold="x"),
    ],
)
def test_an_edited_state_is_refused(
    edit: Callable[[dict[str, Any]], object], tmp_path: Path, refused: Callable[..., object]
) -> None:
    path = tmp_path / "selection.json"
    selector = Selector(list(CURVES), make_policy("trend-filter", past()), epochs=3)
    for model in selector.ask():
        selector.tell(model, float(CURVES[model][0]))
    selector.save(path)
    assert Selector.load(path).to_content() == selector.to_content()
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))
    with refused(path):  # type: ignore[attr-defined]
        Selector.load(path)
