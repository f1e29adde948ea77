"""Maps by tokens: against NumPy's SVD, and on a page in the place of the map of scores."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from report.test_web import ATTRIBUTES, TAGS, Elements
from spider_jax.errors import InputError
from spider_jax.evaluation.token_maps import map_of_models, map_of_zoo
from spider_jax.ranking.ranking import Ranking, Rankings
from spider_jax.report.html import write_report
from spider_jax.report.token_map import TokenMap, token_map
from spider_jax.zoo.store import FeatureStore
from support.toy_results import HOSTILE

BY_SCORES, BY_TOKENS = "Map of tasks and models, by scores", "Map of models, by tokens"


def tokens(N: int, d: int, seed: int) -> Any:
    return np.random.default_rng(seed).normal(size=(N, d)) * np.arange(1, d + 1)


def made(what: str, names: tuple[str, ...], seed: int = 0) -> TokenMap:
    found = token_map(what, names, tokens(len(names), 5, seed), "numbers")
    assert found is not None
    return found


def rankings(tasks: int) -> Rankings:
    draw = np.random.default_rng(3)
    names = ["a", "b", "c", HOSTILE]
    return Rankings(
        tuple(
            Ranking.from_scores(names, draw.normal(size=4), resolution=0.1, task=f"t{i}")
            for i in range(tasks)
        )
    )


@given(N=st.integers(3, 12), d=st.integers(1, 12), seed=st.integers(0, 999))
def test_places_are_those_of_the_svd(N: int, d: int, seed: int) -> None:
    given_ = tokens(N, d, seed)
    found = token_map("tasks", [str(i) for i in range(N)], given_, "numbers")
    assert found is not None
    left, sizes, _ = np.linalg.svd(given_ - given_.mean(0), full_matrices=False)
    wanted = np.zeros((N, 2))
    wanted[:, : min(2, d)] = (left * sizes)[:, :2]
    signs = np.where((found.places * wanted).sum(0) < 0, -1.0, 1.0)
    np.testing.assert_allclose(found.places, wanted * signs, atol=1e-6 * sizes[0])
    assert found.share == pytest.approx((sizes[:2] ** 2).sum() / (sizes**2).sum(), abs=1e-9)


def test_what_cannot_be_mapped() -> None:
    assert token_map("tasks", ["a", "b"], tokens(2, 4, 0), "numbers") is None
    assert token_map("tasks", ["a", "b", "c"], np.ones((3, 4)), "numbers") is None
    with pytest.raises(InputError, match=r"tokens of models must be finite \[N, d\].*\(2, 4\)"):
        token_map("models", ["a", "b", "c"], tokens(2, 4, 0), "numbers")
    with pytest.raises(InputError, match="finite"):
        token_map("models", ["a", "b"], np.full((2, 2), np.nan), "numbers")


def test_tokens_take_the_place_of_scores_and_the_page_says_so(tmp_path: Path) -> None:
    maps = [made("tasks", ("t0", "t1", "t2", "far")), made("models", ("a", "b", "c", HOSTILE))]
    by_scores = write_report([rankings(4)], tmp_path / "a.html").read_text()
    assert BY_SCORES in by_scores
    assert "tokens of the models are not at hand" in by_scores
    by_tokens = write_report([rankings(4)], tmp_path / "b.html", maps=maps).read_text()
    assert BY_SCORES not in by_tokens
    assert BY_TOKENS in by_tokens
    assert "Map of tasks, by tokens" in by_tokens
    assert by_tokens.count("Principal components of tokens, not of scores") == 2
    one = write_report([rankings(4)], tmp_path / "c.html", maps=maps[:1]).read_text()
    assert BY_SCORES in one  # nobody knows the models' tokens
    assert "Map of tasks, by tokens" in one
    for page in (by_scores, by_tokens, one):
        found = Elements(page)
        assert found.tags <= {*TAGS}
        assert found.attributes <= {*ATTRIBUTES}


def test_one_ranking_has_its_maps_in_a_section_and_others_maps_are_left_out(
    tmp_path: Path,
) -> None:
    maps = [made("models", ("a", "b", "c")), made("models", ("x", "y", "z"))]
    page = write_report([rankings(1).rankings[0]], tmp_path / "a.html", maps=maps).read_text()
    assert "Tasks and models by their tokens" in page
    assert page.count(f"<h3>{BY_TOKENS}</h3>") == 1
    other = write_report([rankings(1).rankings[0]], tmp_path / "b.html", maps=maps[1:]).read_text()
    assert "by tokens" not in other


def test_many_models_are_a_density_with_the_first_ones_named(tmp_path: Path) -> None:
    names = tuple(f"m{i}" for i in range(5000))
    ranking = Ranking.from_scores(names, np.arange(5000.0), resolution=0.5, task="t")
    page = write_report([ranking], tmp_path / "a.html", maps=[made("models", names)]).read_text()
    section = page[page.index(BY_TOKENS) :].split("</figure>")[0]
    assert "m4999" in section
    assert len(re.findall(r"m\d+", section)) <= 4


def test_a_spider_and_a_zoo_are_mapped_by_the_command(
    tmp_path: Path, command: Any, saved: Path, spider: Any, small_zoo: Path
) -> None:
    zoo = FeatureStore(small_zoo)
    spider.rank_task(zoo, zoo.tasks[0]).to_json(tmp_path / "r.json")
    page = tmp_path / "p.html"
    done = command(
        "report", tmp_path / "r.json", "--out", page, "--spider", saved, "--zoo", zoo.folder
    )
    assert done.code == 0, done.err
    models, tasks = map_of_models(spider), map_of_zoo(zoo, spider)
    assert models is not None
    assert models.names == spider.models
    assert tasks is not None
    assert set(tasks.names) <= set(zoo.tasks)
    for title in (BY_TOKENS, "Map of tasks, by tokens"):
        assert f"<h3>{title}</h3>" in page.read_text()
