"""What running a model cost here, as facts of the model: seconds an example, bytes of memory.

They lie in the manifest under "measured", apart from what its owner states: of two values the
stated one counts, see `facts.columns.table_of_entries`.
"""

import os
import platform
import sys
from collections.abc import Mapping
from statistics import median
from time import perf_counter
from typing import Any

from spider_jax.facts.catalogue import LISTS, NUMBERS, TEXTS, read_column


class Stopwatch:
    """Times of the batches of one model on one task.

    seconds an example = median over the batches after the first of (seconds of a batch / its rows)

    The first batch compiles and fills caches. Reading and preparing items is not counted: it is
    done in threads meanwhile.

    Attributes:
        times: seconds and rows of every batch.
    """

    def __init__(self) -> None:
        self.times: list[tuple[float, int]] = []
        self._began = 0.0
        torch = _cuda()
        if torch is not None:
            torch.cuda.reset_peak_memory_stats()

    def start(self) -> None:
        """A batch begins."""
        self._began = perf_counter()

    def stop(self, rows: int) -> None:
        """A batch is done.

        Args:
            rows: of the batch, at least 1.
        """
        self.times.append((perf_counter() - self._began, rows))

    def found(self) -> dict[str, Any]:
        """What was measured: {} where there was only one batch.

        Returns:
            {"seconds": an example, "rows": on how many, "batch": rows at a time, "machine"}, and
            {"peak_memory": bytes} where the model ran on a GPU of torch, which counts it.
        """
        later = self.times[1:]
        if not later:
            return {}
        found: dict[str, Any] = {
            "seconds": float(f"{median(seconds / rows for seconds, rows in later):.4g}"),
            "rows": sum(rows for _, rows in later),
            "batch": max(rows for _, rows in later),
            "machine": machine(),
        }
        torch = _cuda()
        peak = 0 if torch is None else int(torch.cuda.max_memory_allocated())
        return found | ({"peak_memory": peak} if peak else {})


def machine() -> str:
    """The machine in words, without its name: "x86_64, 2 cores", and torch's GPU."""
    torch = _cuda()
    gpu = "" if torch is None else f", {torch.cuda.get_device_name()}"
    return f"{platform.machine()}, {os.cpu_count()} cores{gpu}"


def _cuda() -> Any:
    """Torch where it runs on a GPU, else None; it is never imported here."""
    torch = sys.modules.get("torch")
    return torch if torch is not None and torch.cuda.is_available() else None


def kept_measured(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """Of two measurements of a model the one on more rows; what it lacks is of the other.

    Args:
        before: in the manifest, {} where there is none.
        now: of this export, {} where no rows were encoded.
    """
    better = now.get("rows", 0) >= before.get("rows", 0)
    return {**before, **now} if better else {**now, **before}


def unstated(facts: Mapping[str, Any], stated: Mapping[str, Any]) -> dict[str, Any]:
    """Facts of an export without those that the manifest's owner states otherwise.

    Args:
        facts: of the export.
        stated: what the manifest says of the model, under any name that the catalogue knows.
    """
    said = {read_column(name).fact for name, value in stated.items() if value is not None}
    taken = said & {*NUMBERS, *TEXTS, *LISTS}
    return {name: value for name, value in facts.items() if read_column(name).fact not in taken}
