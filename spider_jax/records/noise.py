"""How far a validation score can be trusted: variances measured on past tasks, never tuned."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float64, Int

from spider_jax.records.performance import PastResults, masked_mean

ENOUGH_ROWS = 200  # with fewer, the sampling noise of a validation score hides what is sought here
CLIP = (0.05, 0.95)
# s_e^2/tau^2 after epochs 1 to 5: quartiles over 12 datasets on which 37 language models were
# fine-tuned. They stand in where no past curve tells how far an early score can be trusted.
USUAL_NOISE = (
    (1.1, 2.2, 4.0),
    (0.4, 0.8, 2.1),
    (0.2, 0.35, 0.55),
    (0.1, 0.2, 0.35),
    (0.05, 0.15, 0.25),
)


@dataclass(frozen=True)
class ValidationNoise:
    """What past tasks say about priors and about validation scores.

    Attributes:
        prior: mean accuracy by model: what is expected before any training on the target.
        between: tau^2, the variance of a model's result around its prior; the median over tasks.
        early: s_e^2 by epoch and past task: the variance over models of (best validation score so
            far - final result).
    """

    prior: dict[str, float]
    between: float
    early: tuple[tuple[float, ...], ...]

    def means(self, models: Sequence[str]) -> Float64[np.ndarray, " M"]:
        """Prior means of some models; one that is not known has the mean of these others.

        Args:
            models: their names.

        Returns:
            Means; 0 where none is known.
        """
        found = np.array([self.prior.get(model, np.nan) for model in models], np.float64)
        some = np.nanmean(found) if np.isfinite(found).any() else 0.0
        return np.where(np.isfinite(found), found, some)

    def early_variances(self, epoch: int) -> Float64[np.ndarray, " _"]:
        """s_e^2 after an epoch.

        Args:
            epoch: from 1; beyond the known epochs the last known one counts.

        Returns:
            One variance per past task with a curve; [0.] where no curve is known.
        """
        known = [one for one in self.early[:epoch] if one]
        return np.array(known[-1] if known else (0.0,))


def measure_spread(past: PastResults, *, enough_rows: int = ENOUGH_ROWS) -> ValidationNoise:
    """Priors and variances from past results; the target must not be among them.

    Args:
        past: results of the candidates; holes are left out.
        enough_rows: a task whose validation scores rest on fewer rows does not count for s_e^2. If
            all tasks have fewer, all count, and their sampling variance is subtracted. A number of
            rows that is not known counts as enough.

    Returns:
        Priors and variances; a model without results has the mean of the others' priors.
    """
    means = past.mean_accuracies()
    some = float(np.nanmean(means)) if np.isfinite(means).any() else 0.0
    prior = dict(zip(past.models, np.where(np.isfinite(means), means, some).tolist(), strict=True))
    return ValidationNoise(prior, _between(past.accuracies), _early(past, enough_rows))


def usual_noise(epoch: int) -> Float64[np.ndarray, " q"]:
    """Quartiles of s_e^2/tau^2 where no past curve is known.

    Args:
        epoch: from 1; beyond the last the last counts.
    """
    return np.array(USUAL_NOISE[min(epoch, len(USUAL_NOISE)) - 1])


def with_usual_noise(noise: ValidationNoise) -> ValidationNoise:
    """The same where past curves tell s_e^2; else with what is usual, in units of tau^2.

    Args:
        noise: as measured.
    """
    if any(noise.early):
        return noise
    early = (usual_noise(e + 1) * noise.between for e in range(len(USUAL_NOISE)))
    return replace(noise, early=tuple(tuple(one.tolist()) for one in early))


def _between(accuracies: Float64[np.ndarray, "M T"]) -> float:
    """tau^2: each task is centred, and a model's prior for it is its mean over the other tasks."""
    centred = accuracies - masked_mean(accuracies, 0)[None]
    known = np.isfinite(centred)
    sums, counts = np.where(known, centred, 0.0).sum(1), known.sum(1)
    others = counts[:, None] - known
    rest = (sums[:, None] - np.where(known, centred, 0.0)) / np.maximum(others, 1)
    gaps = np.where(known & (others > 0), centred - rest, np.nan)
    found = _variances(gaps)
    return float(np.median(found)) if len(found) else 0.0


def _early(past: PastResults, enough_rows: int) -> tuple[tuple[float, ...], ...]:
    rows = past.validation_rows
    enough = (rows == 0) | (rows >= enough_rows)
    usable = np.isfinite(past.curves).any((0, 2)) & np.isfinite(past.accuracies).any(0)
    used = usable & enough if (usable & enough).any() else usable
    curves, final = past.curves[:, used], past.accuracies[:, used]
    best = best_so_far(curves)
    gaps = [best[..., e] - final for e in range(past.curves.shape[2])]
    few = np.where(rows[used] < enough_rows, rows[used], 0)
    found = [_variances(gap, _sampling(best[..., e], few)).tolist() for e, gap in enumerate(gaps)]
    return tuple(map(tuple, found))


def _sampling(
    scores: Float64[np.ndarray, "M T"], rows: Int[np.ndarray, " T"]
) -> Float64[np.ndarray, " T"]:
    """Sampling variance of every task's scores; 0 where the number of rows is 0."""
    means = masked_mean(scores, 0)
    pairs = zip(means.tolist(), rows.tolist(), strict=True)
    return np.array([accuracy_variance(p, n) if n > 0 else 0.0 for p, n in pairs])


def best_so_far(validation: Float64[np.ndarray, "*any E"]) -> Float64[np.ndarray, "*any E"]:
    """The best validation score up to every epoch, which is that of the checkpoint that is kept.

    Args:
        validation: scores after every epoch, NaN after the last epoch of a shorter run.

    Returns:
        The running maximum, NaN where the score is.
    """
    running = np.maximum.accumulate(np.nan_to_num(validation, nan=-np.inf), axis=-1)
    return np.where(np.isfinite(validation), running, np.nan)


def accuracy_variance(accuracy: float, rows: int) -> float:
    """p (1 - p)/N, the sampling variance of a share of N rows.

    Args:
        accuracy: p; cut to [.05, .95].
        rows: N.

    Returns:
        The variance.

    >>> accuracy_variance(0.5, 100)
    0.0025
    """
    p = float(np.clip(accuracy, *CLIP))
    return p * (1 - p) / rows


def _variances(
    gaps: Float64[np.ndarray, "M T"], noise: Float64[np.ndarray, " T"] | float = 0.0
) -> Float64[np.ndarray, " _"]:
    """Variance over models of every column with at least two known values, less known noise."""
    known = np.isfinite(gaps)
    count = known.sum(0)
    mean = masked_mean(gaps, 0)
    squares = np.where(known, (gaps - mean[None]) ** 2, 0.0).sum(0)
    variances = squares / np.maximum(count - 1, 1) - noise
    return np.maximum(variances, 0)[count > 1]
