"""How the models' own class centres become tokens."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int64

from spider_jax.tasks.scaling import Scaling


class OwnMaps(NamedTuple):
    """P_m of all models in two factors, raw own features -> q -> d, their rows end to end.

    Attributes:
        starts: [M + 1] rows of model m are starts[m] to starts[m + 1]; a model without any has no
            own tokens.
        mean: [R] of the features, R the sum of all widths.
        matrix: [R, q] that scales them.
        project: [E, M, q, d] of every ensemble member.
        bias: [E, M, d] of every ensemble member.
    """

    starts: Int64[np.ndarray, " M+1"]
    mean: Float32[np.ndarray, " R"]
    matrix: Float32[np.ndarray, "R q"]
    project: Float32[np.ndarray, "E M q d"]
    bias: Float32[np.ndarray, "E M d"]

    def width(self, model: int) -> int:
        """Width D_m of the model's own features; 0 where it has no own tokens."""
        return int(self.starts[model + 1] - self.starts[model])

    @staticmethod
    def join(
        scalings: Sequence[Scaling],
        project: Float32[np.ndarray, "E M q d"],
        bias: Float32[np.ndarray, "E M d"],
    ) -> "OwnMaps":
        """From the scalings of M models and what was learned, [E, M, q, d] and [E, M, d]."""
        starts = np.cumsum([0, *(len(scaling.mean) for scaling in scalings)])
        mean = np.concatenate([scaling.mean for scaling in scalings])
        matrix = np.concatenate([scaling.matrix for scaling in scalings])
        return OwnMaps(starts, mean, matrix, project, bias)

    def take(self, models: Sequence[int]) -> "OwnMaps":
        """Of some of the models."""
        rows = [np.arange(self.starts[m], self.starts[m + 1]) for m in models]
        some = np.concatenate([*rows, np.zeros(0, np.int64)]).astype(np.int64)
        starts = np.cumsum([0, *map(len, rows)])
        own = self.project[:, list(models)], self.bias[:, list(models)]
        return OwnMaps(starts, self.mean[some], self.matrix[some], *own)

    def joined(self, more: "OwnMaps") -> "OwnMaps":
        """With those of more models behind them."""
        starts = np.concatenate([self.starts, self.starts[-1] + more.starts[1:]])
        rows = [np.concatenate(pair) for pair in zip(self[1:3], more[1:3], strict=True)]
        own = [np.concatenate(pair, axis=1) for pair in zip(self[3:], more[3:], strict=True)]
        return OwnMaps(starts, *rows, *own)

    def of(self, model: int) -> "OwnMap":
        """The maps of one model."""
        rows = slice(self.starts[model], self.starts[model + 1])
        return OwnMap(
            self.mean[rows], self.matrix[rows], self.project[:, model], self.bias[:, model]
        )


class OwnMap(NamedTuple):
    """How the class centres of one model become tokens.

    Attributes:
        mean: [D_m] of its features.
        matrix: [D_m, q] that scales them.
        project: [E, q, d] of every ensemble member.
        bias: [E, d] of every ensemble member.
    """

    mean: Float32[np.ndarray, " D"]
    matrix: Float32[np.ndarray, "D q"]
    project: Float32[np.ndarray, "E q d"]
    bias: Float32[np.ndarray, "E d"]
