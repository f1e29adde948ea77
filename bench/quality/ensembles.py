"""Are several models better than the best one? Ensembles by every method on the real zoos.

    SPIDER_JAX_DATA=... python bench/quality/ensembles.py

Reads $SPIDER_JAX_DATA/real_zoo and text_zoo and writes bench/results/quality/ensembles.json and
.md. Every task is split at random 80/20, three times; heads, ranking, members, their number and
features are chosen on the 80 %, accuracy is that on the 20 %. Heads are linear on frozen features,
the same for one model and for many. "True best single" is the model of the best mean accuracy on
the test rows of the three splits, which nobody knows beforehand. Tasks are the unit of the
intervals. About 10 minutes on two cores; --zoo names one zoo, --cache keeps what is done.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from jaxtyping import Float64, Int

from bench.common import (
    Arrays,
    about,
    bounds,
    cached,
    data_folder,
    mean_and_bounds,
    page_head,
    write_results,
)
from spider_jax.ensemble.calibration import columns_of, predictions_of, row_losses
from spider_jax.ensemble.feature_selection import select_features
from spider_jax.ensemble.linear_head import FittedHead, fit_head, folds_of
from spider_jax.ensemble.members import fewest_as_good, forward_choice
from spider_jax.metrics import logme
from spider_jax.ranking.measures import bootstrap_interval, paired_difference
from spider_jax.report.tables import to_markdown
from spider_jax.zoo.splits import task_split
from spider_jax.zoo.store import FeatureStore

ZOOS = ("real_zoo", "text_zoo")
SEEDS = (0, 1, 2)
SIZES = (2, 3, 5)
POOL = 3
KIND = "classification"


@dataclass(frozen=True)
class Run:
    """What to run.

    Attributes:
        out: path without suffix for .json and .md.
        zoo: names of the zoos.
        cache: folder that keeps the accuracies of every task.
    """

    out: Path = Path("bench/results/quality/ensembles")
    zoo: tuple[str, ...] = ZOOS
    cache: Path | None = None


class Split:
    """One split of a task: heads of all models, and accuracies of any combination of them.

    Args:
        zoo: with all models on the task.
        task: its name.
        seed: of the split.
    """

    def __init__(self, zoo: FeatureStore, task: str, seed: int) -> None:
        split, labels = task_split(zoo, task, seed=seed), zoo.labels(task)
        self.zoo, self.task = zoo, task
        self.learn = np.sort(np.concatenate([split.train, split.validation]))
        self.test, self.truth = split.test, labels[split.test]
        own = labels[self.learn]
        self.Y = columns_of(KIND, own, int(labels.max()) + 1)
        self.fold = folds_of(KIND, own, None, seed)
        self.fitted = {m: self.fit(self.rows([m], self.learn)) for m in zoo.models_of(task)}
        self.said = {m: self.predict(self.rows([m], self.test), f) for m, f in self.fitted.items()}
        scores = {m: logme(self.rows([m], self.learn), own) for m in self.fitted}
        self.ranked = sorted(scores, key=lambda m: -scores[m])

    def rows(
        self, models: Sequence[str], rows: Int[np.ndarray, " n"]
    ) -> Float64[np.ndarray, "n D"]:
        """Features of models side by side."""
        parts = [self.zoo.features(m, self.task)[rows] for m in models]
        return np.concatenate(parts, 1).astype(np.float64)

    def fit(self, features: Float64[np.ndarray, "n D"]) -> FittedHead:
        """A head on the rows that may be learned from."""
        return fit_head(features, self.Y, self.fold, KIND)

    def predict(
        self, features: Float64[np.ndarray, "n D"], fitted: FittedHead
    ) -> Float64[np.ndarray, "n C"]:
        """What a head says of test rows."""
        head = fitted.head
        return predictions_of(KIND, features @ head.weights + head.bias, head.temperature)

    def accuracy(self, said: Float64[np.ndarray, "n C"]) -> float:
        """On test rows."""
        return float((said.argmax(1) == self.truth).mean())

    def average(self, members: Sequence[str]) -> float:
        """Accuracy of averaged predictions."""
        return self.accuracy(np.mean([self.said[m] for m in members], axis=0))

    def concatenated(self, members: Sequence[str]) -> float:
        """Accuracy of one head on all features."""
        fitted = self.fit(self.rows(members, self.learn))
        return self.accuracy(self.predict(self.rows(members, self.test), fitted))

    def selected(self, members: Sequence[str]) -> float:
        """Accuracy of one head on the features that spike and slab keeps."""
        learn = self.rows(members, self.learn)
        kept = select_features(learn, self.Y).kept
        test = self.rows(members, self.test)[:, kept]
        return self.accuracy(self.predict(test, self.fit(learn[:, kept])))

    def forward(self, most: int) -> tuple[list[str], int]:
        """Members by forward choice from the best ranked, and how many are enough."""
        given = {m: self.fitted[m].left_out for m in self.ranked[: POOL * most]}
        steps = forward_choice(given, self.Y, KIND, most=most)
        return [step.model for step in steps], fewest_as_good(steps)

    def best_left_out(self) -> str:
        """The model of least loss on rows that its head has not seen."""
        losses = {m: row_losses(KIND, f.left_out, self.Y).mean() for m, f in self.fitted.items()}
        return min(losses, key=lambda m: losses[m])


def accuracies(zoo: FeatureStore, task: str, seed: int) -> Arrays:
    """Accuracy of every method on one split of a task, and of every model alone.

    Args:
        zoo: with all models on the task.
        task: its name.
        seed: of the split.
    """
    split = Split(zoo, task, seed)
    rng = np.random.default_rng(seed)
    found = {
        "best single by LogME": split.average(split.ranked[:1]),
        "best single by left-out loss": split.average([split.best_left_out()]),
    }
    for size in SIZES:
        members, enough = split.forward(size)
        found[f"forward choice, average, {size}"] = split.average(members)
        found[f"forward choice, concatenation, {size}"] = split.concatenated(members)
        found[f"best by LogME, average, {size}"] = split.average(split.ranked[:size])
        found[f"best by LogME, concatenation, {size}"] = split.concatenated(split.ranked[:size])
        drawn = [rng.choice(split.ranked, size, replace=False).tolist() for _ in range(10)]
        found[f"random, average, {size}"] = float(np.mean([split.average(d) for d in drawn]))
        if size == 3:
            found["forward choice, selected features, 3"] = split.selected(members)
            found["combine --models auto:3 --method average"] = split.average(members[:enough])
            found["members that combine uses"] = float(enough)
    alone = np.array([split.average([m]) for m in zoo.models_of(task)])
    return {name: np.array([value]) for name, value in found.items()} | {"alone": alone}


def table(zoo: FeatureStore, cache: Path | None) -> dict[str, Float64[np.ndarray, " T"]]:
    """Mean accuracy over seeds of every method on every task.

    Args:
        zoo: what to measure on.
        cache: folder that keeps accuracies.
    """
    found: dict[str, list[float]] = {}
    for task in zoo.tasks:
        if zoo.kind(task) != KIND:
            continue
        seeds = []
        for seed in SEEDS:
            make = partial(accuracies, zoo, task, seed)
            seeds.append(cached(cache, f"{zoo.folder.name}_{task}_{seed}", make))
        alone = np.mean([one.pop("alone") for one in seeds], axis=0)
        found.setdefault("true best single", []).append(float(alone.max()))
        found.setdefault("mean single", []).append(float(alone.mean()))
        for name in seeds[0]:
            found.setdefault(name, []).append(float(np.mean([one[name][0] for one in seeds])))
        print(task, flush=True)
    return {name: np.array(values) for name, values in found.items()}


def figures(found: dict[str, Float64[np.ndarray, " T"]]) -> list[dict[str, Any]]:
    """Means and paired differences of every method.

    Args:
        found: of `table`.
    """
    best, ranked = found["true best single"], found["best single by LogME"]
    return [
        {
            "method": name,
            "accuracy": bootstrap_interval(values),
            "over_true_best": paired_difference(values, best),
            "over_logme": paired_difference(values, ranked),
        }
        for name, values in found.items()
        if name != "members that combine uses"
    ]


def page(name: str, found: dict[str, Float64[np.ndarray, " T"]], rows: list[dict[str, Any]]) -> str:
    """The table of one zoo in Markdown.

    Args:
        name: of the zoo.
        found: of `table`.
        rows: of `figures`.
    """
    cells = [
        [
            row["method"],
            row["accuracy"].mean,
            bounds(row["accuracy"]),
            mean_and_bounds(row["over_true_best"], "+.3f"),
            mean_and_bounds(row["over_logme"], "+.3f"),
        ]
        for row in rows
    ]
    heads = ("method", "accuracy", "interval", "minus true best single", "minus best by LogME")
    used = found["members that combine uses"].mean()
    return (
        f"## {name}, {len(found['mean single'])} tasks\n\n{to_markdown(heads, cells)}\n\n"
        f"`combine` uses {used:.2f} members on the mean.\n"
    )


def main(run: Run) -> None:
    """Measure and write the page.

    Args:
        run: what to run.
    """
    content, pages = about(), []
    for name in run.zoo:
        found = table(FeatureStore(data_folder(name)), run.cache)
        rows = figures(found)
        content[name] = [
            {key: value if key == "method" else value._asdict() for key, value in row.items()}
            for row in rows
        ]
        pages.append(page(name, found, rows))
        print(pages[-1])
    head = page_head("Several models together, or one", "quality/ensembles", run.out)
    write_results(run.out, content, head + "\n".join(pages))


if __name__ == "__main__":
    main(tyro.cli(Run, description=__doc__))
