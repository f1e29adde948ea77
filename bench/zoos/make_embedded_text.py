"""Make the text part of the compact zoo inside the package, spider_jax/zoo/embedded_data/text.

    python bench/zoos/make_embedded_text.py

Reads $SPIDER_JAX_DATA/text_zoo. Half a minute on one core. Two runs with the same libraries on one
machine give the same bytes. It keeps models whose licence allows without doubt to hand on features
computed with them, and prints size, rows, and how much of the signal is left.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tyro

from bench.common import data_folder
from bench.zoos import make_embedded as maker
from bench.zoos.embedded_text_sources import HELD_OUT, LICENCES, TASKS, provenance
from spider_jax.choose.usual_evidence import FILE, write_metrics
from spider_jax.storage.files import atomic_folder, write_text
from spider_jax.zoo.store import FeatureStore

FOLDER = maker.FOLDER / maker.TEXT
SMALL = "left out to keep the folder small"


def kept_models(zoo: FeatureStore) -> tuple[str, ...]:
    """Names of the models with a licence in LICENCES.

    Args:
        zoo: that is reduced.
    """
    return tuple(m for m in zoo.models if zoo.model_info(m)["licence"] in LICENCES)


def model_entries(zoo: FeatureStore, widths: Mapping[str, int]) -> dict[str, dict[str, Any]]:
    """The manifest's entry of every kept model.

    Args:
        zoo: that is reduced.
        widths: of the reduced features by model.
    """
    return {
        model: {**zoo.model_info(model), "width": width, "original_width": zoo.width(model)}
        for model, width in widths.items()
    }


def task_entries(zoo: FeatureStore, rows: maker.Rows) -> dict[str, dict[str, Any]]:
    """The manifest's entry of every kept task.

    Args:
        zoo: that is reduced.
        rows: of every task.
    """
    entries = {}
    for task, chosen in rows.items():
        texts = TASKS[task]
        own = {"source": texts.source, "licence": texts.licence, "samples": len(chosen)}
        held_out = {"held_out": True} if task in HELD_OUT else {}
        entries[task] = {**zoo.task_info(task), **own, **held_out}
    return entries


def left_out(zoo: FeatureStore) -> dict[str, str]:
    """Reasons by model or task of the zoo that is not kept.

    Args:
        zoo: that is reduced.
    """
    lost = [model for model in zoo.models if model not in kept_models(zoo)]
    reasons = {model: f"its licence: {zoo.model_info(model)['licence']}" for model in lost}
    return reasons | {task: SMALL for task in zoo.tasks if task not in TASKS}


def build(zoo: FeatureStore, folder: Path) -> None:
    """Write the text part, all or nothing.

    Args:
        zoo: that is reduced.
        folder: it is replaced.
    """
    models = kept_models(zoo)
    rows = {task: maker.choose_rows(zoo.labels(task)) for task in TASKS}
    with atomic_folder(folder) as new:
        widths = maker.write_arrays(zoo, new, models, rows, HELD_OUT)
        facts = {"models": model_entries(zoo, widths), "tasks": task_entries(zoo, rows)}
        about = {"extractor": zoo.extractor, "standardized": True, "note": maker.NOTE}
        FeatureStore.write_manifest(new, **about, **facts)
        maker.write_accuracies(zoo.folder / "accuracies.csv", new / "accuracies.csv", models, rows)
        page = provenance(maker.NOTE, **facts, left_out=left_out(zoo))
        write_text(new / "PROVENANCE.md", page)


def main(out: Path = FOLDER) -> None:
    """Build the text part, then report.

    Args:
        out: folder to replace.
    """
    zoo = FeatureStore(data_folder("text_zoo"))
    build(zoo, out)
    write_metrics(FeatureStore(out), out / FILE)
    maker.report(zoo, FeatureStore(out), HELD_OUT)


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
