"""One progress bar per phase, on stderr, silent where stderr is not a terminal."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar, runtime_checkable

from tqdm import tqdm

Item = TypeVar("Item")


@runtime_checkable
class Bar(Protocol):
    """What a loop tells of its progress."""

    def update(self, count: int) -> object:
        """So many more are done."""
        ...


def progress(items: Iterable[Item], phase: str, show: bool, unit: str = "model") -> Iterable[Item]:
    """`items`, with a bar and the time left if asked for and if someone can see it."""
    if not show:
        return items
    bar: Iterable[Item] = tqdm(items, desc=phase, unit=unit, disable=None, dynamic_ncols=True)
    return bar


def task_bar(tasks: int, phase: str, show: bool, *, done: int = 0) -> "tqdm[Any]":
    """A bar that counts tasks, shows tasks a second and figures beside them."""
    return tqdm(
        total=tasks,
        initial=done,
        desc=phase,
        unit="task",
        unit_scale=True,
        dynamic_ncols=True,
        disable=None if show else True,
    )


@contextmanager
def row_bar(rows: int, phase: str, show: bool) -> Iterator[Bar]:
    """A bar that counts rows and shows rows a second."""
    disable = None if show else True
    with tqdm(total=rows, desc=phase, unit="row", unit_scale=True, disable=disable) as bar:
        yield bar
