"""Building an index: a spider's models folded and written block by block, resumed after a crash."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

from spider_jax.belief.state import BeliefState
from spider_jax.errors import InputError
from spider_jax.index import files
from spider_jax.index.files import Block, IndexDescription
from spider_jax.runtime.progress import row_bar
from spider_jax.spider.folding import (
    ModelRows,
    RowMaps,
    Shared,
    chunk_rows,
    fold_chunk,
    fold_shared,
)
from spider_jax.spider.spider import Spider
from spider_jax.storage.files import checked_names, read_json, refuse_foreign_folder, write_json


def make_folder(folder: Path) -> None:
    """Make the folder of an index, unless it is there.

    Raises:
        InputError: a file is in the way, or a folder with something else in it.
    """
    refuse_foreign_folder(folder, "index", _is_index)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise InputError(f"{folder} lies below a file: choose another name") from None


def _is_index(names: set[str]) -> bool:
    begun = names & {files.INDEX, files.BUILDING}
    ours = {files.INDEX, files.BUILDING, files.SHARED, files.BLOCKS} if begun else set()
    return all(name in ours or name.startswith(".") for name in names)


def build_index(spider: Spider, folder: Path, precision: str, show_progress: bool) -> None:
    """Write the whole index, or what an interrupted build of it left undone.

    Raises:
        InputError: the folder holds another index, whole or begun.
    """
    maps, shared = fold_shared(spider.scoring_weights)
    about = _describe(spider, shared, precision)
    files.clear_strays(folder, None)
    if (folder / files.INDEX).exists():
        if read_json(folder / files.INDEX, "index").get("source") == about.source:
            (folder / files.BUILDING).unlink(missing_ok=True)
            return  # built to the end already
        raise InputError(f"{folder} holds another index: choose another folder, or delete it")
    _start_or_resume(folder, about)
    arrays = {"mean": spider.scaling.mean, "matrix": spider.scaling.matrix, **shared._asdict()}
    arrays["value"] = shared.value.swapaxes(1, 2)  # on disk it acts from the right
    if spider.memory is not None:
        arrays |= spider.memory.weights.arrays()
    if spider.beliefs is not None:
        arrays |= {f"belief_{name}": a for name, a in _evidence(spider.beliefs).items()}
    files.write_shared(folder, arrays)
    blocks = _write_blocks(spider, spider.models, maps, about, folder, 0, show_progress)
    files.write_index(folder, about, blocks)


def _start_or_resume(folder: Path, about: IndexDescription) -> None:
    """Keep the blocks of an interrupted build of the same index; refuse those of another."""
    if (folder / files.BUILDING).exists():
        begun = read_json(folder / files.BUILDING, "index-build").get("source")
        if begun != about.source:
            raise InputError(
                f"{folder} holds the beginning of another index: choose another folder, or "
                "delete it"
            )
    else:
        write_json(folder / files.BUILDING, "index-build", {"source": about.source})


def _describe(spider: Spider, shared: Shared, precision: str) -> IndexDescription:
    description = spider.description
    fingerprint = _shared_fingerprint(spider)
    source = hashlib.sha256(f"{fingerprint} {precision} {list(spider.models)}".encode())
    source.update(np.ascontiguousarray(spider.weights.theta).data)
    if spider.memory is not None:
        source.update(np.ascontiguousarray(spider.memory.targets).data)
    beliefs = spider.beliefs
    if beliefs is not None:
        source.update(_errors(beliefs).tobytes())
    return IndexDescription(
        extractor=dict(description.extractor),
        width=description.width,
        key_width=int(shared.value.shape[2]),
        members=description.members,
        resolution=description.resolution if math.isfinite(description.resolution) else None,
        precision=precision,
        spread=spider.scaling.spread,
        memory=0 if spider.memory is None else len(spider.memory.targets),
        shared=fingerprint,
        source=source.hexdigest(),
        rank=None if beliefs is None else int(beliefs.factors.loadings.shape[1]),
        metrics=() if beliefs is None else beliefs.evidence.metrics,
    )


def _errors(beliefs: BeliefState) -> NDArray[np.float32]:
    """[M, r + 1] loadings and own variance of every model's error."""
    return np.column_stack(beliefs.factors).astype(np.float32)


def _evidence(beliefs: BeliefState) -> dict[str, NDArray[np.float32]]:
    """What all models share of a belief."""
    return {n: a for n, a in beliefs.arrays().items() if n not in ("loadings", "own")}


def _shared_fingerprint(spider: Spider) -> str:
    """SHA-256 of all that a score depends on but the model's own token: weights as they were
    trained, not their products, which another machine may round otherwise."""
    scaling, extractor = spider.scaling, spider.description.extractor
    digest = hashlib.sha256(repr((sorted(extractor.items()), scaling.spread)).encode())
    shared = spider.scoring_weights._replace(theta=spider.weights.theta[:, :0])
    memory: tuple[Any, ...] = ()
    if spider.memory is not None:
        memory = tuple(spider.memory.weights.arrays().values())
    if spider.beliefs is not None:
        memory += tuple(_evidence(spider.beliefs).values())
    for array in (scaling.mean, scaling.matrix, *shared.arrays().values(), *memory):
        digest.update(repr(np.shape(array)).encode() + np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def models_to_append(
    folder: Path, there: set[str], spider: Spider, models: Sequence[str] | None
) -> tuple[str, ...]:
    """The models to add to those that are `there`; by default all others of the spider.

    Raises:
        InputError: a model that is unknown, there already, or named twice.
    """
    known = set(spider.models)
    if models is None:
        models = [name for name in spider.models if name not in there]
    for name in checked_names(models):
        if name not in known:
            raise InputError(f"the spider has no model {name!r}")
        if name in there:
            raise InputError(f"{folder} holds model {name!r} already: remove it first")
    if len(set(models)) < len(models):
        raise InputError("models must be named once each")
    return tuple(models)


def append_blocks(
    spider: Spider,
    models: Sequence[str],
    folder: Path,
    about: IndexDescription,
    blocks: Sequence[Block],
    show_progress: bool,
) -> None:
    """Write these models as further blocks of an index.

    Raises:
        InputError: the spider's shared weights or scaling are not those of the index.
    """
    if _shared_fingerprint(spider) != about.shared:
        raise InputError(
            f"{folder} is an index of another checkpoint: its shared weights or its "
            "scaling differ from the spider's"
        )
    files.clear_strays(folder, blocks)
    maps, _ = fold_shared(spider.weights)
    first = 1 + max((int(block.name) for block in blocks), default=-1)
    added = _write_blocks(spider, models, maps, about, folder, first, show_progress)
    files.write_index(folder, about, [*blocks, *added])


def _write_blocks(
    spider: Spider,
    models: Sequence[str],
    maps: RowMaps,
    about: IndexDescription,
    folder: Path,
    first: int,
    show_progress: bool,
) -> list[Block]:
    """Fold and write models block by block; a block that is there and whole is kept."""
    place = {name: row for row, name in enumerate(spider.models)}
    step, guessed = about.block_rows, {*spider.guessed}
    blocks: list[Block] = []
    with row_bar(len(models), "indexing", show_progress) as bar:
        for number, start in enumerate(range(0, len(models), step), first):
            names, name = models[start : start + step], f"{number:08d}"
            path = files.block_folder(folder, name)
            if path.exists() and files.part_damage(path) is None:
                block = files.listed_block(folder, name, len(names))
            else:
                which = [place[n] for n in names]
                theta, memory = np.asarray(spider.weights.theta)[:, which], spider.memory
                targets = None if memory is None else memory.targets.T[None, which]
                rows = _fold(maps, theta, targets, about.precision)
                errors = None if spider.beliefs is None else _errors(spider.beliefs.take(which))
                block = files.write_block(folder, name, rows, names, errors)
            unseen = tuple(row for row, model in enumerate(names) if model in guessed)
            blocks.append(replace(block, guessed=unseen))
            bar.update(len(names))
    return blocks


def _fold(
    maps: RowMaps,
    theta: NDArray[np.float32],
    targets: NDArray[np.float32] | None,
    precision: str,
) -> ModelRows:
    """The rows of a block, in the form for many models and in its chunks."""
    chunks: list[Any] = []
    size = chunk_rows("many", len(theta), theta.shape[-1])
    for start in range(0, theta.shape[1], size):
        which = slice(start, min(start + size, theta.shape[1]))
        rows = fold_chunk(maps, theta, targets, which, size, precision)
        real = which.stop - which.start
        chunks.append(jax.tree.map(lambda a, n=real: np.asarray(a)[:, :n], rows))
    return jax.tree.map(lambda *a: np.concatenate(a, axis=1), *chunks)
