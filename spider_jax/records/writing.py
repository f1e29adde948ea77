"""Write a records folder: values, facts of models, facts of tasks."""

import csv
import gzip
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

import numpy as np

from spider_jax.records.content import Content
from spider_jax.records.files.folder import (
    MODELS,
    TASKS,
    VALUES,
    changing,
    one_of,
    records_folder,
    replace_files,
)
from spider_jax.records.files.parquet import write_parquet
from spider_jax.records.reading import read_records
from spider_jax.storage.files import atomic_file

BLOCK = 1 << 16  # rows at a time


def write_records(records: Content, folder: Path) -> None:
    """Write records, see `Records.write`.

    Args:
        records: what is written, with what was set aside.
        folder: a records folder, a zoo, or a new folder.
    """
    target = records_folder(folder)
    with changing(target):
        write_held(records, target)


def change_records(folder: Path, change: Callable[[Content | None], Content]) -> Content:
    """Read a records folder, change it and write it, while no other process does.

    Args:
        folder: a records folder, a zoo, or a new folder.
        change: gives the new records; it gets None where there are none yet.

    Returns:
        What was written.

    Raises:
        InputError: what `change` raises, or a fault of the folder.
    """
    target = records_folder(folder)
    with changing(target):
        known = one_of(target, VALUES) is not None
        after = change(read_records([target]) if known else None)
        write_held(after, target)
    return after


def write_held(records: Content, folder: Path) -> None:
    """Write to a folder that `changing` holds.

    Args:
        records: what is written.
        folder: where to.
    """
    everything = records.whole()
    replace_files(
        folder,
        {
            _name(folder, VALUES): _values(everything, _name(folder, VALUES)),
            _name(folder, MODELS): _facts(
                "model", everything.models, everything.model_facts, _name(folder, MODELS)
            ),
            _name(folder, TASKS): _facts(
                "task", everything.tasks, everything.task_facts, _name(folder, TASKS)
            ),
        },
    )


def _name(folder: Path, names: tuple[str, ...]) -> str:
    found = one_of(folder, names)
    return names[0] if found is None else found.name


def _values(records: Content, name: str) -> Callable[[IO[bytes]], None]:
    known = bool(np.isfinite(records.stderr).any())
    if name.endswith(".parquet"):
        columns = {
            "model": (records.model, list(records.models)),
            "task": (records.task, list(records.tasks)),
            "value": records.value,
        }
        return lambda file: write_parquet(
            file, columns | ({"stderr": records.stderr} if known else {})
        )
    header = ("model", "task", "value", *(("stderr",) if known else ()))
    return lambda file: _csv(file, name, header, _value_rows(records, known))


def _value_rows(records: Content, with_errors: bool) -> Iterator[Sequence[object]]:
    for start in range(0, len(records), BLOCK):
        part = slice(start, start + BLOCK)
        columns = (c[part].tolist() for c in (records.model, records.task, records.value))
        errors = records.stderr[part].tolist()
        for m, t, value, error in zip(*columns, errors, strict=True):
            row = (records.models[m], records.tasks[t], repr(value))
            yield (*row, repr(error) if error == error else "") if with_errors else row


def write_facts(path: Path, names: Sequence[str], facts: Mapping[str, Sequence[str]]) -> None:
    """Write a table of facts of models.

    Args:
        path: a new .csv or .csv.gz.
        names: of the models.
        facts: column -> one text per model.
    """
    with atomic_file(path) as file:
        _facts("model", names, facts, path.name)(file)


def _facts(
    key: str, names: Sequence[str], facts: Mapping[str, Sequence[str]], name: str
) -> Callable[[IO[bytes]], None]:
    return lambda file: _csv(file, name, (key, *facts), zip(names, *facts.values(), strict=True))


def _csv(
    file: IO[bytes], name: str, header: Sequence[str], rows: Iterator[Sequence[object]]
) -> None:
    packed = gzip.GzipFile(fileobj=file, mode="wb", mtime=0) if name.endswith(".gz") else None
    text = io.TextIOWrapper(file if packed is None else packed, "utf-8", newline="")
    # Python 3.11 quotes a carriage return only where the line end holds one.
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(header)
    writer.writerows(rows)
    text.flush()
    text.detach()
    if packed is not None:
        packed.close()
