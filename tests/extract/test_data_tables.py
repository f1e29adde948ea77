"""Tables as people write them: encodings, delimiters, and columns whose values are labels."""

import datetime
from collections.abc import Callable
from contextlib import AbstractContextManager
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spider_jax.extract.data.csv_rows import open_csv
from spider_jax.extract.data.label_values import labels_of
from spider_jax.extract.readers import open_data

Refused = Callable[..., AbstractContextManager[None]]


# ---- labels ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        ("007", "7", "08"),
        ("1e3", "2e3", "1E3"),
        ("inf", "-inf", "inf"),
        ("inf", "sup", "max"),
        ("+1", "-1", "+1"),
        ("1_000", "2_000", "3"),
        ("18446744073709551616", "99999999999999999999", "3"),
        ("None", "NA", "null"),
        ("1,5", "2", "3"),
        ("\u0661", "\u0662", "cat"),  # digits of another script
        ("2024-01-01", "2024-01-02", "2024-01-01"),
    ],
    ids=lambda words: words[0],
)
def test_words_stay_words(words: tuple[str, ...]) -> None:
    labels, classes, kind = labels_of(words, None, "here")
    assert kind == "classification"
    assert classes == tuple(sorted(set(words)))
    assert labels is not None
    assert [classes[label] for label in labels] == list(words)


@pytest.mark.parametrize(
    ("values", "kind", "wanted"),
    [
        (("3", "0", "12"), "classification", (3, 0, 12)),
        ((2**40, 2**40 + 1, 5), "classification", (2**40, 2**40 + 1, 5)),
        ((True, False, True), "classification", (1, 0, 1)),
        (("0.5", "1e-05", "2"), "regression", (0.5, 1e-5, 2)),
        ((0.5, 1, 2.25), "regression", (0.5, 1, 2.25)),
        ((Decimal("0.1"), Decimal(2), Decimal(3)), "regression", (0.1, 2, 3)),
        (([0, 1], [1, 1], [0, 0]), "multi-label", ([0, 1], [1, 1], [0, 0])),
        (([0.5, 1], [1, 1], [0, 0]), "regression", ([0.5, 1], [1, 1], [0, 0])),
    ],
)
def test_numbers_are_numbers(values: Any, kind: str, wanted: Any) -> None:
    labels, classes, found = labels_of(values, None, "here")
    assert (found, classes) == (kind, None)
    np.testing.assert_array_equal(labels, np.array(wanted))


@pytest.mark.parametrize("big", [2**63, 2**64, 10**20])
def test_identifiers_of_any_length_are_classes(big: int) -> None:
    labels, classes, kind = labels_of([big, big + 1, big], None, "here")
    assert (kind, classes) == ("classification", (str(big), str(big + 1)))
    assert labels is not None
    assert labels.tolist() == [0, 1, 0]


def test_other_values_are_named() -> None:
    day = datetime.date(2024, 1, 2)
    assert labels_of([day, day], None, "here").classes == ("2024-01-02",)
    assert labels_of([b"ant", b"bee"], None, "here").classes == ("ant", "bee")
    assert labels_of([" ant", "ant ", "bee"], None, "here").classes == ("ant", "bee")


@pytest.mark.parametrize(
    "missing", [None, "", "  ", "nan", "NaN", float("nan")], ids=lambda v: repr(v)
)
@pytest.mark.parametrize("others", [("ant", "bee"), ("0", "1"), ("0.5", "1.5")])
def test_a_missing_label_is_refused(missing: object, others: Any, refused: Refused) -> None:
    with refused("row 2 has no label", "2 of 5 rows"):
        labels_of([*others, missing, others[0], missing], None, "here")


def test_missing_numbers_are_refused(refused: Refused) -> None:
    with refused("row 1", "no label"):
        labels_of([0.5, None, 1.5], None, "here")
    with refused("row 1 is not finite"):
        labels_of([0.5, float("nan"), 1.5], None, "here")
    with refused("1 rows have label -1", "first row 2"):
        labels_of(["0", "1", "-1"], None, "here")


def test_doubtful_words_are_said(caplog: pytest.LogCaptureFixture) -> None:
    labels_of(["yes", "None", "no", "None"], None, "here")
    assert "here: taken as classes: 'None' (2 rows)" in caplog.text


# ---- files -----------------------------------------------------------------------------------


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_delimiters_and_encodings(tmp_path: Path, delimiter: str, encoding: str) -> None:
    rows = [("text", "label"), ("a, b; c", "ant"), ("grün", "bee"), ('"q"', "ant")]
    quoted = [['"' + cell.replace('"', '""') + '"' for cell in row] for row in rows]
    text = "\r\n".join(delimiter.join(row) for row in quoted)
    (tmp_path / "a.csv").write_bytes(text.encode(encoding))
    data = open_data(f"csv:{tmp_path / 'a.csv'}")
    assert [data.item(row) for row in range(data.rows)] == [text for text, _ in rows[1:]]
    assert data.classes == ("ant", "bee")


def test_a_decimal_comma(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text;label\nred, green;0,5\nblue;-1,25\n")
    data = open_data(f"csv:{tmp_path / 'a.csv'}")
    assert data.labels is not None
    assert (data.kind, data.labels.tolist()) == ("regression", [0.5, -1.25])
    assert data.item(0) == "red, green"


def test_the_column_called_label_is_the_label(tmp_path: Path, refused: Refused) -> None:
    (tmp_path / "a.csv").write_text("Text, Label,score\na,x,1\nb,y,2\n")
    data = open_data(f"csv:{tmp_path / 'a.csv'}")
    assert (data.modality, data.classes) == ("text", ("x", "y"))
    (tmp_path / "b.csv").write_text("text,label,label\na,x,1\nb,y,2\n")
    with refused("2 columns 'label'"):
        open_data(f"csv:{tmp_path / 'b.csv'}")
    (tmp_path / "c.csv").write_text("good film,1\nbad film,0\n")
    with refused("its first line must name the columns", "'good film', '1'"):
        open_data(f"csv:{tmp_path / 'c.csv'}")


def test_lines_are_those_of_an_editor(tmp_path: Path, refused: Refused) -> None:
    path = tmp_path / "a.csv"
    path.write_text('text,label\n"two\nlines",x\n\nb,y\nc,\n')
    with refused("line 6 has no label"):
        open_data(f"csv:{path}")
    path.write_text('text,label\n"two\nlines",x\n\nb,y\nc,x,more\n')
    with refused("line 6 has 3 cells, the first line 2", "comma"):
        open_data(f"csv:{path}")
    path.write_text('text,label\n"two\nlines",x\n\nb,y\n\n')
    data = open_data(f"csv:{path}")
    assert (data.rows, data.where(0), data.where(1)) == (2, f"{path} (line 2)", f"{path} (line 5)")


def test_blank_lines_of_a_single_column(tmp_path: Path, refused: Refused) -> None:
    (tmp_path / "a.csv").write_text("label\nx\n\ny\n\n\n")
    assert [line for line, _ in open_csv(tmp_path / "a.csv").records()] == [2, 3, 4]
    with refused("line 3 has no label"):
        open_data(f"csv:{tmp_path / 'a.csv'}")


def test_empty_and_missing_texts_are_one(tmp_path: Path, refused: Refused) -> None:
    (tmp_path / "a.csv").write_text("text,label\n  ,x\nb,y\n")
    np.savez(tmp_path / "a.npz", texts=np.array(["", "b"]), labels=[0, 1])
    for spec, where in (
        (f"csv:{tmp_path / 'a.csv'}", "line 2"),
        (f"arrays:{tmp_path / 'a.npz'}", "row 0"),
    ):
        data = open_data(spec)
        assert data.item(1) == "b"
        with refused(f"({where}) has no text"):
            data.item(0)
