"""Small records folders, and whether two tables hold the same."""

from pathlib import Path

import numpy as np

from spider_jax.records.table import Records

ROWS = "model,task,value\na,t,0.5\nb,t,0.75\n"


def folder(root: Path, values: str = ROWS, tasks: str = "", models: str = "") -> Path:
    root.mkdir(parents=True, exist_ok=True)
    for name, text in (("values", values), ("tasks", tasks), ("models", models)):
        if text:
            (root / f"{name}.csv").write_text(text, encoding="utf-8")
    return root


def same(first: Records, second: Records) -> None:
    assert (first.models, first.tasks) == (second.models, second.tasks)
    np.testing.assert_array_equal(first.model, second.model)
    np.testing.assert_array_equal(first.task, second.task)
    np.testing.assert_array_equal(first.value, second.value)
    np.testing.assert_array_equal(first.stderr, second.stderr)
    assert first.model_facts == second.model_facts
    assert first.task_facts == second.task_facts
    assert repr(first.set_aside) == repr(second.set_aside)  # NaN is not equal to itself
