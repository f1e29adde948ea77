"""What an export writes beside the features: labels once a task, models and tasks in the manifest.

Several processes may write to a zoo, so a process that changes it holds its lock.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from spider_jax.errors import InputError
from spider_jax.extract.data.dataset import Dataset
from spider_jax.storage.files import name_to_component, write_json
from spider_jax.storage.locks import locked_folder
from spider_jax.storage.npy import read_header, write_array
from spider_jax.zoo.files import read_manifest

log = logging.getLogger("spider_jax")

HEADER = ("format", "version", "created_with")


def refuse_other_labels(zoo: Path, task: str, labels: Shaped[np.ndarray, "N ..."]) -> bool:
    """Whether labels/<task>.npy is there, with these labels.

    Args:
        zoo: its folder.
        task: its name.
        labels: numbers [N] or [N, K].

    Raises:
        InputError: the file holds other labels.
    """
    path = zoo / "labels" / f"{name_to_component(task)}.npy"
    if not path.exists():
        return False
    shape = read_header(path).shape
    if shape != labels.shape:
        raise InputError(f"{path} must have {labels.shape} labels as the data, got {shape}")
    other = np.load(path, allow_pickle=False)
    differs = (other != labels).reshape(len(labels), -1).any(1)
    if differs.any():
        row = int(np.flatnonzero(differs)[0])
        raise InputError(
            f"{path} holds other labels than the data, first at row {row}: name another task"
        )
    return True


def write_labels_once(zoo: Path, task: str, labels: Shaped[np.ndarray, "N ..."]) -> None:
    """Write labels/<task>.npy, unless it holds the same already.

    Args:
        zoo: its folder.
        task: its name.
        labels: numbers [N] or [N, K].

    Raises:
        InputError: the file holds other labels.
    """
    if not refuse_other_labels(zoo, task, labels):
        write_array(zoo / "labels", task, labels)


def refuse_others(
    zoo: Path, task: str, data: Dataset, model: str, facts: Mapping[str, object]
) -> None:
    """Refuse to mix exports of different data or weights under one name.

    Args:
        zoo: its folder.
        task: its name.
        data: of the task.
        model: its name.
        facts: weights, preprocessing, layer and width of this export, as far as they are known.

    Raises:
        InputError: the manifest records other data, or other facts.
    """
    manifest = read_manifest(zoo / "manifest.json")
    known = manifest.get("tasks", {}).get(task, {}).get("data_sha256")
    if None not in (known, data.fingerprint) and known != data.fingerprint:
        raise InputError(
            f"{zoo}: task {task!r} was exported from other data: name it TASK={data.source}"
        )
    entry = manifest.get("models", {}).get(model, {})
    for key in ("weights_sha256", "preprocessing", "layer", "width"):
        if key in entry and key in facts and entry[key] != facts[key]:
            raise InputError(
                f"{zoo}: model {model!r} was exported with other {key.partition('_')[0]}: "
                f"name it MODEL={facts.get('source', model)}"
            )


def is_recorded(zoo: Path, task: str, data: Dataset, model: str) -> bool:
    """Whether the zoo holds this export, whole and in its manifest.

    Args:
        zoo: its folder.
        task: its name.
        data: of the task.
        model: its name.
    """
    path = zoo.joinpath("features", name_to_component(model), f"{name_to_component(task)}.npy")
    manifest = read_manifest(zoo / "manifest.json")
    known = manifest.get("tasks", {}).get(task, {}).get("data_sha256")
    exported = manifest.get("models", {}).get(model, {}).get("exported", ())
    return known == data.fingerprint and task in exported and path.exists()


def record(zoo: Path, data: Dataset, model: str, facts: Mapping[str, Any]) -> None:
    """Write a model and a task into the manifest; what else it says of them stays.

    Args:
        zoo: its folder; the caller holds its lock.
        data: of the task.
        model: its name.
        facts: weights, preprocessing, layer, versions, and "layers", a mapping from task to layer,
            where the layer depends on the task.

    Raises:
        InputError: a manifest that cannot be read.
    """
    manifest = _content(zoo)
    models, tasks = dict(manifest.get("models", {})), dict(manifest.get("tasks", {}))
    before = models.get(model, {})
    exported = sorted({*before.get("exported", ()), data.name})
    layers = before.get("layers", {}) | facts.get("layers", {})
    models[model] = before | facts | {"exported": exported} | ({"layers": layers} if layers else {})
    tasks[data.name] = tasks.get(data.name, {}) | _task_facts(data)
    manifest |= {"models": dict(sorted(models.items())), "tasks": dict(sorted(tasks.items()))}
    write_json(zoo / "manifest.json", "zoo", manifest)


def _task_facts(data: Dataset) -> dict[str, object]:
    facts: dict[str, object] = {"kind": data.kind, "rows": data.rows}
    if data.fingerprint is not None:
        facts |= {"source": data.source, "data_sha256": data.fingerprint}
    return facts if data.classes is None else facts | {"classes": list(data.classes)}


def name_extractor(zoo: Path, model: str) -> None:
    """Make a model the zoo's general extractor.

    Args:
        zoo: its folder.
        model: its name.

    Raises:
        InputError: a manifest that cannot be read.
    """
    with locked_folder(zoo):
        content = _content(zoo)
        before = content.get("extractor")
        if before not in (None, model):
            log.warning(
                "%s: the extractor is %r now; spiders that know tasks by %r need that one",
                zoo,
                model,
                before,
            )
        if before != model:
            write_json(zoo / "manifest.json", "zoo", content | {"extractor": model})


def _content(zoo: Path) -> dict[str, Any]:
    """The manifest without the header that writing puts there."""
    return {k: v for k, v in read_manifest(zoo / "manifest.json").items() if k not in HEADER}
