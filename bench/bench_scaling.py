"""Which scaling of the extractor's features: weighted tau on held-out source tasks, embedded zoo.

    python bench/bench_scaling.py --out bench/results/scaling

Only source tasks are read. Every row is the mean over seeds of the held-out weighted tau against
the teachers at the best step (each ensemble member judged on datasets it did not train on).
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import tyro

from spider_jax.demo import CONFIG, embedded_zoo
from spider_jax.files import write_json, write_text
from spider_jax.tables import to_markdown
from spider_jax.train import fit, source_datasets, training_set

CHOICES = (
    {"scaling": "raw", "spread": False},
    {"scaling": "raw", "spread": True},
    {"scaling": "standardize", "spread": True},
    {"scaling": "pca", "components": 32, "spread": False},
    {"scaling": "pca", "components": 16, "spread": True},
    {"scaling": "pca", "components": 32, "spread": True},
    {"scaling": "pca", "components": 64, "spread": True},
)


@dataclass(frozen=True)
class Run:
    """out: path without suffix for .json and .md. seeds: spiders per choice."""

    out: Path
    seeds: int = 2


def main(run: Run) -> None:
    """Train a spider per choice and seed and write the table."""
    zoo = embedded_zoo()
    sources = source_datasets(zoo)
    given = training_set(zoo, CONFIG, sources, show_progress=True)
    rows: list[list[object]] = []
    for choice in CHOICES:
        taus = []
        for seed in range(run.seeds):
            config = replace(CONFIG, seed=seed, **choice)  # type: ignore[arg-type]
            history = fit(zoo, config, sources, given).description.training["history"]
            taus.append(max(entry["held_out_tau"] for entry in history))
        rows.append([str(choice), float(np.mean(taus)), float(np.ptp(taus))])
        print(*rows[-1], flush=True)
    columns = ("scaling", "held-out weighted tau", "range over seeds")
    entries = [dict(zip(columns, row, strict=True)) for row in rows]
    write_json(run.out.with_suffix(".json"), "benchmark", {"rows": entries})
    page = f"# Scaling of the tokens\n\n`python bench/bench_scaling.py --out {run.out}`\n\n"
    write_text(run.out.with_suffix(".md"), page + to_markdown(columns, rows) + "\n")


if __name__ == "__main__":
    main(tyro.cli(Run, description=__doc__))
