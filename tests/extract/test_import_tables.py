"""Features in the columns of tables: which columns are features, and which are never."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest

from spider_jax.extract import extract, import_features
from spider_jax.extract.export.feature_files import open_rows
from spider_jax.zoo.store import FeatureStore

Refused = Callable[..., AbstractContextManager[None]]
F = np.random.default_rng(0).normal(size=(12, 3)).round(4)
NAMES = ["x", "y", "z"]
LABELS = np.arange(12) * 5 % 12 % 3


def table(
    path: Path,
    more: dict[str, list[object]] | None = None,
    header: bool = True,
    delimiter: str = ",",
    point: str = ".",
    encoding: str = "utf-8",
) -> Path:
    columns = {**(more or {}), **dict(zip(NAMES, F.T.tolist(), strict=True))}
    lines = [list(columns)] if header else []
    lines += [list(map(str, row)) for row in zip(*columns.values(), strict=True)]
    text = "\n".join(delimiter.join(cell.replace(".", point) for cell in row) for row in lines)
    path.write_bytes((text + "\n").encode(encoding))
    return path


def matrix(path: Path, key: str | None = None) -> list[list[float]]:
    rows = open_rows(path, key)
    found = np.concatenate(list(rows.blocks()))
    assert rows.shape == found.shape
    return found.tolist()


@pytest.mark.parametrize(
    "form",
    [
        {},
        {"header": False},
        {"delimiter": ";"},
        {"delimiter": ";", "point": ","},
        {"delimiter": ";", "point": ",", "header": False},
        {"delimiter": "\t"},
        {"delimiter": "\t", "point": ","},
        {"delimiter": "|"},
        {"encoding": "utf-16"},
        {"encoding": "utf-16-le", "delimiter": ";"},
        {"encoding": "utf-8-sig"},
    ],
    ids=str,
)
def test_every_form(tmp_path: Path, form: dict[str, object]) -> None:
    assert matrix(table(tmp_path / "a.csv", **form)) == F.tolist()  # type: ignore[arg-type]
    assert matrix(table(tmp_path / "a.tsv", **form)) == F.tolist()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "values", "said"),
    [
        ("", list(range(12)), "''"),
        ("Unnamed: 0", list(range(12)), "'Unnamed: 0'"),
        ("", list(range(100, 112)), "''"),
        ("n", list(range(12)), "'n' (row numbers)"),
        ("n", list(range(1, 13)), "'n' (row numbers)"),
        ("shuffled", [i * 5 % 12 for i in range(12)], "'shuffled' (row numbers)"),
        ("floats", [float(i) for i in range(12)], "'floats' (row numbers)"),
        ("file_", [f"{i}.png" for i in range(12)], "'file_' (words)"),
        ("Label", LABELS.tolist(), ""),
        ("id", [7 * i for i in range(12)], ""),
        ("index", [7 * i for i in range(12)], ""),
        ("target", [0.5 * i for i in range(12)], ""),
    ],
)
def test_what_is_no_feature(
    tmp_path: Path, name: str, values: list[object], said: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert matrix(table(tmp_path / "a.csv", {name: values})) == F.tolist()
    assert said in caplog.text
    assert (caplog.text != "") == (said != "")


def test_columns_that_are_named(tmp_path: Path, refused: Refused) -> None:
    path = table(tmp_path / "a.csv", {"n": list(range(12)), "word": ["a"] * 12})
    assert matrix(path, "z,x") == F[:, [2, 0]].tolist()
    assert matrix(path, "n") == [[i] for i in range(12)]
    with refused("key must be among", "'word'", "got 'w'"):
        open_rows(path, "x,w")
    with refused("line 2: column 'word' must be a number, got 'a'"):
        open_rows(path, "word")


def test_names_that_are_numbers(tmp_path: Path) -> None:
    """As a data frame is written, with and without its index."""
    body = [",".join(map(str, row)) for row in F.tolist()]
    (tmp_path / "a.csv").write_text("\n".join(["0,1,2", *body]))
    assert matrix(tmp_path / "a.csv") == F.tolist()
    body = [f"{i},{line}" for i, line in enumerate(body)]
    (tmp_path / "a.csv").write_text("\n".join([",0,1,2", *body]))
    assert matrix(tmp_path / "a.csv") == F.tolist()


def test_the_label_is_no_feature_whatever_its_name(tmp_path: Path, refused: Refused) -> None:
    path = table(tmp_path / "a.csv", {"species": LABELS.tolist()})
    with refused("column 'species' is the label of every row"):
        import_features(tmp_path / "zoo", "m", "t", path, labels=LABELS)
    assert not (tmp_path / "zoo" / "features").exists()
    assert not (tmp_path / "zoo" / "labels").exists()
    import_features(tmp_path / "zoo", "m", "t", path, labels=LABELS, key="x,y")
    assert FeatureStore(tmp_path / "zoo").features("m", "t").shape == (12, 2)
    price = table(tmp_path / "b.csv", {"price": F.sum(1).tolist()})
    (problem,) = extract(
        [f"m=features:{price}"], [f"csv:{price}?label=price"], tmp_path / "more"
    ).problems
    assert "column 'price' is the label" in problem.message


def test_floats_of_a_parquet_table(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason=".parquet needs pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    columns = dict(zip(NAMES, F.T.tolist(), strict=True))
    more = {"label": LABELS.astype(float), "index": np.arange(12.0), "n": np.arange(12)}
    parquet.write_table(pyarrow.table({**more, **columns}), tmp_path / "a.parquet")
    assert matrix(tmp_path / "a.parquet") == F.tolist()


@pytest.mark.parametrize(
    ("text", "mentions"),
    [
        ("a,b\n1.5,2,3\n2,3,4\n", ("line 2 has 3 cells, the first line 2", "comma")),
        ("a;b\n1.5;2\n2;3;4\n", ("line 3 has 3 cells", "semicolon")),
        ("a,b\n1.5,2\n,3\n", ("line 3: column 'a' must be a number, got ''",)),
        ("a,b\n1.5,2\nx,3\n", ("line 3: column 'a' must be a number, got 'x'",)),
        ("label,word\n0,a\n1,b\n", ("no columns of numbers", "'label', 'word'")),
        ("a,b\n", ("no columns of numbers",)),
        ("", ("no columns of numbers",)),
    ],
)
def test_bad_tables(tmp_path: Path, text: str, mentions: tuple[str, ...], refused: Refused) -> None:
    (tmp_path / "a.csv").write_text(text)
    with refused("a.csv", *mentions):
        open_rows(tmp_path / "a.csv", None)
