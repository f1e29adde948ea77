"""`arrays:FILE.npz`: pictures or texts and their labels as arrays; `arrays:FILE.npy`: one of them.

Options: images, texts, labels: names of the arrays in an .npz (those words by default), or for
labels a file.npy; kind: classification, regression or multi-label.
"""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spider_jax.errors import InputError, one_line
from spider_jax.extract.data.dataset import (
    Dataset,
    Modality,
    check_rows,
    data_fingerprint,
    kind_of_labels,
)
from spider_jax.extract.spec import Spec
from spider_jax.storage.npy import UNREADABLE, read_header

OPTIONS = ("images", "texts", "labels", "kind")


def read_arrays(spec: Spec) -> Dataset:
    """Items and labels of an .npz or .npy file.

    Raises:
        InputError: no such file or array, one of Python objects, pictures that are not uint8, or
            labels that do not fit.
    """
    spec.known(OPTIONS)
    path = Path(spec.what)
    arrays = load_npy_or_npz(path)
    modality, items = _items(spec, path, arrays)
    labels = _labels(spec, path, arrays)
    if labels is None and items is None:
        raise InputError(f"{path} has neither images, texts nor labels: it has {_names(arrays)}")
    rows = len(items) if items is not None else len(labels if labels is not None else ())
    kind = "classification"
    if labels is not None:
        kind = kind_of_labels(labels, spec.options.get("kind"), str(path))
        check_rows(labels, rows, f"{path}: {modality}s" if items is not None else str(path))
    return Dataset(
        name=spec.name or path.stem,
        source=f"arrays:{path.name}",
        modality=modality,
        rows=rows,
        item=lambda row: _item(items, row, path),
        where=lambda row: f"{path} (row {row})",
        labels=labels,
        kind=kind,
        classes=None,
        fingerprint=data_fingerprint([a for a in (items, labels) if a is not None]),
    )


def load_npy_or_npz(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of an .npz by name; an .npy, a memmap, has the name "".

    Raises:
        InputError: unreadable, or with Python objects.
    """
    if path.suffix == ".npy":
        read_header(path)
        return {"": np.load(path, mmap_mode="r", allow_pickle=False)}
    if path.exists() and not zipfile.is_zipfile(path):  # NumPy would take it for a pickle
        raise InputError(f"{path} is not a readable .npz file: it is no zip archive")
    arrays = {}
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            for name in file.files:
                arrays[name] = file[name]
    except (*UNREADABLE, zipfile.BadZipFile, AttributeError, TypeError) as error:
        raise InputError(f"{path} is not a readable .npz file: {one_line(error)}") from None
    return arrays


def _names(arrays: dict[str, NDArray[Any]]) -> str:
    return ", ".join(map(repr, arrays)) or "no arrays"


def _items(
    spec: Spec, path: Path, arrays: dict[str, NDArray[Any]]
) -> tuple[Modality, NDArray[Any] | None]:
    if "" in arrays:
        array = arrays[""]
        if array.dtype.kind == "U":
            return _checked(array, path, "its array", "text")
        return _checked(array, path, "its array", "image") if array.ndim > 2 else ("none", None)
    for key, modality in (("images", "image"), ("texts", "text")):
        name = spec.options.get(key, key)
        if name in arrays:
            return _checked(arrays[name], path, name, modality)
        if key in spec.options:
            raise InputError(f"{path} has no array {name!r}: it has {_names(arrays)}")
    return "none", None


def _checked(
    array: NDArray[Any], path: Path, name: str, modality: Any
) -> tuple[Modality, NDArray[Any]]:
    sound = array.ndim == 3 or (array.ndim == 4 and array.shape[-1] in (1, 3, 4))
    if modality == "image" and (array.dtype != np.uint8 or not sound or 0 in array.shape):
        raise InputError(
            f"{path}: {name} must be uint8 [N, H, W] or [N, H, W, 1|3|4], "
            f"got {array.dtype} {array.shape}"
        )
    if modality == "text" and (array.dtype.kind != "U" or array.ndim != 1 or len(array) == 0):
        raise InputError(f"{path}: {name} must be strings [N], got {array.dtype} {array.shape}")
    return modality, array


def _labels(spec: Spec, path: Path, arrays: dict[str, NDArray[Any]]) -> NDArray[Any] | None:
    name = spec.options.get("labels")
    if name is not None and name.endswith(".npy"):
        return np.array(load_npy_or_npz(Path(name))[""])
    if "" in arrays:  # an .npy of labels alone
        return (
            np.array(arrays[""]) if arrays[""].ndim < 3 and arrays[""].dtype.kind != "U" else None
        )
    if name is not None and name not in arrays:
        raise InputError(f"{path} has no array {name!r}: it has {_names(arrays)}")
    return arrays.get(name or "labels")


def _item(items: NDArray[Any] | None, row: int, path: Path) -> Any:
    if items is None:
        raise InputError(f"{path} holds labels only: a model needs pictures or texts")
    return str(items[row]) if items.dtype.kind == "U" else np.asarray(items[row])
