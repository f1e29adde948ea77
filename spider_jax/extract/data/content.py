"""What the items of a dataset hold, by SHA-256: which data they are, which items are equal."""

import hashlib
import logging
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Shaped, UInt8

log = logging.getLogger("spider_jax")

BYTES = 32  # of a SHA-256
CHUNK = 256  # rows that a thread hashes in one go


@dataclass(frozen=True)
class Content:
    """The N items of a dataset as they lie on disk.

    Attributes:
        rows: N.
        read: row -> bytes of the file, the text, or the array; nothing is decoded for it.
    """

    rows: int
    read: Callable[[int], bytes | str | Shaped[np.ndarray, "..."]]

    @cached_property
    def digests(self) -> UInt8[np.ndarray, "N 32"]:
        """SHA-256 of every item; zeros where it cannot be read. Reads all items, in threads."""
        starts = range(0, self.rows, CHUNK)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            parts = list(pool.map(self._hashed, starts))
        return np.frombuffer(b"".join(parts), np.uint8).reshape(-1, BYTES)

    def _hashed(self, start: int) -> bytes:
        return b"".join(self._digest(row) for row in range(start, min(start + CHUNK, self.rows)))

    def _digest(self, row: int) -> bytes:
        try:
            found = self.read(row)
        except Exception:  # of someone else's format; whoever reads the item says what is wrong
            return bytes(BYTES)
        if isinstance(found, str):
            found = found.encode(errors="surrogatepass")
        elif isinstance(found, np.ndarray):
            head = repr((found.dtype.str, found.shape)).encode()
            found = head + np.ascontiguousarray(found).tobytes()
        return hashlib.sha256(found).digest()


def warn_of_equal_items(content: Content, where: Callable[[int], str], name: str) -> None:
    """Say how many items are there twice: a neighbour that is a copy tells nothing.

    Args:
        content: of the data.
        where: row -> the file and row to name.
        name: of the data.
    """
    digests = content.digests
    whole = np.ascontiguousarray(digests).view(f"V{BYTES}").reshape(-1)
    _, first, inverse = np.unique(whole, return_index=True, return_inverse=True)
    copies = np.flatnonzero((first[inverse] != np.arange(content.rows)) & digests.any(1))
    if len(copies):
        row = int(copies[0])
        log.warning(
            "%s: %d of %d items are equal to an earlier one, as %s is to %s: nearest neighbours "
            "find the copies, so a score by them is too good; leave the copies out",
            name,
            len(copies),
            content.rows,
            where(row),
            where(int(first[inverse[row]])),
        )
