"""From a ranking to a tuned student: the best teachers teach the model that will be deployed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import jax
import numpy as np

from spider_jax.errors import InputError
from spider_jax.report.result import Result
from spider_jax.runtime.progress import row_bar
from spider_jax.runtime.single_precision import single_precision
from spider_jax.tuning.config import Hyperparameters, TuneConfig, check_methods, choices
from spider_jax.tuning.files import TunedStudent
from spider_jax.tuning.loss import METHODS
from spider_jax.tuning.problem import TuningProblem
from spider_jax.tuning.steps import Rules
from spider_jax.tuning.students import Params
from spider_jax.tuning.trainer import Outcome, outputs_of_runs, score, train_method
from spider_jax.zoo.store import Skipped


class Tuned(NamedTuple):
    """One method, with the hyper-parameters of its best mean validation over seeds.

    Attributes:
        method: its name in METHODS.
        choice: the hyper-parameters; among equals those of the lower loss.
        validation: score of every seed on validation rows.
        test: score of every seed on test rows, None where there are none.
        params: of the seed with the best validation, {"student", "head", ...}; {} where it was
            read from JSON.
    """

    method: str
    choice: Hyperparameters
    validation: tuple[float, ...]
    test: tuple[float, ...] | None
    params: Params


@dataclass(frozen=True)
class Tuning(Result):
    """What was tuned, how well, and for the reader how.

    Attributes:
        measure: what validation and test scores are, see `heads.measures`.
        results: one per method, in the order asked for.
        notes: sentences for the reader.
        problems: models that could not be used, and why.
        student: the best method's, on features of a zoo; None for other students.
        kind: the format in the header of the JSON.
        columns: headings of the table.
    """

    kind: ClassVar[str] = "tuned-students"
    columns = ("method", "learning rate", "lambda", "temperature", "validation", "test", "spread")
    measure: str
    results: tuple[Tuned, ...]
    notes: tuple[str, ...] = ()
    problems: tuple[Skipped, ...] = ()
    student: TunedStudent | None = None

    @property
    def best(self) -> Tuned:
        """The best mean validation, the first among equals."""
        return max(self.results, key=lambda one: float(np.mean(one.validation)))

    def to_rows(self) -> list[list[object]]:
        """One row per method: means over seeds, and the deviation of the test score over them."""
        return [_row(one) for one in self.results]

    @property
    def skipped(self) -> tuple[str, ...]:
        """The problems, a line each."""
        return tuple(map(str, self.problems))

    def statements(self) -> tuple[str, ...]:
        """How it was measured, the best method, and the notes."""
        seeds = len(self.results[0].validation)
        read = "" if self.results[0].test is None else ", test rows were read once, after that"
        how = f"{self.measure}, mean of {seeds} seeds; all chosen on validation rows{read}"
        return (how, f"best on validation: {self.best.method}", *self.notes)

    def data(self) -> dict[str, Any]:
        """What every result has, the measure, and every seed's score; students are in `out`."""
        return super().data() | {
            "measure": self.measure,
            "tuned": [
                {
                    "method": one.method,
                    **one.choice._asdict(),
                    "validation": list(one.validation),
                    "test": None if one.test is None else list(one.test),
                }
                for one in self.results
            ],
            "problems": [list(problem) for problem in self.problems],
            "said": list(self.notes),
        }

    @classmethod
    def read(cls, content: Mapping[str, Any]) -> "Tuning":
        """The inverse of `data`: what was found, without the students' parameters.

        Args:
            content: of a JSON.
        """
        tuned = tuple(map(_read_tuned, content["tuned"]))
        if not tuned:
            raise ValueError("tuned must hold at least one method")
        said = tuple(map(str, content["said"]))
        problems = tuple(Skipped(*problem) for problem in content["problems"])
        return Tuning(str(content["measure"]), tuned, said, problems)


@single_precision
def tune(
    problem: TuningProblem,
    methods: Sequence[str] = ("b-tuning",),
    config: TuneConfig | None = None,
    *,
    run: Path | None = None,
    show_progress: bool = False,
) -> Tuning:
    """Tune a student by one or more methods.

    b-tuning: task loss + lambda MSE(f_s(x) M_s^T, sum_k pi_k f_k(x) M_k^T), M the LogME posterior
    means on the training rows, pi = softmax(LogME / temperature); see METHODS for the others.
    Learning rate, lambda and temperature are chosen on validation rows; test rows are read once, of
    the runs chosen.

    Args:
        problem: of `make_problem`.
        methods: names in METHODS, each once.
        config: default TuneConfig().
        run: folder for checkpoints; the same call goes on where it was interrupted, to the same
            bits.
        show_progress: a bar on stderr.

    Returns:
        A Tuning.

    Raises:
        InputError: an unknown method, one that needs teachers without any, a folder of another
            tuning, or no run that stayed finite.

    References:
        You et al., "Ranking and Tuning Pre-trained Models", JMLR 23(209), 2022.
    """
    config = TuneConfig() if config is None else config
    check_methods(methods)
    for method in methods:
        if METHODS[method].guide and problem.teachers is None:
            raise InputError(f"{method} needs teachers: name some")
    runs = sum(len(choices(method, config)) for method in methods) * config.seeds
    total = runs * config.epochs * len(problem.split.train)
    found = []
    with row_bar(total, "tuning", show_progress) as bar:
        for method in methods:
            outcome = train_method(problem, method, config, run, bar)
            found.append(_chosen(problem, method, outcome, config))
    return Tuning(problem.measure, tuple(found))


def _chosen(problem: TuningProblem, method: str, outcome: Outcome, config: TuneConfig) -> Tuned:
    """The hyper-parameters of best validation, and their seeds on the test rows."""
    groups: dict[Hyperparameters, list[int]] = {}
    for i, choice in enumerate(outcome.choices):
        groups.setdefault(choice, []).append(i)
    merits = {
        choice: (outcome.validation[at].mean(), -outcome.loss[at].mean())
        for choice, at in groups.items()
        if np.isfinite(outcome.validation[at]).all() and np.isfinite(outcome.loss[at]).all()
    }
    if not merits:
        raise InputError(f"no run of {method} stayed finite: lower the learning rates")
    choice = max(merits, key=lambda one: merits[one])
    at = groups[choice]
    params = jax.tree.map(lambda leaf: leaf[np.array(at)], outcome.params)
    validation = tuple(map(float, outcome.validation[at]))
    best = int(np.argmax(validation))
    kept = jax.tree.map(lambda leaf: leaf[best], params)
    return Tuned(method, choice, validation, _test(problem, method, params, config), kept)


def _test(
    problem: TuningProblem, method: str, params: Params, config: TuneConfig
) -> tuple[float, ...] | None:
    rows = problem.split.test
    if len(rows) == 0:
        return None
    kind, apply = problem.targets.kind, problem.student.apply
    rules = Rules(apply, (), method, kind, config.momentum, config.weight_decay, config.head_rate)
    return tuple(score(problem, one, rows) for one in outputs_of_runs(problem, rules, params, rows))


def _read_tuned(entry: Mapping[str, Any]) -> Tuned:
    method, heat, test = entry["method"], entry["temperature"], entry["test"]
    check_methods((method,))
    choice = Hyperparameters(
        float(entry["learning_rate"]), float(entry["weight"]), None if heat is None else float(heat)
    )
    validation = tuple(map(float, entry["validation"]))
    if not validation or test == []:
        raise ValueError(f"{method} must have a score of every seed")
    return Tuned(method, choice, validation, None if test is None else tuple(map(float, test)), {})


def _row(one: Tuned) -> list[object]:
    test = [None, None] if one.test is None else [np.mean(one.test), np.std(one.test)]
    rate, weight, heat = one.choice
    shown = f"{weight:g}" if METHODS[one.method].penalty else None
    return [
        one.method,
        f"{rate:g}",
        shown,
        None if heat is None else f"{heat:g}",
        float(np.mean(one.validation)),
        *(None if value is None else float(value) for value in test),
    ]
