"""A zoo of which a spider knows some models, and spiders that were trained on those."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spider_jax.onboarding import add_models as onboarding
from spider_jax.onboarding.add_models import Added
from spider_jax.spider.spider import Spider
from spider_jax.zoo.store import FeatureStore
from support.quick_compilation import quick_compilation
from support.small_training import CONFIG, train
from support.small_zoo import SMALL_CLASSES, SMALL_WIDTHS, write_small_zoo

Array = NDArray[Any]
KNOWN = ("blurred", "middle", "narrow", "noise", "psi")
NEW = ("twin", "wide")  # the twin's features are those of narrow
GENERAL = replace(CONFIG, calibration=0.5, epochs=4)
LOOKING = replace(CONFIG, k_max=2, own_components=4, epochs=4)
FACTS = {"middle": {"params": 4e6, "family": "a"}, "wide": {"params": 8e6, "family": "a"}}


def write_zoo(folder: Path, models: Sequence[str] = (*KNOWN, *NEW)) -> FeatureStore:
    """The small zoo with three more models, or some of these; the accuracies of all."""
    write_small_zoo(folder)
    rng = np.random.default_rng(1)
    for task in SMALL_CLASSES:
        wide, narrow = (np.load(folder / f"features/{m}/{task}.npy") for m in ("wide", "narrow"))
        blurred = wide[:, :7] + 1.5 * rng.normal(size=(len(wide), 7))
        noise = rng.normal(size=(len(wide), 4))
        for name, features in (("blurred", blurred), ("noise", noise), ("twin", narrow)):
            FeatureStore.write_features(folder, name, task, features.astype(np.float32))
    with (folder / "accuracies.csv").open("a") as file:
        for model in ("blurred", "noise", "twin"):
            file.writelines(f"{model},{t},{rng.uniform(0.3, 0.9):.3f}\n" for t in SMALL_CLASSES)
    for model in {*KNOWN, *NEW, *SMALL_WIDTHS} - {*models}:
        shutil.rmtree(folder / "features" / model)
    content = {m: FACTS.get(m, {"params": 1e6, "family": "b"}) for m in models}
    FeatureStore.write_manifest(folder, extractor="psi", models=content)
    return FeatureStore(folder)


def add_models(folder: Path, **features: Any) -> FeatureStore:
    """The zoo with more models: by name a function of the task's features of wide, or None for a
    line in the manifest alone."""
    manifest = json.loads((folder / "manifest.json").read_text())["models"]
    for name, of in features.items():
        manifest[name] = {"params": 2e6, "family": "b"}
        for task in SMALL_CLASSES if of is not None else ():
            wide = np.load(folder / f"features/wide/{task}.npy")
            FeatureStore.write_features(folder, name, task, np.float32(of(wide)))
    FeatureStore.write_manifest(folder, extractor="psi", models=manifest)
    return FeatureStore(folder)


def trained(kept: dict[str, Spider], folder: Path, *, looking: bool = False) -> Spider:
    """The spider of the known models, trained once for all tests; looking: at own features."""
    name = f"onboarding, looking {looking}"
    if name not in kept:
        zoo = write_zoo(folder / "known", KNOWN)
        kept[name] = train(zoo, LOOKING if looking else GENERAL)
    return kept[name]


def add(*arguments: Any, **options: Any) -> Added:
    """`onboarding.add`, which is nearly all compilation here."""
    with quick_compilation():
        return onboarding.add(*arguments, **options)


def arrays_of(spider: Spider, models: int | None = None) -> dict[str, Array]:
    """All arrays of a spider by name, those with a column a model cut to the first so many."""
    M = len(spider.models) if models is None else models
    found = {f"weights.{name}": np.asarray(a) for name, a in spider.weights.arrays().items()}
    found["weights.theta"] = found["weights.theta"][:, :M]
    found |= {"mean": spider.scaling.mean, "matrix": spider.scaling.matrix}
    if spider.memory is not None:
        found |= {f"memory.{n}": a for n, a in spider.memory.weights.arrays().items()}
        found["memory"] = spider.memory.targets[:, :M]
    if spider.own is not None:
        own = spider.own.take(range(M))
        found |= {f"own.{name}": a for name, a in own._asdict().items()}
    if spider.teacher_table is not None:
        yard = spider.teacher_table.take(range(M))
        found |= {f"yard.{name}": a for name, a in yard._asdict().items()}
    return found


def same_bits(one: dict[str, Array], other: dict[str, Array]) -> bool:
    assert one.keys() == other.keys()
    differ = [
        n for n, a in one.items() if np.asarray(a).tobytes() != np.asarray(other[n]).tobytes()
    ]
    assert differ == []
    return True
