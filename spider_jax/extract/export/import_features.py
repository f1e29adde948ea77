"""Features that exist already, put into a zoo: checked, streamed, all or nothing."""

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Shaped

from spider_jax.errors import InputError
from spider_jax.extract.data.dataset import Dataset, check_rows, kind_of_labels, no_items
from spider_jax.extract.export.feature_files import Rows, open_rows
from spider_jax.extract.export.record import (
    name_extractor,
    record,
    refuse_others,
    write_groups_once,
    write_labels_once,
)
from spider_jax.extract.export.run import Settings
from spider_jax.extract.spec import Spec
from spider_jax.storage.files import name_to_component
from spider_jax.storage.locks import locked_folder
from spider_jax.storage.npy import read_header
from spider_jax.zoo.matrix_file import matrix_path, write_matrix
from spider_jax.zoo.unfinished import discard, work_folder

Block = Shaped[np.ndarray, "b D"]


def import_features(
    zoo: str | Path,
    model: str,
    task: str,
    file: str | Path,
    *,
    labels: Shaped[np.ndarray, "N ..."] | None = None,
    key: str | None = None,
    dtype: str | None = None,
    extractor: bool = False,
) -> None:
    """Put a file of features into a zoo as the features of a model on a task.

    Args:
        zoo: folder, made where it does not exist.
        model: its name in the zoo.
        task: its name in the zoo.
        file: .npy, .npz, .safetensors, .parquet or .csv of floats [N, D].
        labels: int [N], float [N] or [N, K], bool [N, K]; None: the labels that the zoo holds of
            the task.
        key: the array, tensor or column, where there are several.
        dtype: "float16" or "float32"; default: as in the file, float64 becomes float32. A value
            beyond 65,504 makes float16 float32.
        extractor: make the model the zoo's general extractor.

    Raises:
        InputError: a file that cannot be read, Python objects in it, rows that do not fit the
            labels or are not finite. Nothing is left half-written.
    """
    path = Path(file)
    if labels is None:
        labels = np.load(_labels_file(Path(zoo), task), allow_pickle=False)
    data = Dataset(
        name=task,
        source="labels",
        modality="none",
        rows=len(labels),
        item=no_items(path),
        where=lambda row: f"{path} (row {row})",
        labels=labels,
        kind=kind_of_labels(labels, None, f"task {task!r}"),
        classes=None,
        fingerprint=None,
    )
    _import(Path(zoo), model, data, path, open_rows(path, key), dtype)
    if extractor:
        name_extractor(Path(zoo), model)


def _labels_file(zoo: Path, task: str) -> Path:
    path = zoo / "labels" / f"{name_to_component(task)}.npy"
    if not path.exists():
        raise InputError(f"{zoo} has no labels of {task!r}: give labels")
    read_header(path)
    return path


def import_spec(zoo: Path, spec: Spec, model: str, data: Dataset, dtype: str) -> None:
    """Import features:FILE[?key=...] as the features of a model, with a dataset's labels.

    Args:
        zoo: folder, made where it does not exist.
        spec: of the file.
        model: its name in the zoo.
        data: whose labels and name the task has.
        dtype: "float16" or "float32".

    Raises:
        InputError: as `import_features`.
    """
    spec.known(("key",))
    path = Path(spec.what)
    rows = open_rows(path, spec.options.get("key"))
    labels_only = replace(  # of the rows that the zoo's task has
        data,
        fingerprint=None,
        content=None,
        rows=len(data.kept),
        labels=data.kept_labels,
        left_out=(),
    )
    _import(zoo, model, labels_only, path, rows, dtype)


def _import(
    zoo: Path, model: str, data: Dataset, path: Path, rows: Rows, dtype: str | None
) -> None:
    if data.labels is None:
        raise InputError(f"{data.source} has no labels, which a zoo needs")
    check_rows(data.labels, rows.shape[0], f"{path} and labels of {data.name!r}")
    wanted = dtype or ("float16" if rows.dtype == np.float16 else "float32")
    Settings(wanted)  # refuses other dtypes
    facts: dict[str, object] = {"source": f"features:{path.name}", "width": rows.shape[1]}
    refuse_others(zoo, data.name, data, model, facts)
    target = matrix_path(zoo / "features", model, data.name)
    with locked_folder(zoo):
        work = work_folder(zoo, model, data.name) / "imported.npy"
        try:
            write_matrix(work, rows.shape, wanted, _watched(rows, data, path), str(path))
            write_labels_once(zoo, data.name, data.labels)
            write_groups_once(zoo, data)
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(work, target)
            record(zoo, data, model, facts)
        finally:
            work.unlink(missing_ok=True)
            if not (work.parent / "plan.json").exists():  # no export of pictures is at work there
                discard(zoo, model, data.name)


def _watched(rows: Rows, data: Dataset, path: Path) -> Callable[[], Iterator[Block]]:
    """The blocks of a table; a column that is the label of every row is refused at their end."""
    labels = data.labels
    if not rows.columns or labels is None or labels.ndim != 1:
        return rows.blocks

    def blocks() -> Iterator[Block]:
        same, start = np.ones(len(rows.columns), bool), 0
        for block in rows.blocks():
            same &= (block == labels[start : start + len(block), None]).all(0)
            start += len(block)
            yield block
        if same.any() and start > 2:
            name = rows.columns[int(np.flatnonzero(same)[0])]
            raise InputError(
                f"{path}: column {name!r} is the label of every row, which is no feature: name the "
                "columns that are with ?key=a,b"
            )

    return blocks
