"""Which models the rows of an index are: its files of names, read where they are asked for."""

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int

from spider_jax.index.files import Block, read_names


def alive_names(
    folder: Path, blocks: Sequence[Block]
) -> Iterator[tuple[Block, list[tuple[int, str]]]]:
    """Every block with its (row, name)s that were not removed."""
    for block in blocks:
        names, removed = read_names(folder, block), set(block.removed)
        yield block, [(row, name) for row, name in enumerate(names) if row not in removed]


def rows_of(
    folder: Path, blocks: Sequence[Block], models: Collection[str]
) -> Bool[np.ndarray, " rows"]:
    """Rows of the index that hold one of these models; names that it lacks are no matter."""
    found, wanted, first = np.zeros(sum(b.rows for b in blocks), bool), {*models}, 0
    for block, names in alive_names(folder, blocks):
        found[[first + row for row, name in names if name in wanted]] = True
        first += block.rows
    return found


def names_of(folder: Path, blocks: Sequence[Block], rows: Int[np.ndarray, "..."]) -> dict[int, str]:
    """Names by row of the index; only blocks that hold one of these rows are read."""
    wanted, first = np.unique(rows), 0
    found: dict[int, str] = {}
    for block in blocks:
        here = wanted[(wanted >= first) & (wanted < first + block.rows)]
        if len(here):
            names = read_names(folder, block)
            found |= {int(row): names[row - first] for row in here}
        first += block.rows
    return found


def guessed_rows(blocks: Sequence[Block]) -> set[int]:
    """Rows of the index whose models were added without features."""
    starts = np.cumsum([0, *(block.rows for block in blocks)]).tolist()
    both = zip(starts, blocks, strict=False)
    return {first + row for first, block in both for row in block.guessed}
