"""How noisy metrics are on one task, read from how much they disagree there.

On one task three metrics order the models alike, on the next each in its own way, and where they
disagree they also err more. With z_i the K metrics of model i in standard units, g and C their
gains and noise, v_i = w^T z_i the value that they are worth and r_i = z_i - g v_i what it leaves,

    q = sum_i r_i^T C^-1 r_i / ((K - 1)(p - 1))

of p models is 1 on a typical task. The variance of the error of v is so many times its usual one:

    u = exp(a + b/(p - 1) + c s ln q),    s = (p - 1)/(p - 1 + h),

since a few models show little of how much metrics disagree. a, b, c and h are learned.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float64

FEWEST = 3  # models that show a disagreement
LEAST = 1e-6  # of q, where metrics agree to the last digit


class Disagreement(NamedTuple):
    """What a disagreement of metrics says of their errors.

    Attributes:
        level: a.
        few: b.
        slope: c, at least 0.
        half: h, the number of models, less one, that show half of it.
    """

    level: float
    few: float
    slope: float
    half: float

    def size(self, q: float, models: int) -> float:
        """How many times its usual variance the error has on a task.

        Args:
            q: the disagreement there.
            models: p, of which it is.
        """
        free = models - 1
        log = self.level + self.few / free
        log += self.slope * free / (free + self.half) * np.log(max(q, LEAST))
        return float(np.exp(log))


def disagreement(
    scaled: Float64[np.ndarray, "p K"],
    gain: Float64[np.ndarray, " K"],
    noise: Float64[np.ndarray, "K K"],
) -> tuple[float, int] | None:
    """How much the metrics of models disagree on a task.

    Args:
        scaled: metrics in standard units; of models that lack one, none counts.
        gain: g.
        noise: C.

    Returns:
        q and the number of models that it is of; None where they are less than FEWEST, or where
        there is one metric.
    """
    whole: Bool[np.ndarray, " p"] = np.isfinite(scaled).all(1)
    p, K = int(whole.sum()), len(gain)
    if p < FEWEST or K < 2:
        return None
    z = scaled[whole] - scaled[whole].mean(0)
    pull = np.linalg.solve(noise, gain)
    rest = z - np.outer(z @ pull / (gain @ pull), gain)
    q = float(np.sum(rest * np.linalg.solve(noise, rest.T).T)) / ((K - 1) * (p - 1))
    return q, p


def learn_disagreement(
    q: Float64[np.ndarray, " n"],
    models: Float64[np.ndarray, " n"],
    errors: Float64[np.ndarray, " n"],
) -> Disagreement:
    """Learn from looks at models whose standings are known.

    Minimises the mean of e/u + ln u, whose least is where u is the expected e, whatever the
    distribution of e.

    Args:
        q: disagreement of each look.
        models: of each look.
        errors: e, mean squared error of its values in units of their usual variance.

    Returns:
        a, b, c and h.
    """
    from scipy.optimize import minimize  # slow to import

    log, free = np.log(np.maximum(q, LEAST)), models - 1

    def loss(x: Float64[np.ndarray, " 4"]) -> float:
        u = x[0] + x[1] / free + x[2] * free / (free + np.exp(x[3])) * log
        return float(np.mean(errors * np.exp(-u) + u))

    bounds = [(-2.0, 2.0), (-4.0, 4.0), (0.0, 2.0), (-3.0, 5.0)]
    found = minimize(loss, np.array([0.0, 0.0, 0.5, 1.0]), method="L-BFGS-B", bounds=bounds).x
    level, few, slope, half = map(float, found)
    return Disagreement(level, few, slope, float(np.exp(half)))
