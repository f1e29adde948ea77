"""What is known of every model's performance on one task, and what follows from it.

A `Belief` is a Gaussian posterior over the models' standings: true performance on the task in
standard units over the models. It begins with what the task's tokens say and is changed by what is
seen: metrics of models that are looked at, results that were measured. It never changes in place.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from statistics import NormalDist

import numpy as np
from jaxtyping import Float64, Int

from spider_jax.belief import decision
from spider_jax.belief.evidence import (
    EvidenceModel,
    ResultScale,
    metric_observation,
    result_observation,
)
from spider_jax.belief.gaussian import Posterior, Standings
from spider_jax.belief.looks import Next, next_looks
from spider_jax.belief.separation import separated
from spider_jax.belief.words import distance_in_words
from spider_jax.errors import InputError
from spider_jax.ranking.certainty import Certainty
from spider_jax.ranking.ranking import Ranking
from spider_jax.zoo.scores import score_zoo
from spider_jax.zoo.store import FeatureStore, Skipped

LEVEL = 0.8  # at which two models count as separated
STANDARD = "standard units"
LOSS, GAIN = 0.05, 0.02  # at which looks stop, in standard units


@dataclass(frozen=True, eq=False)
class Belief:
    """A posterior over M models on a task.

    Attributes:
        names: of the models.
        prior: their standings before anything is seen of them.
        evidence: what is known beforehand of what can be seen.
        explained: share of what tasks differ in that the known tasks explain here, 0 to 1.
        task: its name.
        looks: metrics by looked-at model.
        results: (result, standard error) by model.
        problems: models that could not be looked at.
    """

    names: tuple[str, ...]
    prior: Standings
    evidence: EvidenceModel = field(default_factory=EvidenceModel)
    explained: float | None = None
    task: str | None = None
    looks: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    results: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    problems: tuple[Skipped, ...] = ()

    # ---- what is known -------------------------------------------------------------------------

    @cached_property
    def _looked(self) -> Posterior:
        """In standard units, after the looks."""
        found = Posterior(self.prior)
        if self.looks and self.evidence.noise is not None:
            models = self.positions(self.looks)
            values = np.array(list(self.looks.values()), np.float64)
            noise, varying = self.evidence.noise, self.evidence.varying
            seen = metric_observation(found, noise, models, values, varying)
            found = found.with_observation(seen)
        return found

    @cached_property
    def _all(self) -> tuple[Posterior, ResultScale]:
        """In standard units, after looks and results; and the line to the measure."""
        found, line = self._looked, ResultScale(self.evidence.results.size, 0.0)
        if self.results:
            models = self.positions(self.results)
            values, errors = np.array(list(self.results.values()), np.float64).T
            seen, line = result_observation(found, self.evidence, models, values, errors)
            found = found.with_observation(seen)
        return found, line

    @property
    def posterior(self) -> Posterior:
        """In standard units."""
        return self._all[0]

    @property
    def in_measure(self) -> bool:
        """Whether means are in the task's measure: two results show its level and scale."""
        return len(self.results) >= 2

    @property
    def unit(self) -> str:
        """What means and deviations are in."""
        return self.evidence.measure if self.in_measure else STANDARD

    @property
    def unit_size(self) -> float:
        """How much of `unit` a standard unit is."""
        return self.result_unit if self.in_measure else 1.0

    @property
    def result_unit(self) -> float:
        """How much of the measure a standard unit is, as far as is known."""
        return self._all[1].unit

    @cached_property
    def result_sd(self) -> Float64[np.ndarray, " M"]:
        """Standard deviation of a result that is not yet known, in `unit`; wider than `sd`.

        A result says not all of a performance, and few results show the measure only roughly.
        """
        (seen, line), evidence = self._all, self.evidence
        if not self.in_measure:
            return np.sqrt(np.maximum(seen.variances, 0) + evidence.link)
        shown, run = seen.shown_variances(self._results), self.positions(self.results)
        return line.deviations(evidence, seen.mean, shown, run)

    @cached_property
    def _level(self) -> float:
        """Of the measure, where results show it."""
        if not self.in_measure:
            return 0.0
        line = self._all[1]
        return line.origin + line.unit * self.posterior.level(self._results)

    @property
    def _results(self) -> int:
        """Which observation the results are, where there are any: the last."""
        return len(self.posterior.seen) - 1

    @cached_property
    def mean(self) -> Float64[np.ndarray, " M"]:
        """Expected performance of every model, in `unit`."""
        return self._level + self.unit_size * self.posterior.mean

    @cached_property
    def sd(self) -> Float64[np.ndarray, " M"]:
        """Standard deviation of every model's performance, in `unit`."""
        seen = self.posterior
        found = seen.shown_variances(self._results) if self.in_measure else seen.variances
        return self.unit_size * np.sqrt(np.maximum(found, 0))

    def covariance(self, models: Sequence[str]) -> Float64[np.ndarray, "c c"]:
        """Covariance of some models' performance, in squared `unit`."""
        places = self.positions(models)
        if not self.in_measure:
            return self.posterior.covariance(places)
        joint = self.posterior.covariance_with_level(places, self._results)
        show = np.concatenate([np.eye(len(places)), np.ones((len(places), 1))], axis=1)
        return self.unit_size**2 * (show @ joint @ show.T)

    # ---- what is seen --------------------------------------------------------------------------

    def observe(
        self,
        results: Mapping[str, float],
        *,
        standard_error: float | Mapping[str, float] | None = None,
    ) -> "Belief":
        """Take in true results, or what an epoch of a training says of them.

        Args:
            results: in the task's measure, by model.
            standard_error: of all, or by model; an early epoch's is that of its trend. Default:
                what is usual in the zoo.

        Returns:
            The belief with them.

        Raises:
            InputError: an unknown model, a result outside its measure's range or not finite, an
                error that is not positive, or a second, different result of a model.
        """
        self.positions(results)
        taken = dict(self.results)
        for model, value in results.items():
            low, high = self.evidence.bounds
            if not (np.isfinite(value) and low <= value <= high):
                raise InputError(
                    f"{self.evidence.measure} of {model!r} must be between {low:g} and {high:g}, "
                    f"got {value}"
                )
            if model in taken and taken[model][0] != value:
                raise InputError(
                    f"{model!r} has the {self.evidence.measure} {taken[model][0]:g} already, got "
                    f"{value:g}: keep one, or their mean"
                )
            error = self._error(model, standard_error)
            if not (np.isfinite(error) and error > 0):
                raise InputError(f"standard_error of {model!r} must be positive, got {error}")
            taken[model] = float(value), error
        found = replace(self, results=taken)
        found.__dict__["_where"] = self._where  # a million names are numbered once
        return found

    def _error(self, model: str, given: float | Mapping[str, float] | None) -> float:
        if isinstance(given, Mapping):
            return float(given.get(model, self.evidence.error))
        return self.evidence.error if given is None else float(given)

    def look(self, zoo: FeatureStore, task: str, models: Sequence[str]) -> "Belief":
        """Look at models: their own features on the task, by the metrics that the spider knows.

        Args:
            zoo: labels of the task and features of the models on it.
            task: its name.
            models: to look at.

        Returns:
            The belief with what was seen; models without usable features are in `problems`.

        Raises:
            InputError: an unknown model or task, a belief on another task, or one that knows of no
                metric.
        """
        self.positions(models)
        if self.evidence.noise is None:
            raise InputError("this belief knows no metric to look by: train the spider anew")
        if self.task is not None and task != self.task:
            raise InputError(f"this belief is on task {self.task!r}, got a look on {task!r}")
        asked = [model for model in models if model not in self.looks]
        if not asked:
            return self
        table = score_zoo(zoo, task, self.evidence.metrics, models=asked)
        found = dict(zip(table.models, table.values, strict=True))
        seen = {
            model: tuple(map(float, found[model]))
            for model in asked
            if model in found and np.isfinite(found[model]).any()
        }
        said = {problem.model: problem for problem in table.problems}
        none = "no features in the zoo"
        lost = tuple(said.get(m) or Skipped(m, task, none) for m in asked if m not in seen)
        before = (problem for problem in self.problems if problem.model not in asked)
        return replace(self, task=task, looks={**self.looks, **seen}, problems=(*before, *lost))

    # ---- what follows --------------------------------------------------------------------------

    @cached_property
    def candidates(self) -> decision.Candidates:
        """The models that may be the best, and draws of their standings."""
        return decision.candidates(self.posterior, self.evidence.doubt)

    def probability_best(self) -> dict[str, float]:
        """Probability of every model to be the best; models beyond the candidates have 0."""
        return dict(zip(self.names, self.best_shares.tolist(), strict=True))

    @cached_property
    def best_shares(self) -> Float64[np.ndarray, " M"]:
        """`probability_best` in the order of the names."""
        found = np.zeros(len(self.names))
        found[self.candidates.models] = decision.best_shares(self.candidates)
        return found

    def probability_above(self, a: str, b: str) -> float:
        """Probability that model a is better than model b."""
        places = self.positions([a, b])
        gap = float(np.diff(self.posterior.mean[places[::-1]])[0])
        c = self.posterior.covariance(places)
        deviation = np.sqrt(max(c[0, 0] + c[1, 1] - 2 * c[0, 1], 0))
        sure = 0.5 * (1 + float(np.sign(gap)))
        return NormalDist().cdf(gap / float(deviation)) if deviation > 0 else sure

    def expected_loss(self, model: str | None = None) -> float:
        """How far a model is expected to lie below the best one, in `unit`; default: the first."""
        mean = self.posterior.mean
        own = mean.max() if model is None else mean[self.positions([model])[0]]
        return self.unit_size * max(0.0, decision.expected_best(self.candidates) - float(own))

    def next(self, n: int = 1, cost: Mapping[str, float] | None = None) -> list[Next]:
        """Which models to look at next, by what the looks are expected to gain for their cost.

        Args:
            n: so many, chosen one after the other.
            cost: of a look at each model; default: 1.

        Returns:
            At most n models, the first choice first, see `looks.next_looks`.
        """
        level = 0 if self.looks else None  # of the looks' observation, the first one
        tried = {*self.looks, *(problem.model for problem in self.problems)}
        return next_looks(
            self.candidates,
            self.posterior,
            level,
            [name in tried for name in self.names],
            self.evidence.look_variance,
            [1.0 if cost is None else float(cost.get(name, 1.0)) for name in self.names],
            self.names,
            n,
        )

    def look_at(self, zoo: FeatureStore, task: str, n: int) -> "Belief":
        """Look at n models, chosen one after the other by what a look is expected to gain.

        Args:
            zoo: as for `look`.
            task: as for `look`.
            n: so many; with all models or more, all at once.

        Returns:
            The belief after the looks; models without usable features count among the n.
        """
        if n >= len(self.names):
            return self.look(zoo, task, self.names)
        now, left = self, n
        while left > 0:
            asked = [one.model for one in now.next(1 if now.looks else 2)][:left]
            if not asked:  # no candidate is left: the next by their means
                tried = {*now.looks, *(problem.model for problem in now.problems)}
                order = np.argsort(-now.posterior.mean, kind="stable")
                asked = [now.names[i] for i in order if now.names[i] not in tried][:left]
            if not asked:
                break
            now, left = now.look(zoo, task, asked), left - len(asked)
        return now

    def look_until(
        self, zoo: FeatureStore, task: str, *, loss: float = LOSS, gain: float = GAIN
    ) -> "Belief":
        """Look at one model after another until more would not pay.

        Args:
            zoo: as for `look`.
            task: as for `look`.
            loss: stop when the first model is expected to lie so little below the best, in standard
                units.
            gain: stop when the next look is expected to gain less, in standard units; the first
                two, which are taken together, when they gain less than twice that.

        Returns:
            The belief after the looks.
        """
        now = self
        while now.expected_loss() / now.unit_size > loss:
            asked = now.next(1 if now.looks else 2)
            if not asked or asked[0].gain < gain:
                break
            now = now.look(zoo, task, [one.model for one in asked])
        return now

    # ---- as a ranking --------------------------------------------------------------------------

    def rank(self) -> Ranking:
        """The models by expected performance, with what cannot be separated.

        Returns:
            A Ranking whose scores are `mean`; its certainty has deviations, the places a model may
            hold and the chance to be the best.
        """
        order = np.argsort(-self.mean.astype(np.float32), kind="stable")
        best = self.probability_best()
        names = tuple(self.names[i] for i in order)
        places, gap = separated(self.posterior, order, LEVEL)
        certainty = Certainty(
            LEVEL,
            places,
            self.sd[order].astype(np.float32),
            np.array([best[name] for name in names], np.float32),
            self.unit,
            lambda some: separated(self.posterior, order[some], LEVEL)[0],
        )
        return Ranking(
            names,
            self.mean[order].astype(np.float32),
            self.unit_size * gap,
            self.task,
            notes=self.notes(),
            skipped=tuple(map(str, self.problems)),
            looked_at=tuple(name for name in names if name in self.looks),
            certainty=certainty,
        )

    def notes(self) -> tuple[str, ...]:
        """How far the task is from the known ones, and what the first choice may lose."""
        first = self.names[int(np.argmax(self.mean))]
        loss = (
            f"{first} is the best with probability {self.probability_best()[first]:.2f}; taking it "
            f"is expected to lose {self.expected_loss():.3f} ({self.unit}) to the best"
        )
        return (loss, *([] if self.explained is None else [distance_in_words(self.explained)]))

    @cached_property
    def _where(self) -> dict[str, int]:
        return {name: i for i, name in enumerate(self.names)}

    def positions(self, models: Iterable[str]) -> Int[np.ndarray, " p"]:
        """Where some models stand among the names."""
        try:
            return np.array([self._where[model] for model in models], np.int64)
        except KeyError as error:
            known = len(self.names)
            raise InputError(f"the belief knows no model {error}: it ranks {known}") from None
