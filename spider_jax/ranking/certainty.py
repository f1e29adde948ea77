"""How sure a ranking is, where it is a view of a posterior over the models."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32, Int64


class Certainty(NamedTuple):
    """How sure a ranking is, by the posterior that it is a view of.

    Attributes:
        level: probability at which an order of two models counts as known.
        places: first and last place that each model may hold at that level.
        sd: standard deviation of each score.
        best: probability of each model to be the best.
        unit: of scores and deviations.
        among: the places that models may hold among themselves, given their places here, from 0;
            None where only a file is known.
    """

    level: float
    places: Int64[np.ndarray, "M 2"]
    sd: Float32[np.ndarray, " M"]
    best: Float32[np.ndarray, " M"]
    unit: str
    among: Callable[[Int64[np.ndarray, " k"]], Int64[np.ndarray, "k 2"]] | None = None

    def of(self, at: int) -> tuple[float, float]:
        """Deviation and chance of the model at a place, from 0."""
        return float(self.sd[at]), float(self.best[at])

    def meaning(self) -> str:
        """What the columns mean."""
        return (
            f"Scores are expected performance in {self.unit}, +- their standard deviation; orders "
            f"less sure than {100 * self.level:.0f} % count as unknown; best with: the "
            "probability to be the best."
        )

    def content(self) -> dict[str, Any]:
        """What a JSON says of all models."""
        return {"level": self.level, "unit": self.unit}

    def content_of(self, at: int) -> dict[str, float]:
        """What a JSON says of the model at a place, from 0, beside its interval."""
        return dict(zip(("sd", "probability_best"), self.of(at), strict=True))

    @staticmethod
    def read(content: Mapping[str, Any]) -> "Certainty | None":
        """The inverse of `content` and `content_of`; None where a JSON has none."""
        if "level" not in content:
            return None
        models = content["models"]
        return Certainty(
            float(content["level"]),
            np.array([entry["cannot_tell_from"] for entry in models], np.int64).reshape(-1, 2),
            np.array([entry["sd"] for entry in models], np.float32),
            np.array([entry["probability_best"] for entry in models], np.float32),
            str(content["unit"]),
        )
