"""`arrays:FILE.npz` holds pictures or texts and their labels, `arrays:FILE.npy` one of them.

Options:
    images, texts, labels: names of the arrays in an .npz, by default these words. labels may be the
        path of an .npy file instead.
    kind: classification, regression or multi-label.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Shaped
from numpy.typing import NDArray

from spider_jax.errors import InputError
from spider_jax.extract.data.content import Content
from spider_jax.extract.data.dataset import (
    Dataset,
    Modality,
    check_rows,
    kind_of_labels,
    no_items,
    text_of,
)
from spider_jax.extract.data.items import Item
from spider_jax.extract.data.label_values import labels_of
from spider_jax.extract.spec import Spec
from spider_jax.storage.npy import read_header
from spider_jax.storage.npz import read_npz

OPTIONS = ("images", "texts", "labels", "kind")


def read_arrays(spec: Spec) -> Dataset:
    """Items and labels of an .npz or .npy file.

    Args:
        spec: arrays:FILE with the options above.

    Returns:
        The data.

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
    kind, classes = "classification", None
    if labels is not None and labels.dtype.kind in "US" and labels.ndim == 1:
        labels, classes, kind = labels_of(labels.tolist(), spec.options.get("kind"), str(path))
    elif labels is not None:
        kind = kind_of_labels(labels, spec.options.get("kind"), str(path))
    if labels is not None:
        check_rows(labels, rows, f"{path}: {modality}s" if items is not None else str(path))
    return Dataset(
        name=spec.name or path.stem,
        source=f"arrays:{path.name}",
        modality=modality,
        rows=rows,
        item=no_items(path) if items is None else partial(_item, items, str(path)),
        where=lambda row: f"{path} (row {row})",
        labels=labels,
        kind=kind,
        classes=classes,
        fingerprint=None,
        content=None if items is None else Content(rows, partial(_content, items)),
    )


def load_npy_or_npz(path: Path) -> dict[str, Shaped[np.ndarray, "..."]]:
    """The arrays of a file.

    Args:
        path: .npz or .npy.

    Returns:
        Arrays of any shape by name. The array of an .npy is a memmap and has the name "".

    Raises:
        InputError: unreadable, or with Python objects.
    """
    if path.suffix == ".npy":
        read_header(path)
        return {"": np.load(path, mmap_mode="r", allow_pickle=False)}
    return read_npz(path)


def _names(arrays: Mapping[str, NDArray[np.generic]]) -> str:
    return ", ".join(map(repr, arrays)) or "no arrays"


def _items(
    spec: Spec, path: Path, arrays: Mapping[str, NDArray[np.generic]]
) -> tuple[Modality, NDArray[np.generic] | None]:
    if "" in arrays:
        array = arrays[""]
        if array.dtype.kind == "U":
            return _checked(array, path, "its array", "text")
        return _checked(array, path, "its array", "image") if array.ndim > 2 else ("none", None)
    kinds: tuple[tuple[str, Modality], ...] = (("images", "image"), ("texts", "text"))
    for key, modality in kinds:
        name = spec.options.get(key, key)
        if name in arrays:
            return _checked(arrays[name], path, name, modality)
        if key in spec.options:
            raise InputError(f"{path} has no array {name!r}: it has {_names(arrays)}")
    return "none", None


def _checked(
    array: NDArray[np.generic], path: Path, name: str, modality: Modality
) -> tuple[Modality, NDArray[np.generic]]:
    sound = array.ndim == 3 or (array.ndim == 4 and array.shape[-1] in (1, 3, 4))
    if modality == "image" and (array.dtype != np.uint8 or not sound or 0 in array.shape):
        raise InputError(
            f"{path}: {name} must be uint8 [N, H, W] or [N, H, W, 1|3|4], "
            f"got {array.dtype} {array.shape}"
        )
    if modality == "text" and (array.dtype.kind != "U" or array.ndim != 1 or len(array) == 0):
        raise InputError(f"{path}: {name} must be strings [N], got {array.dtype} {array.shape}")
    return modality, array


def _labels(
    spec: Spec, path: Path, arrays: Mapping[str, NDArray[np.generic]]
) -> NDArray[np.generic] | None:
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


def _item(items: NDArray[np.generic], path: str, row: int) -> Item:
    if items.dtype.kind == "U":
        return text_of(str(items[row]), f"{path} (row {row})")
    return np.asarray(items[row])


def _content(items: NDArray[np.generic], row: int) -> str | NDArray[np.generic]:
    return str(items[row]) if items.dtype.kind == "U" else np.asarray(items[row])
