"""What a spider keeps of what it has learned for its beliefs, as arrays on disk."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32, Float64

from spider_jax.belief.belief import Belief
from spider_jax.belief.evidence import EvidenceModel, MetricNoise, Spread
from spider_jax.belief.factors import Factors
from spider_jax.belief.gaussian import Standings

ARRAYS = ("loadings", "own", "gain", "noise", "size", "worth", "results")


class BeliefState(NamedTuple):
    """How sure a spider is, and how evidence is read.

    Attributes:
        factors: covariance over the models, to be scaled by a task's variance.
        evidence: what is known beforehand of what can be seen.
    """

    factors: Factors
    evidence: EvidenceModel

    def begin(
        self,
        names: tuple[str, ...],
        mean: Float64[np.ndarray, " M"],
        variance: float,
        explained: float | None = None,
        task: str | None = None,
    ) -> Belief:
        """The belief on a task before anything is seen of the models there.

        Args:
            names: of the models.
            mean: of their standings.
            variance: left by the known tasks.
            explained: share of what tasks differ in that the known tasks explain.
            task: its name.
        """
        prior = Standings(mean, self.factors.loadings, self.factors.own, variance)
        return Belief(names, prior, self.evidence, explained, task)

    def arrays(self) -> dict[str, Float32[np.ndarray, "..."]]:
        """All numbers by name; the metrics' names stand with the training's teachers."""
        noise, (size, worth) = self.evidence.noise, self.evidence.results
        kept = () if noise is None else noise
        loadings, own = self.factors
        if loadings.shape[1] == 0:  # of one or two datasets; orbax writes no array without numbers
            loadings = np.zeros((len(own), 1))
        values = (loadings, own, *kept, np.array([size, worth, self.evidence.error]))
        names = ARRAYS if noise is not None else (*ARRAYS[:2], ARRAYS[-1])
        return {n: np.asarray(v, np.float32) for n, v in zip(names, values, strict=True)}

    def stored(self) -> "BeliefState":
        """The same with numbers that a file gives back to the bit."""
        return BeliefState.of(self.arrays(), self.evidence.metrics)

    def take(self, models: Sequence[int]) -> "BeliefState":
        """Of some of the models."""
        some = np.array(models, np.int64)
        return self._replace(factors=Factors(self.factors.loadings[some], self.factors.own[some]))

    def joined(self, more: Factors) -> "BeliefState":
        """With more models behind its own."""
        both = zip(self.factors, more, strict=True)
        together = Factors(*(np.concatenate(pair) for pair in both))
        return self._replace(factors=together).stored()

    @staticmethod
    def of(
        arrays: Mapping[str, Float[np.ndarray, "..."]], metrics: tuple[str, ...]
    ) -> "BeliefState":
        """The inverse of `arrays`.

        Args:
            arrays: by name.
            metrics: names of the metrics whose noise is known.
        """
        wide = {name: np.asarray(array, np.float64) for name, array in arrays.items()}
        noise = MetricNoise(*(wide[n] for n in MetricNoise._fields)) if "gain" in wide else None
        size, worth, error = map(float, wide["results"])
        evidence = EvidenceModel(
            metrics if noise is not None else (), noise, Spread(size, worth), error
        )
        return BeliefState(Factors(wide["loadings"], wide["own"]), evidence)
