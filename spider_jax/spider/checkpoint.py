"""A spider on disk: spider.json says what it is, orbax holds its arrays; nothing is unpickled.

spider/
  spider.json      names, provenance, sizes: the same spider gives the same bytes
  checksums.json   SHA-256 of every file below arrays/
  arrays/          weights and scaling, written by orbax
"""

import math
from dataclasses import asdict
from dataclasses import fields as dataclass_fields
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from spider_jax.belief.state import BeliefState
from spider_jax.belief.task_process import TaskProcess
from spider_jax.errors import InputError
from spider_jax.spider.own_maps import OwnMaps
from spider_jax.spider.state import Description, SpiderState, TeacherTable
from spider_jax.spider.task_memory import Memory, MemoryWeights
from spider_jax.spider.task_ridge import TaskRidge
from spider_jax.spider.weights import Weights
from spider_jax.storage.files import (
    atomic_folder,
    damaged_file,
    digests,
    read_json,
    refuse_foreign_folder,
    seal,
    write_json,
)
from spider_jax.storage.json_fields import json_fields
from spider_jax.storage.orbax import checkpointer, quiet, written
from spider_jax.tasks.scaling import Scaling

DESCRIPTION, CHECKSUMS, ARRAYS = "spider.json", "checksums.json", "arrays"


def save(spider: SpiderState, folder: Path) -> None:
    """Write the folder, all or nothing.

    Raises:
        InputError: see `refuse_foreign`.
    """
    refuse_foreign(folder)
    diagonal = spider.scaling.matrix.ndim == 1
    scaling = {"diagonal": diagonal, "spread": spider.scaling.spread}
    remembered = 0 if spider.memory is None else len(spider.memory.targets)
    ridge = spider.memory is not None and spider.memory.weights.ridge is not None
    content = asdict(spider.description) | {"scaling": scaling, "memory": remembered}
    content["memory_ridge"] = ridge
    content["belief"] = None if spider.beliefs is None else _belief_sizes(spider.beliefs)
    content["own"] = None if spider.own is None else _own_sizes(spider.own)
    content["yardstick"] = (
        None if spider.teacher_table is None else _yard_sizes(spider.teacher_table)
    )
    resolution = spider.description.resolution
    content["resolution"] = resolution if math.isfinite(resolution) else None
    with atomic_folder(folder) as temporary, written(folder), checkpointer() as orbax:
        write_json(temporary / DESCRIPTION, "spider", content)
        arrays = jax.tree.map(np.asarray, _arrays(spider))  # on devices they would be everyone's
        orbax.save(temporary.absolute() / ARRAYS, arrays)
        sums = {"description": seal(content), "files": digests(temporary / ARRAYS)}
        write_json(temporary / CHECKSUMS, "checksums", sums)


def load(folder: Path) -> SpiderState:
    """Read what `save` wrote.

    Raises:
        InputError: not a spider, a newer format, or damaged arrays.
    """
    content = read_json(folder / DESCRIPTION, "spider")
    try:
        description, shapes = _description(content), _shapes(content)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{folder / DESCRIPTION} is not a whole description: {error!r}") from None
    _check_digests(folder, content)
    arrays = _restore(folder / ARRAYS, shapes)
    scaling = Scaling(arrays["mean"], arrays["matrix"], content["scaling"]["spread"])
    weights = {name: jnp.asarray(array) for name, array in arrays["weights"].items()}
    memory = _memory(arrays["memory"]) if content["memory"] else None
    own = _own(description, content["own"], arrays["own"]) if content.get("own") else None
    yard = TeacherTable(**arrays["yardstick"]) if content.get("yardstick") else None
    beliefs = None
    if content.get("belief"):
        beliefs = BeliefState.of(arrays["belief"], tuple(content["belief"]["metrics"]))
    return SpiderState(description, scaling, Weights(**weights), memory, own, yard, beliefs)


def refuse_foreign(folder: Path) -> None:
    """Refuse to replace anything but a spider: ask before work whose result goes to `folder`.

    Raises:
        InputError: a file stands there, or a folder with something else in it.
    """
    ours = {DESCRIPTION, CHECKSUMS, ARRAYS}
    refuse_foreign_folder(folder, "spider", lambda names: DESCRIPTION in names and names <= ours)


def _arrays(spider: SpiderState) -> dict[str, Any]:
    scaling = spider.scaling
    arrays = {
        "mean": jnp.asarray(scaling.mean),
        "matrix": jnp.asarray(scaling.matrix),
        "weights": spider.weights.arrays(),
    }
    if spider.own is not None:
        arrays["own"] = {n: a for n, a in spider.own._asdict().items() if n != "starts"}
    if spider.teacher_table is not None:
        arrays["yardstick"] = spider.teacher_table._asdict()
    if spider.beliefs is not None:
        arrays["belief"] = spider.beliefs.arrays()
    if spider.memory is not None:
        arrays["memory"] = {**spider.memory.weights.arrays(), "targets": spider.memory.targets}
    return arrays


def _memory(arrays: dict[str, Any]) -> Memory:
    kept = MemoryWeights.of(arrays)
    assert kept is not None  # its shapes were checked
    return Memory(kept, arrays["targets"])


def _own_sizes(own: OwnMaps) -> dict[str, int]:
    """rows: of all models' maps, width: q; what of M there is, `widths` of the description says."""
    return {"rows": int(own.starts[-1]), "width": int(own.matrix.shape[1])}


def _yard_sizes(yard: TeacherTable) -> dict[str, int]:
    S, K, _ = yard.metrics.shape
    return {"tasks": S, "metrics": K, "datasets": len(yard.accuracies)}


def _belief_sizes(beliefs: BeliefState) -> dict[str, Any]:
    rank = int(beliefs.arrays()["loadings"].shape[1])
    return {"rank": rank, "metrics": list(beliefs.evidence.metrics)}


def _own(about: Description, sizes: dict[str, int], arrays: dict[str, Any]) -> OwnMaps:
    starts = np.cumsum([0, *(about.widths.get(model, 0) for model in about.models)])
    if starts[-1] != sizes["rows"]:
        raise InputError("widths of the models do not fit their own maps: copy the spider again")
    return OwnMaps(starts, *(arrays[name] for name in OwnMaps._fields[1:]))


def _description(content: dict[str, Any]) -> Description:
    unknown = {"resolution": math.nan} if content["resolution"] is None else {}
    about = Description(**json_fields(Description, content | unknown))
    extractor = [about.extractor[name] for name in ("name", "width")]
    if list(map(type, extractor)) != [str, int]:
        raise TypeError(f"extractor must have a name and a width, got {extractor!r:.60}")
    weight = about.training.get("network_weight", 1.0)
    if type(weight) not in (int, float):
        raise TypeError(f"network_weight must be a number, got {weight!r:.60}")
    return about


def _shapes(content: dict[str, Any]) -> dict[str, Any]:
    """What the arrays must be, from the description alone: a wrong file is refused by shape."""
    E, M, d = content["members"], len(content["models"]), content["width"]
    D, p = content["extractor"]["width"], content["token_width"]
    components = p // 2 if content["scaling"]["spread"] else p
    vector, square = (d,), (d, d)
    weights = ((M, d), (p, d), vector, *(square,) * 4, *(vector,) * 6, ())
    S = content["memory"]
    shapes: dict[str, Any] = {
        "mean": (D,),
        "matrix": (components,) if content["scaling"]["diagonal"] else (D, components),
        "weights": {
            name: (E, *shape) for name, shape in zip(Weights._fields, weights, strict=False)
        },
    }
    memory: dict[str, Any] = {"embeddings": (S, 2 * p), "targets": (S, M)}
    if content.get("memory_ridge"):  # older files have none
        ridge = ((D,), (2 * D,), (2 * D, S), ())
        memory |= {f"ridge_{n}": s for n, s in zip(TaskRidge._fields, ridge, strict=True)}
    if content.get("belief"):  # older files have none
        r, K = content["belief"]["rank"], len(content["belief"]["metrics"])
        noise = {"gain": (K,), "noise": (K, K), "size": (K,), "worth": (K,)} if K else {}
        shapes["belief"] = {"loadings": (M, r), "own": (M,), **noise, "results": (3,)}
        process = ((D,), (2 * D,), (2 * D,), (S, 2 * D), (S,), (5,))
        names = (one.name for one in dataclass_fields(TaskProcess))
        memory |= {f"process_{n}": s for n, s in zip(names, process, strict=True)}
    if S:
        shapes["memory"] = memory
    if content.get("own"):  # older files have none
        R, q = content["own"]["rows"], content["own"]["width"]
        own = ((R,), (R, q), (E, M, q, d), (E, M, d))
        shapes["own"] = dict(zip(OwnMaps._fields[1:], own, strict=True))
    if content.get("yardstick"):  # older files have none
        S, K, G = (content["yardstick"][name] for name in ("tasks", "metrics", "datasets"))
        shapes["yardstick"] = {"metrics": (S, K, M), "accuracies": (G, M)}
    return shapes


def _check_digests(folder: Path, content: dict[str, Any]) -> None:
    """Raise unless the description and every file of the arrays are those that were written.

    Asked before orbax is, which does not read all of them and tells of damage in tracebacks from
    its threads.
    """
    sums = read_json(folder / CHECKSUMS, "checksums")
    if sums.get("description", seal(content)) != seal(content):  # older files have none
        raise InputError(
            f"{folder / DESCRIPTION} is not the one that was written with these arrays: "
            "copy the spider again"
        )
    problem = damaged_file(folder / ARRAYS, sums.get("files"))
    if problem:
        raise InputError(f"{problem}: copy the spider again")


def _restore(folder: Path, shapes: dict[str, Any]) -> dict[str, Any]:
    """The arrays as NumPy, whatever devices they were saved from."""
    import orbax.checkpoint as ocp

    shapes_of: Any = {"is_leaf": lambda node: isinstance(node, tuple)}
    wanted = jax.tree.map(lambda _: ocp.RestoreArgs(np.ndarray, np.float32), shapes, **shapes_of)
    try:
        with quiet(), checkpointer() as orbax:
            arrays: dict[str, Any] = orbax.restore(folder.absolute(), restore_args=wanted)
    except Exception as error:  # orbax has no one error for damage
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise InputError(f"{folder} cannot be read: {reason}") from None
    found = jax.tree.map(np.shape, arrays)
    if found != shapes:
        raise InputError(f"{folder} does not fit the sizes in {DESCRIPTION}: copy the spider again")
    return arrays
