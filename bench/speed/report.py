"""How long does a page of many models take, and how large is it?

    python bench/speed/report.py

Writes bench/results/speed/report.json and .md: rankings of 10 to 100,000 models, with two costs and
a true accuracy for each, from the JSON file to the page on disk; five runs of each. About a minute.
"""

import json
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro

from bench.common import about, page_head, write_results
from spider_jax.ranking.ranking import Ranking
from spider_jax.report.html import write_report_of_files
from spider_jax.report.tables import to_markdown

SIZES = (10, 1000, 100_000)
RUNS = 5


@dataclass(frozen=True)
class Run:
    """What to run.

    Attributes:
        out: path without suffix for .json and .md.
    """

    out: Path = Path(__file__).parents[1] / "results" / "speed" / "report"


def write_ranking(models: int, path: Path) -> None:
    """A ranking as JSON, with facts.

    Args:
        models: how many.
        path: of the file.
    """
    draw = np.random.default_rng(models)
    scores = np.sort(draw.normal(size=models))[::-1].astype(np.float32)
    names = tuple(f"organisation/model-{i}" for i in range(models))
    known = dict(zip(names, (0.5 + scores / 10).tolist(), strict=True))
    content = Ranking(names, scores, 0.1, "a task", known).to_content()
    for entry, size in zip(
        content["models"], draw.lognormal(17, 1.5, models).tolist(), strict=True
    ):
        entry |= {"params": int(size), "seconds": size / 1e9, "licence": "apache-2.0"}
    path.write_text(json.dumps(content), encoding="utf-8")


def measure(models: int, folder: Path) -> dict[str, float | int]:
    """Seconds and bytes of a page.

    Args:
        models: of its ranking.
        folder: for the files.

    Returns:
        One entry per number.
    """
    source, page = folder / f"{models}.json", folder / f"{models}.html"
    write_ranking(models, source)
    seconds = []
    for _ in range(RUNS):
        start = time.perf_counter()
        write_report_of_files([source], page)
        seconds.append(time.perf_counter() - start)
    return {
        "models": models,
        "seconds": float(np.median(seconds)),
        "most": max(seconds),
        "json_megabytes": source.stat().st_size / 1e6,
        "page_megabytes": page.stat().st_size / 1e6,
    }


def main(run: Run) -> None:
    """Measure all sizes and write them down.

    Args:
        run: what to run.
    """
    with tempfile.TemporaryDirectory() as folder:
        rows = [measure(models, Path(folder)) for models in SIZES]
    table = to_markdown(list(rows[0]), [list(row.values()) for row in rows])
    print(table)
    page = page_head("A page of many models", "speed/report", run.out) + table + "\n"
    write_results(run.out, {**about(), "sizes": rows}, page)


if __name__ == "__main__":
    main(tyro.cli(Run))
