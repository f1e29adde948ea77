"""Which models get another epoch: brute force, successive halving, trend filter, noise-aware.

A policy sees validation scores of the target and what past results say, nothing else. All are
frozen dataclasses of plain values, so that a selection's JSON holds its policy whole.
"""

from dataclasses import dataclass
from math import erf, isfinite, sqrt
from typing import ClassVar, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from spider_jax.records.noise import ValidationNoise, measure_spread
from spider_jax.records.performance import PastResults
from spider_jax.records.trends import mine_trends, predict_final

Table = list[list[float | None]]  # None for what is not known


class Seen(NamedTuple):
    """What a policy may know of the target: n models after e epochs.

    Attributes:
        models: names of the survivors.
        validation: their scores, a column an epoch.
        variance: mean sampling variance of the last column; 0 where it is not known.
        epochs: of a full training.
    """

    models: tuple[str, ...]
    validation: Float[np.ndarray, "n e"]
    variance: float
    epochs: int


class Drop(NamedTuple):
    """A model that gets no further epoch.

    Attributes:
        model: name.
        reason: why.
        confidence: how sure that is: P(the leader is better); None where the policy does not say.
    """

    model: str
    reason: str
    confidence: float | None = None


@runtime_checkable
class Policy(Protocol):
    """How a fine selection spends its epochs."""

    name: ClassVar[str]

    def started(self, models: int, epochs: int, budget: int | None) -> int:
        """How many models, the best by recall, are trained at all.

        Args:
            models: how many there are.
            epochs: of a full training.
            budget: epochs in all, over all models; None for any.

        Returns:
            At most `models`; 0 where the budget does not pay for one full training.
        """
        ...

    def drops(self, seen: Seen) -> list[Drop]:
        """Which models leave after this epoch.

        Args:
            seen: the survivors and their scores.

        Returns:
            The worst first; after the last epoch all but the winner.
        """
        ...


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
        return _least(seen, len(seen.models) if _goes_on(seen) else 1)


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
        return _least(seen, max(1, len(seen.models) // 2) if _goes_on(seen) else 1)


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
        keep = max(1, len(current) // 2) if _goes_on(seen) else 1
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


@dataclass(frozen=True)
class NoiseAware:
    """The best validation so far, shrunk towards the prior by how noisy it is.

    E[result | v] = (tau^2 v + sigma^2 a)/(tau^2 + sigma^2), up to what all models share, with
    sigma^2 = s_e^2 + sampling variance. a is the prior, v the best score so far (of the checkpoint
    that is kept); tau^2 and s_e^2 are measured on benchmark tasks (`ValidationNoise`). n models are
    trained for one epoch, n/3 for a second, one to the end: validation says little more after that.

    Attributes:
        spread: the prior, tau^2 and s_e^2.
        share: of the models that start, how many get a second epoch.
    """

    spread: ValidationNoise
    share: float = 1 / 3
    name: ClassVar[str] = "noise-aware"

    @staticmethod
    def fit(past: PastResults) -> "NoiseAware":
        """The policy with priors and noise measured on past results.

        Args:
            past: results without the target's own.

        Returns:
            The policy.
        """
        return NoiseAware(measure_spread(past))

    def started(self, models: int, epochs: int, budget: int | None) -> int:
        """The most whose schedule the budget pays, see `Policy`.

        Args:
            models: how many there are.
            epochs: of a full training.
            budget: epochs in all.
        """
        if budget is None:
            return models
        return max((n for n in range(models + 1) if self.cost(n, epochs) <= budget), default=0)

    def cost(self, models: int, epochs: int) -> int:
        """Epochs that a start with so many models takes.

        Args:
            models: how many start.
            epochs: of a full training.
        """
        return sum((models, self._kept(models), *(1,) * epochs)[:epochs]) if models else 0

    def _kept(self, models: int) -> int:
        return max(1, round(models * self.share))

    def drops(self, seen: Seen) -> list[Drop]:
        """All but a third after the first epoch, all but the leader after the second; see `Policy`.

        Args:
            seen: the survivors and their scores.
        """
        expected = self.expected(seen)
        order = np.argsort(-expected, kind="stable")
        first = seen.validation.shape[1] == 1 and _goes_on(seen)
        keep = self._kept(len(order)) if first else 1
        leader, gone = order[0], order[keep:][::-1]
        if len(gone) == 0:
            return []
        sure = self.confidence(seen, int(leader))
        return [
            Drop(
                seen.models[i],
                f"expected {expected[i]:.3f}, {seen.models[leader]} {expected[leader]:.3f}",
                float(sure[i]),
            )
            for i in gone
        ]

    def expected(self, seen: Seen) -> Float[np.ndarray, " n"]:
        """Posterior mean of every survivor's result; sigma^2 is that of the median benchmark task.

        Args:
            seen: the survivors and their scores.

        Returns:
            In units of the score; only differences count.
        """
        best, prior = self._given(seen)
        noise = np.median(self.spread.early_variances(seen.validation.shape[1])) + seen.variance
        weight = _weight(self.spread.between, noise)
        return np.asarray(weight * best + (1 - weight) * (prior - prior.mean() + best.mean()))

    def confidence(self, seen: Seen, leader: int) -> Float[np.ndarray, " n"]:
        """How sure it is that the leader's result is better than every survivor's.

        Args:
            seen: the survivors and their scores.
            leader: position of the leader among them.

        Returns:
            Gaussian P, averaged over the benchmark tasks' own s_e^2: their noise differs by far,
            and one number for all would be too sure.
        """
        best, prior = self._given(seen)
        early = self.spread.early_variances(seen.validation.shape[1])
        found = []
        for noise in early + seen.variance:
            weight = _weight(self.spread.between, noise)
            gap = weight * (best[leader] - best) + (1 - weight) * (prior[leader] - prior)
            deviation = sqrt(2 * weight * noise)  # two posteriors of variance tau^2 sigma^2/(sum)
            found.append([_normal(g, deviation) for g in gap])
        return np.mean(found, axis=0)

    def _given(self, seen: Seen) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
        """Best score so far and prior of every survivor; the mean prior where none is known."""
        prior = np.array([self.spread.prior.get(m, np.nan) for m in seen.models])
        some = np.nanmean(prior) if np.isfinite(prior).any() else 0.0
        return seen.validation.max(1), np.where(np.isfinite(prior), prior, some)


def _weight(between: float, noise: float) -> float:
    """Weight of the validation against the prior; 1 where neither is known."""
    return between / (between + noise) if between > 0 else 1.0


def _normal(gap: float, deviation: float) -> float:
    """P(x > 0), x ~ N(gap, deviation^2)."""
    if deviation == 0:
        return 0.5 * (1 + float(np.sign(gap)))
    return 0.5 * (1 + erf(gap / (deviation * sqrt(2))))


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


def _goes_on(seen: Seen) -> bool:
    return seen.validation.shape[1] < seen.epochs


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
