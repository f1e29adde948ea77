"""Why a model stands where it stands, by a ranking alone: its own numbers, and what is missing."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spider_jax.errors import InputError
from spider_jax.facts import FactTable, shortlist
from spider_jax.ranking.certainty import Certainty
from spider_jax.ranking.ranking import Ranking, Rankings
from spider_jax.ranking.standing import NO_POSTERIOR, SOURCES, TOGETHER
from support.command_line import Command, one_line


def ranked(task: str | None = "cars") -> Ranking:
    names = ("vit", "own", "new", "llm", "lite")
    return Ranking(names, np.float32([5, 4, 3, 2, 1]), 1.5, task, {"vit": 0.5}, looked_at=("vit",))


@given(
    scores=st.lists(st.floats(-9, 9, width=32), min_size=1, max_size=9),
    resolution=st.sampled_from([0.0, 0.5, 3.0, math.nan]),
    data=st.data(),
)
def test_numbers_are_those_of_the_ranking(
    scores: list[float], resolution: float, data: st.DataObject
) -> None:
    names = [f"m{i}" for i in range(len(scores))]
    ranking = Ranking.from_scores(names, scores, resolution=resolution)
    model = data.draw(st.sampled_from(names))
    found = ranking.explain(model)
    at = ranking.names.index(model)
    assert (found.place, found.count) == (at + 1, len(names))
    assert list(found.interval) == ranking.rank_intervals()[at].tolist()
    for place, name, score, margin, apart in found.beside:
        other = float(ranking.scores[place - 1])
        assert ranking.names[place - 1] == name
        assert score == other
        assert margin == float(ranking.scores[at]) - other
        inside = found.interval[0] <= place <= found.interval[1]
        assert apart == ("-" if name == model else "no" if inside else "yes")
    assert {place for place, *_ in found.beside} == {1} | {
        place for place in range(at - 1, at + 4) if 1 <= place <= len(names)
    }


def test_what_it_says_and_what_it_lacks() -> None:
    found = ranked().explain("own")
    text = found.to_text()
    assert "own: place 2 of 5" in text
    assert "places 1 to 3 are open by scores that differ by 1.5 or more" in text
    assert "cannot be told from vit, new" in text
    assert "its own features were not read" in text
    assert found.missing == (SOURCES, NO_POSTERIOR)
    first = ranked().explain("vit").to_text()
    assert "its own features were read" in first
    assert "its true accuracy is known: 0.5" in first
    alone = Ranking.from_scores(["a", "b"], [1, 0], resolution=0.5).explain("a")
    assert "stands alone" in alone.to_text()
    open_ = Ranking.from_scores(["a", "b"], [1, 0], resolution=math.nan).explain("a")
    assert "the resolution of the scores is not known" in open_.to_text()


def test_of_a_posterior_it_says_how_sure() -> None:
    places = np.array([[1, 2], [1, 2], [3, 3]])
    sure = Certainty(0.8, places, np.float32([0.5, 0.25, 1]), np.float32([0.75, 0.25, 0]), "points")
    ranking = Ranking(("a", "b", "c"), np.float32([3, 2, -4]), 0.1, certainty=sure)
    found = ranking.explain("b")
    assert "expected 2 +- 0.25 (points); the best with probability 0.25" in found.said
    assert "places 1 to 2 are open at 80 %; cannot be told from a" in found.said
    assert found.missing == (SOURCES, TOGETHER)


def test_facts_of_a_file_are_said(tmp_path: Path, command: Command) -> None:
    facts = FactTable(
        ("vit", "own", "lite"),
        {"params": np.array([86e6, np.nan, 5e6])},
        {"trained_on": (("cars",), (), ())},
    )
    path = tmp_path / "r.json"
    shortlist(ranked(), facts, show=["params"], cost="params").to_json(path)
    found = command("explain", path, "vit", "--json")
    assert found.code == 0, found.err
    content = json.loads(found.out)
    assert content["format"] == "spider_jax/standing"
    assert content["facts"] == {
        "params": 86_000_000,
        "trained on it": "yes",
        "best for its params": "yes",
    }
    assert "86,000,000" in command("explain", path, "vit").out
    one_line(command("explain", path, "vti"), "'vti'", "5", "did you mean 'vit'?")


def test_one_of_several_rankings(tmp_path: Path, command: Command) -> None:
    path = tmp_path / "r.json"
    Rankings((ranked("cars"), ranked("birds"))).to_json(path)
    assert "task: birds" in command("explain", path, "vit", "--task", "birds").out
    one_line(command("explain", path, "vit"), "--task", "cars, birds")
    one_line(command("explain", path, "vit", "--task", "x"), "--task", "cars, birds")
    (tmp_path / "o.json").write_text('{"format": "spider_jax/scores", "version": 1}')
    one_line(command("explain", tmp_path / "o.json", "vit"), "o.json", "scores")
    with pytest.raises(InputError, match="'zebra' is not among the 5"):
        ranked().explain("zebra")
