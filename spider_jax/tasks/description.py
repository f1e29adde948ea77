"""How a task is described to what learns over tasks: how the extractor's features spread on it.

Per feature c of the extractor, in units of the feature's deviation over the sources,

    ln(s_c + e)  and  ln((b_c + e)/(w_c + e)) less its mean over c,

s the deviation over all rows, b that of the class centres, w that within classes, e = 0.1. Each
half has total variance 1 over the training tasks.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64

FLOOR = 0.1


def source_unit(features: Float[np.ndarray, "N D"]) -> Float32[np.ndarray, " D"]:
    """[D] deviation of the sources' features [N, D], bounded from below."""
    sd = np.asarray(features, np.float64).std(0)
    return np.asarray(sd + 1e-3 * sd.mean() + 1e-30, np.float32)


def describe(
    tokens: Float[np.ndarray, "T C D"],
    mask: Bool[np.ndarray, "T C"],
    deviations: Float[np.ndarray, "T 2 D"],
    unit: Float[np.ndarray, " D"],
) -> Float64[np.ndarray, "T f"]:
    """The description of tasks.

    Args:
        tokens: [T, C, D] raw class centres, padded.
        mask: [T, C] True where a class is real.
        deviations: [T, 2, D], see `task_deviations`.
        unit: [D] deviation of the sources' features.

    Returns:
        float64 [T, 2 D].
    """
    real, scale = mask[..., None], np.asarray(unit, np.float64)
    n = np.maximum(real.sum(1), 1)
    centres = np.asarray(tokens, np.float64)
    mean = (centres * real).sum(1) / n
    between = np.sqrt((((centres - mean[:, None]) ** 2) * real).sum(1) / n) / scale
    total, within = np.moveaxis(np.asarray(deviations, np.float64) / scale, 1, 0)
    fisher = np.log((between + FLOOR) / (within + FLOOR))
    fisher -= fisher.mean(1, keepdims=True)
    return np.concatenate([np.log(total + FLOOR), fisher], axis=1)


class Design(NamedTuple):
    """Training tasks ready for regression.

    Attributes:
        rows: [S, 2 D] described, centred, each half scaled to total variance 1.
        centre: [2 D] that was taken out.
        scale: [2 D] that was divided by.
    """

    rows: Float64[np.ndarray, "S f"]
    centre: Float64[np.ndarray, " f"]
    scale: Float64[np.ndarray, " f"]


def design(described: Float64[np.ndarray, "S f"]) -> Design:
    """Centre the descriptions [S, 2 D] and give each half total variance 1."""
    centre = described.mean(0)
    halves = np.split((described - centre).var(0), 2)
    size = [np.sqrt(max(half.sum(), 1e-30)) for half in halves]
    scale = np.repeat(size, len(centre) // 2)
    return Design((described - centre) / scale, centre, scale)
