"""The zoo of most tests: 3 models and the extractor psi on 4 tasks."""

from pathlib import Path
from typing import Any

import numpy as np

SMALL_WIDTHS = {"narrow": 5, "middle": 8, "wide": 12}


SMALL_MODELS = ("middle", "narrow", "psi", "wide")


SMALL_CLASSES = {"apples": 3, "birds": 4, "cars": 5, "dice": 3}


def put(folder: Path, where: str, array: Any) -> Path:
    """Save an array as <where>.npy without any of the checks of the package."""
    path = folder / f"{where}.npy"
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, array)
    return path


def write_small_zoo(folder: Path) -> Path:
    """A zoo of 3 models and the extractor psi on 4 tasks whose features carry their classes."""
    from spider_jax.zoo.store import FeatureStore

    rng = np.random.default_rng(0)
    widths = {**SMALL_WIDTHS, "psi": 6}
    for number, (task, classes) in enumerate(SMALL_CLASSES.items()):
        labels = rng.permutation(np.arange(40 + 5 * number) % classes)
        FeatureStore.write_labels(folder, task, labels)
        for model, width in widths.items():
            means = rng.normal(size=(classes, width))
            features = means[labels] + 0.5 * rng.normal(size=(len(labels), width))
            FeatureStore.write_features(folder, model, task, features.astype(np.float32))
    FeatureStore.write_manifest(
        folder,
        extractor="psi",
        models={model: {"width": width} for model, width in widths.items()},
        tasks={task: {"kind": "classification"} for task in SMALL_CLASSES},
    )
    lines = [f"{m},{t},{rng.uniform(0.3, 0.9):.3f}" for m in widths for t in SMALL_CLASSES]
    (folder / "accuracies.csv").write_text("\n".join(["model,task,accuracy", *lines, ""]))
    return folder
