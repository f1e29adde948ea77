"""The page in a real browser: at both widths and in both themes, by keyboard, and for axe-core."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spider_jax.evaluation.baselines import CONSTANT, Method
from spider_jax.evaluation.comparison import Comparison
from spider_jax.ranking.certainty import Certainty
from spider_jax.ranking.ranking import Ranking
from spider_jax.report.html import write_report_of_files
from spider_jax.report.token_map import token_map
from support.browser import chromium
from support.toy_results import RESULTS

SCRIPT = "<script>alert(1)</script>"
FORMULA = "=cmd|' /C calc'!A0"
TURNED = "safe\u202egnp.exe"
LONG = "long" * 2500
HOSTILE = (SCRIPT, FORMULA, TURNED, LONG)
LOOKS = [(360, "light"), (360, "dark"), (1280, "light"), (1280, "dark")]
SERIOUS = ("serious", "critical")


def ranking(task: str, seed: int, models: int = 12) -> Ranking:
    """A posterior over models, four of which have names that mean harm."""
    draw = np.random.default_rng(seed)
    names = [*HOSTILE, *(f"model_{i}" for i in range(models - len(HOSTILE)))]
    draw.shuffle(names)
    scores = np.sort(draw.normal(size=models).astype(np.float32))[::-1]
    places = np.array([[max(1, i - 1), min(models, i + 3)] for i in range(1, models + 1)])
    sd, best = draw.random((2, models)).astype(np.float32)
    truth = dict(zip(names, (scores + draw.normal(size=models)).tolist(), strict=True))
    certainty = Certainty(0.8, places, sd, best, "standard units")
    notes = (f"a note on {SCRIPT}",)
    return Ranking(tuple(names), scores, 0.5, task, truth, notes, certainty=certainty)


def with_facts(ranked: Ranking, path: Path) -> Path:
    """Its JSON, with a number and a word for each model."""
    content = ranked.to_content()
    for i, entry in enumerate(content["models"]):
        size = int(10 ** (6 + i / 4)) if i % 5 else None
        entry |= {"params": size, "licence": SCRIPT if i % 2 else "mit"}
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def comparison() -> Comparison:
    truth, other = np.random.default_rng(1).random((2, 3, 5))
    methods = {
        "spider": Method((truth + 0.4 * other)[None], "extractor"),
        CONSTANT: Method(np.tile(truth[0], (1, 3, 1)), "nothing"),
        "random order": Method(np.random.default_rng(2).random((9, 3, 5)), "nothing"),
    }
    return Comparison(("a", "b", "c"), tuple("vwxyz"), truth, methods)


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One page of three tasks with facts, and of every other kind of result."""
    folder = tmp_path_factory.mktemp("report")
    files = [
        with_facts(ranking(task, seed), folder / f"{seed}.json")
        for seed, task in enumerate((FORMULA, SCRIPT, "apples"))
    ]
    for kind in (
        "scores",
        "selected-models",
        "next_runs",
        "records_check",
        "tuned-students",
        "standing",
    ):
        RESULTS[kind]().to_json(folder / f"{kind}.json")
        files.append(folder / f"{kind}.json")
    comparison().to_json(folder / "comparison.json")
    files.append(folder / "comparison.json")
    names = (FORMULA, SCRIPT, "apples", "other")
    places = token_map("tasks", names, np.random.default_rng(4).normal(size=(4, 3)), SCRIPT)
    assert places is not None
    command = f"spider-jax report {SCRIPT}"
    return write_report_of_files(files, folder / "page.html", command=command, maps=[places])


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as found:
        yield found


@pytest.fixture
def opened(browser: Any, page_file: Path) -> Iterator[Callable[..., Any]]:
    """opened(width, theme): the page; what went wrong while it was open fails the test."""
    wrong: list[str] = []
    pages: list[Any] = []

    def opened(width: int = 1280, theme: str = "light", **options: Any) -> Any:
        page = browser.new_page(
            viewport={"width": width, "height": 900}, color_scheme=theme, **options
        )
        page.on("console", lambda message: wrong.append(message.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("dialog", lambda dialog: wrong.append("a dialog"))
        page.on("request", lambda request: wrong.append(request.url))
        pages.append(page)
        page.goto(page_file.as_uri())
        assert wrong[:1] == [page_file.as_uri()]
        del wrong[0]
        return page

    yield opened
    for page in pages:
        page.close()
    assert wrong == []


@pytest.mark.parametrize(("width", "theme"), LOOKS)
def test_everything_is_there_and_nothing_runs_over(
    opened: Callable[..., Any], width: int, theme: str
) -> None:
    page = opened(width, theme)
    titles = page.locator("figure h3").all_inner_texts()
    for title in ("Scores", "Score against params", "Predicted against true", "What was spent"):
        assert title in titles
    assert "Map of tasks and models, by scores" in titles
    assert "Map of tasks, by tokens" in titles
    assert "Weighted tau of every method" in titles
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    boxes = page.evaluate(
        "[...document.querySelectorAll('figure svg')].filter(s => !s.parentElement.closest('svg'))"
        ".map(s => { const b = s.getBoundingClientRect(); return [b.left, b.right, b.height] })"
    )
    assert len(boxes) == len(titles)
    assert all(0 <= left < right <= width and height >= 20 for left, right, height in boxes)
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (min(map(int, paper[4:-1].split(","))) > 200) == (theme == "light")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_serious(opened: Callable[..., Any], theme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    found = axe.Axe().run(opened(360 if theme == "dark" else 1280, theme)).response
    assert len(found["passes"]) > 20
    bad = [
        (v["id"], v["nodes"][0]["html"][:200])
        for v in found["violations"]
        if v["impact"] in SERIOUS
    ]
    assert bad == []


def test_names_are_text(opened: Callable[..., Any]) -> None:
    page = opened()
    text = page.inner_text("body")
    for name in (SCRIPT, FORMULA, r"safe\u202egnp.exe"):
        assert name in text
    assert "\u202e" not in page.content()
    assert "(10,000 characters)" in text
    assert LONG[:200] not in page.content()
    assert page.locator("script").count() == 1


def column(table: Any, number: int) -> list[str]:
    cells: list[str] = table.locator(f"tbody tr:visible td:nth-child({number})").all_inner_texts()
    return cells


def test_a_table_is_sorted_by_keyboard(opened: Callable[..., Any]) -> None:
    page = opened()
    table = page.get_by_role("table", name="Models, best first").first
    heads = table.locator("th").all_inner_texts()
    number = heads.index("params") + 1
    head = table.locator(f"th:nth-child({number})")
    button = table.get_by_role("button", name="params")
    page.locator("a").first.focus()
    for _ in range(60):  # it can be reached by Tab alone
        page.keyboard.press("Tab")
        if button.evaluate("b => b === document.activeElement"):
            break
    else:
        pytest.fail("no Tab reaches the heading")
    page.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") == "descending"
    values = table.locator("tbody tr").evaluate_all(
        f"rows => rows.map(r => r.cells[{number - 1}].dataset.v)"
        ".map(v => v === undefined ? null : +v)"
    )
    known = [value for value in values if value is not None]
    assert len(known) > 5
    assert values == [*sorted(known, reverse=True), *[None] * (len(values) - len(known))]
    page.keyboard.press("Space")
    assert head.get_attribute("aria-sort") == "ascending"
    assert table.locator("[aria-sort]").count() == 1
    assert column(table, number)[-1] == "\N{EN DASH}"  # what is not known stays below


FILTERS: dict[str, Callable[[Any], bool]] = {
    "model_3": lambda row: row["model"] == "model_3",
    "params >= 5M": lambda row: (row["params"] or 0) >= 5e6,
    "params<5e6 and licence = MIT": lambda row: (
        row["params"] in range(5 * 10**6) and row["licence"] == "mit"
    ),
    "score > 0 and model_": lambda row: row["score"] > 0 and "model_" in row["model"],
    "no such word": lambda row: False,
    "nothing > 3": lambda row: False,
    "": lambda row: True,
}


def test_a_table_is_filtered_by_keyboard(opened: Callable[..., Any], page_file: Path) -> None:
    page = opened()
    grids = page.locator("[data-tools]").filter(has=page.locator("h3", has_text="Models, best"))
    grid = grids.first
    rows = json.loads((page_file.parent / "0.json").read_text(encoding="utf-8"))["models"]
    for words, holds in FILTERS.items():
        grid.get_by_label("Filter").focus()
        page.keyboard.press("Control+A")
        page.keyboard.press("Delete")
        page.keyboard.type(words)
        kept = [str(row["rank"]) for row in rows if holds(row)]
        assert column(grid.locator("table"), 1) == kept, words
        said = grid.locator("output").inner_text()
        assert said == (f"{len(kept)} of {len(rows)} rows" if words else "")


def test_without_javascript_everything_can_be_read(opened: Callable[..., Any]) -> None:
    page = opened(360, java_script_enabled=False)
    assert page.locator("table").count() > 8
    assert page.locator("button, input").count() == 0
    assert FORMULA in page.locator("body").inner_text()


def test_it_prints_on_white(opened: Callable[..., Any]) -> None:
    page = opened(1280, "dark")
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not page.locator(".filter").first.is_visible()
