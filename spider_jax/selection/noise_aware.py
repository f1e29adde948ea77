"""The noise-aware policy: the best validation so far, shrunk towards the prior by its noise."""

from dataclasses import dataclass
from math import erf, sqrt
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from spider_jax.records.noise import ValidationNoise, measure_spread, with_usual_noise
from spider_jax.records.performance import PastResults
from spider_jax.selection.knowledge import Knowledge, after_scores, gaps
from spider_jax.selection.learn_knowledge import learn_knowledge
from spider_jax.selection.policy import Drop, Seen
from spider_jax.selection.schedule import SHARE, kept


@dataclass(frozen=True)
class NoiseAware:
    """The best validation so far, shrunk towards the prior by how noisy it is.

    Results are Gaussian around their past means and a validation score shows one with noise, see
    `knowledge`: the posterior mean orders the models, and a confidence is the posterior's. Where
    models are independent and alike that is

        E[result | v] = (tau^2 v + sigma^2 a)/(tau^2 + sigma^2)

    up to what all models share, with sigma^2 = s_e^2 + sampling variance. a is the prior, v the
    best score so far (of the checkpoint that is kept). n models are trained for one epoch, n/3 for
    a second, one to the end: validation says little more after that.

    Attributes:
        spread: the prior, tau^2 and s_e^2.
        share: of the models that start, how many get a second epoch.
        knowledge: the covariance over models and how sure to be; None, as policies were written
            before: models are independent and alike, and nothing is widened.
    """

    spread: ValidationNoise
    share: float = SHARE
    knowledge: Knowledge | None = None
    name: ClassVar[str] = "noise-aware"

    @staticmethod
    def fit(past: PastResults) -> "NoiseAware":
        """The policy with what past results say.

        Args:
            past: results without the target's own.

        Returns:
            The policy.
        """
        spread = with_usual_noise(measure_spread(past))
        return NoiseAware(spread, SHARE, learn_knowledge(past))

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
        second = kept(models, self.share)
        return sum((models, second, *(1,) * epochs)[:epochs]) if models else 0

    def drops(self, seen: Seen) -> list[Drop]:
        """All but a third after the first epoch, all but the leader after the second; see `Policy`.

        Args:
            seen: the survivors and their scores.
        """
        expected = self.expected(seen)
        order = np.argsort(-expected, kind="stable")
        first = seen.validation.shape[1] == 1 and seen.goes_on
        keep = kept(len(order), self.share) if first else 1
        leader, gone = order[0], order[keep:][::-1]
        if len(gone) == 0:
            return []
        sure = self.confidence(seen, int(leader))
        shown = np.clip(expected, 0, 1) if seen.bounded else expected
        return [
            Drop(
                seen.models[i],
                f"expected {shown[i]:.3f}, {seen.models[leader]} {shown[leader]:.3f}",
                float(sure[i]),
            )
            for i in gone
        ]

    def expected(self, seen: Seen) -> Float[np.ndarray, " n"]:
        """Posterior mean of every survivor's result; s_e^2 is that of the median past task.

        Args:
            seen: the survivors and their scores.

        Returns:
            In units of the score; only differences count.
        """
        if self.knowledge is None:
            return _alike_expected(self.spread, seen)
        return after_scores(self.spread, self.knowledge, seen).expected()

    def confidence(self, seen: Seen, leader: int) -> Float[np.ndarray, " n"]:
        """How sure it is that the leader's result is better than every survivor's.

        Args:
            seen: the survivors and their scores.
            leader: position of the leader among them.

        Returns:
            Gaussian P, averaged over past tasks' s_e^2, since their noise differs by far, and over
            how much wider than that errors may be.
        """
        if self.knowledge is None:
            return _alike_confidence(self.spread, seen, leader)
        found = gaps(self.spread, self.knowledge, seen, leader)
        return found.probability(self.knowledge.widenings)


# ---- policies without knowledge ------------------------------------------------------------------


def _alike_expected(spread: ValidationNoise, seen: Seen) -> Float[np.ndarray, " n"]:
    best, prior = seen.validation.max(1), spread.means(seen.models)
    noise = np.median(spread.early_variances(seen.validation.shape[1])) + seen.variance
    weight = _weight(spread.between, noise)
    return np.asarray(weight * best + (1 - weight) * (prior - prior.mean() + best.mean()))


def _alike_confidence(spread: ValidationNoise, seen: Seen, leader: int) -> Float[np.ndarray, " n"]:
    best, prior = seen.validation.max(1), spread.means(seen.models)
    found = []
    for noise in spread.early_variances(seen.validation.shape[1]) + seen.variance:
        weight = _weight(spread.between, noise)
        gap = weight * (best[leader] - best) + (1 - weight) * (prior[leader] - prior)
        deviation = sqrt(2 * weight * noise)  # two posteriors of variance tau^2 sigma^2/(sum)
        found.append([_normal(g, deviation) for g in gap])
    return np.mean(found, axis=0)


def _weight(between: float, noise: float) -> float:
    """Weight of the validation against the prior; 1 where neither is known."""
    return between / (between + noise) if between > 0 else 1.0


def _normal(gap: float, deviation: float) -> float:
    """P(x > 0), x ~ N(gap, deviation^2)."""
    if deviation == 0:
        return 0.5 * (1 + float(np.sign(gap)))
    return 0.5 * (1 + erf(gap / (deviation * sqrt(2))))
