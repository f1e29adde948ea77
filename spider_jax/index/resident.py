"""An index that stays in the memory of devices, so that a search reads nothing from disk.

Spans lie where a stream would bring them, padded as it pads them, and are scored by the same
compiled call: the answers are those of the stream, to the bit.
"""

import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Bool

from spider_jax.index.files import Block, open_block
from spider_jax.index.search import Loaded, Span, Worker, all_spans, devices_of, load
from spider_jax.runtime.device_kinds import CPU, kind_of

log = logging.getLogger("spider_jax")

SHARE = 0.8  # of the free memory that rows may take: a search needs some as well


@dataclass(frozen=True, eq=False)
class Resident:
    """Spans of an index on their devices.

    Attributes:
        mesh: that they are dealt over; None for the default device.
        spans: of this process, by the row of the index that each begins with.
    """

    mesh: Mesh | None
    spans: dict[int, Loaded]

    def read(
        self, dealt: Sequence[tuple[Worker, Span]], allowed: Bool[np.ndarray, " rows"] | None
    ) -> Iterator[tuple[Worker, Loaded]]:
        """The spans that are asked for, as `search.read_ahead` gives them.

        Args:
            dealt: to the devices that they lie on.
            allowed: rows of the index that count; None for all.

        Yields:
            Every span with who scores it.
        """
        for worker, span in dealt:
            loaded = self.spans[span.first]
            if allowed is not None:
                here = allowed[span.first : span.first + span.stop - span.start]
                here = np.pad(here, (0, worker.kind.span - len(here)))
                loaded = loaded._replace(alive=loaded.alive & jax.device_put(here, worker.device))
            yield worker, loaded


def to_devices(
    folder: Path, blocks: Sequence[Block], mesh: Mesh | None, most: int | None
) -> Resident | None:
    """Read an index into the memory of devices.

    Args:
        folder: of the index.
        blocks: of the index.
        mesh: as for `ZooIndex.top_k_tasks`.
        most: bytes that rows may take on a device; None for a share of what is free.

    Returns:
        The index on the devices; None where it does not fit, which the log says.
    """
    devices = devices_of(mesh)[0]
    kind = kind_of(devices[0].platform)
    mapped = lru_cache(maxsize=2)(partial(open_block, folder))
    needed = -(-sum(_bytes(mapped(block.name)) for block in blocks) // len(devices))
    mine = {i: d for i, d in enumerate(devices) if d.process_index == jax.process_index()}
    room = min(_room(device) for device in mine.values()) if most is None else most
    if needed > room:
        log.warning(
            "the index stays on disk: its rows take %.3g GB a device, %.3g GB are free for them",
            needed / 1e9,
            room / 1e9,
        )
        return None
    spans = {}
    for at, span in enumerate(all_spans(blocks, kind)):
        if (device := mine.get(at % len(devices))) is not None:
            rows = mapped(span.block.name)
            copied = kind is CPU  # else a CPU's arrays would be the file's pages
            spans[span.first] = load(rows, span, device, kind, None, copied=copied)
    jax.block_until_ready([loaded.rows for loaded in spans.values()])
    return Resident(mesh, spans)


def _bytes(rows: object) -> int:
    return sum(array.nbytes for array in jax.tree.leaves(rows))


def _room(device: jax.Device) -> int:
    """Bytes that rows may take: of the device's memory, or of the host's where it is the host."""
    stats = device.memory_stats()
    if stats and "bytes_limit" in stats:
        return int(SHARE * (stats["bytes_limit"] - stats["bytes_in_use"]))
    try:
        return int(SHARE * os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (ValueError, OSError, AttributeError):  # a system that does not say
        return 1 << 30
