"""A ranking with facts comes back from its JSON with all that stands beside it."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spider_jax.errors import InputError
from spider_jax.facts import FactTable, ShortList, judge, shortlist
from spider_jax.facts.verdict import LISTED
from spider_jax.ranking.certainty import Certainty
from spider_jax.ranking.ranking import Ranking, Rankings
from support.toy_results import HOSTILE

NAMES = ("a", "b", HOSTILE, "=cmd|' /C calc'!A0", "e")
NUMBERS = st.lists(
    st.one_of(st.just(np.nan), st.floats(1e-9, 1e12), st.integers(1, 10**12).map(float)),
    min_size=5,
    max_size=5,
)
WORDS = st.lists(
    st.lists(st.sampled_from(["mit", HOSTILE, "1", "two words"]), max_size=2, unique=True),
    min_size=5,
    max_size=5,
)


def sure() -> Certainty:
    places = np.array([[1, 3], [1, 3], [1, 4], [3, 5], [4, 5]])
    return Certainty(0.8, places, np.float32([0.5] * 5), np.float32([0.2] * 5), "accuracy")


@settings(max_examples=60, deadline=None)
@given(
    scores=st.lists(st.floats(-9, 9), min_size=5, max_size=5),
    certain=st.booleans(),
    params=NUMBERS,
    own=NUMBERS,
    licence=WORDS,
    trained=st.booleans(),
    where=st.sampled_from(["", "model != a", "not params < 1e3 or model = a"]),
    show=st.lists(st.sampled_from(["params", "own number", "licence", "model"]), max_size=3),
    cost=st.booleans(),
    keep=st.booleans(),
)
def test_any_list_comes_back(
    scores: list[float],
    certain: bool,
    params: list[float],
    own: list[float],
    licence: list[list[str]],
    trained: bool,
    where: str,
    show: list[str],
    cost: bool,
    keep: bool,
) -> None:
    best_first = np.sort(np.float32(scores))[::-1]
    certainty = sure() if certain else None
    ranking = Ranking(NAMES, best_first, 0.5, "task", {"a": 0.25}, certainty=certainty)
    texts = {"licence": tuple(map(tuple, licence))}
    if trained:
        texts["trained_on"] = (("task",), (), ("other",), ("Task",), ())
    facts = FactTable(NAMES, {"params": np.array(params), "own number": np.array(own)}, texts)
    known = {*facts.names, "model"}
    found = shortlist(
        ranking,
        facts,
        where=where if "params" in known else "",
        show=[name for name in show if name in known],
        cost="params" if cost and "params" in known else "",
        keep_unknown=keep,
    )
    with tempfile.TemporaryDirectory() as folder:
        found.to_json(Path(folder) / "r.json")
        back = Ranking.from_json(Path(folder) / "r.json")
        several = Rankings.read(json.loads(json.dumps(Rankings((found, found)).to_content())))
    assert type(back) is type(found)
    for one in (back, *several.rankings):
        assert one.to_content() == found.to_content()
        assert one.to_rows() == found.to_rows()
        assert one.columns == found.columns
        assert one.to_text() == found.to_text()
        assert one.to_markdown() == found.to_markdown()
    if isinstance(found, ShortList):
        assert isinstance(back, ShortList)
        assert back.front == found.front
        assert back.beside.show == found.beside.show
        assert (back.verdict is None) == (found.verdict is None)
        if found.verdict is not None and back.verdict is not None:
            assert back.verdict.note() == found.verdict.note()


def plain(models: int) -> Ranking:
    names = [f"m{i}" for i in range(models)]
    return Ranking.from_scores(names, np.arange(models), resolution=0.5)


@pytest.mark.parametrize("keep", [False, True])
def test_more_unknown_models_than_a_file_names_are_counted(keep: bool, tmp_path: Path) -> None:
    ranking = plain(LISTED + 500)
    params = np.full(LISTED + 500, np.nan)
    params[:7] = np.arange(1, 8)
    facts = FactTable(ranking.names, {"params": params})
    found = shortlist(ranking, facts, where="params <= 3", keep_unknown=keep)
    found.to_json(tmp_path / "r.json")
    back = ShortList.from_json(tmp_path / "r.json")
    assert back.to_content() == found.to_content()
    assert isinstance(found, ShortList)
    assert found.verdict is not None
    assert back.verdict is not None
    assert back.verdict.count() == found.verdict.count() == (LISTED + 500, *(
        (LISTED + 496, 4, LISTED + 493) if keep else (3, 4, LISTED + 493)
    ))  # fmt: skip


def test_what_is_read_back_can_be_chosen_from_again(tmp_path: Path) -> None:
    ranking = plain(6)
    facts = FactTable(ranking.names, {"params": np.arange(1.0, 7.0)})
    shortlist(ranking, facts, where="params <= 4", show=["params"]).to_json(tmp_path / "r.json")
    back = ShortList.from_json(tmp_path / "r.json")
    assert judge("params <= 2", back.beside.facts).names == ("m5", "m4")
    again = shortlist(back, facts, where="params <= 2")
    assert again.names == ("m5", "m4")


def test_a_file_without_facts_is_a_ranking_and_a_spoilt_one_a_line(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    plain(3).to_json(path)
    assert type(Ranking.from_json(path)) is Ranking
    facts = FactTable(("m0", "m1", "m2"), {"params": np.arange(1.0, 4.0)})
    shortlist(plain(3), facts, where="params < 3", cost="params").to_json(path)
    whole = json.loads(path.read_text())
    for key in ("where", "pareto", "models", "trained_on_task"):
        for spoilt in (7, "text", [7], {"x": 7}, None):
            path.write_text(json.dumps(whole | {key: spoilt}))
            said = line_of(path)
            assert said is None or said.splitlines() == [said]
            assert said is None or "r.json" in said


def line_of(path: Path) -> str | None:
    """What is wrong with a file; None for a sound one."""
    try:
        Ranking.from_json(path)
    except InputError as error:
        return str(error)
    return None


def test_the_face_reads_facts_back(tmp_path: Path) -> None:
    """A program that imports nothing but the face."""
    facts = FactTable(("m0", "m1", "m2"), {"params": np.arange(1.0, 4.0)})
    shortlist(plain(3), facts, show=["params"]).to_json(tmp_path / "r.json")
    code = "import sys, spider_jax; print(type(spider_jax.Ranking.from_json(sys.argv[1])).__name__)"
    run = [sys.executable, "-c", code, str(tmp_path / "r.json")]
    assert subprocess.run(run, capture_output=True, text=True, check=True).stdout == "ShortList\n"
