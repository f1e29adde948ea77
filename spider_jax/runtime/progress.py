"""Progress bars: one per phase, on stderr, silent where stderr is not a terminal."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar, runtime_checkable

from tqdm import tqdm

Item = TypeVar("Item")


@runtime_checkable
class Bar(Protocol):
    """What a loop reports its progress to."""

    def update(self, count: int) -> object:
        """Move the bar.

        Args:
            count: how many more are done.
        """
        ...


def progress(items: Iterable[Item], phase: str, show: bool, unit: str = "model") -> Iterable[Item]:
    """`items`, with a bar and the time left.

    Args:
        items: what is worked on.
        phase: name of the bar.
        show: whether to show it, where stderr is a terminal.
        unit: what one item is.

    Returns:
        The same items, to iterate over.
    """
    if not show:
        return items
    bar: Iterable[Item] = tqdm(items, desc=phase, unit=unit, disable=None, dynamic_ncols=True)
    return bar


def task_bar(tasks: int, phase: str, show: bool, *, done: int = 0) -> "tqdm[Any]":
    """A bar that counts tasks, with tasks per second; the caller may set figures beside it.

    Args:
        tasks: how many there are.
        phase: name of the bar.
        show: whether to show it, where stderr is a terminal.
        done: tasks of an earlier run, where the bar begins.

    Returns:
        The bar; the caller closes it.
    """
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
    """A bar that counts rows, with rows per second.

    Args:
        rows: how many there are.
        phase: name of the bar.
        show: whether to show it, where stderr is a terminal.

    Yields:
        The bar; it is closed at the end of the block.
    """
    disable = None if show else True
    with tqdm(total=rows, desc=phase, unit="row", unit_scale=True, disable=disable) as bar:
        yield bar
