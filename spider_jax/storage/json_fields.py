"""What a dataclass is made of, from a JSON that may hold anything."""

import types
import typing
from collections.abc import Mapping
from typing import Any


def json_fields(wanted: type, content: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a dataclass, each of the type that it names; lists become tuples.

    Args:
        wanted: the dataclass; its fields are numbers, words, truths, tuples and mappings of these.
        content: of a JSON; what is no field is left.

    Returns:
        A value for every field.

    Raises:
        KeyError: a field is missing.
        TypeError: a value is of another type.

    >>> from dataclasses import dataclass
    >>> @dataclass
    ... class Size:
    ...     names: tuple[str, ...]
    ...     width: int
    >>> json_fields(Size, {"names": ["psi"], "width": 6, "more": None})
    {'names': ('psi',), 'width': 6}
    """
    kinds = typing.get_type_hints(wanted)
    return {
        name: _typed(name, content[name], kinds[name])
        for name in wanted.__dataclass_fields__  # type: ignore[attr-defined]
    }


def _typed(name: str, value: Any, kind: Any) -> Any:
    if kind is Any:
        return value
    inner = typing.get_args(kind)
    origin = typing.get_origin(kind)
    if origin in (typing.Union, types.UnionType):
        if value is None and types.NoneType in inner:
            return None
        (kind,) = (one for one in inner if one is not types.NoneType)
        return _typed(name, value, kind)
    if origin is tuple and isinstance(value, list | tuple):
        return tuple(_typed(name, one, inner[0]) for one in value)
    if origin is Mapping and isinstance(value, dict):
        return {key: _typed(name, one, inner[1]) for key, one in value.items()}
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        raise TypeError(f"{name} must be {getattr(kind, '__name__', kind)}, got {value!r:.60}")
    return value
