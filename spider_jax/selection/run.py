"""The folder of a selection: what it is of, its name, and going on with it."""

import hashlib
import logging
from collections.abc import Collection
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from spider_jax.errors import InputError
from spider_jax.heads.measures import measure_name
from spider_jax.heads.training import HeadConfig
from spider_jax.recommend.records_prior import RecordsPrior
from spider_jax.recommend.saved_prior import saved_arrays
from spider_jax.records.performance import PastResults
from spider_jax.selection.policy_table import check_policy
from spider_jax.selection.selector import Selector
from spider_jax.spider.spider import Spider
from spider_jax.storage.cache import fingerprint
from spider_jax.storage.files import name_to_component
from spider_jax.zoo.splits import task_split
from spider_jax.zoo.store import FeatureStore

log = logging.getLogger("spider_jax")


@dataclass(frozen=True)
class SelectConfig:
    """How models are selected: what a page of `spider-jax select` holds.

    Attributes:
        budget: epochs in all, over all models; None: every model starts.
        epochs: of a full training.
        policy: name in POLICIES: which models get another epoch.
        recall: a metric from METRICS that alone tells of a model, "prior" (past results alone),
            "spider" or "records". On a page also the folder of a spider or of a prior from records.
        describe: the task, in words, for recall="records"; default: its name.
        measure: name in TASK_MEASURES that models are compared by; default: the task's own, see
            `heads.measures`.
        representatives: run the metric on one model of every cluster only.
        threshold: mean gap in accuracy within which models are of one cluster.
        head: of the training.
    """

    budget: int | None = 16
    epochs: int = 5
    policy: str = "noise-aware"
    recall: str = "logme"
    representatives: bool = False
    threshold: float = 0.09
    head: HeadConfig = field(default_factory=HeadConfig)
    describe: str = ""
    measure: str = ""

    def __post_init__(self) -> None:
        if self.epochs < 1:
            raise InputError(f"epochs must be a whole number, at least 1, got {self.epochs}")
        if self.budget is not None and self.budget < self.epochs:
            raise InputError(
                f"budget must pay for one full training ({self.epochs} epochs), got {self.budget}: "
                "raise it"
            )
        check_policy(self.policy)
        if not self.threshold >= 0:
            raise InputError(f"threshold must be >= 0, got {self.threshold}")


def run_name(
    zoo: FeatureStore,
    task: str,
    config: SelectConfig,
    spider: Spider | None = None,
    records: RecordsPrior | None = None,
    among: Collection[str] | None = None,
) -> str:
    """A name for the folder of a selection.

    Args:
        zoo: features and labels.
        task: name.
        config: settings.
        spider: for recall="spider".
        records: for recall="records".
        among: the models that are candidates; default: all.

    Returns:
        24 letters, others for another task, setting, split, measure, spider or content of the
        zoo's files.
    """
    digest = hashlib.sha256(
        repr(about_selection(zoo, task, config, spider, records=records)).encode()
    )
    for model in zoo.models_of(task):
        if among is not None and model not in among:
            continue
        digest.update(b"" if among is None else model.encode() + b"\0")
        name = f"{name_to_component(task)}.npy"
        path = zoo.folder / "features" / name_to_component(model) / name
        digest.update(repr(path.stat().st_mtime_ns).encode())
    return digest.hexdigest()[:24]


def about_selection(
    zoo: FeatureStore,
    task: str,
    config: SelectConfig,
    spider: Spider | None,
    past: PastResults | None = None,
    records: RecordsPrior | None = None,
) -> dict[str, Any]:
    """What a selection is of, as plain values: it goes on only where all are the same.

    Args:
        zoo: features and labels.
        task: name.
        config: settings.
        spider: for recall="spider".
        past: results of the candidates that it began with; others do not stop it.
        records: for recall="records".

    Returns:
        {name: value}, digests of arrays in hexadecimal.
    """
    return {
        "task": task,
        "measure": asked_measure(zoo, task, config),
        "zoo": zoo.fingerprint(),
        "split": _digest(task_split(zoo, task, seed=config.head.seed)),
        "spider": None if spider is None else _digest(_scoring(spider)),
        "config": _settings(config),
    } | {
        name: _digest(content)
        for name, content in (
            ("past", None if past is None else _known(past)),
            ("records", None if records is None else saved_arrays(records)),
        )
        if content is not None
    }


def asked_measure(zoo: FeatureStore, task: str, config: SelectConfig) -> str:
    """The measure of a selection: of the settings, else of the task.

    Args:
        zoo: with the task.
        task: name.
        config: settings.

    Returns:
        A name in TASK_MEASURES.

    Raises:
        InputError: an unknown measure, or one that is not for such a task.
    """
    declared = config.measure or zoo.task_info(task).get("measure")
    return measure_name(task, zoo.kind(task), declared)


def _settings(config: SelectConfig) -> dict[str, Any]:
    """Settings that were added later are left out where they are as before there were any."""
    found = asdict(config)
    for name in ("describe", "measure"):
        if not found[name]:
            del found[name]
    if config.head.least_steps == 1:
        del found["head"]["least_steps"]
    return found


def as_begun(config: SelectConfig, state: Path) -> SelectConfig:
    """The settings, for a selection that began when an epoch went over the rows once only.

    Args:
        config: that is asked for.
        state: selection.json in the folder of the run, or no file yet.
    """
    if not state.exists():
        return config
    begun = Selector.load(state).about.get("config", {}).get("head", {})
    if "least_steps" in begun:
        return config
    return replace(config, head=replace(config.head, least_steps=1))


def _digest(content: object) -> str:
    """SHA-256 of the names, numbers and arrays of a tree."""
    return fingerprint(np.atleast_1d(leaf) for leaf in jax.tree.leaves(content))


def _scoring(spider: Spider) -> list[object]:
    """All that a spider's scores depend on."""
    memory = spider.memory
    known: list[object] = [] if memory is None else [memory.targets, memory.weights.arrays()]
    return [spider.models, spider.scaling, spider.weights, known]


def _known(past: PastResults) -> list[object]:
    """What is known, task by task; the order of tasks and empty room in the table do not count."""
    found: list[object] = []
    for t in np.argsort(past.tasks):
        curves, accuracies = past.curves[:, t], past.accuracies[:, t]
        ran = np.isfinite(curves)
        if ran.any() or np.isfinite(accuracies).any():
            rows = past.validation_rows[t]
            found += [past.tasks[t], rows, accuracies, np.argwhere(ran), curves[ran]]
    return [past.models, found]


def resume_selection(state: Path, about: dict[str, Any]) -> tuple[Selector, tuple[str, ...]]:
    """A selection that began earlier, and what the reader should know of that.

    Args:
        state: selection.json in the folder of the run.
        about: of the selection that is asked for, as `about_selection` says.

    Returns:
        The selection as it stands, and notes.

    Raises:
        InputError: it is damaged, or a selection of something else.
    """
    selector, notes = Selector.load(state), []
    differ = [key for key, value in about.items() if selector.about.get(key) != value]
    other = [key for key in differ if key != "past"]
    if other:
        raise InputError(
            f"{state.parent} holds a selection with another {other[0]}: name another folder, or "
            "delete this one"
        )
    log.info("going on with %s: %d epochs are done", state, selector.spent)
    if selector.done:
        notes.append(
            f"selected earlier: nothing was trained now; delete {state.parent} to repeat it"
        )
    if differ:
        notes.append("past results have changed since it began: it keeps to those of then")
    return selector, tuple(notes)
