"""Which models get another epoch: brute force, successive halving, trend filter, noise-aware.

A policy sees validation scores of the target and what past results say, nothing else. All are
frozen dataclasses of plain values, so that a selection's JSON holds its policy whole.
"""

from dataclasses import dataclass
from math import isfinite
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from spider_jax.records.performance import PastResults
from spider_jax.records.trends import mine_trends, predict_final
from spider_jax.selection.noise_aware import NoiseAware
from spider_jax.selection.policy import Drop, Policy, Seen

__all__ = [
    "BruteForce",
    "Drop",
    "NoiseAware",
    "Policy",
    "Seen",
    "SuccessiveHalving",
    "TrendFilter",
    "halving_epochs",
    "published_filter",
    "tolerant_filter",
]

Table = list[list[float | None]]  # None for what is not known


@dataclass(frozen=True)
class BruteForce:
    """Every model is trained to the end; the best last validation wins."""

    name: ClassVar[str] = "brute-force"

    def started(self, models: int, epochs: int, budget: int | None) -> int:
        """As many as the budget trains to the end, see `Policy`.

        Args:
            models: how many there are.
            epochs: of a full training.
            budget: epochs in all.
        """
        return models if budget is None else min(models, budget // epochs)

    def drops(self, seen: Seen) -> list[Drop]:
        """None before the end, see `Policy`.

        Args:
            seen: the survivors and their scores.
        """
        return _least(seen, len(seen.models) if seen.goes_on else 1)


@dataclass(frozen=True)
class SuccessiveHalving:
    """After every epoch the worse half by current validation leaves."""

    name: ClassVar[str] = "successive-halving"

    def started(self, models: int, epochs: int, budget: int | None) -> int:
        """The most whose halving the budget pays, see `Policy`.

        Args:
            models: how many there are.
            epochs: of a full training.
            budget: epochs in all.
        """
        if budget is None:
            return models
        return max((n for n in range(models + 1) if halving_epochs(n, epochs) <= budget), default=0)

    def drops(self, seen: Seen) -> list[Drop]:
        """All but floor(n/2), see `Policy`.

        Args:
            seen: the survivors and their scores.
        """
        return _least(seen, max(1, len(seen.models) // 2) if seen.goes_on else 1)


@dataclass(frozen=True)
class TrendFilter:
    """The published filter: drop models whose trend is worse than a better model's, then halve.

    From worst to best validation, a model leaves if its predicted final score is below the best
    prediction among the models of better validation by more than a tolerance.

    Attributes:
        trends: {model: (centres [E, k], finals [E, k])}, see `mine_trends`.
        threshold: the tolerance, in units of the score.
        relative: the tolerance as a share of the best prediction; None: `threshold` counts.
    """

    trends: dict[str, tuple[Table, Table]]
    threshold: float = 0.0
    relative: float | None = None
    name: ClassVar[str] = "trend-filter"

    @staticmethod
    def fit(
        past: PastResults, *, threshold: float = 0.0, relative: float | None = None, k: int = 4
    ) -> "TrendFilter":
        """The filter with the trends of past curves; a model without curves is never filtered.

        Args:
            past: results without the target's own.
            threshold: see the class.
            relative: see the class.
            k: trends a model and epoch.

        Returns:
            The policy.
        """
        found = zip(past.models, *mine_trends(past.curves, past.accuracies, k=k), strict=True)
        trends = {model: (_plain(centres), _plain(finals)) for model, centres, finals in found}
        return TrendFilter(trends, threshold, relative)

    def started(self, models: int, epochs: int, budget: int | None) -> int:
        """As for successive halving, which it never exceeds; see `Policy`.

        Args:
            models: how many there are.
            epochs: of a full training.
            budget: epochs in all.
        """
        return SuccessiveHalving().started(models, epochs, budget)

    def drops(self, seen: Seen) -> list[Drop]:
        """The filtered, then the lowest until floor(n/2) remain; see `Policy`.

        Args:
            seen: the survivors and their scores.
        """
        current = seen.validation[:, -1]
        predicted = np.array([self._predict(m, seen) for m in seen.models])
        gone: list[Drop] = []
        alive = np.ones(len(current), bool)
        for i in np.argsort(current, kind="stable")[:-1]:
            better = alive & (current > current[i]) & np.isfinite(predicted)
            best = predicted[better].max(initial=-np.inf)
            if np.isfinite(predicted[i]) and self._worse(predicted[i], best):
                alive[i] = False
                why = f"its trend ends at {predicted[i]:.3f}, a better model's at {best:.3f}"
                gone.append(Drop(seen.models[i], why))
        kept = np.flatnonzero(alive)
        rest = seen._replace(
            models=tuple(seen.models[i] for i in kept), validation=seen.validation[kept]
        )
        keep = max(1, len(current) // 2) if seen.goes_on else 1
        return gone + _least(rest, min(keep, len(kept)))

    def _worse(self, predicted: float, best: float) -> bool:
        if self.relative is None:
            return bool(predicted < best - self.threshold)
        return bool(np.isfinite(best) and best > 0 and (best - predicted) / best >= self.relative)

    def _predict(self, model: str, seen: Seen) -> float:
        centres, finals = (np.array(x, np.float64) for x in self.trends.get(model, ([], [])))
        epoch = seen.validation.shape[1] - 1
        if epoch >= len(centres) or not np.isfinite(centres[epoch]).any():
            return float("nan")
        place = seen.models.index(model)
        now = seen.validation[place, epoch:]
        return float(predict_final(centres[epoch:][:1], finals[epoch:][:1], now)[0])


def _plain(values: Float[np.ndarray, "E k"]) -> Table:
    return [[x if isfinite(x) else None for x in row] for row in values.tolist()]


def halving_epochs(models: int, epochs: int) -> int:
    """Epochs that successive halving takes: n + n/2 + n/4 + ..., one at least.

    Args:
        models: how many start.
        epochs: of a full training.

    >>> halving_epochs(10, 5)
    19
    """
    return sum(max(1, models >> e) for e in range(epochs)) if models else 0


def _least(seen: Seen, keep: int) -> list[Drop]:
    """All but the `keep` best by current validation, the worst first; ties keep the earlier."""
    current = seen.validation[:, -1]
    order = np.argsort(-current, kind="stable")
    limit = current[order[keep - 1]]
    return [
        Drop(seen.models[i], f"validation {current[i]:.3f}, the last one kept {limit:.3f}")
        for i in order[keep:][::-1]
    ]


def published_filter(past: PastResults) -> TrendFilter:
    """The filter with the published threshold, 0.

    Args:
        past: results without the target's own.
    """
    return TrendFilter.fit(past)


def tolerant_filter(past: PastResults) -> TrendFilter:
    """The filter with a tolerance of .02.

    Args:
        past: results without the target's own.
    """
    return TrendFilter.fit(past, threshold=0.02)
