"""From the JSON of a ranking to the fields of the result."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from spider_jax.ranking.certainty import Certainty


def ranking_fields(content: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a `Ranking` from its JSON.

    Args:
        content: of the JSON.
    """
    models = content["models"]
    resolution = content["resolution"]
    names = tuple(entry["model"] for entry in models)
    skipped, looked = (
        tuple(content.get(key, ())) for key in ("skipped", "looked_at")
    )  # not of old
    for text in (*names, content["task"] or "", *content["notes"], *skipped, *looked):
        if not isinstance(text, str):
            raise TypeError(f"model names, task and notes must be text, got {text!r}")
    accuracies = {entry["model"]: entry["accuracy"] for entry in models}
    return {
        "names": names,
        "scores": np.array([entry["score"] for entry in models], np.float32),
        "resolution": math.nan if resolution is None else float(resolution),
        "task": content["task"],
        "accuracies": {name: float(x) for name, x in accuracies.items() if x is not None},
        "notes": tuple(content["notes"]),
        "skipped": skipped,
        "looked_at": looked,
        "certainty": Certainty.read(content),
    }
