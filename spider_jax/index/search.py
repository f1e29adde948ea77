"""One stream over an index with a running top-k: neither scores nor rows of the zoo in memory.

Spans of rows are dealt to the devices in turn. While one span is scored, a thread maps the next
ones and reads them from disk; a device keeps the best k it has seen, and these are merged last.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float32
from numpy.typing import NDArray

from spider_jax.errors import InputError
from spider_jax.index.best import all_scores, nothing, update
from spider_jax.index.files import Block, open_block
from spider_jax.runtime.device_kinds import DeviceKind, kind_of
from spider_jax.runtime.progress import Bar
from spider_jax.spider.folding import ModelRows, Shared, padded
from spider_jax.spider.scoring import TaskSide, task_blocks, task_side

# Spans read ahead of the one that is scored, and spans in flight on a device.
AHEAD, IN_FLIGHT = 3, 2


class TaskBlock(NamedTuple):
    """Tasks of one class bucket.

    Attributes:
        tokens: [T, C, p] scaled class centres, padded.
        mask: [T, C] True where a class is real.
        memory: [T, S] how much each remembered task counts; None without a memory.
    """

    tokens: Float32[np.ndarray, "T C p"]
    mask: Bool[np.ndarray, "T C"]
    memory: Float32[np.ndarray, "T S"] | None


class Span(NamedTuple):
    """Some rows of a block.

    Attributes:
        block: that holds them.
        start: the first, in the block.
        stop: behind the last, in the block.
        first: the row of the whole index that `start` is.
    """

    block: Block
    start: int
    stop: int
    first: int


class Loaded(NamedTuple):
    """A span on its device.

    Attributes:
        rows: folded, padded.
        alive: [m] False for padding and removed rows.
        span: where they lie in the index.
    """

    rows: ModelRows
    alive: Bool[Array, " m"]
    span: Span


Found = tuple[NDArray[np.float32], NDArray[np.int64]]


def stream_top_k(
    folder: Path,
    blocks: Sequence[Block],
    shared: Shared,
    tasks: Sequence[TaskBlock],
    k: int,
    mesh: Mesh | None,
    bar: Bar,
    allowed: Bool[np.ndarray, " rows"] | None = None,
    read: "Reader | None" = None,
) -> list[Found]:
    """The best k rows for every task.

    Args:
        folder: of the index.
        blocks: of the index.
        shared: of all its models.
        tasks: by class bucket.
        k: at most the rows that are not removed.
        mesh: see `ZooIndex.top_k_tasks`.
        bar: of rows.
        allowed: rows of the index that count; spans without one are not read. Default: all.
        read: gives the spans that lie on the devices already. Default: from disk.

    Returns:
        For every task block scores float32 [T, k], best first, and rows int64 [T, k].
    """
    devices, everywhere = devices_of(mesh)
    mine = [(i, d) for i, d in enumerate(devices) if d.process_index == jax.process_index()]
    workers = [Worker(device, shared, tasks, k) for _, device in mine]
    spans = [*enumerate(all_spans(blocks, kind_of(devices[0].platform)))]
    if allowed is not None:
        spans = [(at, span) for at, span in spans if _allowed_rows(allowed, span).any()]
    if read is None:  # they may be dealt anew
        spans = [*enumerate(span for _, span in spans)]
    dealt = [
        (worker, span)
        for at, span in spans
        for (i, _), worker in zip(mine, workers, strict=True)
        if at % len(devices) == i
    ]
    read = read or partial(read_ahead, folder)
    for worker, loaded in read(dealt, allowed):
        worker.take(loaded)
        bar.update(loaded.span.stop - loaded.span.start)
    found = [worker.found() for worker in workers]
    return [_merge([f[i] for f in found], k, everywhere) for i in range(len(tasks))]


def stream_scores(
    folder: Path,
    blocks: Sequence[Block],
    shared: Shared,
    task: TaskBlock,
    bar: Bar,
    read: "Reader | None" = None,
) -> Float32[np.ndarray, " rows"]:
    """Scores of all rows for one task, removed ones too, on the default device.

    Args:
        folder: of the index.
        blocks: of the index.
        shared: of all its models.
        task: one.
        bar: of rows.
        read: as for `stream_top_k`.

    Returns:
        One score a row.
    """
    (device,) = devices_of(None)[0]
    worker = Worker(device, shared, [task], 1)
    (side,) = worker.sides[0]
    scores = np.empty(sum(block.rows for block in blocks), np.float32)
    waiting: deque[tuple[Span, Array]] = deque()

    def keep() -> None:
        span, found = waiting.popleft()
        count = span.stop - span.start
        scores[span.first : span.first + count] = np.asarray(found)[:count]

    dealt = [(worker, span) for span in all_spans(blocks, worker.kind)]
    for _, loaded in (read or partial(read_ahead, folder))(dealt, None):
        waiting.append((loaded.span, all_scores(loaded.rows, worker.shared, side)))
        if len(waiting) > IN_FLIGHT:
            keep()
        bar.update(loaded.span.stop - loaded.span.start)
    while waiting:
        keep()
    return scores


def one_device() -> jax.Device:
    """The default device."""
    return devices_of(None)[0][0]


def devices_of(mesh: Mesh | None) -> tuple[list[jax.Device], bool]:
    """The devices along the axis "model", and whether they belong to several processes.

    Along other axes the work is the same: of these every process takes a column of its own.
    """
    if mesh is None:
        return list(jnp.zeros(()).devices()), False
    if "model" not in mesh.axis_names:
        raise InputError(f'mesh must have an axis "model", got {mesh.axis_names}')
    along = np.moveaxis(mesh.devices, mesh.axis_names.index("model"), 0)
    columns = along.reshape(len(along), -1).T
    mine = [c for c in columns if any(d.process_index == jax.process_index() for d in c)]
    if not mine:
        raise InputError("mesh must have a device of every process that searches")
    return list(mine[0]), len({d.process_index for d in mine[0]}) > 1


def all_spans(blocks: Sequence[Block], kind: DeviceKind) -> Iterator[Span]:
    first = 0
    for block in blocks:
        for start in range(0, block.rows, kind.span):
            yield Span(block, start, min(start + kind.span, block.rows), first + start)
        first += block.rows


class Worker:
    """One device: its copy of what is shared, and its best k."""

    def __init__(
        self, device: jax.Device, shared: Shared, tasks: Sequence[TaskBlock], k: int
    ) -> None:
        self.device, self.kind = device, kind_of(device.platform)
        self.shared = jax.device_put(shared, device)
        self.tasks = [len(block.tokens) for block in tasks]
        self.sides = [self._sides(block) for block in tasks]
        self.best = [[nothing(len(side.mask), k, device) for side in s] for s in self.sides]
        self.in_flight: deque[Any] = deque()

    def _sides(self, block: TaskBlock) -> list[TaskSide]:
        """Pieces of a task block that one call takes."""
        sides, first = [], 0
        given, kind = (self.shared, block.tokens, block.mask), self.kind
        for tokens, mask in task_blocks(*given, rows=kind.span, kind=kind):
            side = task_side(self.shared, *jax.device_put((tokens, mask), self.device))
            if block.memory is not None:
                some = block.memory[first : first + len(mask)]
                some = np.pad(some, [(0, len(mask) - len(some)), (0, 0)])
                side = side._replace(memory=jax.device_put(some, self.device))
            sides.append(side)
            first += len(mask)
        return sides

    def take(self, loaded: Loaded) -> None:
        """Score a span and keep the best; waits for the span before the last."""
        rows, alive, span = loaded
        first = np.int32(span.first)
        self.best = [
            [
                update(b, rows, self.shared, side, alive, first)
                for b, side in zip(*pair, strict=True)
            ]
            for pair in zip(self.best, self.sides, strict=True)
        ]
        self.in_flight.append(self.best)
        if len(self.in_flight) > IN_FLIGHT:
            jax.block_until_ready(self.in_flight.popleft())

    def found(self) -> list[Found]:
        """Its best by task block, without the tasks that were padding."""
        return [
            (
                np.concatenate([np.asarray(b.scores) for b in best])[:T],
                np.concatenate([np.asarray(b.rows, np.int64) for b in best])[:T],
            )
            for best, T in zip(self.best, self.tasks, strict=True)
        ]


Reader = Callable[
    [Sequence[tuple[Worker, Span]], Bool[np.ndarray, " rows"] | None],
    Iterator[tuple[Worker, Loaded]],
]


def read_ahead(
    folder: Path,
    dealt: Sequence[tuple[Worker, Span]],
    allowed: Bool[np.ndarray, " rows"] | None,
) -> Iterator[tuple[Worker, Loaded]]:
    """Every worker's spans in order, the next AHEAD of them on their way from disk."""
    mapped = lru_cache(maxsize=2)(partial(open_block, folder))
    with ThreadPoolExecutor(1) as reader:
        coming: deque[Any] = deque()
        for worker, span in dealt:
            where = worker.device, worker.kind
            coming.append(
                (worker, reader.submit(load, mapped(span.block.name), span, *where, allowed))
            )
            if len(coming) > AHEAD:
                ready, loaded = coming.popleft()
                yield ready, loaded.result()
        for ready, loaded in coming:
            yield ready, loaded.result()


def _allowed_rows(allowed: Bool[np.ndarray, " rows"] | None, span: Span) -> Bool[np.ndarray, " m"]:
    count = span.stop - span.start
    return np.ones(count, bool) if allowed is None else allowed[span.first : span.first + count]


def load(
    block: ModelRows,
    span: Span,
    device: jax.Device,
    kind: DeviceKind,
    allowed: Bool[np.ndarray, " rows"] | None,
    *,
    copied: bool = False,
) -> Loaded:
    """Read a span from its map and hand it to the device, which on CPU uses the map itself.

    Args:
        block: mapped.
        span: of it.
        device: where to.
        kind: of device; its calls say to how many rows a span is padded.
        allowed: rows of the index that count; None for all.
        copied: whether the rows are copied first.
    """
    rows = jax.tree.map(lambda a: a[:, span.start : span.stop], block)
    for array in jax.tree.leaves(rows):
        np.asarray(array[..., ::1024] if array.ndim == 3 else array).sum()  # every page is read now
    alive = span.block.alive()[span.start : span.stop] & _allowed_rows(allowed, span)
    if len(alive) < kind.span:
        rows = jax.tree.map(lambda a: padded(a, kind.span), rows)
        alive = np.pad(alive, (0, kind.span - len(alive)))
    elif copied:
        rows = jax.tree.map(np.array, rows)
    rows, alive = jax.device_put((rows, alive), device)
    return Loaded(rows, alive, span)


def _merge(found: Sequence[Found], k: int, everywhere: bool) -> Found:
    """The best k of what all devices found; equal scores by row."""
    scores, rows = (np.concatenate(part, axis=1) for part in zip(*found, strict=True))
    best = _best(scores, rows, k)
    if everywhere:
        from jax.experimental.multihost_utils import process_allgather

        gathered = process_allgather((best[0], best[1].astype(np.int32)))
        scores, rows = (np.concatenate(list(part), axis=1) for part in gathered)
        best = _best(scores, rows, k)
    return best


def _best(scores: NDArray[np.float32], rows: NDArray[Any], k: int) -> Found:
    order = np.lexsort((rows, -scores))[:, :k]
    take = np.take_along_axis
    return take(scores, order, axis=1), take(rows, order, axis=1).astype(np.int64)
