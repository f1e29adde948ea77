"""What an export writes beside the features: labels once a task, models and tasks in the manifest.

Several processes may write to a zoo, so a process that changes it holds its lock.
"""

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from jaxtyping import Shaped

from spider_jax.errors import InputError
from spider_jax.extract.data.dataset import Dataset
from spider_jax.extract.export.measured import kept_measured, unstated
from spider_jax.facts.columns import MEASURED
from spider_jax.storage.files import name_to_component, write_json
from spider_jax.storage.locks import locked_folder
from spider_jax.storage.npy import read_header, write_array
from spider_jax.zoo.files import read_manifest

log = logging.getLogger("spider_jax")

IDENTITY = ("data_sha256", "content_sha256")  # of a task: given by who made it, or by its items
HEADER = ("format", "version", "created_with")


def has_labels(zoo: Path, task: str) -> bool:
    """Whether the zoo has labels of a task.

    Args:
        zoo: its folder.
        task: its name.
    """
    return (zoo / "labels" / f"{name_to_component(task)}.npy").exists()


def without_left_out(zoo: Path, data: Dataset) -> Dataset:
    """The data without the rows that the zoo left out when it was first made of them.

    Args:
        zoo: its folder.
        data: of a task.

    Returns:
        The data, whose `left_out` are those of the zoo where both have the same number of rows.

    Raises:
        InputError: a manifest that cannot be read.
    """
    entry = read_manifest(zoo / "manifest.json").get("tasks", {}).get(data.name, {})
    rows = entry.get("left_out")
    sound = isinstance(rows, list) and all(type(r) is int and 0 <= r < data.rows for r in rows)
    if not sound or entry.get("rows") != data.rows - len(set(rows)):
        return data
    return replace(data, left_out=tuple(sorted(set(rows))))


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


def write_groups_once(zoo: Path, data: Dataset) -> None:
    """Write groups/<task>.npy where rows belong together and the zoo does not say so yet.

    Args:
        zoo: its folder.
        data: of the task.
    """
    path = zoo / "groups" / f"{name_to_component(data.name)}.npy"
    if data.groups is not None and not path.exists():
        write_array(zoo / "groups", data.name, data.groups[data.kept])


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
    recorded = manifest.get("tasks", {}).get(task, {})
    if any(recorded.get(key, value) != value for key, value in data.identity().items()):
        raise InputError(
            f"{zoo}: task {task!r} was exported from other data: name it TASK={data.source}"
        )
    entry = manifest.get("models", {}).get(model, {})
    for key in ("weights_sha256", "preprocessing", "layer", "width"):
        if key in entry and key in facts and entry[key] != facts[key]:
            raise InputError(
                f"{zoo}: model {model!r} was exported with other {key.partition('_')[0]}: "
                f"name it ANOTHER={facts.get('source', model)}"
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
    exported = manifest.get("models", {}).get(model, {}).get("exported", ())
    if task not in exported or not path.exists():
        return False
    recorded, identity = manifest.get("tasks", {}).get(task, {}), data.identity()
    if "content_sha256" in identity and "content_sha256" not in recorded:
        if "data_sha256" not in recorded:
            return False
        log.warning(
            "%s: task %r was exported before contents were compared: taken as the same data",
            *(zoo, task),
        )
        return True
    return all(recorded.get(key) == identity.get(key) for key in IDENTITY)


def record(
    zoo: Path,
    data: Dataset,
    model: str,
    facts: Mapping[str, Any],
    measured: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    """Write a model and a task into the manifest; what else it says of them stays.

    A cost or a licence that it states already stays too, whatever this export found.

    Args:
        zoo: its folder; the caller holds its lock.
        data: of the task.
        model: its name.
        facts: weights, preprocessing, layer, versions, and "layers", a mapping from task to layer,
            where the layer depends on the task.
        measured: what running it cost here, see `measured`.

    Raises:
        InputError: a manifest that cannot be read.
    """
    manifest = _content(zoo)
    models, tasks = dict(manifest.get("models", {})), dict(manifest.get("tasks", {}))
    before = models.get(model, {})
    exported = sorted({*before.get("exported", ()), data.name})
    layers = before.get("layers", {}) | facts.get("layers", {})
    costs = kept_measured(before.get(MEASURED, {}), measured)
    models[model] = {
        **before,
        **unstated(facts, before),
        "exported": exported,
        **({"layers": layers} if layers else {}),
        **({MEASURED: costs} if costs else {}),
    }
    tasks[data.name] = tasks.get(data.name, {}) | _task_facts(data)
    manifest |= {"models": dict(sorted(models.items())), "tasks": dict(sorted(tasks.items()))}
    write_json(zoo / "manifest.json", "zoo", manifest)


def _task_facts(data: Dataset) -> dict[str, object]:
    facts: dict[str, object] = {"kind": data.kind, "rows": len(data.kept)}
    if identity := data.identity():
        facts |= {"source": data.source, **identity}
    if data.left_out:
        facts |= {"left_out": list(data.left_out)}
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
