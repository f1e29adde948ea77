"""A training configuration as a TOML page: typed, frozen, unknown keys are errors."""

import dataclasses
import difflib
import json
import math
import tomllib
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spider_jax.errors import InputError
from spider_jax.tasks.tokens import TaskConfig
from spider_jax.training.config import TrainConfig


def load_config(path: str | Path) -> TrainConfig:
    """Read a TrainConfig from a TOML file; keys that are not given keep their default.

    Args:
        path: the file; its table [tasks] holds the fields of TaskConfig.

    Returns:
        The configuration.

    Raises:
        InputError: no TOML file, an unknown key (the nearest is named), a value of another type or
            out of range.
    """
    try:
        content = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not valid TOML: {error}") from None
    tasks = content.pop("tasks", {})
    if not isinstance(tasks, dict):
        raise InputError(f"{path}: tasks must be a table, [tasks]")
    fields = _fields(TrainConfig, content, str(path))
    fields_of_tasks = _fields(TaskConfig, tasks, f"{path} [tasks]")
    try:
        return TrainConfig(**fields, tasks=TaskConfig(**fields_of_tasks))
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def read_config(content: Mapping[str, Any]) -> TrainConfig:
    """The configuration in a spider's JSON; what it does not hold is the default.

    Raises:
        InputError: a value that cannot be.
    """
    plain = json.loads(json.dumps(content))
    tasks = TaskConfig(**_fields(TaskConfig, plain.pop("tasks", {}), "spider.json, tasks"))
    return TrainConfig(**_fields(TrainConfig, plain, "spider.json"), tasks=tasks)


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
