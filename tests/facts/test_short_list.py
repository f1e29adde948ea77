"""A ranking with facts: the posterior's numbers stay, what is left out is said."""

import csv
import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pytest

from spider_jax.belief.belief import Belief
from spider_jax.belief.evidence import EvidenceModel, MetricNoise, Spread
from spider_jax.belief.gaussian import Standings
from spider_jax.facts.columns import table_of_columns
from spider_jax.facts.fact_table import FactTable
from spider_jax.facts.short_list import ShortList, shortlist
from spider_jax.ranking.ranking import Ranking, Rankings

Refused = Callable[..., AbstractContextManager[None]]
PARAMS = [5e6, None, 86e6, 7e9]
FACTS = table_of_columns(
    ["lite", "own", "vit", "llm"],
    {
        "params": PARAMS,
        "licence": ["MIT", "mit", "Apache-2.0", "other"],
        "trained_on": [None, "pets", "ImageNet", "Oxford Pets|pets"],
    },
    "facts.csv",
)


@pytest.fixture
def ranking() -> Ranking:
    names = ("vit", "own", "new", "llm", "lite")
    return Ranking(names, np.float32([5, 4, 3, 2, 1]), 1.5, "cars", {"vit": 0.5, "llm": 0.25})


@pytest.fixture(scope="module")
def belief() -> Belief:
    """14 models whose errors go together in part, some much less known than others."""
    rng = np.random.default_rng(3)
    prior = Standings(
        rng.normal(size=14), 0.5 * rng.normal(size=(14, 2)), rng.uniform(0.05, 0.8, 14), 0.5
    )
    noise = MetricNoise(np.ones(0), np.ones((0, 0)), np.ones(0), np.ones(0))
    evidence = EvidenceModel((), noise, Spread(0.1, 2.0))
    return Belief(tuple(f"m{i}" for i in range(14)), prior, evidence)


@pytest.fixture(scope="module")
def posterior(belief: Belief) -> Ranking:
    return belief.rank()


def test_who_passes_stays_with_its_numbers(ranking: Ranking) -> None:
    found = shortlist(ranking, FACTS, where="params < 1B")
    assert isinstance(found, ShortList)
    assert found.names == ("vit", "lite")
    assert found.scores.tolist() == [5, 1]
    assert found.accuracies == {"vit": 0.5}
    assert found.rank_intervals().tolist() == [[1, 1], [2, 2]]
    (note,) = found.notes
    assert "2 of 5 models pass, 1 do not, 2 unknown and left out" in note
    assert "own, new" in note
    kept = shortlist(ranking, FACTS, where="params < 1B", keep_unknown=True)
    assert kept.names == ("vit", "own", "new", "lite")
    assert "2 of 5 models pass, 1 do not, 2 unknown and kept" in kept.notes[0]


def test_places_among_those_that_pass_are_the_posterior_s(
    belief: Belief, posterior: Ranking
) -> None:
    rng = np.random.default_rng(0)
    assert posterior.certainty is not None
    for _ in range(5):
        some = rng.random(14) < 0.6
        facts = table_of_columns(posterior.names, {"some": [int(s) for s in some]}, "t")
        found = shortlist(posterior, facts, where="some = 1")
        at = np.flatnonzero(some)
        assert found.names == tuple(np.array(posterior.names)[at])
        assert found.scores.tolist() == posterior.scores[at].tolist()
        assert found.certainty is not None
        assert found.certainty.sd.tolist() == posterior.certainty.sd[at].tolist()
        assert found.certainty.best.tolist() == posterior.certainty.best[at].tolist()
        covariance = belief.covariance(found.names)
        own = np.diagonal(covariance)
        gap = found.scores[:, None].astype(float) - found.scores[None]
        sd = np.sqrt(own[:, None] + own[None] - 2 * covariance)
        sure = gap > NormalDist().inv_cdf(posterior.certainty.level) * np.maximum(sd, 1e-12)
        expected = np.stack([1 + sure.sum(0), len(at) - sure.sum(1)], 1)
        assert found.rank_intervals().tolist() == expected.tolist()


def test_places_are_much_the_same_from_a_file(posterior: Ranking, tmp_path: Path) -> None:
    posterior.to_json(tmp_path / "ranking.json")
    read = Ranking.from_json(tmp_path / "ranking.json")
    facts = table_of_columns(posterior.names, {"n": list(range(len(posterior.names)))}, "t")
    for expression in ("n >= 0", "n > 3", "n in (0, 5, 9)"):
        here = shortlist(posterior, facts, where=expression).rank_intervals()
        there = shortlist(read, facts, where=expression).rank_intervals()
        assert np.abs(here - there).max() <= 2
    assert there.shape == (3, 2)


def test_marks_facts_and_the_front_in_every_way_out(ranking: Ranking, tmp_path: Path) -> None:
    found = shortlist(
        ranking, FACTS, show=("Parameters", "licence"), cost="params", task_facts={"source": "PETS"}
    )
    assert found.columns[-4:] == ("params", "licence", "trained on it", "best for its params")
    rows = {row[2]: row[-4:] for row in found.to_rows()}
    assert rows == {
        "vit": (86_000_000, "Apache-2.0", "-", "yes"),
        "own": (None, "mit", "yes", "?"),
        "new": (None, None, "-", "?"),
        "llm": (7_000_000_000, "other", "yes", "-"),
        "lite": (5_000_000, "MIT", "-", "yes"),
    }
    text = found.to_text()
    assert "86M" in text
    assert "trained on this task's data by what they say" in text
    assert "own (pets)" in text
    found.to_csv(tmp_path / "found.csv")
    with (tmp_path / "found.csv").open(newline="") as file:
        marks = [row["trained on it"] for row in csv.DictReader(file)]
    assert marks == ["-", "yes", "-", "yes", "-"]
    found.to_json(tmp_path / "found.json")
    content = json.loads((tmp_path / "found.json").read_text())
    assert content["models"][1]["trained_on_task"] == "pets"
    assert content["models"][0]["facts"] == {"params": 86_000_000, "licence": "Apache-2.0"}
    assert content["pareto"]["front"] == ["lite", "vit"]
    again = Ranking.from_json(tmp_path / "found.json")
    assert (again.names, again.scores.tolist()) == (found.names, found.scores.tolist())


def test_nothing_to_say_is_the_ranking_itself(ranking: Ranking) -> None:
    assert shortlist(ranking, FACTS) is ranking
    assert shortlist(ranking, FactTable(())) is ranking


def test_a_fact_with_the_name_of_a_column_is_another_column(ranking: Ranking) -> None:
    names = ("score", "Rank", "task", "trained on it", "best for its params")
    facts = table_of_columns(["vit"], {name: [7] for name in names} | {"params": [5]}, "t")
    found = shortlist(ranking, facts, show=names, cost="params")
    assert len(set(found.columns)) == len(found.columns)
    (row, *_) = found.to_rows()
    cells = dict(zip(found.columns, row, strict=True))
    assert (cells["score"], cells["score (fact)"], cells["rank"], cells["Rank"]) == (5, 7, 1, 7)
    both = Rankings((found, found))
    assert len(set(both.columns)) == len(both.columns)
    assert both.to_rows()[0][0] == ranking.task


def test_a_list_of_a_list_is_of_the_whole_ranking(ranking: Ranking) -> None:
    first = shortlist(ranking, FACTS, where="params < 1B")
    assert shortlist(first, FACTS, where="params > 1B").names == ("llm",)


def test_what_cannot_be_done_is_one_line(ranking: Ranking, refused: Refused) -> None:
    with refused("none of 5 models passes", "2 unknown"):
        shortlist(ranking, FACTS, where="params < 1")
    with refused("pareto needs a fact that is a number, got licence", "params"):
        shortlist(ranking, FACTS, cost="licence")
    with refused("show", "'speed'"):
        shortlist(ranking, FACTS, show=("speed",))
