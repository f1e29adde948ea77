"""Scores that were computed once: on disk under what they depend on, never under a name.

The key of a model on a task is the SHA-256 of its features (or probabilities), of the rows used and
of their labels. A changed file therefore has another key, and a copied zoo has the same keys. One
JSON per key holds the values by metric and version. It is replaced whole, so an interrupted run
keeps what it had.
"""

import hashlib
import json
import logging
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Shaped

from spider_jax.errors import InputError
from spider_jax.storage.files import read_json, write_json
from spider_jax.storage.private import is_private, make_private, refuse_foreign_writers

log = logging.getLogger("spider_jax")

BLOCK_BYTES = 1 << 24


def default_folder(kind: str = "scores") -> Path:
    """The user's own cache: $XDG_CACHE_HOME/spider_jax/<kind>, or ~/.cache/spider_jax/<kind>.

    Args:
        kind: what is kept there, the name of the folder.

    Returns:
        The folder, which may not exist yet.
    """
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "spider_jax" / kind


def fingerprint(arrays: Iterable[Shaped[np.ndarray, "_ ..."]]) -> str:
    """SHA-256 of dtypes, shapes and bytes of arrays.

    Args:
        arrays: of any shape and dtype but scalars; memmaps are read in blocks of rows.

    Returns:
        64 hexadecimal digits.
    """
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

    Args:
        folder: where the values of all keys lie; None for a cache that keeps nothing.
        key: what the values depend on, as `fingerprint` gives it.
    """

    def __init__(self, folder: Path | None, key: str) -> None:
        self._path = None if folder is None else folder / key[:2] / f"{key}.json"
        self._key = key
        self._values: dict[str, list[float]] = {}
        try:
            if self._path is not None and self._path.exists():
                self._refuse_foreign(self._path.parent)
                self._values = _read(self._path, key)
        except (OSError, InputError) as error:
            log.warning("a cached score is not used: %s", " ".join(str(error).split()))
        except (ValueError, OverflowError) as error:
            log.warning("a cached score is not used: %s: %s", self._path, error)

    @staticmethod
    def _refuse_foreign(folder: Path) -> None:
        """Refuse values that others may have written."""
        refuse_foreign_writers(folder.parent)
        if not is_private(folder.parent):
            refuse_foreign_writers(folder)

    def get(self, name: str, size: int | None = None) -> Float64[np.ndarray, " P"] | None:
        """The kept value of a metric.

        Args:
            name: of the value, as `cache_key` gives it.
            size: P, where it is known; a value of another size is not used.

        Returns:
            The P parts of the value, or None where there is none.
        """
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

    def put(self, name: str, parts: Float64[np.ndarray, " P"]) -> None:
        """Keep the value of a metric.

        Args:
            name: of the value, as `cache_key` gives it.
            parts: the P parts of the value; kept only where all of them are finite.
        """
        self.put_all({name: parts})

    def put_all(self, values: Mapping[str, Float64[np.ndarray, " _"]]) -> None:
        """Keep several values in one write.

        Args:
            values: the parts of each value by name; a value that is not finite is left out.
        """
        finite = {name: v.tolist() for name, v in values.items() if np.isfinite(v).all()}
        if self._path is None or not finite:
            return
        self._values |= finite
        try:
            make_private(self._path.parent.parent)
            self._path.parent.mkdir(mode=0o700, exist_ok=True)
            self._refuse_foreign(self._path.parent)
            content = {"values": self._values, "checksum": _checksum(self._key, self._values)}
            write_json(self._path, "score-cache", content)
        except (OSError, InputError) as error:
            log.warning("scores are not cached: %s", " ".join(str(error).split()))
            self._path = None


def _read(path: Path, key: str) -> dict[str, list[float]]:
    """The values of a file; those of an older version have no checksum."""
    content = read_json(path, "score-cache")
    values = _sound(content.get("values"))
    if content.get("checksum", _checksum(key, values)) != _checksum(key, values):
        raise ValueError("it is damaged, or of another key")
    return values


def _checksum(key: str, values: Mapping[str, list[float]]) -> str:
    """Of the values and of what they depend on: an entry that is moved or changed is found."""
    return hashlib.sha256(json.dumps([key, values], sort_keys=True).encode()).hexdigest()


def _sound(values: object) -> dict[str, list[float]]:
    """Values by name as a file holds them; ValueError if they are no lists of finite numbers."""
    if not isinstance(values, dict):
        raise ValueError("values must be an object")
    for name, parts in values.items():
        numbers = isinstance(parts, list) and all(type(v) in (int, float) for v in parts)
        if not numbers or not np.isfinite(np.array(parts, np.float64)).all():
            raise ValueError(f"{name} must be finite numbers")
    return values


def cache_key(metric: str, version: int, options: Mapping[str, object]) -> str:
    """The name of a value in a cache.

    Args:
        metric: name of the metric.
        version: of its number, as in the table of metrics.
        options: what it was called with, plain JSON values by name.

    Returns:
        One line of JSON; the same for the same options in another order.

    >>> cache_key("knn", 1, {"k": 5})
    '["knn", 1, {"k": 5}]'
    """
    return json.dumps([metric, version, dict(options)], sort_keys=True)
