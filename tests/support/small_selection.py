"""A selection on the small zoo, quick enough for a test, and what it chose."""

from pathlib import Path

import numpy as np

from spider_jax.heads.training import HeadConfig
from spider_jax.selection.run import SelectConfig
from spider_jax.selection.two_phases import Selection, select_models
from spider_jax.zoo.store import FeatureStore
from support.small_zoo import put

HEAD = HeadConfig(batch=16, learning_rate=0.05)
QUICK = SelectConfig(budget=8, epochs=3, head=HEAD)


def select(zoo: Path, run: Path, config: SelectConfig = QUICK, task: str = "apples") -> Selection:
    return select_models(FeatureStore(zoo), task, config, run=run)


def choices(found: Selection) -> dict[str, tuple[object, ...]]:
    """Everything that was decided, and on what."""
    return {
        model: (e.fate, e.epochs, tuple(e.validation), e.reason, e.confidence)
        for model, e in found.selector.entries.items()
    }


def with_split(zoo: Path, task: str = "apples", rows: int = 40) -> np.ndarray:
    split = np.arange(rows) % 5 // 2  # 0 0 1 1 2
    put(zoo, f"splits/{task}", split.astype(np.int8))
    return split
