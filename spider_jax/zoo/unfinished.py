"""An unfinished export: blocks of rows on disk, each whole or absent, joined when all are there.

    zoo/.extract/<model>/<task>/
      plan.json          rows, widths, batch, block: the same for every process that takes part
      block-00000000.npy float32 [block, D + Z]: features and probabilities of its rows

A FeatureStore does not see it. Blocks and batches do not depend on the process that computes them,
so an export that was interrupted, or shared by several machines, ends in the same bytes.
"""

import contextlib
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Float32
from numpy.typing import NDArray

from spider_jax.errors import InputError, one_line
from spider_jax.storage.files import (
    atomic_file,
    component_to_name,
    name_to_component,
    read_json,
    write_json,
)
from spider_jax.storage.npy import read_header
from spider_jax.storage.opening import refuse_link, refuse_links
from spider_jax.zoo.matrix_file import matrix_path, write_matrix

FOLDER = ".extract"


@dataclass(frozen=True)
class Plan:
    """What all processes of an export agree on.

    Attributes:
        rows: N.
        width: D, columns of the features.
        classes: Z, columns of the source probabilities; 0 where there are none.
        batch: rows encoded together.
        block: rows of a file, a multiple of batch.
        settled: the layer that was chosen for the task; None where it does not depend on the task.
        identity: hashes and facts of weights, preprocessing, layer and data.
    """

    rows: int
    width: int
    classes: int
    batch: int
    block: int
    settled: int | None
    identity: Mapping[str, object]

    @property
    def blocks(self) -> range:
        """Numbers of the blocks."""
        return range(-(-self.rows // self.block))

    def span(self, block: int) -> tuple[int, int]:
        """First row of a block, and the row after its last.

        Args:
            block: its number.
        """
        return block * self.block, min(self.rows, (block + 1) * self.block)


def work_folder(zoo: Path, model: str, task: str) -> Path:
    """The folder of the blocks of an export.

    Args:
        zoo: its folder.
        model: its name.
        task: its name.

    Raises:
        InputError: a link stands in the way.
    """
    return refuse_links(zoo, zoo / FOLDER / name_to_component(model) / name_to_component(task))


def agree_on_plan(folder: Path, plan: Plan) -> Plan:
    """The plan on disk; where there is none, `plan` is written. The caller holds the zoo's lock.

    Args:
        folder: of the blocks of the export.
        plan: of this process.

    Returns:
        The plan that all processes follow.

    Raises:
        InputError: the plan on disk is of other weights, data or widths.
    """
    path = folder / "plan.json"
    if not path.exists():
        write_json(path, "extraction", asdict(plan))
        return plan
    found = read_plan(path)
    for key in ("identity", "rows", "width", "classes"):
        if getattr(found, key) != getattr(plan, key):
            raise InputError(
                f"{folder} holds an unfinished export with another {key}: "
                "finish that one, or remove the folder"
            )
    return found


def read_plan(path: Path) -> Plan:
    """The plan of an unfinished export.

    Args:
        path: of plan.json.

    Returns:
        The plan.

    Raises:
        InputError: a file of another form.
    """
    content = read_json(path, "extraction")
    sound = all(
        type(content.get(key)) is int and content[key] >= least
        for key, least in (("rows", 1), ("width", 1), ("classes", 0), ("batch", 1), ("block", 1))
    )
    settled, identity = content.get("settled"), content.get("identity")
    if not sound or not isinstance(settled, int | None) or not isinstance(identity, dict):
        raise InputError(f"{path} is no plan of an export: remove its folder")
    return Plan(**{key: content[key] for key in Plan.__dataclass_fields__})


def block_path(folder: Path, block: int) -> Path:
    """The file of a block.

    Args:
        folder: of the blocks of the export.
        block: its number.
    """
    return folder / f"block-{block:08d}.npy"


def missing_blocks(folder: Path, plan: Plan) -> list[int]:
    """Numbers of the blocks that are not on disk yet.

    Args:
        folder: of the blocks of the export.
        plan: of the export.
    """
    return [block for block in plan.blocks if not block_path(folder, block).exists()]


def write_block(
    folder: Path, plan: Plan, block: int, rows: Float32[np.ndarray, "b D_plus_Z"]
) -> None:
    """Write a block, all or nothing.

    Args:
        folder: of the blocks of the export.
        plan: of the export.
        block: its number.
        rows: features and probabilities side by side, [b, D + Z].

    Raises:
        InputError: the file cannot be written.
    """
    path, (start, stop) = block_path(folder, block), plan.span(block)
    header = {"descr": rows.dtype.str, "fortran_order": False, "shape": rows.shape}
    try:
        with atomic_file(path) as file:
            np.lib.format.write_array_header_1_0(file, header)
            file.write(np.ascontiguousarray(rows).data)
    except OSError as error:
        raise InputError(
            f"{path} (rows {start} to {stop - 1}) cannot be written: {one_line(error)}"
        ) from None


def _read(
    folder: Path, plan: Plan, columns: slice, left_out: Sequence[int]
) -> Iterator[NDArray[np.float32]]:
    for block in plan.blocks:
        path, (start, stop) = block_path(folder, block), plan.span(block)
        wanted = (stop - start, plan.width + plan.classes)
        if read_header(path).shape != wanted:
            raise InputError(f"{path} must be {wanted}: remove it and run the export again")
        rows = np.load(path, mmap_mode="r", allow_pickle=False)[:, columns]
        out = [row - start for row in left_out if start <= row < stop]
        yield np.delete(rows, out, axis=0) if out else rows


def join_blocks(
    zoo: Path, model: str, task: str, plan: Plan, dtype: str, left_out: Sequence[int] = ()
) -> list[tuple[Path, Path]]:
    """Join all blocks to whole matrices in the folder of the blocks.

    Args:
        zoo: its folder.
        model: its name.
        task: its name.
        plan: of the export.
        dtype: "float16" or "float32".
        left_out: rows that the zoo is made without, in ascending order.

    Returns:
        For `publish`: pairs of what was written and its place in the zoo. Probabilities come first,
        because a zoo that has the features has the whole export.

    Raises:
        InputError: a block that is damaged, or a file that cannot be written.
    """
    what, D = f"{model!r} on {task!r}", plan.width
    parts = {"features": (slice(0, D), D)}
    if plan.classes:
        parts = {"probabilities": (slice(D, D + plan.classes), plan.classes), **parts}
    folder, moves = work_folder(zoo, model, task), []
    for part, (columns, width) in parts.items():
        whole, target = folder / f"{part}.npy", matrix_path(zoo / part, model, task)
        blocks = partial(_read, folder, plan, columns, left_out)
        write_matrix(whole, (plan.rows - len(left_out), width), dtype, blocks, f"{part} of {what}")
        moves.append((whole, target))
    return moves


def publish(moves: Sequence[tuple[Path, Path]]) -> None:
    """Move whole files into the zoo, in order.

    Args:
        moves: pairs of a file and its place in the zoo.
    """
    for whole, target in moves:
        refuse_link(target.parent)
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(whole, target)


def discard(zoo: Path, model: str, task: str) -> None:
    """Remove the blocks of an export, and the folders above them that are empty then.

    Args:
        zoo: its folder.
        model: its name.
        task: its name.
    """
    folder = work_folder(zoo, model, task)
    shutil.rmtree(folder, ignore_errors=True)
    for above in (folder.parent, zoo / FOLDER):
        with contextlib.suppress(OSError):  # it is not empty: other exports go on there
            above.rmdir()


def unfinished(zoo: Path) -> list[tuple[str, str, int, int]]:
    """Every export that is not finished.

    Args:
        zoo: its folder.

    Returns:
        Model, task, number of blocks on disk and number of blocks in all, for each.
    """
    found = []
    for path in sorted((zoo / FOLDER).glob("*/*/plan.json")):
        try:
            plan = read_plan(path)
            model, task = (component_to_name(p.name) for p in (path.parent.parent, path.parent))
        except InputError:
            continue
        done = len(plan.blocks) - len(missing_blocks(path.parent, plan))
        found.append((model, task, done, len(plan.blocks)))
    return found
