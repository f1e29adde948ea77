"""Features that exist already: every format into the store, checked, streamed, never unpickled."""

import json
import tracemalloc
import zipfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spider_jax.extract import import_features
from spider_jax.extract.export import feature_files
from spider_jax.extract.export.feature_files import open_rows
from spider_jax.extract.export.record import name_extractor
from spider_jax.zoo.store import FeatureStore
from support.command_line import Command, one_line

Refused = Callable[..., AbstractContextManager[None]]
LABELS = np.arange(50) % 3
FEATURES = np.random.default_rng(0).normal(size=(50, 7)).astype(np.float32)


def write_safetensors(path: Path, **arrays: Any) -> Path:
    """By the format's own description: length, JSON, data."""
    kinds = {"float16": "F16", "float32": "F32", "float64": "F64", "int64": "I64"}
    header, data = {}, b""
    for name, array in arrays.items():
        offsets = [len(data), len(data) + array.nbytes]
        header[name] = {"dtype": kinds[array.dtype.name], "shape": array.shape}
        header[name]["data_offsets"] = offsets
        data += array.tobytes()
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


def write_parquet(path: Path, **columns: Any) -> Path:
    pyarrow = pytest.importorskip("pyarrow", reason=".parquet needs pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    made = {
        name: pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(c.ravel()), c.shape[1])
        if isinstance(c, np.ndarray) and c.ndim == 2
        else pyarrow.array(c)
        for name, c in columns.items()
    }
    parquet.write_table(pyarrow.table(made), path, row_group_size=16)
    return path


def write(path: Path, features: Any) -> Path:
    if path.suffix == ".npy":
        np.save(path, features)
    elif path.suffix == ".npz":
        (np.savez_compressed if "compressed" in path.name else np.savez)(path, features=features)
    elif path.suffix == ".safetensors":
        write_safetensors(path, features=features)
    else:
        write_parquet(path, features=features)
    return path


FILES = ("a.npy", "a.npz", "compressed.npz", "a.safetensors", "a.parquet")


@pytest.mark.parametrize("name", FILES)
def test_every_format(tmp_path: Path, name: str, monkeypatch: Any) -> None:
    monkeypatch.setattr(feature_files, "BLOCK_BYTES", 200)  # several blocks
    for dtype, stored in (("float16", "float16"), ("float32", "float32"), ("float64", "float32")):
        features = FEATURES.astype(dtype)
        import_features(
            tmp_path / "zoo", dtype, "toys", write(tmp_path / name, features), labels=LABELS
        )
        found = FeatureStore(tmp_path / "zoo").features(dtype, "toys")
        assert found.dtype == stored
        assert (found == features.astype(stored)).all()
    zoo = FeatureStore(tmp_path / "zoo")
    assert (zoo.labels("toys") == LABELS).all()
    assert zoo.model_info("float16")["source"] == f"features:{name}"
    assert zoo.problems == []
    assert not (tmp_path / "zoo" / ".extract").exists()


def test_columns_of_floats_side_by_side(tmp_path: Path) -> None:
    columns = {f"x{i}": FEATURES[:, i] for i in range(7)}
    path = write_parquet(tmp_path / "wide.parquet", name=["a"] * 50, **columns)
    blocks = list(open_rows(path, None).blocks())
    assert (np.concatenate(blocks) == FEATURES).all()


def test_safetensors_as_the_package_writes_them(tmp_path: Path) -> None:
    save = pytest.importorskip("safetensors.numpy", reason="the reference").save_file
    save({"other": FEATURES[:3], "it": FEATURES}, tmp_path / "a.safetensors", metadata={"a": "b"})
    assert (
        np.concatenate(list(open_rows(tmp_path / "a.safetensors", "it").blocks())) == FEATURES
    ).all()


def test_labels_of_the_zoo(tmp_path: Path, refused: Refused) -> None:
    zoo, path = tmp_path / "zoo", write(tmp_path / "a.npy", FEATURES)
    with refused("no labels of 'toys'"):
        import_features(zoo, "m", "toys", path)
    FeatureStore.write_labels(zoo, "toys", LABELS)
    import_features(zoo, "m", "toys", path, extractor=True)
    assert FeatureStore(zoo).extractor == "m"
    with refused("other labels", "row 0"):
        import_features(zoo, "n", "toys", path, labels=(LABELS + 1) % 3)
    with refused("other width"):
        import_features(zoo, "m", "more", write(tmp_path / "b.npy", FEATURES[:, :3]), labels=LABELS)
    assert FeatureStore(zoo).models == ("m",)


def test_float16_where_it_fits(tmp_path: Path, caplog: Any) -> None:
    zoo = tmp_path / "zoo"
    edge = FEATURES.copy()
    edge[9, 1] = 65504
    import_features(
        zoo, "edge", "toys", write(tmp_path / "e.npy", edge), labels=LABELS, dtype="float16"
    )
    assert FeatureStore(zoo).features("edge", "toys").dtype == np.float16
    assert caplog.text == ""
    edge[9, 1] = 70000
    import_features(
        zoo, "far", "toys", write(tmp_path / "f.npy", edge), labels=LABELS, dtype="float16"
    )
    assert (FeatureStore(zoo).features("far", "toys") == edge).all()
    assert "f.npy: row 9 holds 70000, beyond 65504: written as float32" in caplog.text


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    rows, width = 6000, 2048  # 49 MB
    big = np.lib.format.open_memmap(tmp_path / "big.npy", "w+", np.float32, (rows, width))
    big[:] = 1
    big.flush()
    with zipfile.ZipFile(tmp_path / "big.npz", "w") as file:
        file.write(tmp_path / "big.npy", "features.npy")
    labels = np.arange(rows) % 2
    for name in ("big.npy", "big.npz"):
        tracemalloc.start()
        import_features(tmp_path / "zoo", name, "big", tmp_path / name, labels=labels)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 3.5 * feature_files.BLOCK_BYTES, name
        assert peak > 0


def test_an_unfinished_export_outlives_an_import(tmp_path: Path) -> None:
    zoo, path = tmp_path / "zoo", write(tmp_path / "a.npy", FEATURES)
    work = zoo / ".extract" / "m" / "toys"
    for left, name in (("block-00000000.npy", "plan.json"), (".imported.npy.killed", "other")):
        work.mkdir(parents=True, exist_ok=True)
        (work / left).touch()
        (work / name).touch()
        import_features(zoo, "m", "toys", path, labels=LABELS)
        assert work.exists() == (name == "plan.json")
        (work / name).unlink(missing_ok=True)


# ---- bad input -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FILES)
def test_a_value_that_is_not_finite(tmp_path: Path, name: str, refused: Refused) -> None:
    bad = FEATURES.copy()
    bad[31, 2] = np.inf
    path = write(tmp_path / name, bad)
    with refused(name, "row 31 has NaN or infinite"):
        import_features(tmp_path / "zoo", "m", "toys", path, labels=LABELS)
    assert list((tmp_path / "zoo").iterdir()) == []


def test_an_npy_with_pickled_objects(tmp_path: Path, refused: Refused, command: Command) -> None:
    objects = np.array([[{}]], object)
    np.save(tmp_path / "o.npy", objects, allow_pickle=True)
    np.savez(tmp_path / "o.npz", features=objects, allow_pickle=True)
    for name in ("o.npy", "o.npz"):
        with refused(name, "Python objects"):
            import_features(
                tmp_path / "zoo", "m", "toys", tmp_path / name, labels=LABELS, key="features"
            )
    np.save(tmp_path / "labels.npy", LABELS)
    found = command(
        "extract", "--model", f"m=features:{tmp_path / 'o.npy'}",
        "--data", f"toys=arrays:{tmp_path / 'labels.npy'}", "--out", tmp_path / "zoo",
    )  # fmt: skip
    one_line(found, "o.npy", "Python objects")


def test_labels_one_row_short(tmp_path: Path, command: Command) -> None:
    np.save(tmp_path / "labels.npy", LABELS[:-1])
    path = write(tmp_path / "a.npz", FEATURES)
    arguments = ["--data", f"toys=arrays:{tmp_path / 'labels.npy'}", "--out", tmp_path / "zoo"]
    found = command("extract", "--model", f"features:{path}", *arguments)
    one_line(found, "a.npz", "N=50", "got 49", "row 49")
    np.save(tmp_path / "labels.npy", LABELS)
    found = command(
        "extract", "--model", f"m=features:{path}?key=features", *arguments, "--extractor"
    )
    assert (found.code, found.out) == (0, "written: m on toys\n")
    assert FeatureStore(tmp_path / "zoo").extractor == "m"


def test_damaged_files(tmp_path: Path, refused: Refused) -> None:
    for name in FILES:
        path = write(tmp_path / name, FEATURES)
        path.write_bytes(path.read_bytes()[:-60])
        with refused(name):
            import_features(tmp_path / "zoo", "m", "toys", path, labels=LABELS)
    path = tmp_path / "b.safetensors"
    for start, text in (
        (b"\xff" * 8, b"{}"),
        (b"\2" + bytes(7), b"[]"),
        (b"\2" + bytes(7), b"{}"),
        (b"\x0f" + bytes(7), b'{"features":{}}'),
    ):
        path.write_bytes(start + text)
        with refused("b.safetensors"):
            open_rows(path, None)
    for name in ("c.txt", "none.npy"):
        with refused(name):
            open_rows(tmp_path / name, None)


def test_what_is_no_matrix_of_floats(tmp_path: Path, refused: Refused) -> None:
    np.save(tmp_path / "a.npy", LABELS)
    with refused("floats [N, D]", "int64"):
        open_rows(tmp_path / "a.npy", None)
    np.savez(tmp_path / "a.npz", x=FEATURES, y=FEATURES)
    with refused("key must be one of 'x', 'y'"):
        open_rows(tmp_path / "a.npz", None)
    write_safetensors(tmp_path / "a.safetensors", x=LABELS[:, None])
    with refused("dtype must be one of", "I64"):
        open_rows(tmp_path / "a.safetensors", "x")


def test_parquet_lists_that_do_not_fit(tmp_path: Path, refused: Refused) -> None:
    ragged = [[1.0, 2.0]] * 20 + [[1.0]] + [[1.0, 2.0]] * 3
    path = write_parquet(tmp_path / "ragged.parquet", x=ragged)
    with refused("row 20", "another length"):
        list(open_rows(path, "x").blocks())
    path = write_parquet(tmp_path / "holes.parquet", x=[[1.0]] * 18 + [None, [1.0]])
    with refused("no value in row 18"):
        list(open_rows(path, "x").blocks())


def test_another_extractor_is_announced(small_zoo: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Spiders trained with the one before cannot rank by the new one."""
    with caplog.at_level("WARNING", "spider_jax"):
        name_extractor(small_zoo, "psi")
        assert caplog.text == ""
        name_extractor(small_zoo, "wide")
    assert "the extractor is 'wide' now" in caplog.text
    assert "'psi'" in caplog.text
    assert FeatureStore(small_zoo).extractor == "wide"
