"""The files of a zoo, each by itself: where it may lie, what it must hold, how it is read.

spider_jax.zoo.store knows the zoo as a whole. A file that breaks a rule raises InputError with the
file, or the task that it belongs to, and the rule.
"""

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Int, Int8, Int32, Int64, Shaped
from numpy.typing import NDArray

from spider_jax.errors import InputError
from spider_jax.storage.files import component_to_name, name_to_component, read_json
from spider_jax.storage.npy import Header, read_header, refuse_twin_on_disk, write_array
from spider_jax.storage.opening import refuse_links

log = logging.getLogger("spider_jax")

KINDS = ("classification", "regression", "multi-label")
FEATURE_DTYPES = ("float16", "float32")
# Classes of a classification, targets of a regression, or the labels of a multi-label task.
Labels = Int32[np.ndarray, " N"] | Float32[np.ndarray, "N ..."] | Bool[np.ndarray, "N K"]


# ---- which files there are -------------------------------------------------------------------


def refuse_link_out(root: Path, path: Path) -> Path:
    """Refuse a path that leads out of the zoo through a symbolic link.

    Args:
        root: folder of the zoo, resolved.
        path: below it.

    Returns:
        `path`.

    Raises:
        InputError: it leads out.
    """
    if not Path(os.path.realpath(path)).is_relative_to(root):
        raise InputError(f"{path} is a link out of the zoo, which is not followed")
    return path


def list_names(root: Path, folder: Path, suffix: str) -> Iterator[tuple[str, Path] | InputError]:
    """The entries of a folder by name.

    Args:
        root: folder of the zoo, resolved.
        folder: below it; one that does not exist has no entries.
        suffix: of the entries that count.

    Yields:
        The name and the path of an entry, in order of names. For an entry with a bad name, or a
        link out of the zoo, an InputError instead.
    """
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


# ---- manifest -----------------------------------------------------------------------------


def read_manifest(path: Path) -> dict[str, Any]:
    """The content of manifest.json.

    Args:
        path: of the file.

    Returns:
        The JSON, whose models and tasks are objects, name -> facts; {} where there is no file.

    Raises:
        InputError: a file that cannot be read, or of another form.
    """
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


# ---- label and feature files -----------------------------------------------------------------


def check_labels(path: Path, header: Header) -> None:
    """Refuse labels that are not numbers [N] or [N, K], N > 0.

    Args:
        path: of the file.
        header: of the file.

    Raises:
        InputError: another shape or dtype.
    """
    if not 1 <= len(header.shape) <= 2 or header.shape[0] == 0:
        raise InputError(f"{path} must be [N] or [N, K] with N > 0, got {header.shape}")
    if header.dtype.kind not in "biuf":
        raise InputError(f"{path} must hold numbers, got dtype {header.dtype}")


def check_matrix(path: Path, header: Header, rows: int, width: int | None) -> None:
    """Refuse features or probabilities that are not float16 or float32 [rows, width].

    Args:
        path: of the file.
        header: of the file.
        rows: N, labels of the task.
        width: of the model's other tasks, or None.

    Raises:
        InputError: another shape or dtype.
    """
    if len(header.shape) != 2 or header.shape[1] == 0 or header.dtype.name not in FEATURE_DTYPES:
        raise InputError(
            f"{path} must be float16 or float32 [N, D], D > 0, got {header.dtype} {header.shape}"
        )
    if header.shape[0] != rows:
        raise InputError(f"{path} must have one row per label (N={rows}), got {header.shape[0]}")
    if width is not None and header.shape[1] != width:
        raise InputError(f"{path} has width {header.shape[1]}, the model's other tasks {width}")


def write_feature_file(
    zoo: Path, model: str, task: str, features: Shaped[np.ndarray, "..."]
) -> None:
    """Write <zoo>/features/<model>/<task>.npy, all or nothing.

    Args:
        zoo: its folder.
        model: its name.
        task: its name.
        features: float16 or float32 [N, D].

    Raises:
        InputError: another shape or dtype, a name that differs from another only in case, or a
            link in the way.
    """
    if features.dtype.name not in FEATURE_DTYPES or features.ndim != 2:
        raise InputError(
            f"features must be float16 or float32 [N, D], got {features.dtype} {features.shape}"
        )
    below = zoo / "features" / name_to_component(model)
    refuse_twin_on_disk(below.parent, model)
    write_array(refuse_links(zoo, below), task, features)


# ---- labels and splits -----------------------------------------------------------------------


def kind_of(task: str, header: Header, declared: object) -> str:
    """The kind that the manifest declares, else the kind that dtype and shape show.

    Args:
        task: its name, for errors.
        header: of its labels.
        declared: what the manifest says, or None.

    Returns:
        "classification", "regression" or "multi-label".

    Raises:
        InputError: another word in the manifest.
    """
    if declared is not None:
        if declared not in KINDS:
            raise InputError(f"task {task!r}: kind must be one of {KINDS}, got {declared!r}")
        return str(declared)
    if header.dtype.kind == "f":
        return "regression"
    return "multi-label" if len(header.shape) == 2 else "classification"


def read_labels(path: Path, task: str, kind: str, names: object) -> Labels:
    """Every label of a task.

    Args:
        path: of the file.
        task: its name, for errors.
        kind: of the task.
        names: the list of classes in the manifest; anything else counts as no list.

    Returns:
        int32 [N] classes, float32 [N] or [N, K] targets, or bool [N, K] multi-labels.

    Raises:
        InputError: labels that are not of the kind, or a class of the manifest without a row.
    """
    values: NDArray[np.generic] = np.load(path, allow_pickle=False)
    if kind == "regression":
        return _targets(task, values)
    if kind == "multi-label":
        if values.ndim != 2 or not np.isin(values, (0, 1)).all():
            raise InputError(f"labels of {task!r} must be 0/1 [N, K] for multi-label")
        return values.astype(bool)
    return _classes(task, values, names)


def _targets(task: str, values: NDArray[np.generic]) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):  # what overflows float32 is found below
        targets = values.astype(np.float32)
    bad = ~np.isfinite(targets.reshape(len(targets), -1)).all(1)
    if bad.any():
        raise InputError(
            f"labels of {task!r} must be finite, got {bad.sum()} rows that are not. "
            f"First row: {int(np.flatnonzero(bad)[0])}"
        )
    return targets


def refuse_unlabelled(values: Shaped[np.ndarray, "..."], where: str) -> None:
    """Refuse classes of which -1 is one: it marks rows without a label, not one more class.

    -1 and 1 alone are two classes, and so is -1 among other negative numbers.

    Args:
        values: numbers [N].
        where: what they are, for the error.

    Raises:
        InputError: a row has -1.
    """
    if values.ndim != 1 or values.dtype.kind not in "if" or values.min(initial=0) != -1:
        return
    rows = np.flatnonzero(values == -1)
    if not np.isin(values, (-1, 1)).all() or len(rows) == len(values):
        raise InputError(
            f"{where}: {len(rows)} rows have label -1, which marks rows without a label, first "
            f"row {rows[0]}: leave them out, or number the classes from 0 if -1 is one of them"
        )


def _classes(task: str, values: NDArray[np.generic], names: object) -> NDArray[np.int32]:
    if values.ndim != 1 or values.dtype.kind not in "biu":
        raise InputError(
            f"labels of {task!r} must be int [N] for classification, "
            f"got {values.dtype} {values.shape}"
        )
    found, encoded = np.unique(values, return_inverse=True)
    if not isinstance(names, list) or len(names) != len(found):  # named, -1 is a class
        refuse_unlabelled(values, f"labels of {task!r}")
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


def unseen_last(
    labels: Int32[np.ndarray, " N"], training: Int[np.ndarray, " n"]
) -> tuple[Int32[np.ndarray, " N"], Int32[np.ndarray, " U"]]:
    """Classes without a training row numbered last, so that those with one are 0..C-1.

    Args:
        labels: of every row, 0..C+U-1.
        training: the training rows.

    Returns:
        The labels, and the former numbers of the U classes that are last now.
    """
    counts = np.bincount(labels[training], minlength=labels.max() + 1)
    unseen = np.flatnonzero(counts == 0).astype(np.int32)
    if not len(unseen):
        return labels, unseen
    order = np.concatenate([np.flatnonzero(counts), unseen])
    return np.argsort(order).astype(np.int32)[labels], unseen


def check_classes(
    task: str, labels: Int32[np.ndarray, " N"], training: Int32[np.ndarray, " n"]
) -> None:
    """Refuse a single class; say which have no training row, for the task is used without them.

    Args:
        task: its name, for errors.
        labels: of every row, classes without a training row last.
        training: of the training rows.

    Raises:
        InputError: fewer than two classes have a training row.
    """
    if labels.max() < 1:
        raise InputError(f"task {task!r} has one class only: a ranking needs at least two")
    unseen = int(labels.max() - training.max(initial=-1))
    if training.max(initial=-1) < 1:
        raise InputError(
            f"task {task!r}: {unseen} of {labels.max() + 1} classes have no row in the training "
            "split: a ranking needs two that do"
        )
    if unseen:
        rows = int((labels > training.max()).sum())
        log.warning(
            "task %r: %d of %d classes have no row in the training split: used without them and "
            "their %d rows",
            *(task, unseen, labels.max() + 1, rows),
        )


def read_split(path: Path, rows: int) -> Int8[np.ndarray, " N"] | None:
    """The split of a task.

    Args:
        path: of the file.
        rows: N, labels of the task.

    Returns:
        int8 [N] of 0 train, 1 validation, 2 test; None where there is no such file.

    Raises:
        InputError: another shape or dtype, or another number.
    """
    if not path.exists():
        return None
    header = read_header(path)
    if header.shape != (rows,) or header.dtype.kind not in "iu":
        raise InputError(f"{path} must be int8 [{rows}], got {header.dtype} {header.shape}")
    values: NDArray[np.integer] = np.load(path, allow_pickle=False)
    if not np.isin(values, (0, 1, 2)).all():
        raise InputError(f"{path} must hold only 0 train, 1 validation, 2 test")
    return values.astype(np.int8)


def read_domains(path: Path, rows: int) -> Int64[np.ndarray, " N"] | None:
    """The domain of every row of a task: where it comes from.

    Args:
        path: of the file.
        rows: N, labels of the task.

    Returns:
        int64 [N], any numbers; None where there is no such file.

    Raises:
        InputError: another shape or dtype.
    """
    if not path.exists():
        return None
    header = read_header(path)
    if header.shape != (rows,) or header.dtype.kind not in "iu":
        raise InputError(f"{path} must be int [{rows}], got {header.dtype} {header.shape}")
    values: NDArray[np.integer] = np.load(path, allow_pickle=False)
    return values.astype(np.int64)


def write_domains(zoo: str | Path, task: str, domains: Shaped[np.ndarray, "..."]) -> None:
    """Write <zoo>/domains/<task>.npy, all or nothing.

    Args:
        zoo: its folder.
        task: its name.
        domains: int [N], one for every label of the task.

    Raises:
        InputError: another shape or dtype, a name that cannot stand on disk, or a link in the way.
    """
    if domains.ndim != 1 or domains.dtype.kind not in "iu":
        raise InputError(f"domains must be int [N], got {domains.dtype} {domains.shape}")
    refuse_links(Path(zoo), Path(zoo) / "domains")
    write_array(Path(zoo) / "domains", task, domains)
