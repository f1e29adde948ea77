"""The files of a zoo, each by itself: where it may lie, what it must hold, how it is read.

Nothing here knows the zoo as a whole, as spider_jax.zoo.store does. What breaks a rule raises
InputError with the file, or the task that it belongs to, and the rule.
"""

import csv
import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spider_jax.errors import InputError
from spider_jax.storage.files import component_to_name, name_to_component, read_json
from spider_jax.storage.npy import Header, read_header, refuse_twin_on_disk, write_array

log = logging.getLogger("spider_jax")

KINDS = ("classification", "regression", "multi-label")
FEATURE_DTYPES = ("float16", "float32")


# ---- which files there are -------------------------------------------------------------------


def refuse_link_out(root: Path, path: Path) -> Path:
    """`path` itself, unless it leads out of the zoo `root` (resolved) through a symbolic link."""
    if not Path(os.path.realpath(path)).is_relative_to(root):
        raise InputError(f"{path} is a link out of the zoo, which is not followed")
    return path


def list_names(root: Path, folder: Path, suffix: str) -> Iterator[tuple[str, Path] | InputError]:
    """(name, path) of a folder's entries; the error instead where a name is bad or a link out."""
    try:
        names = sorted(os.listdir(refuse_link_out(root, folder))) if folder.is_dir() else []
    except InputError as error:
        yield error
        return
    for entry in names:
        if entry.startswith(".") or not entry.endswith(suffix):
            continue
        path = folder / entry
        try:
            name = component_to_name(entry.removesuffix(suffix))
            if path.is_symlink():  # the folder is inside: only a link can lead out
                refuse_link_out(root, path)
        except InputError as error:
            yield error
        else:
            yield name, path


# ---- manifest and accuracies -----------------------------------------------------------------


def read_manifest(path: Path) -> dict[str, Any]:
    """manifest.json, {} where there is none; its models and tasks are objects, name -> facts."""
    if not path.exists():
        return {}
    manifest = read_json(path, "zoo")
    for section in ("models", "tasks"):
        entries = manifest.get(section, {})
        if not isinstance(entries, dict) or not all(
            isinstance(entry, dict) for entry in entries.values()
        ):
            raise InputError(f"{path}: {section} must be an object of objects, name -> facts")
    return manifest


def read_accuracies(path: Path) -> dict[tuple[str, str], float]:
    """accuracies.csv by (model, task), {} where there is none."""
    if not path.exists():
        return {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file)
            if not {"model", "task", "accuracy"} <= set(rows.fieldnames or ()):
                raise InputError(f"{path} must have columns model,task,accuracy")
            return {(r["model"], r["task"]): _accuracy(path, rows.line_num, r) for r in rows}
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} is not a readable CSV file: {error}") from None


def _accuracy(path: Path, line: int, row: Mapping[str, str]) -> float:
    try:
        value = float(row["accuracy"])
    except (TypeError, ValueError):
        value = float("nan")
    if not np.isfinite(value):
        raise InputError(
            f"{path}, line {line}: accuracy of {row['model']!r} on {row['task']!r} must be a "
            f"number, got {row['accuracy']!r}: correct it, or leave the line out"
        )
    return value


# ---- label and feature files -----------------------------------------------------------------


def check_labels(path: Path, header: Header) -> None:
    """Refuse labels that are no numbers [N] or [N, K]."""
    if not 1 <= len(header.shape) <= 2 or header.shape[0] == 0:
        raise InputError(f"{path} must be [N] or [N, K] with N > 0, got {header.shape}")
    if header.dtype.kind not in "biuf":
        raise InputError(f"{path} must hold numbers, got dtype {header.dtype}")


def check_matrix(path: Path, header: Header, rows: int, width: int | None) -> None:
    """Refuse features or probabilities that are no float16 or float32 [rows, width]."""
    if len(header.shape) != 2 or header.shape[1] == 0 or header.dtype.name not in FEATURE_DTYPES:
        raise InputError(
            f"{path} must be float16 or float32 [N, D], D > 0, got {header.dtype} {header.shape}"
        )
    if header.shape[0] != rows:
        raise InputError(f"{path} must have one row per label (N={rows}), got {header.shape[0]}")
    if width is not None and header.shape[1] != width:
        raise InputError(f"{path} has width {header.shape[1]}, the model's other tasks {width}")


def write_feature_file(folder: Path, model: str, task: str, features: NDArray[Any]) -> None:
    """Write <folder>/<model>/<task>.npy, all or nothing."""
    if features.dtype.name not in FEATURE_DTYPES or features.ndim != 2:
        raise InputError(
            f"features must be float16 or float32 [N, D], got {features.dtype} {features.shape}"
        )
    refuse_twin_on_disk(folder, model)
    write_array(folder / name_to_component(model), task, features)


# ---- labels and splits -----------------------------------------------------------------------


def kind_of(task: str, header: Header, declared: object) -> str:
    """One of KINDS: the one that the manifest declares, else the one that the dtype tells."""
    if declared is not None:
        if declared not in KINDS:
            raise InputError(f"task {task!r}: kind must be one of {KINDS}, got {declared!r}")
        return str(declared)
    if header.dtype.kind == "f":
        return "regression"
    return "multi-label" if len(header.shape) == 2 else "classification"


def read_labels(path: Path, task: str, kind: str, names: object) -> NDArray[Any]:
    """Every label of a task; `names` are the classes that the manifest lists, if it does.

    Returns:
        int32 [N] classes, float32 [N] or [N, K] targets, or bool [N, K] multi-labels.
    """
    values: NDArray[Any] = np.load(path, allow_pickle=False)
    if kind == "regression":
        return _targets(task, values)
    if kind == "multi-label":
        if values.ndim != 2 or not np.isin(values, (0, 1)).all():
            raise InputError(f"labels of {task!r} must be 0/1 [N, K] for multi-label")
        return values.astype(bool)
    return _classes(task, values, names)


def _targets(task: str, values: NDArray[Any]) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):  # what overflows float32 is found below
        values = values.astype(np.float32)
    bad = ~np.isfinite(values.reshape(len(values), -1)).all(1)
    if bad.any():
        raise InputError(
            f"labels of {task!r} must be finite, got {bad.sum()} rows that are not. "
            f"First row: {int(np.flatnonzero(bad)[0])}"
        )
    return values


def _classes(task: str, values: NDArray[Any], names: object) -> NDArray[np.int32]:
    if values.ndim != 1 or values.dtype.kind not in "biu":
        raise InputError(
            f"labels of {task!r} must be int [N] for classification, "
            f"got {values.dtype} {values.shape}"
        )
    found, encoded = np.unique(values, return_inverse=True)
    if isinstance(names, list) and len(names) != len(found):
        empty = [n for i, n in enumerate(names) if i not in found]
        what = f"class {empty[0]!r} has no row" if empty else "more classes than named"
        raise InputError(
            f"task {task!r}: the manifest names {len(names)} classes, labels hold "
            f"{len(found)} ({what}): mend the manifest or the labels"
        )
    if found[0] != 0 or found[-1] != len(found) - 1:
        log.info("labels of %s re-encoded: %d values to 0..%d", task, len(found), len(found) - 1)
    return encoded.astype(np.int32)


def check_every_class(task: str, labels: NDArray[Any], training: NDArray[Any]) -> None:
    """Refuse a single class, and a class of `labels` without a row in `training`."""
    if labels.max() < 1:
        raise InputError(f"task {task!r} has one class only: a ranking needs at least two")
    counts = np.bincount(training, minlength=labels.max() + 1)
    if (counts == 0).any():
        empty = int(np.flatnonzero(counts == 0)[0])
        raise InputError(f"task {task!r}: class {empty} has no row in the training split")


def read_split(path: Path, rows: int) -> NDArray[np.int8] | None:
    """int8 [rows] of 0 train, 1 validation, 2 test; None where there is no such file."""
    if not path.exists():
        return None
    header = read_header(path)
    if header.shape != (rows,) or header.dtype.kind not in "iu":
        raise InputError(f"{path} must be int8 [{rows}], got {header.dtype} {header.shape}")
    values: NDArray[np.integer] = np.load(path, allow_pickle=False)
    if not np.isin(values, (0, 1, 2)).all():
        raise InputError(f"{path} must hold only 0 train, 1 validation, 2 test")
    return values.astype(np.int8)
