""".npy files: read by header, refused where broken, checked in chunks, written whole."""

import io
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spider_jax.errors import InputError
from spider_jax.storage.files import name_to_component
from spider_jax.storage.npy import (
    Header,
    check_finite,
    check_rows_sum_to_one,
    read_header,
    write_array,
)


class Bomb:
    """Unpickling one creates the file `marker`."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.marker,)


def npy(array: np.ndarray, version: tuple[int, int] = (1, 0)) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, array, version=version)
    return file.getvalue()


def npy_header(literal: bytes, version: bytes = b"\1\0") -> bytes:
    size = 2 if version == b"\1\0" else 4
    return b"\x93NUMPY" + version + len(literal).to_bytes(size, "little") + literal


@pytest.mark.parametrize("version", [(1, 0), (2, 0)])
@pytest.mark.parametrize("dtype", ["float16", "float32", "int8", "bool", "int64", ">f4"])
@pytest.mark.parametrize("shape", [(), (3,), (0, 3), (2, 3), (2, 3, 4)])
def test_header_is_what_numpy_wrote(
    tmp_path: Path, shape: tuple[int, ...], dtype: str, version: tuple[int, int]
) -> None:
    array, path = np.zeros(shape, dtype), tmp_path / "a.npy"
    path.write_bytes(npy(array, version))
    assert read_header(path) == (array.shape, array.dtype, array.nbytes)


def test_python_objects_are_never_loaded(tmp_path: Path, refused: Any) -> None:
    path, marker = tmp_path / "a.npy", tmp_path / "marker"
    objects = np.array([Bomb(marker)], dtype=object)
    np.save(path, objects, allow_pickle=True)
    with refused(path, "objects"):
        read_header(path)
    with refused("'a'", "objects"):
        write_array(tmp_path / "written", "a", objects)
    assert not marker.exists()
    pickle.loads(pickle.dumps(objects))
    assert marker.exists()  # so the bomb was live


WHOLE = npy(np.ones((4, 3), np.float32))
LITERAL = "{'descr': '<f4', 'fortran_order': False, 'shape': %s, }\n"


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        (WHOLE[:-1], "48 bytes of data expected, got 47"),
        (WHOLE + b"\0\0", "48 bytes of data expected, got 50"),
        (WHOLE[:60], "not a readable"),
        (WHOLE[:7], "not a readable"),
        (b"", "not a readable"),
        (b"model,task\n", "not a readable"),
        (npy(np.ones(2), version=(3, 0)), "version"),
        (npy_header((LITERAL % "(4294967296, 4294967296)").encode()), "expected, got 0"),
        (npy_header((LITERAL % "(-2, -3)").encode()) + bytes(24), "shape"),
        (npy_header((LITERAL % "(2.0,)").encode()) + bytes(8), "shape"),
        (npy_header((LITERAL % "(2,").encode()), "not a readable"),
        (npy_header(b"(" * 5000), "not a readable"),
        (npy_header(b" " * 20_000), "not a readable"),  # NumPy answers with several lines
        (npy_header(b" " * 70_000, b"\2\0"), "not a readable"),
        (npy_header(b"{'shape': (1,)}\n"), "not a readable"),
    ],
    ids=lambda value: value if isinstance(value, str) else "npy",
)
def test_npy_files_that_are_refused(
    tmp_path: Path, content: bytes, rule: str, refused: Any
) -> None:
    path = tmp_path / "a.npy"
    path.write_bytes(content)
    with refused(path, rule):
        read_header(path)


def test_npy_that_is_no_file(tmp_path: Path, refused: Any) -> None:
    for path in (tmp_path, tmp_path / "missing.npy"):
        with refused(path, "not a readable"):
            read_header(path)


HEADER_BYTES = st.sampled_from(b"(){}[]'\"\\,:-0123456789<>fLTF\n\t#@ \x00\xff")


@given(st.lists(st.tuples(st.integers(0, 80), HEADER_BYTES), min_size=1, max_size=4))
def test_a_broken_header_is_refused_or_harmless(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, int]]
) -> None:
    content = bytearray(WHOLE)
    for position, byte in changes:
        content[position] = byte
    path = tmp_path_factory.getbasetemp() / "broken.npy"
    path.write_bytes(content)
    try:
        answer: Header | InputError = read_header(path)
    except InputError as error:
        answer = error
    assert len(str(answer).splitlines()) == 1
    assert isinstance(answer, InputError) or np.load(path, mmap_mode="r").shape == answer.shape


@pytest.mark.parametrize("order", ["C", "F"])
def test_written_array_comes_back(tmp_path: Path, order: Any) -> None:
    array = np.asarray(np.arange(6, dtype=np.float32).reshape(2, 3), order=order)
    write_array(tmp_path, "../a", array)
    assert os.listdir(tmp_path) == ["%2E.%2Fa.npy"]
    np.testing.assert_array_equal(np.load(tmp_path / "%2E.%2Fa.npy"), array, strict=True)


@pytest.mark.parametrize(
    ("name", "twin"), [("ResNet", "resnet"), ("É/x", "é/x"), ("x.NPY", "x.npy")]
)
def test_case_twins_are_refused_on_writing(
    tmp_path: Path, name: str, twin: str, refused: Any
) -> None:
    write_array(tmp_path, name, np.zeros(2))
    with refused(repr(name), repr(twin), "case"):
        write_array(tmp_path, twin, np.ones(3))
    write_array(tmp_path, name, np.ones(3))  # its own name it may take again
    assert np.load(tmp_path / f"{name_to_component(name)}.npy").shape == (3,)


def test_check_finite_counts_over_all_chunks(refused: Any) -> None:
    matrix = np.zeros((2_200_000, 4), np.float16)  # more than one chunk of 16 MiB
    check_finite(matrix, "features")
    matrix[2_150_000, 1:3] = np.nan
    matrix[2_199_999, 0] = -np.inf
    with refused("features", "2 rows", "First row: 2150000"):
        check_finite(matrix, "features")
    matrix[5, 0] = np.inf
    with refused("features", "3 rows", "First row: 5"):
        check_finite(matrix, "features")


def test_check_rows_sum_to_one(refused: Any) -> None:
    softmax = np.full((3, 4), 0.25, np.float16)
    check_rows_sum_to_one(softmax, "probabilities")
    with refused("probabilities", "row 1 sums to 0.75"):
        check_rows_sum_to_one(softmax * np.array([[1], [0.75], [0.5]]), "probabilities")
    with refused("probabilities", "row 0 sums to 1", "-0.5"):
        check_rows_sum_to_one(np.array([[1.5, -0.5]]), "probabilities")
