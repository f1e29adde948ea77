"""Settings as a TOML page: any frozen dataclass, typed; an unknown key is an error.

A field may be an int, a float (a whole number will do), a str, a bool, a tuple of one of these (a
list on the page), any of these or None (`"none"` on the page, for TOML has no null), or another
dataclass (a table on the page). What a page does not name keeps its default.
"""

import dataclasses
import difflib
import math
import tomllib
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from spider_jax.errors import InputError
from spider_jax.storage.files import refuse_depth
from spider_jax.storage.opening import read_regular

MAX_PAGE_BYTES = 1 << 20
Settings = TypeVar("Settings")


def read_page(path: str | Path, kind: type[Settings]) -> Settings:
    """Read settings from a TOML file; keys that are not given keep their default.

    Args:
        path: the file.
        kind: a dataclass; a field that is a dataclass itself is a table of the page.

    Returns:
        The settings.

    Raises:
        InputError: no TOML file, an unknown key (the nearest is named), a value of another type or
            out of range; the message names the file, the table and the key.
    """
    try:
        content = tomllib.loads(read_regular(Path(path), MAX_PAGE_BYTES))
        refuse_depth(content)
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:  # ValueError: no TOML, no UTF-8, a huge number
        raise InputError(f"{path} is not valid TOML: {' '.join(str(error).split())}") from None
    return settings_from(content, kind, str(path))


def settings_from(
    content: Mapping[str, object], kind: type[Settings], page: str, table: str = ""
) -> Settings:
    """Settings from plain values, as TOML or JSON hold them.

    Args:
        content: values by key.
        kind: as for `read_page`.
        page: the name of the page, for messages.
        table: the name of the table of the page that `content` is; "" for the page itself.

    Returns:
        The settings.

    Raises:
        InputError: as for `read_page`.
    """
    assert dataclasses.is_dataclass(kind)
    where = f"{page} [{table}]" if table else page
    hints = typing.get_type_hints(kind)
    wanted = {field.name: hints[field.name] for field in dataclasses.fields(kind) if field.init}
    given: dict[str, object] = {}
    for key, value in content.items():
        if key not in wanted:
            near = difflib.get_close_matches(key, wanted, n=1, cutoff=0)[0]
            raise InputError(f"{where}: unknown key {key!r}, did you mean {near!r}?")
        if isinstance(wanted[key], type) and dataclasses.is_dataclass(wanted[key]):
            inner = f"{table}.{key}" if table else key
            if not isinstance(value, Mapping):
                raise InputError(f"{page}: {inner} must be a table, [{inner}]")
            given[key] = settings_from(value, wanted[key], page, inner)
        else:
            given[key] = _typed(value, wanted[key], f"{where}: {key}")
    try:
        return kind(**given)
    except InputError as error:  # out of range: the dataclass says so
        raise InputError(f"{where}: {str(error).removeprefix(f'{table}: ')}") from None


def with_options(settings: Settings, options: Mapping[str, object]) -> Settings:
    """The settings with some fields changed, of tables as well: what is given goes before a page.

    Args:
        settings: a dataclass, of `read_page` or the default.
        options: new values by field; a name that is no field of the settings is one of their
            tables' (the first that has it).

    Returns:
        New settings of the same class.

    Raises:
        InputError: a value out of range.
    """
    assert dataclasses.is_dataclass(settings)
    assert not isinstance(settings, type)
    changed, fields = dict(options), vars(settings)
    for name, table in fields.items():
        if dataclasses.is_dataclass(table) and name not in changed:
            own = [key for key in changed if key not in fields and key in _names(table)]
            changed[name] = with_options(table, {key: changed.pop(key) for key in own})
    return dataclasses.replace(settings, **changed)


def _names(settings: object) -> set[str]:
    """Fields of a dataclass and of its tables."""
    found = set(vars(settings))
    for table in filter(dataclasses.is_dataclass, vars(settings).values()):
        found |= _names(table)
    return found


def _typed(value: object, wanted: object, what: str) -> object:
    """The value where it is of the wanted type; whole numbers become floats, lists tuples."""
    nothing = ""
    if typing.get_origin(wanted) in (typing.Union, types.UnionType):
        if value is None or value == "none":
            return None
        (wanted,) = (kind for kind in typing.get_args(wanted) if kind is not types.NoneType)
        nothing = ' or "none"'
    if typing.get_origin(wanted) is tuple:
        kind = typing.get_args(wanted)[0]
        if not isinstance(value, list):
            raise InputError(f"{what} must be a list of {kind.__name__}{nothing}, got {value!r}")
        return tuple(_typed(one, kind, f"{what}, entry {i}") for i, one in enumerate(value))
    if wanted is float and type(value) is int:
        return float(value)
    assert isinstance(wanted, type), f"{what}: a page cannot hold {wanted}"
    if type(value) is not wanted:
        raise InputError(f"{what} must be {wanted.__name__}{nothing}, got {value!r}")
    if isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"{what} must be finite, got {value!r}")
    return value
