"""Target tasks from any data: unlabelled, regression and multi-label; texts and tables."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spider_jax.tasks.clusters import k_means, quantile_bins

torch: Any = pytest.importorskip("torch", reason="the toy models are torch's")
pytest.importorskip("PIL", reason="pictures need pillow")

from spider_jax.extract import extract, task_from
from spider_jax.extract.readers import open_data
from spider_jax.zoo.store import FeatureStore
from support.toy_extract import SPEC, normalised, pictures, tiny, write_folder

Refused = Callable[..., AbstractContextManager[None]]


def features(count: int) -> Any:
    with torch.no_grad():
        return torch.relu(tiny().convolution(normalised(pictures(count)))).mean((2, 3)).numpy()


# ---- classes for data without ----------------------------------------------------------------


def test_k_means_finds_blobs() -> None:
    rng = np.random.default_rng(0)
    blob = np.repeat(np.arange(4), (30, 5, 12, 1))
    rows = 20 * rng.normal(size=(4, 3))[blob] + 0.1 * rng.normal(size=(48, 3))
    found = k_means(rows.astype(np.float32), 4, 0)
    assert len({(a, b) for a, b in zip(blob, found, strict=True)}) == 4  # the same, renamed
    assert (k_means(rows, 4, 0) == found).all()


def test_k_means_is_a_fixed_point() -> None:
    """Every row is nearest to the mean of its own cluster, and none is empty."""
    rows = np.random.default_rng(1).normal(size=(300, 5))
    found = k_means(rows, 7, 0)
    centres = np.stack([rows[found == k].mean(0) for k in range(7)])
    distances = np.square(rows[:, None] - centres).sum(2)
    assert (distances.argmin(1) == found).all()


def test_k_means_of_too_few_rows(refused: Refused) -> None:
    with refused("3 clusters need as many different rows, got 2"):
        k_means(np.repeat(np.eye(2), 4, 0), 3, 0)
    with refused("at least 2"):
        k_means(np.eye(3), 1, 0)
    assert sorted(k_means(np.eye(3), 3, 0)) == [0, 1, 2]


def test_quantile_bins(refused: Refused) -> None:
    targets = np.random.default_rng(0).permutation(np.arange(100.0))
    assert (quantile_bins(targets, 4) == (targets // 25)).all()
    assert quantile_bins(np.array([1.0, 1, 1, 1, 9]), 4).tolist() == [0, 0, 0, 0, 1]
    with refused("at least 2"):
        quantile_bins(targets, 1)


# ---- tokens ----------------------------------------------------------------------------------


def test_unlabelled_pictures(tmp_path: Path) -> None:
    write_folder(tmp_path / "x", per_class=9, classes=("all",))
    task = task_from(f"folder:{tmp_path / 'x' / 'all'}", SPEC, clusters=3)
    F = features(9)
    found = k_means(F, 3, 0)
    assert task.classes == ("cluster 0", "cluster 1", "cluster 2")
    for k in range(3):
        np.testing.assert_allclose(task.tokens.centres[k], F[found == k].mean(0), atol=1e-5)


def test_regression_and_multi_label(tmp_path: Path) -> None:
    F, targets = features(8), np.arange(8.0)
    np.savez(tmp_path / "a.npz", images=pictures(8), labels=targets)
    task = task_from(f"arrays:{tmp_path / 'a.npz'}", SPEC, bins=2)
    wanted = np.stack([F[:4].mean(0), F[4:].mean(0)])
    np.testing.assert_allclose(task.tokens.centres, wanted, atol=1e-5)
    marks = np.zeros((8, 3), bool)
    marks[:5, 0] = marks[3:, 2] = True  # no row has label 1
    np.savez(tmp_path / "b.npz", images=pictures(8), labels=marks)
    task = task_from(f"arrays:{tmp_path / 'b.npz'}", SPEC)
    assert task.classes == ("label 0", "label 2")
    np.testing.assert_allclose(task.tokens.centres, [F[:5].mean(0), F[3:].mean(0)], atol=1e-5)
    np.savez(tmp_path / "c.npz", images=pictures(8), labels=np.stack([targets, -targets], 1))
    assert len(task_from(f"arrays:{tmp_path / 'c.npz'}", SPEC, bins=2).tokens.centres) == 2


def test_another_extractor_than_the_zoo_has(tmp_path: Path, refused: Refused) -> None:
    data = f"folder:{write_folder(tmp_path / 'pets')}"
    extract([f"psi={SPEC}"], [data], tmp_path / "zoo", extractor=True)
    zoo = FeatureStore(tmp_path / "zoo")
    assert task_from(data, f"psi={SPEC}", zoo=zoo).classes == ("cat", "dog")
    with refused("has extractor 'psi', got 'tiny'", "psi=torch:support.toy_extract:tiny"):
        task_from(data, SPEC, zoo=zoo)
    with refused("its weights_sha256 is not that of"):
        task_from(data, f"psi={SPEC.replace('tiny', 'other')}", zoo=zoo)
    with refused("its preprocessing is not that of"):
        task_from(data, f"psi={SPEC}&mean=0", zoo=zoo)
    with refused("must be a model"):
        task_from(data, "features:a.npy")


# ---- tables ----------------------------------------------------------------------------------


def write_csv(path: Path, *lines: str) -> str:
    path.write_text("\n".join(lines) + "\n")
    return f"csv:{path}"


def test_csv(tmp_path: Path) -> None:
    spec = write_csv(tmp_path / "a.csv", "text,label", '"a, b",yes', "c,no", "d,yes")
    data = open_data(spec)
    assert (data.modality, data.rows, data.item(0), data.classes) == (
        "text",
        3,
        "a, b",
        ("no", "yes"),
    )
    assert data.labels is not None
    assert data.labels.tolist() == [1, 0, 1]
    for values, kind, dtype in (("1 5 1", "classification", "i"), ("1 0.5 2", "regression", "f")):
        lines = [f"t,{value}" for value in values.split()]
        data = open_data(
            write_csv(tmp_path / "b.csv", "line,price", *lines) + "?text=line&label=price"
        )
        assert data.labels is not None
        assert (data.kind, data.labels.dtype.kind) == (kind, dtype)
    unlabelled = open_data(write_csv(tmp_path / "c.csv", "text", "a", "b"))
    assert (unlabelled.labels, unlabelled.rows) == (None, 2)


def test_bad_csv(tmp_path: Path, refused: Refused) -> None:
    path = tmp_path / "a.csv"

    def bad(*mentions: str, lines: tuple[str, ...], options: str = "") -> None:
        with refused("a.csv", *mentions):
            open_data(write_csv(path, *lines) + options)

    bad("line 3 has 1 cells, the first line 2", "comma", lines=("text,label", "a,1", "b"))
    bad("line 3 has no label", lines=("text,label", "a,1", "b,"))
    bad("neither a text nor a label", lines=("x,y", "a,1"))
    bad("no column 'z'", "'x', 'y'", lines=("x,y", "a,1"), options="?text=z")
    bad("header line and rows", lines=("text,label",))
    bad("needs numbers", lines=("text,label", "a,b"), options="?kind=regression")
    path.write_bytes(b"text\n\xff\n")
    with refused("a.csv", "not a readable CSV"):
        open_data(f"csv:{path}")


def test_embeddings_in_a_table(tmp_path: Path) -> None:
    F = np.random.default_rng(0).normal(size=(6, 3))
    lines = [f"{i},{i % 2},{','.join(map(repr, map(float, row)))}" for i, row in enumerate(F)]
    data = write_csv(tmp_path / "a.csv", "id,label,x,y,z", *lines)
    assert extract([f"m=features:{tmp_path / 'a.csv'}"], [data], tmp_path / "zoo").problems == []
    zoo = FeatureStore(tmp_path / "zoo")
    assert (zoo.features("m", "a") == F.astype(np.float32)).all()
    assert zoo.labels("a").tolist() == [0, 1, 0, 1, 0, 1]


def test_parquet(tmp_path: Path, refused: Refused) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason=".parquet needs pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    rows = [[float(i), 1.0] for i in range(4)]
    table = pyarrow.table({"text": list("abcd"), "label": ["u", "v", "u", "v"], "e": rows})
    parquet.write_table(table, tmp_path / "a.parquet")
    data = open_data(f"parquet:{tmp_path / 'a.parquet'}")
    assert (data.item(3), data.classes, data.modality) == ("d", ("u", "v"), "text")
    model = f"m=features:{tmp_path / 'a.parquet'}?key=e"
    assert extract([model], [f"parquet:{tmp_path / 'a.parquet'}"], tmp_path / "zoo").problems == []
    assert FeatureStore(tmp_path / "zoo").features("m", "a").tolist() == rows
    parquet.write_table(pyarrow.table({"text": ["a", None]}), tmp_path / "b.parquet")
    with refused("b.parquet (row 1) has no text"):
        open_data(f"parquet:{tmp_path / 'b.parquet'}").item(1)
    (tmp_path / "c.parquet").write_bytes(b"PAR1")
    with refused("c.parquet"):
        open_data(f"parquet:{tmp_path / 'c.parquet'}")
