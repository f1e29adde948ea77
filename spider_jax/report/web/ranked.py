"""A ranking read from its JSON, as the page and the pictures of matplotlib need it."""

import math
from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float64, Int64

OWN = ("rank", "cannot_tell_from", "model", "score", "accuracy", "sd", "probability_best")
HUGE = 1e100  # what a picture can hold


class Ranked(NamedTuple):
    """A ranking as its JSON has it.

    Attributes:
        task: its name; "" where it has none.
        names: models, best first.
        scores: aligned with them.
        places: first and last place that each may hold; None where no two can be separated.
        sd: standard deviations of the scores; None where there is no posterior.
        best: probabilities to be the best, likewise.
        truth: true accuracies, NaN where not known.
        facts: further columns, by heading.
        level: probability at which an order counts as known.
        unit: of the scores.
        resolution: difference of scores that counts; NaN where not known.
        notes: sentences.
        skipped: models that were not looked at.
        looked: models that were.
    """

    task: str
    names: list[str]
    scores: Float64[np.ndarray, " M"]
    places: Int64[np.ndarray, "M 2"] | None
    sd: Float64[np.ndarray, " M"] | None
    best: Float64[np.ndarray, " M"] | None
    truth: Float64[np.ndarray, " M"]
    facts: dict[str, list[Any]]
    level: float
    unit: str
    resolution: float
    notes: list[str]
    skipped: list[str]
    looked: frozenset[str]

    @property
    def open(self) -> int:
        """How many models may be the best."""
        return len(self.names) if self.places is None else int((self.places[:, 0] == 1).sum())

    def reach(self) -> Float64[np.ndarray, " M"] | None:
        """Half of each whisker: of an interval of `level`, or of the resolution."""
        if self.sd is not None:
            return NormalDist().inv_cdf((1 + self.level) / 2) * self.sd
        if math.isfinite(self.resolution):
            return np.full(len(self.names), self.resolution / 2)
        return None


def read_ranked(content: Mapping[str, Any]) -> Ranked:
    """The ranking of a JSON.

    Args:
        content: what `Ranking.to_json` writes.

    Returns:
        The ranking.

    Raises:
        AttributeError, KeyError, TypeError, ValueError: it is not sound.
    """
    models = content["models"]
    names = [_text(entry["model"]) for entry in models]
    if not names:
        raise ValueError("it ranks no model")
    resolution, posterior = content["resolution"], "level" in content
    known = posterior or resolution is not None
    level = float(content["level"]) if posterior else 0.0
    if posterior and not 0 < level < 1:
        raise ValueError(f"level must be between 0 and 1, got {level}")
    places = np.array([entry["cannot_tell_from"] for entry in models], np.int64).reshape(-1, 2)
    return Ranked(
        task=_text(content["task"] or ""),
        names=names,
        scores=_finite([entry["score"] for entry in models]),
        places=places if known else None,
        sd=_finite([entry["sd"] for entry in models]) if posterior else None,
        best=_finite([entry["probability_best"] for entry in models]) if posterior else None,
        truth=_known([entry.get("accuracy") for entry in models]),
        facts=_facts(models),
        level=level,
        unit=_text(content["unit"]) if posterior else "",
        resolution=float(_known([resolution])[0]),
        notes=list(map(_text, content["notes"])),
        skipped=list(map(_text, content.get("skipped", ()))),
        looked=frozenset(map(_text, content.get("looked_at", ()))),
    )


# ---- values ----------------------------------------------------------------------------------


def _facts(models: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Every further entry of the models as a column; what lies in an object under its own name."""
    columns: dict[str, list[Any]] = {}
    for i, entry in enumerate(models):
        for key, value in entry.items():
            if key in OWN or value is None:
                continue
            for name, one in value.items() if isinstance(value, dict) else ((key, value),):
                if one is None:
                    continue
                if name not in columns:
                    columns[name] = [None] * len(models)
                columns[name][i] = one
    return columns


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"names and notes must be text, got {value!r:.60}")
    return value


def _known(values: Sequence[object]) -> Float64[np.ndarray, " N"]:
    """Numbers, NaN for None."""
    known = [i for i, value in enumerate(values) if value is not None]
    found = np.full(len(values), math.nan)
    found[known] = _finite([values[i] for i in known])
    return found


def _finite(values: Sequence[object]) -> Float64[np.ndarray, " N"]:
    found = np.array(values, np.float64)
    if found.shape != (len(values),) or not (np.abs(found) < HUGE).all():
        raise ValueError("scores must be finite numbers")
    return found
