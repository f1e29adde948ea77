"""Ranking: order, places that cannot be separated, files, and how it is shown."""

import csv
import io
import json
import math
import unicodedata
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spider_jax.errors import InputError
from spider_jax.ranking.ranking import Ranking
from spider_jax.report import tables

EXAMPLES = settings(deadline=None, max_examples=50)
FEW = settings(deadline=None, max_examples=10)  # those that write files
EIGHTHS = st.integers(-16, 16).map(lambda eighths: eighths / 8)  # ties, exact differences


@st.composite
def arguments(draw):
    """For from_scores: any names, tied scores, some accuracies, any resolution."""
    names = draw(st.lists(st.text(max_size=8), min_size=1, max_size=8, unique=True))
    scores = draw(st.lists(EIGHTHS, min_size=len(names), max_size=len(names)))
    known = draw(st.dictionaries(st.sampled_from(names), st.floats(0, 1), max_size=3))
    return {
        "names": names,
        "scores": scores,
        "resolution": draw(EIGHTHS.map(abs) | st.sampled_from([math.nan, math.inf])),
        "task": draw(st.none() | st.text(max_size=8)),
        "accuracies": known,
        "notes": draw(st.lists(st.text(max_size=8), max_size=2)),
    }


def three(**options):
    settings = {"resolution": 0.25} | options
    return Ranking.from_scores(["a", "b", "c"], [0.5, 1.0, 0.625], **settings)


# ---- order ------------------------------------------------------------------------------------


@given(scores=st.lists(EIGHTHS, min_size=1, max_size=12))
@EXAMPLES
def test_best_first_and_equal_scores_keep_model_order(scores):
    names = [f"m{i}" for i in range(len(scores))]
    ranking = Ranking.from_scores(names, scores, resolution=0.0)
    expected = sorted(range(len(scores)), key=lambda i: -scores[i])
    assert ranking.names == tuple(names[i] for i in expected)
    assert ranking.scores.tolist() == [scores[i] for i in expected]
    assert ranking.scores.dtype == np.float32


def test_scores_that_float32_cannot_tell_apart_are_equal():
    ranking = Ranking.from_scores(["a", "b"], [1.0, 1.0 + 1e-12], resolution=0.0)
    assert ranking.names == ("a", "b")


def test_scores_are_a_read_only_copy():
    given_scores = np.float32([3, 2, 1])
    ranking = Ranking(("a", "b", "c"), given_scores, 0.5)
    given_scores[0] = 9
    assert ranking.scores.tolist() == [3, 2, 1]
    with pytest.raises(ValueError, match="read-only"):
        ranking.scores[0] = 9


# ---- places that cannot be separated ---------------------------------------------------------


@given(made_of=arguments())
@EXAMPLES
def test_intervals_agree_with_the_definition(made_of):
    ranking = Ranking.from_scores(**made_of)
    scores, M = ranking.scores.tolist(), len(ranking.names)
    known = math.isfinite(ranking.resolution)
    for i, (first, last) in enumerate(ranking.rank_intervals()):
        near = [
            j + 1
            for j in range(M)
            if not known
            or scores[i] == scores[j]
            or abs(scores[i] - scores[j]) < ranking.resolution
        ]
        assert (first, last) == (min(near), max(near))


@given(
    scores=st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=12),
    resolution=st.floats(0, 10),
)
@EXAMPLES
def test_not_told_apart_is_mutual(scores, resolution):
    names = [str(i) for i in range(len(scores))]
    intervals = Ranking.from_scores(names, scores, resolution=resolution).rank_intervals()
    places = np.arange(1, len(scores) + 1)
    reaches = (intervals[:, :1] <= places) & (places <= intervals[:, 1:])
    np.testing.assert_array_equal(reaches, reaches.T)
    assert reaches.diagonal().all()


def test_a_difference_of_just_the_resolution_is_told_apart():
    ranking = Ranking.from_scores("abcd", [1.0, 0.75, 0.625, 0.625], resolution=0.25)
    assert ranking.rank_intervals().tolist() == [[1, 1], [2, 4], [2, 4], [2, 4]]
    assert [row[1] for row in ranking.to_rows()] == ["-", "2-4", "2-4", "2-4"]


def test_who_was_looked_at_is_a_column_and_survives_a_file(tmp_path):
    ranking = replace(three(), looked_at=("b",))
    assert ranking.columns[4] == "looked at"
    marks = {str(row[2]): row[4] for row in ranking.to_rows()}
    assert marks == {name: "yes" if name == "b" else "-" for name in three().names}
    ranking.to_json(tmp_path / "r.json")
    assert Ranking.from_json(tmp_path / "r.json").looked_at == ("b",)
    assert "looked at" not in three().columns


@pytest.mark.parametrize("unknown", [math.nan, math.inf])
def test_an_unknown_resolution_separates_nothing(unknown):
    ranking = three(resolution=unknown)
    assert ranking.rank_intervals().tolist() == [[1, 3]] * 3
    assert [row[1] for row in ranking.to_rows()] == ["?"] * 3
    assert ranking.to_text().endswith("is not known, so no two models are separated.")


# ---- shown ------------------------------------------------------------------------------------


def test_text_is_aligned_and_ends_with_what_the_score_means():
    ranking = three(task="birds", accuracies={"b": 0.9, "stranger": 1.0}, notes=["d was skipped"])
    assert ranking.to_text().splitlines() == [
        "task: birds",
        "rank  cannot tell from  model  score  true accuracy",
        "   1  -                 b      1.000          0.900",
        "   2  2-3               c      0.625              -",
        "   3  2-3               a      0.500              -",
        "note: d was skipped",
        "Only differences between scores mean something; "
        "models closer than 0.25 (resolution) are not separated.",
    ]
    assert str(ranking) == ranking.to_text()


def test_top_hides_models_and_says_so():
    lines = three().to_text(top=2).splitlines()
    assert [line.split()[0] for line in lines] == ["rank", "1", "2", "1", "Only"]
    assert lines[2].split() == ["2", "2-3", "c", "0.625"]
    assert lines[3] == "1 more not shown"
    assert three().to_text(top=3) == three().to_text(top=99) == three().to_text()
    with pytest.raises(InputError, match="top must be at least 1, got 0"):
        three().to_text(top=0)


def test_equal_scores_are_never_separated():
    ranking = Ranking.from_scores("ab", [1, 1], resolution=0.0)
    assert ranking.rank_intervals().tolist() == [[1, 2], [1, 2]]
    assert ranking.to_text().endswith("models with equal scores are not separated.")


def test_markdown_is_a_table_between_paragraphs():
    task, table, meaning = three(task="birds").to_markdown(top=3).split("\n\n")
    assert task == "task: birds"
    assert table.splitlines()[:3] == [
        "| rank | cannot tell from | model | score |",
        "| ---: | --- | --- | ---: |",
        "| 1 | - | b | 1.000 |",
    ]
    assert meaning.startswith("Only differences")


@given(made_of=arguments())
@EXAMPLES
def test_no_name_breaks_a_line_or_a_table(made_of):
    ranking = Ranking.from_scores(**made_of)
    extra = (ranking.task is not None) + len(ranking.notes) + 1
    lines = ranking.to_text().split("\n")
    assert len(lines) == 1 + len(ranking.names) + extra
    assert not any(unicodedata.category(c).startswith("C") for line in lines for c in line)
    in_table = [line for line in ranking.to_markdown().split("\n") if line.startswith("| ")]
    assert len(in_table) == 2 + len(ranking.names)
    assert {line.count("|") for line in in_table} == {len(ranking.columns) + 1}


@given(made_of=arguments())
@FEW
def test_the_same_ranking_gives_the_same_bytes(made_of, tmp_path_factory):
    ranking = Ranking.from_scores(**made_of)
    folder = tmp_path_factory.mktemp("twice")
    for name in ("one", "two"):
        ranking.to_csv(folder / f"{name}.csv")
        ranking.to_json(folder / f"{name}.json")
    assert (folder / "one.csv").read_bytes() == (folder / "two.csv").read_bytes()
    assert (folder / "one.json").read_bytes() == (folder / "two.json").read_bytes()


# ---- files ------------------------------------------------------------------------------------


@given(made_of=arguments())
@FEW
def test_json_round_trip(made_of, tmp_path_factory):
    ranking = Ranking.from_scores(**made_of)
    path = tmp_path_factory.mktemp("json") / "ranking.json"
    ranking.to_json(str(path))
    back = Ranking.from_json(str(path))
    assert back.to_text() == ranking.to_text()
    assert (back.names, back.task, back.notes) == (ranking.names, ranking.task, ranking.notes)
    assert back.accuracies == ranking.accuracies
    np.testing.assert_array_equal(back.scores, ranking.scores)
    known = ranking.resolution if math.isfinite(ranking.resolution) else math.nan
    np.testing.assert_equal(back.resolution, known)


@given(score=st.floats(width=32, allow_nan=False, allow_infinity=False))
@FEW
def test_every_float32_survives_the_files(score, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exact")
    ranking = Ranking.from_scores(["m"], [score], resolution=0.0)
    ranking.to_json(folder / "r.json")
    ranking.to_csv(folder / "r.csv")
    assert Ranking.from_json(folder / "r.json").scores[0] == np.float32(score)
    (row,) = csv.DictReader(io.StringIO((folder / "r.csv").read_text()))
    assert np.float32(row["score"]) == np.float32(score)


def test_json_is_strict_and_says_what_it_is(tmp_path):
    three(resolution=math.inf, accuracies={"a": 0.5}).to_json(tmp_path / "r.json")

    def refuse(constant):
        raise AssertionError(constant)

    content = json.loads((tmp_path / "r.json").read_text(), parse_constant=refuse)
    assert (content["format"], content["version"]) == ("spider_jax/ranking", 1)
    assert content["resolution"] is None
    assert content["models"][0] == {
        "rank": 1,
        "cannot_tell_from": [1, 3],
        "model": "b",
        "score": 1.0,
        "accuracy": None,
    }


@given(made_of=arguments())
@FEW
def test_csv_keeps_names_exactly(made_of, tmp_path_factory):
    ranking = Ranking.from_scores(**made_of)
    path = tmp_path_factory.mktemp("csv") / "ranking.csv"
    ranking.to_csv(str(path))
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    guarded = [f"'{n}" if n.startswith(tables.FORMULA) else n for n in ranking.names]
    assert [row["model"] for row in rows] == guarded
    for row, name in zip(rows, ranking.names, strict=True):
        accuracy = ranking.accuracies.get(name)
        assert row.get("true accuracy", "") == ("" if accuracy is None else str(accuracy))


def edited(tmp_path, **changes):
    path = tmp_path / "ranking.json"
    three().to_json(path)
    content = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in content.items() if value != "gone"}))
    return path


def test_a_newer_version_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"version 2 is newer than the 1 .* upgrade spider_jax"):
        Ranking.from_json(edited(tmp_path, version=2))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "spider_jax/zoo"}, "format must be 'spider_jax/ranking'"),
        ({"models": "gone"}, "not a whole ranking: 'models' is missing"),
        ({"models": [{"model": "a", "score": 1.0}]}, "'accuracy' is missing"),
        ({"models": ["a"]}, "not a sound ranking"),
        (
            {"models": [{"model": 7, "score": 1.0, "accuracy": None}]},
            "model names, task and notes must be text, got 7",
        ),
        ({"models": [{"model": "a", "score": None, "accuracy": None}]}, "scores must be finite"),
        ({"resolution": "fine"}, "not a sound ranking: could not convert"),
        ({"resolution": -1}, "resolution must be at least 0"),
        ({"notes": [7]}, "task and notes must be text, got 7"),
        ({"models": []}, "one per name"),
    ],
)
def test_a_broken_file_is_refused_in_one_line(tmp_path, changes, message):
    with pytest.raises(InputError, match=message) as caught:
        Ranking.from_json(edited(tmp_path, **changes))
    assert "ranking.json" in str(caught.value)
    assert "\n" not in str(caught.value)


# ---- bad input --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "scores", "message"),
    [
        (["a", "b"], [1, math.nan], r"scores must be finite, got nan for 'b' \(1 of 2\)"),
        (["a", "b"], [1e300, 1], "scores must be finite, got inf for 'a'"),
        (["a", "b"], [1], r"one per name \(M=2 > 0\), got shape \(1,\)"),
        ([], [], r"one per name \(M=0 > 0\)"),
        (["a", "b", "a"], [1, 2, 3], "names must differ, got 'a' twice"),
    ],
)
def test_names_and_scores_that_do_not_fit(names, scores, message):
    with pytest.raises(InputError, match=message):
        Ranking.from_scores(names, scores, resolution=0.0)


def test_values_out_of_range_are_named():
    with pytest.raises(InputError, match=r"resolution must be at least 0, got -0\.5"):
        three(resolution=-0.5)
    with pytest.raises(InputError, match="accuracy of 'a' must be finite, got nan"):
        three(accuracies={"a": math.nan})
    with pytest.raises(InputError, match="scores must be best first"):
        Ranking(("a", "b"), np.float32([1, 2]), 0.0)
