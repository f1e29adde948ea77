"""What past tasks say of how the models' results go together, and what follows from scores.

Results of models on a task, up to a level that all share, are a Gaussian around their past means
with covariance

    tau^2 (L L^T + diag(d)),

and the best validation score so far of model i after epoch e is

    t_i = y_i + level_e + error_i,   error_i ~ N(0, s_e^2 + sampling variance).

s_e^2 differs by far between tasks, and tasks differ in more than s_e^2. So a probability is a mean
over quantiles of the past tasks' s_e^2 and over factors that widen the variances, each weighed by
how likely it makes what became of past tasks that were left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int

from spider_jax.belief.gaussian import Observation, Posterior, Standings
from spider_jax.records.noise import ValidationNoise, usual_noise
from spider_jax.selection.policy import Seen

MEDIAN = 0.5
QUANTILES = (0.1, 0.3, MEDIAN, 0.7, 0.9)  # of s_e^2 over past tasks
LEAST = 1e-12  # a variance, where scores do not differ


@dataclass(frozen=True)
class Knowledge:
    """Covariance of results over models, in units of tau^2.

    Attributes:
        loadings: a row of L by model; a model that is not named shares no factor.
        own: d by model.
        unknown: d of a model that is not named.
        widenings: pairs of a factor of the variances behind a probability, and its weight.
    """

    loadings: dict[str, tuple[float, ...]]
    own: dict[str, float]
    unknown: float
    widenings: tuple[tuple[float, float], ...]

    def standings(
        self, models: Sequence[str], mean: Float64[np.ndarray, " M"], scale: float = 1.0
    ) -> Standings:
        """The prior of some models.

        Args:
            models: their names.
            mean: past means.
            scale: tau^2; 1 in standard units.
        """
        rank = max(map(len, self.loadings.values()), default=0)
        rows = [self.loadings.get(model, (0.0,) * rank) for model in models]
        own = np.array([self.own.get(model, self.unknown) for model in models])
        return Standings(mean, np.array(rows, np.float64).reshape(len(rows), rank), own, scale)


class Gaps(NamedTuple):
    """How far a leader lies before every survivor, by quantile of the noise.

    Attributes:
        mean: posterior mean of the difference.
        variance: of the difference.
    """

    mean: Float64[np.ndarray, "q n"]
    variance: Float64[np.ndarray, "q n"]

    def probability(self, widenings: Sequence[tuple[float, float]]) -> Float64[np.ndarray, " n"]:
        """P(the difference is above 0), the mean over the quantiles and the widenings.

        Args:
            widenings: factors of the variance and their weights, which sum to 1.
        """
        from scipy.special import ndtr  # slow to import

        # without any variance the sign decides
        deviation = np.sqrt(np.maximum(self.variance, LEAST**2))
        found = [weight * ndtr(self.mean / deviation / np.sqrt(w)) for w, weight in widenings]
        return np.asarray(sum(found, np.zeros_like(self.mean)).mean(0))


class Known(NamedTuple):
    """What is known of n survivors, and of those that were dropped earlier, after their scores.

    Attributes:
        posterior: survivors first, in standard units: of tau, from the level of the scores; its
            last observation has the survivors' scores.
        survivors: n.
        unit: tau.
        level: of the survivors' scores.
    """

    posterior: Posterior
    survivors: int
    unit: float
    level: float

    def expected(self) -> Float64[np.ndarray, " n"]:
        """Posterior mean of every survivor's result, in units of the score."""
        found = self.posterior
        mean = found.mean[: self.survivors] + found.level(len(found.seen) - 1)
        return np.asarray(self.level + self.unit * mean)

    def covariance(self) -> Float64[np.ndarray, "n n"]:
        """Posterior covariance of the survivors' results, in squared units of the score."""
        return np.asarray(self.unit**2 * self.posterior.covariance(np.arange(self.survivors)))


def after_scores(
    noise: ValidationNoise, knowledge: Knowledge, seen: Seen, quantile: float = MEDIAN
) -> Known:
    """What is known after the scores so far.

    Every number of epochs has a level of its own. A survivor's last best score stands for those
    before it.

    Args:
        noise: past means, tau^2 and s_e^2.
        knowledge: the covariance.
        seen: the survivors and their scores, and the scores of those that are gone.
        quantile: of s_e^2 over past tasks that counts here.

    Returns:
        The posterior.
    """
    models = (*seen.models, *(model for model, _ in seen.gone))
    groups = _by_epoch(seen)
    measured = noise.between > 0
    scale = noise.between if measured else _scale(groups, seen.variance, quantile)
    unit = float(np.sqrt(scale))
    mean = noise.means(models) / unit if measured else np.zeros(len(models))
    found, level = Posterior(knowledge.standings(models, mean - mean.mean())), 0.0
    for epoch, group in groups.items():
        early = noise.early_variances(epoch) if measured else scale * usual_noise(epoch)
        error = max((_quantile(tuple(early.tolist()), quantile) + seen.variance) / scale, LEAST)
        # without their level, so that the prior of a level does not count
        level = float((group.best / unit - found.prior.mean[group.places]).mean())
        values = group.best / unit - level
        errors = np.full(len(group.places), error)
        found = found.with_observation(Observation(group.places, values, errors))
    return Known(found, len(seen.models), unit, unit * level)


def gaps(noise: ValidationNoise, knowledge: Knowledge, seen: Seen, leader: int) -> Gaps:
    """How far a leader lies before every survivor.

    Args:
        noise: see `after_scores`.
        knowledge: see `after_scores`.
        seen: see `after_scores`.
        leader: its position among the survivors.

    Returns:
        Means and variances.
    """
    means, variances = [], []
    for quantile in QUANTILES:
        found = after_scores(noise, knowledge, seen, quantile)
        mean, c = found.expected(), found.covariance()
        means.append(mean[leader] - mean)
        variances.append(c[leader, leader] + np.diagonal(c) - 2 * c[leader])
        variances[-1][leader] = 0.0  # of itself, exactly
    return Gaps(np.array(means), np.array(variances))


class _Group(NamedTuple):
    """Models that were trained for equally many epochs.

    Attributes:
        places: theirs, survivors before the gone.
        best: their best scores.
    """

    places: Int[np.ndarray, " g"]
    best: Float64[np.ndarray, " g"]


def _by_epoch(seen: Seen) -> dict[int, _Group]:
    """The groups by number of epochs, the survivors' last."""
    n, now = seen.validation.shape
    epochs = np.array([now] * n + [len(scores) for _, scores in seen.gone])
    best = np.array([*seen.validation.max(1), *(max(scores) for _, scores in seen.gone)])
    order = [*(e for e in dict.fromkeys(epochs.tolist()) if e != now), now]
    places = {e: np.flatnonzero(epochs == e) for e in order}
    return {e: _Group(at, best[at].astype(np.float64)) for e, at in places.items()}


def _scale(groups: dict[int, _Group], sampling: float, quantile: float) -> float:
    """tau^2 where past tasks say nothing of it: what scores spread more than by their noise."""
    found, models = 0.0, 0
    for epoch, group in groups.items():
        share = 1 + np.quantile(usual_noise(epoch), quantile)
        found += len(group.best) * max(group.best.var() - sampling, 0) / share
        models += len(group.best)
    return float(max(found / models, LEAST))


@lru_cache(maxsize=1024)
def _quantile(values: tuple[float, ...], quantile: float) -> float:
    return float(np.quantile(values, quantile))
