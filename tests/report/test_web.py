"""What a page is made from: any of our JSON; it stays small, and every name stays text."""

import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spider_jax.errors import InputError
from spider_jax.ranking.ranking import Ranking, Rankings
from spider_jax.report.html import write_report, write_report_of_files
from spider_jax.report.web.charts import axis
from spider_jax.report.web.page import MOST_BYTES, Source, page_of
from spider_jax.report.web.ranked import read_ranked
from spider_jax.report.web.ranking_section import pareto_front
from spider_jax.report.web.views import number
from support.command_line import DONE, Command, one_line
from support.toy_results import HOSTILE, RESULTS

WORDS = re.compile(r"\S+")
TAGS = WORDS.findall(
    """html head meta title link style body header p h1 h2 h3 nav ol ul li a main section dl dt dd
    div figure figcaption svg line circle rect text span table thead tbody tr th td i code footer
    script"""
)
ATTRIBUTES = WORDS.findall(
    """lang charset name content http-equiv rel href class id aria-label aria-labelledby role
    tabindex scope style data-v data-tools width height x y x1 x2 y1 y2 cx cy r rx dx dy opacity
    overflow text-anchor"""
)


class Elements(HTMLParser):
    """Tags, their attributes and the text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def page(content: dict[str, Any]) -> str:
    return page_of([Source("r.json", "0" * 64, content)])


def page_or_line(content: dict[str, Any]) -> str:
    """A page, or the one line that says what is not sound."""
    try:
        return page(content)
    except InputError as error:
        line = str(error)
    assert line.startswith("r.json is not a sound ")
    assert line.splitlines() == [line]
    return line.replace("<", "&lt;")


def ranked(models: int, tasks: int = 1, **more: Any) -> dict[str, Any]:
    """Rankings of many models, as JSON."""
    draw = np.random.default_rng(models)
    scores = np.sort(draw.normal(size=models)).astype(np.float32)[::-1]
    names = [f"organisation/model-{i}" for i in range(models)]
    accuracies = dict(zip(names, (scores / 10 + 0.5).tolist(), strict=True))
    one = Ranking(tuple(names), scores, 0.01, "t", accuracies).to_content()
    for entry, cost in zip(one["models"], draw.lognormal(16, 2, models).tolist(), strict=True):
        entry |= more | {"params": cost, "seconds": cost / 1e9}
    if tasks == 1:
        return one
    rankings = [one | {"task": f"task {i}"} for i in range(tasks)]
    return {"format": "spider_jax/rankings", "version": 1, "rankings": rankings}


@pytest.mark.parametrize("kind", RESULTS)
def test_a_page_holds_its_own_elements_only(kind: str) -> None:
    found = Elements(RESULTS[kind]().to_html())
    assert found.tags <= {*TAGS}
    assert found.attributes <= {*ATTRIBUTES}
    assert r"<b>|[x](y)\x1b[31m\x0a`*~" in "".join(found.words)


@pytest.mark.parametrize("kind", RESULTS)
def test_no_text_of_a_json_is_more_than_text(kind: str) -> None:
    """Every text and every name of an entry, wherever it stands in the JSON."""
    evil = "</style></script><img src=x onerror=alert(1)>\u202e\x00'\"`{{ 7 * 7 }}"
    content = json.loads(json.dumps(RESULTS[kind]().to_content()))
    for place in places(content):
        holder: Any = content
        for step in place[:-1]:
            holder = holder[step]
        old = holder[place[-1]]
        holder[place[-1]] = evil
        found = Elements(made := page_or_line(content))
        assert found.tags <= {*TAGS}
        assert found.attributes <= {*ATTRIBUTES}
        assert not {"\u202e", "\x00"} & set(made)
        holder[place[-1]] = old


def places(content: Any, above: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where texts stand, but for the header."""
    if isinstance(content, str):
        return [above]
    if not isinstance(content, dict | list):
        return []
    inner = content.items() if isinstance(content, dict) else enumerate(content)
    found = [at for key, value in inner for at in places(value, (*above, key))]
    return [at for at in found if at[0] not in ("format", "version")]


SMALL = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4)
    ),
    max_leaves=12,
)
KEYS = ("rows", "notes", "skipped", "models", "resolution", "task", "rankings", "seconds", "x")


@given(
    kind=st.sampled_from([*RESULTS, "unknown"]),
    content=st.dictionaries(st.sampled_from(KEYS), SMALL, max_size=6),
)
def test_any_json_of_ours_is_a_page_or_one_line(kind: str, content: dict[str, Any]) -> None:
    made = page_or_line({"format": f"spider_jax/{kind}", "version": 1} | content)
    assert Elements(made).tags <= {*TAGS}
    assert not re.search(r"\bnan%|\binf%", made)


@pytest.mark.parametrize(("models", "tasks"), [(10, 1), (100_000, 1), (400, 30), (3, 200)], ids=str)
def test_a_page_stays_small(models: int, tasks: int) -> None:
    made = page(ranked(models, tasks, licence="apache-2.0", family="a family of models"))
    assert len(made.encode()) <= MOST_BYTES
    assert made.count("<tr") >= min(10, models)
    assert f"{models:,} models" in made
    if models == 100_000:
        assert "The first 1,000 of 100,000 rows" in made
        assert "All 100,000 scores" in made


def test_a_page_of_long_names_stays_small() -> None:
    content = ranked(40, 6)
    for ranking in content["rankings"]:
        ranking["task"] = "t" * 10_000
        ranking["notes"] = ["n" * 10_000] * 50
        ranking["models"] = [e | {"model": "m" * 10_000 + e["model"]} for e in ranking["models"]]
    assert len(page(content).encode()) <= MOST_BYTES


def test_results_and_their_files_give_the_same_page(tmp_path: Path) -> None:
    results = [make() for make in RESULTS.values()]
    files = []
    for result in results:
        files.append(tmp_path / f"{result.kind}.json")
        result.to_json(files[-1])
    of_files = write_report_of_files(files, tmp_path / "files.html").read_text(encoding="utf-8")
    of_results = write_report(results, tmp_path / "results.html").read_text(encoding="utf-8")
    for result in results:
        name = re.escape(str(tmp_path / f"{result.kind}.json"))
        of_files = re.sub(name, f"{result.kind} (in memory)", of_files)
    assert of_files == of_results  # the same checksums too


def test_many_rankings_have_a_heat_map_of_their_places() -> None:
    table = [
        Ranking.from_scores(["a", "b"], s, resolution=0.0, task=t)
        for t, s in (("one", [1, 2]), ("two", [2, 1]), ("three", [3, 2]))
    ]
    made = page(Rankings(tuple(table)).to_content())
    words = " ".join(re.sub(r"<[^>]*>", " ", made).split())
    assert "model mean place one two three a 1.3 2 1 ● 1 ● b 1.7 1 ● 2 2" in words


# ---- parts -----------------------------------------------------------------------------------

FINITE = st.floats(-1e30, 1e30)


@given(st.lists(FINITE, min_size=1, max_size=9))
def test_an_axis_holds_its_values_and_has_round_ticks(values: list[float]) -> None:
    across = axis(values)
    assert all(-1e-6 <= across.at(value) <= 100 + 1e-6 for value in values)
    ticks = across.ticks()
    assert len(ticks) <= 40
    assert ticks == sorted(ticks)


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=12))
def test_the_front_is_what_no_other_beats(points: list[tuple[int, int]]) -> None:
    costs, scores = np.array(points, float).T
    front = {points[i] for i in pareto_front(costs, scores)}
    beaten = {
        (c, s) for c, s in points if any(a <= c and b >= s and (a, b) != (c, s) for a, b in points)
    }
    assert front == set(points) - beaten


@given(st.floats(allow_nan=False, allow_infinity=False) | st.integers())
def test_a_number_is_short_and_near(value: float) -> None:
    if abs(value) < 1e300:
        assert len(number(value)) <= 12
    if 0.001 <= abs(value) < 1e5:
        text = number(value).replace(",", "").replace("\N{MINUS SIGN}", "-")
        assert float(text) == pytest.approx(value, abs=0.06 if abs(value) >= 1000 else 6e-4)


def test_whiskers_are_those_of_the_posterior() -> None:
    content = ranked(3) | {"level": 0.8, "unit": "accuracy"}
    for entry in content["models"]:
        entry |= {"sd": 0.5, "probability_best": 0.25}
    reach = read_ranked(content).reach()
    assert reach is not None
    draws = np.random.default_rng(0).normal(0, 0.5, 200_000)
    assert np.mean(np.abs(draws) < reach[0]) == pytest.approx(0.8, abs=0.005)


# ---- the command -----------------------------------------------------------------------------


def test_the_command_writes_a_page_and_says_what_is_wrong(tmp_path: Path, command: Command) -> None:
    good, out = tmp_path / "r.json", tmp_path / "page.html"
    RESULTS["ranking"]().to_json(good)
    found = command("report", good, good, "--out", out)
    assert (found.code, found.out) == (DONE, "")
    assert HOSTILE.partition("|")[0].replace("<", "&lt;").replace(">", "&gt;") in out.read_text()
    before = out.read_bytes()
    wrong: dict[str, Callable[[Path], object]] = {
        "missing": lambda path: path.unlink(),
        "valid JSON": lambda path: path.write_text("{"),
        "JSON object": lambda path: path.write_text("[]"),
        "format": lambda path: path.write_text('{"format": "else/ranking", "version": 1}'),
        "newer": lambda path: path.write_text('{"format": "spider_jax/ranking", "version": 99}'),
        "sound": lambda path: path.write_text(
            '{"format": "spider_jax/x", "version": 1, "rows": 3}'
        ),
    }
    for words, spoil in wrong.items():
        bad = tmp_path / "bad.json"
        bad.write_text("")
        spoil(bad)
        found = command("report", good, bad, "--out", out)
        one_line(found, words, "bad.json")
        assert out.read_bytes() == before
    for arguments in ((good, "--out", good), ("--out", out), (good, "--out", tmp_path)):
        found = command("report", *arguments)
        one_line(found)
    RESULTS["ranking"]().to_json(tmp_path / "same.json")
    assert good.read_bytes() == (tmp_path / "same.json").read_bytes()
