"""One progress bar per phase, on stderr, silent where stderr is not a terminal."""

from collections.abc import Iterable
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")


def progress(items: Iterable[Item], phase: str, show: bool, unit: str = "model") -> Iterable[Item]:
    """`items`, with a bar and the time left if asked for and if someone can see it."""
    if not show:
        return items
    bar: Iterable[Item] = tqdm(items, desc=phase, unit=unit, disable=None, dynamic_ncols=True)
    return bar
