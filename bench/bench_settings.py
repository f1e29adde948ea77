"""Which settings of the spider, by held-out source tasks alone: the real zoo, five folds.

    SPIDER_JAX_DATA=... python bench/bench_settings.py --out bench/results/settings

A fold's test datasets are never read. In every fold each ensemble member is judged on source
datasets that it did not train on: mean weighted tau against the teachers' targets at the best
step. The committed defaults (`TrainConfig`, configs/real_zoo.toml) are the best row.
"""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from bench_real_zoo import FOLDS, only, taught
from numpy.typing import NDArray

from spider_jax.files import write_json, write_text
from spider_jax.store import FeatureStore
from spider_jax.tables import to_markdown
from spider_jax.train import TrainingSet, fit
from spider_jax.train_config import TrainConfig

LIGHT: dict[str, Any] = {"token_noise": 0.3, "token_dropout": 0.2}
STRONG: dict[str, Any] = {"token_noise": 0.6, "token_dropout": 0.5}
CHOICES: tuple[dict[str, Any], ...] = (
    {"token_noise": 0.0, "token_dropout": 0.0},
    LIGHT,
    STRONG,
    {"token_noise": 1.0, "token_dropout": 0.5},
    {**STRONG, "dropout": 0.0},
    {**STRONG, "width": 64},
    {**STRONG, "width": 256},
    {**STRONG, "learning_rate": 4e-3},
    {**STRONG, "scaling": "raw"},
    {**STRONG, "scaling": "standardize"},
    {**STRONG, "components": 16},
    {**STRONG, "components": 64},
    {**STRONG, "spread": False},
    {**STRONG, "spread": False, "dropout": 0.0},
    {**STRONG, "spread": False, "components": 64},
    {**STRONG, "spread": False, "dropout": 0.0, "token_noise": 1.0},
)


@dataclass(frozen=True)
class Run:
    """out: path without suffix for .json and .md. cache: as in bench_real_zoo. seeds: per fold."""

    out: Path
    cache: Path | None = None
    tasks: int = 1500
    seeds: int = 2


def held_out_taus(
    zoo: FeatureStore, given: TrainingSet, config: TrainConfig, seeds: int
) -> NDArray[np.float64]:
    """Held-out tau at the best step [fold, seed]."""
    taus = np.empty((len(FOLDS), seeds))
    for i, fold in enumerate(FOLDS):
        sources = [task for task in zoo.tasks if task not in fold]
        training = only(given, sources)
        for seed in range(seeds):
            spider = fit(zoo, replace(config, seed=seed), sources, training)
            history = spider.description.training["history"]
            taus[i, seed] = max(entry["held_out_tau"] for entry in history)
    return taus


def main(run: Run) -> None:
    """Train a spider per choice, fold and seed and write the table."""
    zoo = FeatureStore(Path(os.environ["SPIDER_JAX_DATA"]) / "real_zoo")
    default = TrainConfig()
    given = taught(zoo, replace(default, tasks=replace(default.tasks, count=run.tasks)), run.cache)
    rows: list[list[object]] = []
    for choice in CHOICES:
        taus = held_out_taus(zoo, given, replace(default, **choice), run.seeds)
        shown = ", ".join(f"{name} {value}" for name, value in choice.items())
        rows.append([shown, float(taus.mean()), *map(float, taus.mean(1))])
        print(*rows[-1], flush=True)
    columns = ("settings", "held-out weighted tau", *(f"fold {i + 1}" for i in range(len(FOLDS))))
    entries = [dict(zip(columns, row, strict=True)) for row in rows]
    write_json(run.out.with_suffix(".json"), "benchmark", {"rows": entries})
    command = f"SPIDER_JAX_DATA=... python bench/bench_settings.py --out {run.out}"
    page = f"# Settings, by held-out source tasks\n\n`{command}`\n\n{run.seeds} seeds per fold\n\n"
    write_text(run.out.with_suffix(".md"), page + to_markdown(columns, rows) + "\n")


if __name__ == "__main__":
    if "SPIDER_JAX_DATA" not in os.environ:
        raise SystemExit("SPIDER_JAX_DATA must name the folder that holds real_zoo: nothing run")
    main(tyro.cli(Run, description=__doc__))
