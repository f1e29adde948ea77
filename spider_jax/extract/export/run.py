"""Export a model on a dataset into a zoo.

An export that was interrupted, or shared by several machines, ends in the same bytes as any other.
"""

import logging
from collections.abc import Iterator, MutableMapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spider_jax.errors import InputError, one_line
from spider_jax.extract.data.dataset import BrokenItemError, Dataset
from spider_jax.extract.data.items import Item
from spider_jax.extract.export.batches import block_rows, prepared_item, sound_items
from spider_jax.extract.export.block_rows import (
    agree_on_items,
    begun_block,
    leave_out,
    open_batches,
    open_rows_of,
)
from spider_jax.extract.export.encode import (
    encode_batch,
    encoded_batches,
    joined_columns,
    refuse_other_items,
    rows_of_batch,
)
from spider_jax.extract.export.guard import refuse_unsteady
from spider_jax.extract.export.measured import Stopwatch
from spider_jax.extract.export.record import (
    has_labels,
    is_recorded,
    record,
    refuse_other_labels,
    refuse_others,
    write_groups_once,
    write_labels_once,
)
from spider_jax.extract.models.encoder import Encoder
from spider_jax.storage.locks import locked_folder
from spider_jax.zoo.store import Skipped
from spider_jax.zoo.unfinished import (
    Plan,
    agree_on_plan,
    discard,
    join_blocks,
    missing_blocks,
    publish,
    work_folder,
    write_block,
)

log = logging.getLogger("spider_jax")

SETTLE_ROWS = 512  # a layer is chosen on so many rows
LEFT_OUT = 0.01  # this share of the items may be broken


@dataclass(frozen=True)
class Settings:
    """How features are exported.

    Attributes:
        dtype: "float16" or "float32".
        batch: rows encoded together; None: as memory allows, at most 64.
        shard: (i, n), i from 1 to n: only the i-th of n parts.
        show_progress: whether to show bars on stderr.
        left_out: the share of items that are left out where they cannot be read; where more are
            broken, the task fails.
    """

    dtype: str = "float32"
    batch: int | None = None
    shard: tuple[int, int] = (1, 1)
    show_progress: bool = False
    left_out: float = LEFT_OUT

    def __post_init__(self) -> None:
        if self.dtype not in ("float16", "float32"):
            raise InputError(f"dtype must be float16 or float32, got {self.dtype!r}")
        if self.batch is not None and self.batch < 1:
            raise InputError(f"batch must be at least 1, got {self.batch}")
        if not 1 <= self.shard[0] <= self.shard[1]:
            raise InputError(f"shard must be i/n with 1 <= i <= n, got {self.shard}")
        if not 0 <= self.left_out < 1:
            raise InputError(f"left_out must be a share from 0 to below 1, got {self.left_out}")


@dataclass
class Extraction:
    """What an export did.

    Attributes:
        written: (model, task) pairs that were exported.
        there: pairs that the zoo held before.
        waiting: pairs whose other shards are not done.
        problems: models and tasks that failed, and why.
    """

    written: list[tuple[str, str]] = field(default_factory=list)
    there: list[tuple[str, str]] = field(default_factory=list)
    waiting: list[tuple[str, str]] = field(default_factory=list)
    problems: list[Skipped] = field(default_factory=list)


@contextmanager
def failures(result: Extraction, model: str | None, task: str | None) -> Iterator[None]:
    """An error inside the block becomes a problem of this model and task; the rest goes on.

    Args:
        result: whose problems are added to.
        model: its name, or None where the error is not of a model.
        task: its name, or None where the error is not of a task.

    Raises:
        BrokenItemError: an item of the data is broken, which the caller deals with.
    """
    try:
        yield
    except BrokenItemError:
        raise
    except InputError as error:
        result.problems.append(Skipped(model, task, str(error)))
    except OSError as error:
        message = f"a file cannot be read or written: {one_line(error)}"
        result.problems.append(Skipped(model, task, message))
    except Exception as error:  # code of a model or of a format
        log.info("%s on %s failed", model, task, exc_info=True)
        result.problems.append(Skipped(model, task, one_line(error)))


def export(
    zoo: Path,
    encoder: Encoder,
    data: Dataset,
    settings: Settings,
    broken: MutableMapping[int, str] | None = None,
) -> str:
    """Export a model on a dataset, or go on where an export was interrupted.

    Args:
        zoo: folder, made where it does not exist.
        encoder: the model.
        data: with labels.
        settings: batch, dtype and shard.
        broken: filled with the row and the message of every item that is left out here.

    Returns:
        "written", "there" (it was before) or "waiting" (for the other shards).

    Raises:
        BrokenItemError: more items than `settings.left_out` cannot be read. What was encoded is
            kept, and the same call goes on with it.
        InputError: no labels, another modality, other data or weights under these names, values
            that are not finite, or a disk that cannot be written.
    """
    labels = _labels(data)
    refuse_other_items(encoder, data)
    refuse_others(zoo, data.name, data, encoder.name, encoder.facts)
    if is_recorded(zoo, data.name, data, encoder.name):
        with locked_folder(zoo):  # an export that was killed while it tidied up
            discard(zoo, encoder.name, data.name)
        return "there"
    refuse_other_labels(zoo, data.name, labels[data.kept])
    _, first = next(sound_items(data, encoder.prepare, range(data.rows)))
    folder = work_folder(zoo, encoder.name, data.name)
    proposed = _plan(encoder, data, first, settings)
    refuse_unsteady(encoder, data, proposed.settled, proposed.batch)
    with locked_folder(zoo):
        if is_recorded(zoo, data.name, data, encoder.name):
            return "there"  # another process has finished it meanwhile
        plan = agree_on_plan(folder, proposed)
        agree_on_items(folder, plan, data)
    index, shards = settings.shard
    mine = [block for block in plan.blocks if block % shards == index - 1]
    found: dict[int, str] = {} if broken is None else broken  # type: ignore[assignment]
    watch = Stopwatch()
    _encode_blocks(folder, plan, mine, encoder, data, settings, found, watch)
    with locked_folder(zoo):
        if is_recorded(zoo, data.name, data, encoder.name):
            return "written"  # another shard was quicker to join
        if missing_blocks(folder, plan):
            return "waiting"
        data = _without_broken(zoo, folder, plan, encoder, data, settings, found)
        moves = join_blocks(zoo, encoder.name, data.name, plan, settings.dtype, data.left_out)
        write_labels_once(zoo, data.name, labels[data.kept])
        write_groups_once(zoo, data)
        publish(moves)
        layers = {} if plan.settled is None else {"layers": {data.name: plan.settled}}
        facts = {"width": plan.width, **encoder.facts, "versions": dict(encoder.versions), **layers}
        memory = {} if encoder.memory is None else {"memory": encoder.memory}
        record(zoo, data, encoder.name, facts, memory | watch.found())
        discard(zoo, encoder.name, data.name)
    if said := encoder.report():
        log.warning("%s on %s: %s", encoder.name, data.name, said)
    return "written"


def _without_broken(
    zoo: Path,
    folder: Path,
    plan: Plan,
    encoder: Encoder,
    data: Dataset,
    settings: Settings,
    broken: MutableMapping[int, str],
) -> Dataset:
    """The data without the rows that no process could read; `broken` names them all."""
    for block in plan.blocks:
        for row in map(int, open_rows_of(folder, plan, block, data.left_out)):
            if row not in broken:  # another process has met it
                broken[row] = _why_broken(encoder, data, row)
    if not broken:
        return data
    agreed = has_labels(zoo, data.name)  # other models have these rows
    left = leave_out(data, broken, 0 if agreed else settings.left_out, _labels(data))
    return replace(data, left_out=left)


def _why_broken(encoder: Encoder, data: Dataset, row: int) -> str:
    try:
        prepared_item(data, encoder.prepare, row)
    except InputError as error:
        return str(error)
    return f"{data.where(row)} could not be read before, and can be now: run it again"


def _labels(data: Dataset) -> NDArray[np.generic]:
    if data.labels is None:
        raise InputError(
            f"{data.source} has no labels, which a zoo needs: `rank SPIDER --data` does without"
        )
    return data.labels


def _plan(encoder: Encoder, data: Dataset, first: Item, settings: Settings) -> Plan:
    """The plan of a process that works alone; one row is encoded to find the widths."""
    settled = None if encoder.settle is None else _settle(encoder, data)
    one = encode_batch(encoder, [first], settled)
    batch = settings.batch or rows_of_batch(encoder, first)
    keys = ("weights_sha256", "preprocessing", "layer")
    identity = {key: encoder.facts.get(key) for key in keys} | {"data_sha256": data.fingerprint}
    return Plan(
        rows=data.rows,
        width=one.features.shape[1],
        classes=0 if one.probabilities is None else one.probabilities.shape[1],
        batch=batch,
        block=block_rows(batch),
        settled=settled,
        identity=identity,
    )


def _settle(encoder: Encoder, data: Dataset) -> int:
    """The layer to read, chosen on rows that are spread over the data."""
    assert encoder.settle is not None
    rows = np.unique(np.linspace(0, data.rows - 1, SETTLE_ROWS).astype(np.int64))
    sound = dict(sound_items(data, encoder.prepare, map(int, rows)))
    labels = None if data.labels is None else data.labels[list(sound)]
    return encoder.settle(list(sound.values()), labels, data.kind)


def _encode_blocks(
    folder: Path,
    plan: Plan,
    mine: Sequence[int],
    encoder: Encoder,
    data: Dataset,
    how: Settings,
    broken: MutableMapping[int, str],
    watch: Stopwatch,
) -> None:
    """Write the blocks `mine`; reading ahead goes on across them."""
    cuts = {block: open_batches(folder, plan, block, data.left_out) for block in mine}
    every = [span for spans_ in cuts.values() for span in spans_]
    rows: NDArray[np.float32] | None = None
    show = how.show_progress
    with closing(
        encoded_batches(encoder, data, every, plan.settled, show, broken, watch)
    ) as batches:
        for span, read, encoded in batches:
            block = span.start // plan.block
            if rows is None:
                rows = begun_block(folder, plan, block)
            if encoded is not None:
                places = np.array(read) - plan.span(block)[0]
                rows[places] = joined_columns(encoded, plan.width, plan.classes, encoder.name)
            if span == cuts[block][-1]:
                write_block(folder, plan, block, rows)
                rows = None
