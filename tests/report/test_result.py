"""Every result class against the same properties: all ways out say the same, no name breaks one."""

import csv
import json
import os
import re
import unicodedata
from numbers import Real
from pathlib import Path
from typing import Any

import pytest

from spider_jax.cli.output import DONE, SKIPPED, Output
from spider_jax.demo import Demo
from spider_jax.report.page import Notes, Section, Table, page_markdown, page_text
from spider_jax.report.result import Result
from support.toy_results import (
    HOSTILE,
    MARKDOWN,
    NOTE,
    PLAIN,
    RESULTS,
    comparison,
    demo,
    rankings,
    scores,
    selection,
)

every = pytest.mark.parametrize("kind", RESULTS)


def strict(text: str) -> dict[str, Any]:
    """JSON without NaN and infinities."""

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    content: dict[str, Any] = json.loads(text, parse_constant=refuse)
    return content


def equal(cell: str, value: object) -> bool:
    """Whether a cell of a CSV reads back as the value."""
    if value is None:
        return cell == ""
    if isinstance(value, Real) and not isinstance(value, bool):
        return type(value)(cell) == value  # type: ignore[call-arg]
    return cell == value


# ---- every class -----------------------------------------------------------------------------


def test_all_result_classes_are_in_the_table() -> None:
    classes = {type(make()) for make in RESULTS.values()}
    assert set(Result.__subclasses__()) - classes == {
        c for c in Result.__subclasses__() if not c.__module__.startswith("spider_jax.")
    }
    assert {make().kind: kind for kind, make in RESULTS.items()} == {kind: kind for kind in RESULTS}


@every
def test_the_text_holds_every_column_and_every_statement(kind: str) -> None:
    result = RESULTS[kind]()
    text = result.to_text()
    assert str(result) == text
    empty = {"nce"} if kind == "scores" else set()  # no model has a value
    heads = [line for line in text.splitlines() if line.startswith(result.columns[0])]
    hidden = {"task"} if kind == "rankings" else set()  # every ranking says it above its table
    if kind == "rankings":
        heads = [line for line in text.splitlines() if line.startswith("rank")]
    assert [c for c in {*result.columns} - empty - hidden if c not in heads[0]] == []
    for said in result.statements():
        assert said.replace("\x1b", r"\x1b").replace("\n", r"\x0a") in text


@every
def test_no_name_reaches_a_terminal_or_a_page_as_more_than_text(kind: str) -> None:
    result = RESULTS[kind]()
    text, markdown = result.to_text(), result.to_markdown()
    for shown in (text, markdown):
        bad = [c for c in shown if unicodedata.category(c).startswith("C") and c != "\n"]
        assert bad == []
        assert "\x1b" not in shown
    assert r"<b>|[x](y)\x1b[31m\x0a`*~" in text
    assert MARKDOWN in markdown
    assert [sign for sign in ("<b>", "[x](y)", "`") if sign in markdown] == []
    for line in markdown.splitlines():
        if line.startswith("| "):
            assert line.endswith(" |")


@every
def test_tables_of_a_page_have_as_many_cells_in_every_line(kind: str) -> None:
    blocks = [block for section in RESULTS[kind]().page() for block in section.blocks]
    tables = [block for block in blocks if isinstance(block, Table)]
    lines = [line for line in RESULTS[kind]().to_markdown().splitlines() if line.startswith("|")]
    assert len(lines) == sum(2 + len(table.rows) for table in tables)
    assert {line.count("|") for line in lines} == {len(table.columns) + 1 for table in tables}


@every
def test_csv_reads_back_exactly(kind: str, tmp_path: Path) -> None:
    result = RESULTS[kind]()
    result.to_csv(str(tmp_path / "r.csv"))
    with (tmp_path / "r.csv").open(newline="", encoding="utf-8") as file:
        head, *rows = csv.reader(file)
    assert tuple(head) == result.columns
    assert len(rows) == len(result.to_rows())
    for found, wanted in zip(rows, result.to_rows(), strict=True):
        assert [v for c, v in zip(found, wanted, strict=True) if not equal(c, v)] == []


@every
def test_json_reads_back_under_its_header(kind: str, tmp_path: Path) -> None:
    result = RESULTS[kind]()
    result.to_json(str(tmp_path / "r.json"))
    content = strict((tmp_path / "r.json").read_text(encoding="utf-8"))
    assert list(content)[:3] == ["format", "version", "created_with"]
    assert (content["format"], content["version"]) == (f"spider_jax/{kind}", 1)
    assert content == json.loads(json.dumps(result.to_content()))
    if "rows" in content:  # a ranking has its models, and rankings have theirs
        rows = [dict(zip(result.columns, row, strict=True)) for row in result.to_rows()]
        assert content["rows"] == rows
        assert content["notes"] == list(result.statements())
        assert content["skipped"] == list(result.skipped)
    else:
        assert kind in ("ranking", "rankings")


@every
def test_what_was_skipped_is_said_once(kind: str) -> None:
    result = RESULTS[kind]()
    lines, page = result.to_text().splitlines(), result.to_markdown()
    wanted = len(result.skipped)
    # A ranking ranks what it could not look at, and says it in its own words.
    words = "not looked at: " if "ranking" in kind or kind == "demo" else "skipped: "
    assert sum(line.startswith(words) for line in lines) == max(wanted, kind == "demo")
    assert wanted == (
        0
        if kind in ("comparison", "demo", "explanation", "standing")
        else 2
        if "sel" in kind
        else 1
    )
    for what in result.skipped:
        assert "x1b" in repr(what) or "x9b" in repr(what)
        assert "\x9b" not in page


@every
def test_a_command_writes_any_result(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = RESULTS[kind]()
    code = Output(csv=tmp_path / "r.csv").write(result)
    shown = capsys.readouterr()
    assert shown.out == page_text(result.page()) + "\n"
    assert code == (SKIPPED if result.skipped else DONE)
    lines = shown.err.splitlines()
    assert len(lines) == len(result.skipped)
    assert all(line.startswith("spider-jax: skipped: ") for line in lines)
    assert "\x1b" not in shown.err + shown.out
    result.to_csv(tmp_path / "own.csv")
    assert (tmp_path / "r.csv").read_bytes() == (tmp_path / "own.csv").read_bytes()
    assert Output(json=True).write(result, more="entry") == code
    content = strict(capsys.readouterr().out)
    assert content == json.loads(json.dumps(result.to_content())) | {"more": "entry"}


@every
@pytest.mark.parametrize("width", [60, 120])
def test_a_narrow_terminal_cuts_nothing(kind: str, width: int) -> None:
    page = RESULTS[kind]().page()
    whole, narrow = page_text(page).split(), page_text(page, width=width).split()
    assert set(narrow) == set(whole)
    assert len(narrow) >= len(whole)


def test_a_wide_table_is_folded_in_a_terminal_only(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = comparison().page()
    monkeypatch.setattr(
        "shutil.get_terminal_size", lambda fallback=(80, 24): os.terminal_size((60, 24))
    )
    Output().write(comparison())
    assert capsys.readouterr().out == page_text(page) + "\n"
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    Output().write(comparison())
    assert capsys.readouterr().out == page_text(page, width=60) + "\n" != page_text(page) + "\n"


# ---- some classes ----------------------------------------------------------------------------


def test_intervals_of_a_comparison_are_readable_in_markdown() -> None:
    cells = comparison().to_markdown().splitlines()[2].split(" | ")
    number = r"[+-]?[01]\.[0-9]{3}"
    assert re.fullmatch(rf"\[{number}, {number}\]", cells[3])
    assert re.fullmatch(rf"{number} \[{number}, {number}\]( tie)? \|", cells[7])


def test_a_score_table_shows_no_empty_column_but_keeps_it_for_programs() -> None:
    table = scores()
    assert table.columns == ("model", "knn", "nce", "true accuracy")
    assert table.to_rows() == [(PLAIN, 0.5, None, 0.25), (HOSTILE, 0.1 + 0.2, None, None)]
    assert table.to_text().splitlines()[0].split() == ["model", "knn", "true", "accuracy"]
    assert "true accuracy" not in table.with_accuracies({(PLAIN, "other"): 0.5}).columns


def test_a_selection_says_how_many_were_not_started_and_gives_them_to_programs() -> None:
    found = selection()
    assert not any(line.startswith("late") for line in found.to_text().splitlines())
    assert "1 more models were not started" in found.to_text()
    assert [row["model"] for row in found.data()["rows"]][-1] == "late"


def test_rankings_of_different_columns_are_one_table() -> None:
    rows = [dict(zip(rankings().columns, row, strict=True)) for row in rankings().to_rows()]
    assert [row["task"] for row in rows] == [HOSTILE, HOSTILE, "other"]
    assert [row["true accuracy"] for row in rows] == [None, 0.1 + 0.2, None]
    assert [row["looked at"] for row in rows] == ["-", "yes", None]


def test_a_demo_page_begins_with_the_comparison_under_headings() -> None:
    heads = [line for line in demo().to_markdown().splitlines() if line.startswith("#")]
    assert heads[1:] == ["## Comparison", f"## {PLAIN}: {MARKDOWN}", "## Time"]
    lines = demo().to_text(top=1).splitlines()
    assert lines[0] == f"{PLAIN}: 5 models, 3 tasks held out from training"
    assert lines[5] == "1 more not shown"


def test_a_demo_of_two_parts_tells_them_apart() -> None:
    (part,) = demo().parts.values()
    both = Demo({"a": part, "b": part}, {})
    assert [row[0] for row in both.to_rows()] == ["a", "a", "b", "b"]
    assert {row[1:] for row in both.to_rows()} == set(comparison().to_rows())
    assert both.statements() == (NOTE,)
    assert list(both.data()["rankings"]) == ["a", "b"]
    heads = [line for line in both.to_text().splitlines() if line.endswith("from training")]
    assert [line[:3] for line in heads] == ["a: ", "b: "]


# ---- the protocol itself ---------------------------------------------------------------------


class Bare(Result):
    """The least that a result says."""

    kind = "bare"
    columns = ("model",)

    def to_rows(self) -> list[tuple[str]]:
        return [("vgg",)]


def test_a_result_needs_its_kind_columns_and_rows_only(tmp_path: Path) -> None:
    bare = Bare()
    assert isinstance(bare, Result)
    assert bare.to_text() == "model\nvgg"
    assert bare.to_markdown() == "| model |\n| --- |\n| vgg |"
    assert bare.data() == {"rows": [{"model": "vgg"}], "notes": [], "skipped": []}
    with pytest.raises(TypeError, match="abstract"):
        type("Nothing", (Result,), {"kind": "nothing"})()


def test_a_page_keeps_its_order_and_drops_what_is_empty() -> None:
    page = [
        Section((Notes(()), "a\nb"), heading="one"),
        Section((Notes(()),)),
        Section((Notes(("c", "[d]")),)),
    ]
    assert page_text(page) == "a\\x0ab\n\nc\n[d]"
    assert page_markdown(page) == "## one\n\na&#92;x0ab\n\n- c\n- &#91;d&#93;"
