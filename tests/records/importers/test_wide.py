"""Wide tables as spreadsheets export them, and numbers as people write them."""

import math
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spider_jax.records.importers import ImportOptions, import_content
from spider_jax.records.importers.cells import read_number
from spider_jax.records.table import Content

Rows = dict[tuple[str, str], float]
FOUND = {("vgg", "pets"): 0.765, ("vgg", "cars"): 0.5, ("vit", "cars"): 0.75}


def known(content: Content) -> Rows:
    return {(m, t): v for m, t, v, _ in content.rows(np.arange(len(content.value)))}


def read(path: Path, text: str, **options: object) -> Content:
    (path / "table.csv").write_text(text)
    return import_content("wide", [path / "table.csv"], ImportOptions(**options))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text",
    [
        "model,pets,cars\nvgg,0.765,0.5\nvit,n/a,0.75\n",
        "model,pets,cars\nvgg,76.5%,50 %\nvit,-,75%\n",
        "model;pets;cars\nvgg;0,765;0,5\nvit;;0,75\n",
        'name;pets;cars\n"vgg";"76,5 %";50%\nvit;N/A;75%\n',
        "\tpets\tcars\nvgg\t0.765\t0.5\n\t\t\nvit\t–\t0.75\n",  # noqa: RUF001
        "model,pets,cars,Average\nvgg,0.765,0.5,1\nvit,,0.75,2\nMean,1,1,1\n",
        "model,pets,cars\nvgg,0.765 ± 0.01,0.5 +/- 3\nvit,?,.75\n",
    ],
)
def test_one_table_in_many_hands(text: str, tmp_path: Path) -> None:
    assert known(read(tmp_path, text)) == FOUND


def test_transposed(tmp_path: Path) -> None:
    text = "task,kind,vgg,vit\npets,animals,0.765,\ncars,things,0.5,0.75\naverage,,1,1\n"
    content = read(tmp_path, text, transposed=True)
    assert known(content) == FOUND
    assert content.task_facts == {"kind": ("animals", "things")}


def test_facts_columns_to_skip_and_names(tmp_path: Path) -> None:
    text = "no,name,org,size,pets,cars,old\n1,vgg,ox,138,0.765,0.5,9\n2,vit,-,86,,0.75,9\n"
    content = read(tmp_path, text, names="name", facts=("size",), skip=("old", "no"))
    assert known(content) == FOUND
    assert content.model_facts == {"org": ("ox", ""), "size": ("138", "86")}
    assert any("'org' is a fact" in note for note in content.notes)
    assert any(note.endswith("pets, cars") for note in content.notes)


def test_measure_and_direction_are_stated(tmp_path: Path) -> None:
    content = read(tmp_path, "m,a\nx,3\ny,2\n", measure="rmse", direction="lower")
    assert content.task_facts == {"measure": ("rmse",), "direction": ("lower",)}
    assert content.larger_is_better.tolist() == [False]


def test_what_is_no_number_is_left_out_and_named(tmp_path: Path) -> None:
    content = read(tmp_path, "model,pets\nvgg,0.5\nvit,good\nnew,0.25\n")
    assert known(content) == {("vgg", "pets"): 0.5, ("new", "pets"): 0.25}
    assert content.problems[0].endswith(
        "line 3: 'pets' must be a number, got 'good': the cell is left out"
    )


def test_the_odd_unit_is_left_out_and_named(tmp_path: Path) -> None:
    text = "model,pets\na,76.5\nb,80\nc,0.7\nd,101\n"
    content = read(tmp_path, text, measure="accuracy")
    assert known(content) == {("a", "pets"): 76.5, ("b", "pets"): 80.0}
    assert "0.7 of 'c' on 'pets' is a fraction beside percent" in content.problems[0]
    assert "101 of 'd' on 'pets' is outside 0 to 100" in content.problems[1]


@pytest.mark.parametrize(
    ("text", "options", "words"),
    [
        ("model,pets\nvgg,0.5,1\n", {}, ["line 2", "must have 2 cells", "got 3"]),
        ("model,pets\nvgg,0.5\n", {"names": "nom"}, ["no column 'nom'", "model, pets"]),
        ("model,pets\n", {}, ["no result was found"]),
        ("Dataset,vgg\npets,0.5\n", {}, ["called 'Dataset'", "--transposed"]),
        ("", {}, ["empty"]),
    ],
)
def test_tables_without_a_result(
    text: str,
    options: dict[str, str],
    words: list[str],
    tmp_path: Path,
    refused: Callable[..., object],
) -> None:
    with refused("no result was found in", *words):
        read(tmp_path, text, **options)


def test_one_broken_table_is_not_the_end(tmp_path: Path) -> None:
    (tmp_path / "good.csv").write_text("model,pets\nvgg,0.5\n")
    (tmp_path / "bad.csv").write_bytes(b"\xff\xfe\x00")
    content = import_content("wide", [tmp_path / "bad.csv", tmp_path / "good.csv"])
    assert known(content) == {("vgg", "pets"): 0.5}
    assert "bad.csv is not UTF-8" in content.problems[0]


@given(st.floats(-1e6, 1e6), st.sampled_from(".,"))
def test_numbers_are_read_back(value: float, decimal: str) -> None:
    text = repr(value).replace(".", decimal)
    assert read_number(f" {text} ", decimal) == value
    assert math.isclose(read_number(f"{text} %", decimal) * 100, value)


@pytest.mark.parametrize(
    ("text", "value"),
    [("7%", 0.07), ("0.7 %", 0.007), ("+.5", 0.5), ("\u22120.5", -0.5), ("1e-3", 1e-3)],
)
def test_numbers_as_they_are_meant(text: str, value: float) -> None:
    assert read_number(text) == value


@pytest.mark.parametrize("text", ["good", "1_000", "1,5", "1.2.3", "0x10", "inf", "5 %%", "1 000"])
def test_what_is_no_number(text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(text)):
        read_number(text)
