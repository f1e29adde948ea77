"""From scores, or the JSON of a ranking, to the fields of the result."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float32
from numpy.typing import ArrayLike

from spider_jax.errors import InputError
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


def checked_scores(names: Sequence[str], scores: ArrayLike) -> Float32[np.ndarray, " M"]:
    """A float32 copy of the scores, checked against the names.

    Args:
        names: M model names, each once.
        scores: real [M].

    Raises:
        InputError: names and scores that do not fit together, or a score that is not finite.
    """
    if len(set(names)) != len(names):
        twice = next(name for i, name in enumerate(names) if name in names[:i])
        raise InputError(f"names must differ, got {twice!r} twice: keep one score per model")
    with np.errstate(over="ignore"):  # what float32 cannot hold is found below
        kept = np.array(scores, np.float32)
    if kept.shape != (len(names),) or len(names) == 0:
        raise InputError(
            f"scores must be [M] with one per name (M={len(names)} > 0), got shape {kept.shape}"
        )
    bad = np.flatnonzero(~np.isfinite(kept))
    if len(bad):
        raise InputError(
            f"scores must be finite, got {kept[bad[0]]} for {names[bad[0]]!r} "
            f"({len(bad)} of {len(names)}): leave such models out and say so in notes"
        )
    return kept
