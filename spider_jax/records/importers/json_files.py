"""JSON of other programs: an object, or one line that says what is wrong."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spider_jax.errors import InputError, one_line
from spider_jax.storage.text_files import open_regular


def read_object(path: Path) -> dict[str, Any]:
    """The object that a JSON file holds.

    Args:
        path: of the file.

    Returns:
        The object.

    Raises:
        InputError: no regular file, no JSON, or no object.
    """
    with open_regular(path) as file:
        text = file.read()
    try:
        content: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not valid JSON: {one_line(error)}") from None
    if not isinstance(content, dict):
        raise InputError(f"{path} must hold a JSON object, got {type(content).__name__}")
    return content


def entries(content: Mapping[str, Any], name: str) -> dict[str, Any]:
    """An entry that is an object.

    Args:
        content: of the file.
        name: of the entry.

    Returns:
        The object; {} where the entry is missing or something else.
    """
    found = content.get(name)
    return found if isinstance(found, dict) else {}


def plain_number(value: object) -> float | None:
    """A number of a JSON.

    Args:
        value: of the file.

    Returns:
        The number; None for NaN, for a truth value, and for what is no number.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return None if math.isnan(number) else number
