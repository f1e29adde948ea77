"""Small tables of records with facts, for priors that are fitted in tests."""

from dataclasses import replace

import numpy as np

from spider_jax.records.table import Records

ANIMALS = ("ant", "bird", "cat", "dog", "eel", "fox")
KINDS = ("legal", "medical")
MODELS = tuple(f"{family} {size}" for family in ("bert", "gpt", "модель") for size in "smlxy")[:14]


def table_of(models: int, tasks: int, known: float = 1.0, seed: int = 0) -> np.ndarray:
    """Results [M, T] of models of which some are better than others; NaN where unknown."""
    rng = np.random.default_rng(seed)
    found = rng.normal(size=(models, 1)) + 0.6 * rng.normal(size=(models, tasks))
    return np.where(rng.random(found.shape) < known, found, np.nan)


def records_of(table: np.ndarray, models: tuple[str, ...], tasks: tuple[str, ...]) -> Records:
    """The records of a table; models and tasks without any keep their place."""
    rows = [(m, t, float(table[i, j])) for i, m in enumerate(models) for j, t in enumerate(tasks)]
    return Records.from_rows(rows)


def learned_records() -> Records:
    """14 models, the last without a result, on 12 tasks, half of them smaller is better."""
    tasks = tuple(f"{animal} {kind}" for animal in ANIMALS for kind in KINDS)
    table = table_of(14, 12, 0.75)
    table[-1] = np.nan
    found = records_of(table, MODELS, tasks)
    size = tuple(str(10.0 ** (2 + i % 9)) for i in range(14))
    family = tuple(name.split()[0] for name in MODELS)
    kinds = tuple(task.split()[1] for task in tasks)
    words = tuple(
        f"{kind} texts on the {task.split()[0]}" for kind, task in zip(kinds, tasks, strict=True)
    )
    return replace(
        found,
        model_facts={"parameters": size, "family": family},
        task_facts={
            "type": kinds,
            "description": words,
            "direction": tuple("smaller" if i % 2 else "larger" for i in range(12)),
        },
    )


def plain_records() -> Records:
    """4 models on 5 tasks: too few to learn from, and no task shows its unit."""
    tasks = ("ant hills", "bird songs", "cat food", "dog races", "eel grass")
    return records_of(table_of(4, 5, seed=3), ("ada", "bob", "cy", "dan"), tasks)
