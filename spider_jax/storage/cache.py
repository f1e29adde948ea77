"""Scores that were computed once: on disk under what they depend on, never under a name.

The key of a model on a task is the SHA-256 of its features (or probabilities), of the rows used and
of their labels, so a changed file is another key and a copied zoo is the same. One JSON a key holds
the values by metric and version; it is replaced whole, so an interrupted run leaves what it had.
"""

import hashlib
import json
import logging
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spider_jax.errors import InputError
from spider_jax.storage.files import read_json, write_json

log = logging.getLogger("spider_jax")

BLOCK_BYTES = 1 << 24


def default_folder(kind: str = "scores") -> Path:
    """$XDG_CACHE_HOME/spider_jax/<kind>, or ~/.cache/spider_jax/<kind>: the user's own."""
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "spider_jax" / kind


def fingerprint(arrays: Iterable[NDArray[Any]]) -> str:
    """SHA-256 of dtypes, shapes and bytes, read in blocks of rows."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(repr((array.dtype.str, array.shape)).encode())
        rows = max(1, BLOCK_BYTES // max(1, array[:1].nbytes))
        for start in range(0, len(array), rows):
            digest.update(np.ascontiguousarray(array[start : start + rows]).data)
    return digest.hexdigest()


class ScoreCache:
    """Values by metric of one key; every `put` is on disk before it returns.

    A folder that cannot be read or written costs the cache, not the run: the log says so.
    """

    def __init__(self, folder: Path | None, key: str) -> None:
        self._path = None if folder is None else folder / key[:2] / f"{key}.json"
        self._values: dict[str, list[float]] = {}
        try:
            if self._path is not None and self._path.exists():
                self._values = _sound(read_json(self._path, "score-cache").get("values"))
        except (OSError, InputError) as error:
            log.warning("a cached score is not used: %s", error)
        except (ValueError, OverflowError) as error:
            log.warning("a cached score is not used: %s: %s", self._path, error)

    def get(self, name: str, size: int | None = None) -> NDArray[np.float64] | None:
        """The parts of a metric's value, [P], or None; size: P, where it is known."""
        found = self._values.get(name)
        if found is not None and size not in (None, len(found)):
            log.warning(
                "a cached score is not used: %s holds %d values, not %s",
                self._path,
                len(found),
                size,
            )
            return None
        return None if found is None else np.array(found, np.float64)

    def put(self, name: str, parts: NDArray[np.float64]) -> None:
        """Keep the parts of a metric's value, [P] finite numbers."""
        self.put_all({name: parts})

    def put_all(self, values: Mapping[str, NDArray[np.float64]]) -> None:
        """Keep values by name in one write; those that are not finite are left out."""
        finite = {name: v.tolist() for name, v in values.items() if np.isfinite(v).all()}
        if self._path is None or not finite:
            return
        self._values |= finite
        try:
            self._path.parent.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_json(self._path, "score-cache", {"values": self._values})
        except (OSError, InputError) as error:
            log.warning("scores are not cached: %s", " ".join(str(error).split()))
            self._path = None


def _sound(values: Any) -> dict[str, list[float]]:
    """Values by name as a file holds them.

    Raises:
        ValueError: something else than lists of finite numbers.
    """
    if not isinstance(values, dict):
        raise ValueError("values must be an object")
    for name, parts in values.items():
        numbers = isinstance(parts, list) and all(type(v) in (int, float) for v in parts)
        if not numbers or not np.isfinite(np.array(parts, np.float64)).all():
            raise ValueError(f"{name} must be finite numbers")
    return values


def cache_key(metric: str, version: int, options: dict[str, Any]) -> str:
    """The name of a value in a cache: metric, version and what it was called with."""
    return json.dumps([metric, version, options], sort_keys=True)
