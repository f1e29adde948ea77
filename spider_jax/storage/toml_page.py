"""A training configuration as a TOML page: typed, frozen, unknown keys are errors."""

import dataclasses
import difflib
import math
import typing
from collections.abc import Mapping
from typing import Any

from spider_jax.errors import InputError


def _fields(kind: type, content: Mapping[str, Any], where: str) -> dict[str, Any]:
    known = typing.get_type_hints(kind)
    out = {}
    for key, value in content.items():
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1, cutoff=0)[0]
            raise InputError(f"{where}: unknown key {key!r}, did you mean {near!r}?")
        out[key] = _as(known[key], value, f"{where}: {key}")
    assert dataclasses.is_dataclass(kind)
    return out


def _as(wanted: Any, value: Any, what: str) -> Any:
    if wanted is float and type(value) is int:
        return float(value)
    if typing.get_origin(wanted) is tuple:
        kind = typing.get_args(wanted)[0]
        if isinstance(value, list):
            return tuple(_as(kind, entry, f"{what}, entry {i}") for i, entry in enumerate(value))
        raise InputError(f"{what} must be a list of {kind.__name__}, got {value!r}")
    if type(value) is not wanted:
        raise InputError(f"{what} must be {wanted.__name__}, got {value!r}")
    if wanted is float and not math.isfinite(value):
        raise InputError(f"{what} must be finite, got {value!r}")
    return value
