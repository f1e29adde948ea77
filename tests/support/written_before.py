"""What the package wrote at commit 5e663de, as expected.json and expected.npz say it was.

The folder written_by_5e663de holds one of each kind, made with the package of that commit.

The last bits of a number depend on the processor and on versions (JAX 0.10 and 0.12 differ): they
are compared where all of these are as expected.json says. Elsewhere numbers agree to 1e-6 of the
largest beside them (CLOSE), those that are trained in a test to 1e-3 (TRAINED); names are the same.
"""

import contextlib
import hashlib
import json
import os
import platform
import re
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

from spider_jax import (
    FeatureStore,
    Ranking,
    task_tokens,
)
from spider_jax.tasks.tokens import TaskTokens

WRITTEN = Path(__file__).parent / "written_by_5e663de"
EXPECTED = json.loads((WRITTEN / "expected.json").read_text())
CLOSE, TRAINED = 1e-6, 1e-3
PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy", "scipy")
SELECT = ("--budget", 8, "--epochs", 3, "--batch", 16, "--learning-rate", 0.05)
TUNE = ("--learning-rates", 0.03, "--hidden", 3, "--epochs", 12, "--batch", 16, "--seeds", 1)
TEACH = ("--student", "narrow", "--teachers", "lab/wide", "psi", *TUNE)
SPIDERS = ("spider", "spider_own", "spider_many", "spider_added")
KINDS = {
    *("checksums", "extraction", "index", "index-block", "index-build", "inspection"),
    *("performance", "ranking", "rankings", "score-cache", "scores", "selected-models"),
    *("selection", "spider", "training-run", "tuned-student", "tuned-students", "zoo"),
}
Array = NDArray[Any]
Command = Callable[..., str]


@contextlib.contextmanager
def for_training() -> Iterator[None]:
    """As trainings were compiled then, for speed; the bits hang on it."""
    jax.config.update("jax_disable_most_optimizations", True)
    try:
        yield
    finally:
        jax.config.update("jax_disable_most_optimizations", False)


# ---- what is the same ------------------------------------------------------------------------


def machine() -> dict[str, str]:
    """What the last bits of a number hang on: as make_written_by_5e663de.machine."""
    lines = dict[str, str]()
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines():
            name, _, value = line.partition(":")
            lines[name.strip()] = value.strip()
    said = [lines.get(name, "?") for name in ("vendor_id", "cpu family", "model")]
    able = sorted(f for f in lines.get("flags", "").split() if f.startswith(("avx", "amx", "fma")))
    digest = hashlib.sha256(" ".join(able).encode()).hexdigest()[:12]
    chosen = [o for o in os.environ.get("XLA_FLAGS", "").split() if "_cpu_" in o]
    chosen += [n for n in ("OPENBLAS_CORETYPE", "NPY_DISABLE_CPU_FEATURES") if n in os.environ]
    return {
        "processor": " ".join([platform.machine(), *said, digest, *sorted(chosen)]),
        "devices": f"{jax.device_count()} {jax.default_backend()}",
        **{package: version(package) for package in PACKAGES},
    }


@cache
def same_bits() -> bool:
    """Whether numbers must be the same to the bit here."""
    same: bool = machine() == EXPECTED["machine"]
    return same


@cache
def expected(name: str) -> Array:
    """An array of expected.npz."""
    with np.load(WRITTEN / "expected.npz", allow_pickle=False) as held:
        found: Array = held[name]
    return found


def assert_same(found: Any, wanted: Any, close: float = CLOSE) -> None:
    """Equal to the bit where that can be asked for, else within `close` of the largest number."""
    found, wanted = np.asarray(found), np.asarray(wanted)
    assert (found.dtype, found.shape) == (wanted.dtype, wanted.shape)
    if same_bits() or wanted.dtype.kind != "f":
        np.testing.assert_array_equal(found, wanted)
    else:
        room = close * np.nan_to_num(np.abs(wanted)).max(initial=0)
        np.testing.assert_allclose(found, wanted, rtol=0, atol=room)


def assert_same_content(found: Any, wanted: Any, close: float = CLOSE) -> None:
    """JSON of the same content, whatever wrote it; numbers in sentences count for bits alone.

    An object may hold more than then: who read it then finds all that he knew.
    """
    if isinstance(wanted, dict):
        left_out = {"created_with"}
        assert wanted.keys() - left_out <= found.keys()
        for name in wanted.keys() - left_out:
            assert_same_content(found[name], wanted[name], close)
    elif isinstance(wanted, list):
        assert len(found) == len(wanted)
        for one, other in zip(found, wanted, strict=True):
            assert_same_content(one, other, close)
    elif isinstance(wanted, float):
        assert_same(np.float64(found), np.float64(wanted), close)
    elif isinstance(wanted, str) and not same_bits():
        number = r"-?\d+\.\d+"
        assert re.sub(number, "#", found) == re.sub(number, "#", wanted)
    else:
        assert found == wanted


def assert_same_arrays(found: Path, wanted: Path) -> None:
    """Two .npz of the same trained arrays."""
    with np.load(found, allow_pickle=False) as one, np.load(wanted, allow_pickle=False) as other:
        assert one.files == other.files
        for name in one.files:
            assert_same(one[name], other[name], TRAINED)


def content(path: str) -> Any:
    return json.loads(Path(path).read_text())


def stamps(*paths: str | Path) -> dict[Path, int]:
    """When files, and those below folders, were written: what is still the same was kept."""
    found = [file for path in map(Path, paths) for file in (path, *path.rglob("*"))]
    return {path: path.stat().st_mtime_ns for path in found if path.is_file()}


def tasks() -> list[TaskTokens]:
    """Tokens of three tasks."""
    return [TaskTokens(expected(f"tokens/{i}"), expected(f"deviations/{i}")) for i in range(3)]


def bare(tasks: Sequence[TaskTokens]) -> list[Array]:
    """Their class centres alone."""
    return [task.centres for task in tasks]


def dice() -> TaskTokens:
    """Tokens of the task that was held out."""
    zoo = FeatureStore("zoo")
    given = zoo.training_features("psi", "dice"), zoo.training_labels("dice")
    return task_tokens(*given)


def assert_ranked(found: Ranking, name: str) -> None:
    names, looked_at = EXPECTED["ranked"][name]
    assert [list(found.names), list(found.looked_at)] == [names, looked_at]
    assert_same(found.scores, expected(f"ranked/{name}"))
