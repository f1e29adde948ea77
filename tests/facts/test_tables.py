"""Facts from tables: what others call them, their units, what is not known, what contradicts."""

import json
import math
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest

from spider_jax.facts.columns import table_of_columns, table_of_entries
from spider_jax.facts.fact_table import FactTable
from spider_jax.facts.quantities import UNITS, read_quantity, short_quantity
from spider_jax.facts.sources import read_facts
from spider_jax.facts.verdict import judge
from spider_jax.zoo.embedded import embedded_zoo

Refused = Callable[..., AbstractContextManager[None]]


def one(column: str, *cells: object) -> FactTable:
    return table_of_columns([f"m{i}" for i in range(len(cells))], {column: cells}, "t.csv")


# ---- numbers ---------------------------------------------------------------------------------


@pytest.mark.parametrize("unit", sorted(UNITS))
def test_every_unit_in_any_case(unit: str) -> None:
    for spelt in (unit, unit.upper(), f" {unit}"):
        assert read_quantity(f"12.5{spelt}") == pytest.approx(12.5 * UNITS[unit], rel=1e-15)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("86,567,656", 86_567_656),
        ("1_000", 1000),
        ("5e6", 5_000_000),
        ("-1.5", -1.5),
        (".5", 0.5),
        ("7.242B", 7_242_000_000),
        ("8,6", None),
        ("1e999", None),
        ("nan", None),
        ("inf", None),
        ("7 apples", None),
        ("e5", None),
        ("", None),
        ("M", None),
        ("1__0", None),
        ("9" * 100, None),
    ],
)
def test_a_number_is_read_or_it_is_none(text: str, value: float | None) -> None:
    assert read_quantity(text) == value


def test_a_short_number_says_what_the_long_one_does() -> None:
    for value in (1.0, 0.0123, 999, 9_999, 10_000, 999_999, 25_557_032, 7e9, 1.4e12):
        found = read_quantity(short_quantity(value))
        assert found == pytest.approx(value, rel=5e-3)


# ---- columns ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "cell", "fact", "value"),
    [
        ("params", "25,557,032", "params", 25_557_032),
        ("Parameters", 7_000_000_000, "params", 7e9),
        ("n_parameters", "568000000.0", "params", 568e6),
        ("#Params (B)", "7.242", "params", 7_242_000_000),
        ("params_m", "10.73", "params", 10_730_000),
        ("params_m", "10.73M", "params", 10_730_000),
        ("param_count", "1,844.44", "params", 1_844_440_000),
        ("param_count", "86,567,656", "params", 86_567_656),
        ("parameters", "25.6M", "params", 25_600_000),
        ("gflops", 14.78, "flops", 14_780_000_000),
        ("infer_gmacs", "0.3", "flops", 600_000_000),
        ("GMACs", "1.82", "flops", 3_640_000_000),
        ("infer_samples_per_sec", "4000", "seconds", 0.00025),
        ("latency_ms", "12", "seconds", 0.012),
        ("latency", "12ms", "seconds", 0.012),
        ("memory_mb", 512, "memory", 512_000_000),
        ("memory", "2 GiB", "memory", 2 * 2**30),
        ("img_size", "224", "input_size", 224),
        ("input_shape", "(3, 224, 256)", "input_size", 256),
        ("image_size", "224x224", "input_size", 224),
        ("crop_pct", "0.9", "crop_pct", 0.9),
    ],
)
def test_a_column_is_known_by_many_names(
    column: str, cell: object, fact: str, value: float
) -> None:
    table = one(column, cell)
    assert table.names == (fact,)
    assert table.numbers[fact][0] == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize(
    ("column", "cell", "fact", "entries"),
    [
        ("license", "MIT", "licence", ("MIT",)),
        ("Hub License", "apache-2.0", "licence", ("apache-2.0",)),
        ("training_datasets", "NQ|MSMARCO|NQ", "trained_on", ("NQ", "MSMARCO")),
        ("pretraining_data", "laion2b", "trained_on", ("laion2b",)),
        ("trained_on", ["COCO", "LVIS"], "trained_on", ("COCO", "LVIS")),
        ("source_dataset", "['a', 'b, c']", "trained_on", ("a", "b, c")),
        ("recipe", "ch_in1k", "recipe", ("ch_in1k",)),
        ("merged", True, "merged", ("True",)),
        ("family", "7", "family", ("7",)),
    ],
)
def test_texts_and_lists(column: str, cell: object, fact: str, entries: tuple[str, ...]) -> None:
    assert one(column, cell).texts == {fact: (entries,)}


@pytest.mark.parametrize("nothing", [None, "", " ", "?", "nan", math.nan, "N/A", "unknown", "None"])
@pytest.mark.parametrize("column", ["params", "licence", "trained_on", "likes", "recipe"])
def test_what_is_not_known_is_not_known(column: str, nothing: object) -> None:
    table = one(column, "5", nothing)
    fact = table.names[0]
    assert table.value(fact, 1) is None
    assert judge(f"known({column})", table).passed.tolist() == [True, False]
    assert table.notes == ()


@pytest.mark.parametrize("cell", ["0", "-1", 0, -1.0])
def test_a_count_that_is_not_positive_is_not_known(cell: object) -> None:
    assert one("params_b", "7", cell).value("params", 1) is None


@pytest.mark.parametrize("cell", ["many", "inf", "7 or 8", "25.6", "1e400"])
def test_a_count_that_cannot_be_read_is_said_and_not_known(cell: str) -> None:
    table = one("params", "5M", cell, cell)
    assert table.value("params", 1) is None
    (note,) = table.notes
    assert "m1" in note
    assert "and 1 more" in note


def test_one_odd_cell_does_not_make_numbers_text() -> None:
    table = one("max_tokens", "512", "8192", "512", "512", "inf")
    assert judge("max_tokens >= 8000", table).passed.tolist() == [False, True, *[False] * 3]
    assert "'inf'" in table.notes[0]
    assert one("version", "1", "two", "3").texts["version"][1] == ("two",)


def test_contradictions_are_said_and_rounding_is_none() -> None:
    first = table_of_columns(["a", "b"], {"params": [25_557_032, 5], "licence": ["mit", ""]}, "x")
    other = table_of_columns(["b", "a"], {"params_m": [6, 25.56], "license": ["bsd", "MIT"]}, "y")
    found = FactTable.joined(["a", "b", "c"], [first, other])
    assert found.numbers["params"][:2].tolist() == [25_557_032, 5]
    assert math.isnan(found.numbers["params"][2])
    assert found.texts["licence"] == (("mit",), ("bsd",), ())
    (note,) = found.notes
    assert "params of b is 5" in note
    assert "the first counts" in note


def test_a_fact_is_found_by_its_other_names(refused: Refused) -> None:
    table = table_of_columns(["a"], {"params": ["5M"], "Average Score": ["3"]}, "x")
    assert [table.find(name) for name in ("PARAMS", "n_parameters", "average_score")] == [
        "params",
        "params",
        "Average Score",
    ]
    with refused("params_m", "did you mean params?"):  # in another unit
        table.find("params_m")


# ---- files -----------------------------------------------------------------------------------


def test_tables_of_users(tmp_path: Path, refused: Refused) -> None:
    path = tmp_path / "facts.csv"
    path.write_text("\ufeffModel,#Params (B),Hub License\na,7,mit\nb,,\na,8,mit\n")
    found = read_facts(path, ["b", "c"])
    assert found.models == ("a", "b")
    assert np.isnan(found.numbers["params"]).tolist() == [False, True]
    assert "the first row counts" in found.notes[-1]
    with refused(path, "none of the 1 models", "'a'", "'z'"):
        read_facts(path, ["z"])
    for text, words in (
        ("", ("is empty",)),
        ("score,x\n1,2\n", ("column model", "score, x")),
        ("model,x\na,1,2\n", ("line 2", "2 cells", "got 3")),
        ("model,x\n,1\n", ("line 2", "no name")),
        ('model,x\na,"1\n', ("quote",)),
        ("model,x,x\na,1,2\n", ("two columns 'x'",)),
    ):
        path.write_text(text)
        with refused(path, *words):
            read_facts(path)
    with refused("missing"):
        read_facts(tmp_path / "no.csv")
    with refused("holds no facts"):
        read_facts(tmp_path)


def test_a_manifest(tmp_path: Path) -> None:
    entries = {
        "a": {"params": "25.6M", "licence": "MIT", "preprocessing": {"size": 224}, "layers": {}},
        "b": {"width": 64, "trained_on": ["COCO"], "exported": ["pets", "cars"]},
    }
    table = table_of_entries(entries, "zoo")
    assert set(table.names) == {
        *("params", "licence", "width", "trained_on", "exported", "input_size"),
    }
    assert table.value("input_size", 0) == 224
    assert table.value("exported", 1) == "pets, cars"
    header = {"format": "spider_jax/zoo", "version": 1, "models": entries}
    (tmp_path / "manifest.json").write_text(json.dumps(header))
    for path in (tmp_path, tmp_path / "manifest.json"):
        assert read_facts(path).value("params", 0) == 25_600_000


def test_the_embedded_zoos_know_their_licences() -> None:
    for name in ("vision", "text"):
        zoo = embedded_zoo(name)  # type: ignore[arg-type]
        assert judge("known(licence) and known(family)", zoo.facts).passed.all()
        assert zoo.training_facts.names == ()


@pytest.mark.skipif("SPIDER_JAX_DATA" not in os.environ, reason="SPIDER_JAX_DATA is not set")
@pytest.mark.parametrize(
    ("table", "expression", "unknown"),
    [
        ("timm", "params <= 10M and input_size <= 224", 0),
        ("openclip", "flops < 50e9 and trained_on ~ laion", 0),
        ("open_llm_v2", "params <= 7B and licence in (mit, apache-2.0)", 256),
    ],
)
def test_real_tables(table: str, expression: str, unknown: int) -> None:
    facts = read_facts(Path(os.environ["SPIDER_JAX_DATA"]) / "records" / table)
    found = judge(expression, facts)
    assert 10 < found.passed.sum() < len(facts.models) / 2
    assert bool(found.unknown.sum() > 0) == bool(unknown)
    assert facts.notes == ()
