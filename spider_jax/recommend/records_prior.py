"""What records of past results say of a new task: `RecordsPrior`, learned once, asked often."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float64, Int

from spider_jax.belief.belief import Belief
from spider_jax.belief.evidence import EvidenceModel
from spider_jax.belief.explanation import Part, Stage, grouped_parts
from spider_jax.errors import InputError
from spider_jax.facts.columns import table_of_columns, training_columns
from spider_jax.facts.fact_table import FactTable
from spider_jax.recommend.covariance import Covariance, Residuals, learn_covariance
from spider_jax.recommend.model_facts import fact_factors
from spider_jax.recommend.result_reading import Reading, learn_reading
from spider_jax.recommend.scales import Scaled, scale
from spider_jax.recommend.siblings import sibling_groups
from spider_jax.recommend.task_kernel import (
    MOST_MODELS,
    MOST_TASKS,
    TaskKernel,
    learn_kernel,
    part,
    predict,
    residuals,
)
from spider_jax.recommend.words import TaskWords
from spider_jax.records.checks import measure_name
from spider_jax.records.measures import find_measure
from spider_jax.records.table import Records

MOST_FACTORED = 2000  # tasks whose residuals the factors are learned from
RIDGE = 5.0  # of the constant order over models' facts, in records


@dataclass(frozen=True, eq=False)
class RecordsPrior:
    """A prior over M models' standings on any task that can be described.

    Attributes:
        models: names.
        scaled: the records in standard units.
        before: what facts alone say of each model.
        words: of the T tasks.
        kernel: how far similar tasks move the constant order.
        covariance: of what they leave open.
        measures: of each task, "" where not known.
        larger_is_better: of each task.
        reading: how results of a new task are read.
        model_facts: column -> one text per model, as the records had them.
    """

    models: tuple[str, ...]
    scaled: Scaled
    before: Float64[np.ndarray, " M"]
    words: TaskWords
    kernel: TaskKernel
    covariance: Covariance
    measures: tuple[str, ...]
    larger_is_better: Bool[np.ndarray, " T"]
    reading: Reading
    model_facts: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @staticmethod
    def fit(
        records: Records, *, hold_out: Sequence[str] = (), groups: Sequence[str] | str | None = None
    ) -> "RecordsPrior":
        """Learn from records.

        Args:
            records: results of models on tasks.
            hold_out: tasks whose results are not read; their words are.
            groups: of each task, those held out together while numbers are learned; or the column
                of facts that names them. Default: siblings, see `siblings`.

        Returns:
            The prior.

        Raises:
            InputError: fewer than two models or tasks with records, an unknown task or column.
        """
        unknown = [name for name in hold_out if name not in records.tasks]
        if unknown:
            raise InputError(f"hold_out names the task {unknown[0]!r}, which has no records")
        group = _groups(records, groups)
        records = _without_results(records, set(hold_out))
        if len(np.unique(records.model)) < 2 or len(np.unique(records.task)) < 2:
            raise InputError(
                f"a prior needs results of two models on two tasks, got {len(records)} results of "
                f"{len(np.unique(records.model))} models on {len(np.unique(records.task))} tasks"
            )
        signs = np.where(records.larger_is_better, 1.0, -1.0)
        M, T = len(records.models), len(records.tasks)
        value = records.value * signs[records.task]
        scaled = scale(records.model, records.task, value, M, T)
        facts = fact_factors(records.models, records.model_facts)
        before = expected_by_facts(scaled, facts)
        words = TaskWords.of(records.tasks, records.task_facts)
        kernel = _learn_kernel(scaled, before, words, group)
        found, places = _residuals(kernel, scaled, before, words, group)
        covariance, held_out = learn_covariance(found, facts)
        result = value[np.argsort(records.task, kind="stable")][places]  # sorted as in `scaled`
        reading = learn_reading(found, result, held_out, scaled.spread)
        return RecordsPrior(
            records.models,
            scaled,
            before,
            words,
            kernel,
            covariance,
            tuple(_measures(records)),
            np.asarray(records.larger_is_better),
            reading,
            records.model_facts,
        )

    @cached_property
    def constant(self) -> Float64[np.ndarray, " M"]:
        """The calibrated constant order."""
        return self.scaled.constant(self.before)

    @cached_property
    def facts(self) -> FactTable:
        """What the records say of the models, by the names of `spider_jax.facts`."""
        return table_of_columns(self.models, self.model_facts, "the records")

    @cached_property
    def training_facts(self) -> FactTable:
        """Of `facts`, what models were trained on."""
        names = training_columns(self.model_facts)
        given = {name: self.model_facts[name] for name in names}
        return table_of_columns(self.models, given, "the records")

    def task_facts(self, describe: str, facts: Mapping[str, str] | None = None) -> dict[str, str]:
        """The facts of a task: those that are given, and those of a known task of that name.

        Args:
            describe: as for `belief`.
            facts: as for `belief`.
        """
        known: dict[str, str] = {}
        if describe in self.words.tasks:
            at = self.words.tasks.index(describe)
            known = {column: texts[at] for column, texts in self.words.facts.items()}
        return known | dict(facts or {})

    def belief(
        self,
        describe: str = "",
        *,
        facts: Mapping[str, str] | None = None,
        like: Sequence[str] = (),
        task: str | None = None,
    ) -> Belief:
        """What the records say of a task, before anything is run on it.

        Args:
            describe: what the task is, in words.
            facts: column -> text, as tables of tasks have them.
            like: known tasks that it is like.
            task: its name.

        Returns:
            A belief over all models; nothing described: the constant order.

        Raises:
            InputError: an unknown task.
        """
        similarity = self._similarity(describe, facts, like)
        found = predict(self.kernel, self.scaled, self.constant, similarity)
        prior = self.covariance.standings(found.mean, found.variance, self.constant)
        far = self.kernel.variance(np.zeros_like(found.mean), self.scaled.counts)
        explained = float(1 - found.variance.mean() / far.mean())
        return Belief(self.models, prior, self._evidence(found.weights), explained, task)

    def stages(
        self,
        describe: str = "",
        *,
        facts: Mapping[str, str] | None = None,
        like: Sequence[str] = (),
    ) -> tuple[Stage, Stage]:
        """How the mean of `belief` comes about: the constant order, then similar tasks.

        Args:
            describe: as for `belief`.
            facts: as for `belief`.
            like: as for `belief`.
        """
        similarity = self._similarity(describe, facts, like)
        found = predict(self.kernel, self.scaled, self.constant, similarity)
        far = self.kernel.variance(np.zeros_like(found.mean), self.scaled.counts)
        before = self.covariance.standings(self.constant, far, self.constant).variances()
        after = self.covariance.standings(found.mean, found.variance, self.constant).variances()

        def parts(model: int) -> list[Part]:
            """w_t (Z_tm - q_m)/(n_m + 1) of the tasks t that know the model."""
            given = self.scaled
            own = given.model == model
            tasks = given.task[own]
            weights = found.weights[tasks] / (found.weights[tasks].sum() + 1)
            names = [self.words.tasks[t] for t in tasks]
            return grouped_parts(names, weights, weights * (given.z[own] - self.constant[model]))

        constant = Stage("constant order", self.constant, before)
        return constant, Stage("similar tasks", found.mean, after, parts)

    def larger_share(
        self,
        describe: str = "",
        *,
        facts: Mapping[str, str] | None = None,
        like: Sequence[str] = (),
    ) -> float:
        """Share of the similar tasks on which larger results are better.

        Args:
            describe: as for `belief`.
            facts: as for `belief`.
            like: as for `belief`.
        """
        weights = self.kernel.weights(self._similarity(describe, facts, like))
        return float(np.average(self.larger_is_better, weights=_nearness(weights)))

    def _similarity(
        self, describe: str, facts: Mapping[str, str] | None, like: Sequence[str]
    ) -> Float64[np.ndarray, "F T"]:
        if not like:
            return self.words.of_description(describe, facts)
        places = [self._task(name) for name in like]
        known = self.words.of_tasks(places).max(1)
        if not (describe or facts):
            return known
        return (known + self.words.of_description(describe, facts)) / 2

    def _task(self, name: str) -> int:
        if name not in self.words.tasks:
            raise InputError(
                f"--like names the task {name!r}, of which the records know nothing: they hold "
                f"{len(self.words.tasks)} tasks"
            )
        return self.words.tasks.index(name)

    def _evidence(self, weights: Float64[np.ndarray, " T"]) -> EvidenceModel:
        """Spread and measure of results, as on tasks that are alike."""
        size = self.scaled.size
        there = np.isfinite(size) & (size > 0)
        results, measure = self.scaled.spread, ""
        if there.any():
            near = _nearness(weights[there])
            usual = float(np.exp(np.average(np.log(size[there]), weights=near)))
            results = results._replace(size=usual)
            measure = self.measures[np.flatnonzero(there)[np.argmax(near)]]
        return self.reading.evidence(results, measure or "result")


def _nearness(weights: Float64[np.ndarray, " T"]) -> Float64[np.ndarray, " T"]:
    """By the nearest task; where all are far, all count nearly the same."""
    return np.asarray(weights / max(float(weights.max()), 1e-300) + 1e-3)


def expected_by_facts(
    scaled: Scaled, facts: Float64[np.ndarray, "M F"]
) -> Float64[np.ndarray, " M"]:
    """The constant order as models' facts alone foresee it, by a ridge weighted by records.

    Args:
        scaled: records in standard units.
        facts: P.

    Returns:
        0 where no facts are known.
    """
    if facts.shape[1] == 0:
        return np.zeros(scaled.models)
    weight = scaled.counts / (scaled.counts + 1)
    mean = scaled.sums / np.maximum(scaled.counts, 1)
    rows = facts * weight[:, None]
    found = np.linalg.solve(rows.T @ facts + RIDGE * np.eye(facts.shape[1]), rows.T @ mean)
    return np.asarray(facts @ found)


def _without_results(records: Records, tasks: set[str]) -> Records:
    kept = np.array([name not in tasks for name in records.tasks], bool)
    return records.at(np.flatnonzero(kept[records.task])) if tasks else records


def _groups(records: Records, given: Sequence[str] | str | None) -> Int[np.ndarray, " T"]:
    if given is None:
        return sibling_groups(records.tasks, records.task_facts)
    if isinstance(given, str):
        if given not in records.task_facts:
            raise InputError(
                f"groups names the column {given!r}; tasks have {', '.join(records.task_facts)}"
            )
        column = records.task_facts[given]  # a task without an entry is a group of its own
        given = [
            f"in {e}" if e else f"task {t}" for e, t in zip(column, records.tasks, strict=True)
        ]
    if len(given) != len(records.tasks):
        raise InputError(f"groups must have one entry for each of {len(records.tasks)} tasks")
    return np.unique(list(given), return_inverse=True)[1].astype(np.int64)


def _learn_kernel(
    scaled: Scaled,
    before: Float64[np.ndarray, " M"],
    words: TaskWords,
    group: Int[np.ndarray, " T"],
) -> TaskKernel:
    per_task = np.bincount(scaled.task, minlength=scaled.tasks)
    rng = np.random.default_rng(0)
    tasks = np.sort(rng.permutation(np.flatnonzero(per_task > 0))[:MOST_TASKS])
    models = np.sort(np.argsort(-scaled.counts, kind="stable")[:MOST_MODELS])
    similarity = words.of_tasks(tasks.tolist())[:, :, tasks]
    return learn_kernel(part(scaled, tasks, models), before[models], similarity, group[tasks])


def _residuals(
    kernel: TaskKernel,
    scaled: Scaled,
    before: Float64[np.ndarray, " M"],
    words: TaskWords,
    group: Int[np.ndarray, " T"],
) -> tuple[Residuals, Int[np.ndarray, " n"]]:
    """What known tasks did not foresee, and the positions of these records."""
    per_task = np.bincount(scaled.task, minlength=scaled.tasks)
    rng = np.random.default_rng(0)
    asked = np.sort(rng.permutation(np.flatnonzero(per_task > 1))[:MOST_FACTORED])
    similarity = words.of_tasks(asked.tolist())
    found, places = residuals(kernel, scaled, before, similarity, group, asked)
    by_task = np.argsort(scaled.task[places], kind="stable")
    places = places[by_task]
    value, order, moved, unit = found[:, by_task]
    model, task = scaled.model[places], scaled.task[places]
    given = Residuals(model, task, group, value, order, moved, unit, scaled.models)
    return given.held_apart(), places


def _measures(records: Records) -> list[str]:
    """By task; "" where nothing is known of its measure."""
    named = (measure_name(i, records.task_facts) for i in range(len(records.tasks)))
    return [name if find_measure(name) is not None else "" for name in named]
