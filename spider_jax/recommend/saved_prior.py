"""A `RecordsPrior` on disk: prior.json (names, words, numbers) and plain .npy arrays."""

import csv
import gzip
import io
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from spider_jax.belief.factors import Factors
from spider_jax.errors import InputError
from spider_jax.recommend.covariance import PLAIN, Covariance
from spider_jax.recommend.records_prior import RecordsPrior
from spider_jax.recommend.result_reading import Reading
from spider_jax.recommend.scales import Scaled
from spider_jax.recommend.task_kernel import TaskKernel
from spider_jax.recommend.words import TaskWords
from spider_jax.records.writing import write_facts
from spider_jax.storage.files import (
    atomic_folder,
    damaged_file,
    digests,
    read_json,
    refuse_foreign_folder,
    write_json,
)
from spider_jax.storage.npy import write_array
from spider_jax.storage.opening import open_regular

PRIOR, ARRAYS, FACTS = "prior.json", "arrays", "models.csv.gz"
KIND = "records_prior"


def save_prior(prior: RecordsPrior, folder: Path) -> None:
    """Write a prior, all or nothing.

    Args:
        prior: what was learned.
        folder: a new one, or one of an older prior, which is replaced.

    Raises:
        InputError: a folder with something else in it.
    """
    refuse_foreign_prior(folder)
    with atomic_folder(folder) as temporary:
        (temporary / ARRAYS).mkdir()
        for name, array in saved_arrays(prior).items():
            write_array(temporary / ARRAYS, name, array)
        if prior.model_facts:
            write_facts(temporary / ARRAYS / FACTS, prior.models, prior.model_facts)
        content = {
            "models": list(prior.models),
            "tasks": list(prior.words.tasks),
            "measures": list(prior.measures),
            "larger_is_better": prior.larger_is_better.tolist(),
            "reading": _reading_content(prior.reading),
            "task_facts": {column: list(texts) for column, texts in prior.words.facts.items()},
            "files": digests(temporary / ARRAYS),
        }
        write_json(temporary / PRIOR, KIND, content)


def load_prior(folder: Path) -> RecordsPrior:
    """Read what `save_prior` wrote.

    Args:
        folder: of the prior.

    Raises:
        InputError: no prior, a newer format, or damaged arrays.
    """
    content = read_json(folder / PRIOR, KIND)
    problem = damaged_file(folder / ARRAYS, content.get("files"))
    if problem is not None:
        raise InputError(f"{problem}: fit the prior again")
    try:
        arrays = {
            path.stem: np.load(path, allow_pickle=False)
            for path in sorted((folder / ARRAYS).glob("*.npy"))
        }
        return _prior(content, arrays, folder / ARRAYS / FACTS)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{folder / PRIOR} is not a whole prior: {error!r}") from None


def is_prior(folder: Path) -> bool:
    """Whether a folder holds a prior from records.

    Args:
        folder: any path.
    """
    return (folder / PRIOR).is_file()


def refuse_foreign_prior(folder: Path) -> None:
    """Refuse to replace anything but a prior: ask before work whose result goes there.

    Args:
        folder: where a prior will be written.

    Raises:
        InputError: a file stands there, or a folder with something else in it.
    """
    ours = {PRIOR, ARRAYS}
    refuse_foreign_folder(folder, "prior", lambda names: PRIOR in names and names <= ours)


def saved_arrays(prior: RecordsPrior) -> dict[str, Shaped[np.ndarray, "..."]]:
    """The arrays of a prior, by name.

    Args:
        prior: the prior.
    """
    s, c = prior.scaled, prior.covariance
    return {
        "model": s.model,
        "task": s.task,
        "z": s.z,
        "size": s.size,
        "before": prior.before,
        "kernel_fields": prior.kernel.fields,
        "kernel_others": prior.kernel.others,
        "loadings": c.factors.loadings,
        "own": c.factors.own,
        "facts": c.facts,
        "weights": c.weights,
    }


def _prior(
    content: dict[str, Any],
    arrays: Mapping[str, Shaped[np.ndarray, "..."]],
    facts_path: Path,
) -> RecordsPrior:
    models, tasks = tuple(map(str, content["models"])), tuple(map(str, content["tasks"]))
    facts = {str(k): tuple(map(str, v)) for k, v in content["task_facts"].items()}
    a = dict(arrays)
    sizes = {"before": len(models), "own": len(models), "size": len(tasks)}
    sizes["weights"] = len(PLAIN)
    for name, size in sizes.items():
        if len(a[name]) != size:
            raise ValueError(f"{name} has {len(a[name])} entries, {size} are named")
    for name, texts in (*facts.items(), ("measures", content["measures"])):
        if len(texts) != len(tasks):
            raise ValueError(f"{name} has {len(texts)} entries, {len(tasks)} tasks are named")
    scaled = Scaled(a["model"], a["task"], a["z"], len(models), len(tasks), a["size"])
    words = TaskWords.of(tasks, facts)
    kernel = TaskKernel(a["kernel_fields"], a["kernel_others"])
    if len(kernel.fields) != len(words.fields):
        raise ValueError(f"{len(kernel.fields)} fields were learned, {len(words.fields)} are there")
    covariance = Covariance(Factors(a["loadings"], a["own"]), a["facts"], a["weights"])
    measures = tuple(map(str, content["measures"]))
    reading = _reading(content.get("reading", {}))  # the first priors have none
    larger = np.array(content.get("larger_is_better", [True] * len(tasks)))
    if larger.shape != (len(tasks),) or larger.dtype != np.bool_:
        raise ValueError("larger_is_better must be true or false for every task")
    about = _facts(facts_path, models)
    return RecordsPrior(
        models, scaled, a["before"], words, kernel, covariance, measures, larger, reading, about
    )


class PackedFacts(Mapping[str, tuple[str, ...]]):
    """The facts of a prior's models, as `save_prior` wrote them; unpacked where they are asked for.

    Attributes:
        models: names.
    """

    def __init__(self, packed: bytes, models: Sequence[str]) -> None:
        """Keep the file.

        Args:
            packed: its content, a CSV in gzip.
            models: names.
        """
        self._packed = packed
        self.models = models

    @cached_property
    def _columns(self) -> dict[str, tuple[str, ...]]:
        with gzip.open(io.BytesIO(self._packed), "rt", encoding="utf-8", newline="") as text:
            header, *rows = csv.reader(text)
        names, *columns = zip(*rows, strict=True)
        if names != tuple(self.models):
            raise InputError(f"the facts in {FACTS} are of other models: fit the prior again")
        return dict(zip(header[1:], columns, strict=True))

    def __getitem__(self, column: str) -> tuple[str, ...]:
        return self._columns[column]

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)


def _facts(path: Path, models: Sequence[str]) -> Mapping[str, Sequence[str]]:
    """The models' facts; the first priors have none."""
    if not path.exists():
        return {}
    with open_regular(path) as file:
        return PackedFacts(file.read(), models)


def _reading_content(reading: Reading) -> dict[str, float | None]:
    """As plain values; JSON knows no infinity."""
    return {name: x if np.isfinite(x) else None for name, x in reading._asdict().items()}


def _reading(content: Mapping[str, float | None]) -> Reading:
    given = {name: float("inf") if x is None else float(x) for name, x in content.items()}
    if any(not x >= 0 for x in given.values()):
        raise ValueError(f"reading must have no negative numbers, got {given}")
    return Reading(**given)
