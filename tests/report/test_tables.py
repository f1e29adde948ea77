"""Tables for a terminal, Markdown and CSV: what is escaped, aligned, kept exact and laid out."""

import csv
import io
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spider_jax.report import tables
from spider_jax.report.escape import Own, escape_markdown, escape_terminal, interval

EXAMPLES = settings(deadline=None, max_examples=50)
HOSTILE = "\x1b[31m|x`"

# ---- escaped ---------------------------------------------------------------------------------


def test_hostile_names_are_harmless_everywhere_and_exact_in_csv():
    columns, rows = ["model"], [[HOSTILE], ["<b>[x](y)\n*\\|*"]]
    assert tables.to_text(columns, rows).splitlines() == [
        "model",
        r"\x1b[31m|x`",
        r"<b>[x](y)\x0a*\|*",
    ]
    shown = tables.to_markdown(columns, rows).splitlines()[2:]
    assert shown[0] == "| &#92;x1b&#91;31m&#124;x&#96; |"
    assert not set("<>[]*\\`") & set("".join(shown))
    assert list(csv.reader(io.StringIO(tables.to_csv(columns, rows), newline="")))[1:] == rows


def test_controls_are_shown_by_their_code():
    text = "\x00\x7f\x9b\u202e\u2028\U000e0001\ud800é"
    assert escape_terminal(text) == r"\x00\x7f\x9b\u202e\u2028\U000e0001\ud800" + "é"


def test_own_words_stay_readable_and_break_no_table():
    assert escape_markdown(Own("[0.1, 0.2] <= *")) == "[0.1, 0.2] <= *"
    assert escape_markdown(Own("a|b\n\x1b")) == r"a&#124;b\x0a\x1b"
    cells = [interval(0.1, 0.25), Own("<b>"), "<b>"]
    assert tables.to_markdown(list("abc"), [cells]).splitlines()[2] == (
        "| [0.100, 0.250] | <b> | &#60;b&#62; |"
    )
    assert tables.to_text(list("abc"), [cells]).splitlines()[1] == "[0.100, 0.250]  <b>  <b>"


def test_what_is_made_from_own_words_is_data_again():
    made = [Own("[") + "x", f"{Own('[')}", Own("[").join("ab"), Own("[").upper(), Own(" [").strip()]
    assert [text for text in made if "[" in escape_markdown(text)] == []


def test_numbers_stand_right_and_text_left():
    rows = [[1, "x", 0.5, True], [20, "yy", None, False], [300, "1", np.float32(-0.0001), None]]
    assert tables.to_text(["n", "t", "f", "b"], rows).splitlines() == [
        "  n  t       f  b",
        "  1  x   0.500  True",
        " 20  yy      -  False",
        "300  1   0.000  -",
    ]
    assert tables.to_markdown(["n", "t"], [[1, 2], [3, "x"]]).splitlines()[1] == "| ---: | --- |"


def test_wide_and_combining_characters_keep_the_columns():
    lines = tables.to_text(["m", "n"], [["模型", 1], ["e\u0301t", 2], ["abcd", 3]]).splitlines()
    assert lines == ["m     n", "模型  1", "e\u0301t    2", "abcd  3"]


def test_csv_keeps_all_digits():
    row = [0.1 + 0.2, np.float32(0.1), np.float64(1e-9), None, 7]
    expected = "a,b,c,d,e\n0.30000000000000004,0.1,1e-09,,7\n"
    assert tables.to_csv(list("abcde"), [row]) == expected


@given(cells=st.lists(st.text(max_size=6), min_size=2, max_size=4))
@EXAMPLES
def test_csv_reads_back_any_text(cells):
    text = tables.to_csv(cells, [cells])
    guarded = [
        f"'{cell}" if cell not in tables.SAFE and cell.startswith(tables.FORMULA) else cell
        for cell in cells
    ]
    assert list(csv.reader(io.StringIO(text, newline=""))) == [guarded, guarded]


@pytest.mark.parametrize("name", ["=1+1", "+x", "-x", "@SUM(A1)", "\t=1", "\r=1"])
def test_no_name_is_a_formula_in_csv(name):
    (_, row) = csv.reader(io.StringIO(tables.to_csv(["m", "x"], [[name, -1.5]]), newline=""))
    assert row == [f"'{name}", "-1.5"]


@pytest.mark.parametrize("render", [tables.to_text, tables.to_markdown, tables.to_csv])
def test_a_table_without_rows_is_its_heading_and_a_ragged_one_is_refused(render):
    assert "a" in render(["a", "b"], [])
    for row in ([1], [1, 2, 3]):
        with pytest.raises(ValueError, match="zip"):
            render(["a", "b"], [row])


# ---- narrow terminals ------------------------------------------------------------------------


def test_a_table_that_is_too_wide_is_given_in_parts():
    columns, rows = ["model", "score", "true accuracy"], [["resnet50", 0.5, 0.25], ["vgg", 1.0, 1]]
    wide = tables.to_text(columns, rows)
    assert max(map(len, wide.splitlines())) == 30
    assert tables.to_text(columns, rows, width=30) == wide
    assert tables.to_text(columns, rows, width=29).splitlines() == [
        "model     score",
        "resnet50  0.500",
        "vgg       1.000",
        "",
        "model     true accuracy",
        "resnet50          0.250",
        "vgg                   1",
    ]


@given(
    cells=st.lists(st.text("ab模", min_size=1, max_size=9), min_size=2, max_size=6),
    width=st.integers(1, 40),
)
@EXAMPLES
def test_no_part_cuts_anything_and_none_is_wider_than_it_must_be(cells, width):
    columns = [f"c{i}" for i in range(len(cells))]
    parts = [
        part.split("\n") for part in tables.to_text(columns, [cells], width=width).split("\n\n")
    ]
    assert [name for head, _ in parts for name in head.split()[1:]] == columns[1:]
    assert [cell for _, row in parts for cell in row.split()[1:]] == cells[1:]
    assert {(head.split()[0], row.split()[0]) for head, row in parts} == {("c0", cells[0])}
    for part in parts:
        wide = max(len(line) + line.count("模") for line in part)
        assert wide <= width or len(part[0].split()) == 2


@given(
    st.permutations(["model", "rank", "score", "a fact", "b"]),
    st.integers(1, 60),
)
def test_parts_hold_every_column_once_and_the_models_always(columns: list[str], width: int) -> None:
    rows = [[f"{column} {i}" for column in columns] for i in range(2)]
    parts = tables.to_text(columns, rows, width=width).split("\n\n")
    heads = [re.split(r"\s{2,}", part.splitlines()[0].strip()) for part in parts]
    assert all("model" in head for head in heads[1:])
    others = [c for head in heads for c in head if c != "model"]
    assert sorted(others) == sorted(c for c in columns if c != "model")
    assert all(len(part.splitlines()) == 3 for part in parts)


@pytest.mark.parametrize("sign", tables.FORMULA)
def test_no_cell_and_no_heading_begins_a_formula(sign: str) -> None:
    text = tables.to_csv([f"{sign}cmd|' /C calc'!A0", "+-"], [[f"{sign}1", -0.5], ["-", None]])
    head, row, own = csv.reader(io.StringIO(text, newline=""))
    assert [cell.startswith(tables.FORMULA) for cell in head] == [False, True]
    assert head == [f"'{sign}cmd|' /C calc'!A0", "+-"]
    assert row == [f"'{sign}1", "-0.5"]
    assert own == ["-", ""]
