"""Find the best model with the fewest runs: `RunSearch` asks, you run, it hears, a file keeps it.

The state is one JSON: what was described, every result and every failure. It holds no numbers of
the prior, which is read again: so a better prior takes over a search that is on its way.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from spider_jax.belief.belief import Belief
from spider_jax.belief.explanation import Explanation, explain
from spider_jax.errors import InputError
from spider_jax.recommend.acquisition import (
    Goal,
    Run,
    best_chances,
    next_runs,
    prices,
    stop_loss,
)
from spider_jax.recommend.records_prior import RecordsPrior
from spider_jax.storage.files import read_json, write_json

KIND = "run_search"
Direction = Literal["larger", "smaller"]
CLEAR = 0.8  # share of similar tasks of one direction, by which a new one's is known
ENOUGH = 0.1  # expected loss at which a search says to stop, in standard units


@dataclass(frozen=True, eq=False)
class RunSearch:
    """A search on one task; it never changes in place.

    Attributes:
        prior: from records.
        describe: the task, in words.
        facts: of the task, by column.
        like: known tasks that it is like.
        direction: which results are better; None: as on similar tasks.
        goal: "best" or "order".
        results: (value, standard error or NaN) by model, as they were given.
        failed: why, by model.
        costs: of a run of each model; empty: all cost 1.
        budget: what may be spent in all.
        enough: expected loss at which to stop, in standard units.
        parts: whether results with a standard error are of a part of the rows, and their models
            may be run again.
        excluded: models that are no candidates; their results still tell of the others.

    Raises:
        InputError: a result that is not finite, or of an unknown model; results where similar tasks
            do not say which are better.
    """

    prior: RecordsPrior
    describe: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)
    like: tuple[str, ...] = ()
    direction: Direction | None = None
    goal: Goal = "best"
    results: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    failed: Mapping[str, str] = field(default_factory=dict)
    costs: Mapping[str, float] = field(default_factory=dict)
    budget: float = math.inf
    enough: float = ENOUGH
    parts: bool = False
    excluded: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if self.goal not in ("best", "order"):
            raise InputError(f"goal must be best or order, got {self.goal!r}")
        if self.direction not in (None, "larger", "smaller"):
            raise InputError(f"direction must be larger or smaller, got {self.direction!r}")
        for model, cost in self.costs.items():
            if not (math.isfinite(cost) and cost > 0):
                raise InputError(f"cost of {model!r} must be positive, got {cost}")
        if math.isnan(self.budget) or math.isnan(self.enough):
            raise InputError(f"budget and enough must be numbers, got {self.budget}, {self.enough}")
        if self.budget <= 0 or self.enough < 0:
            raise InputError(
                f"budget must be positive and enough at least 0, got {self.budget:g} and "
                f"{self.enough:g}"
            )
        for model in self.failed:
            self._check(model)
        foreign = self.excluded.difference(self.prior.models) if self.excluded else ()
        if foreign:
            self._check(min(foreign))
        self.belief  # noqa: B018  refuses bad results

    @cached_property
    def belief(self) -> Belief:
        """What is known by now; larger is better, whatever the measure's direction."""
        found = self.prior.belief(self.describe, facts=self.facts, like=self.like)
        sign = -1.0 if self.results and self.smaller else 1.0
        known = {m: sign * value for m, (value, _) in self.results.items()}
        errors = {m: e for m, (_, e) in self.results.items() if not math.isnan(e)}
        return found.observe(known, standard_error=errors) if known else found

    def explain(self, model: str) -> Explanation:
        """Why a model is believed to stand where it does, by what is known by now.

        Args:
            model: its name.

        Raises:
            InputError: an unknown model.
        """
        self._check(model)
        before = self.prior.stages(self.describe, facts=self.facts, like=self.like)
        return explain(self.belief, model, before)

    @cached_property
    def smaller(self) -> bool:
        """Whether smaller results are better."""
        if self.direction is not None:
            return self.direction == "smaller"
        larger = self.prior.larger_share(self.describe, facts=self.facts, like=self.like)
        if self.results and 1 - CLEAR < larger < CLEAR:
            raise InputError(
                f"of the tasks that are alike, {larger:.0%} have larger results better: say "
                "--direction larger or --direction smaller"
            )
        return larger < 0.5

    @property
    def spent(self) -> float:
        """Cost of all runs, failed ones too."""
        price = dict(zip(self.prior.models, prices(self.prior.models, self.costs), strict=True))
        return float(sum(price[m] for m in {*self.results, *self.failed}))

    @property
    def best(self) -> str | None:
        """The model with the best result."""
        sign = -1.0 if self.smaller else 1.0
        able = [model for model in self.results if model not in self.excluded]
        if not able:
            return None
        return max(able, key=lambda m: (sign * self.results[m][0], m))

    @property
    def expected_loss(self) -> float:
        """What stopping now is expected to lose, in standard units; failed models are no loss."""
        return stop_loss(self.belief, self._lost)

    @property
    def probability_best(self) -> float:
        """That the best so far is the best of all that can be run; 0 before any result."""
        if self.best is None:
            return 0.0
        place = self.belief.positions([self.best])[0]
        return float(best_chances(self.belief, self._lost)[place])

    @property
    def found(self) -> bool:
        """Whether stopping now loses little; never where the order of all is the goal."""
        return self.goal == "best" and self.best is not None and self.expected_loss <= self.enough

    @property
    def done(self) -> bool:
        """Whether the best is found, or nothing more can be run."""
        return self.found or not self.ask()

    @property
    def _lost(self) -> set[str]:
        return (self.failed.keys() - self.results.keys()) | self.excluded

    def ask(self, n: int = 1) -> list[Run]:
        """Whom to evaluate next.

        Args:
            n: runs at most.

        Returns:
            The runs, the first choice first; none where the budget is spent.
        """
        if n < 1:
            raise InputError(f"a batch must have at least one run, got {n}")
        return next_runs(
            self.belief,
            n,
            goal=self.goal,
            costs=self.costs,
            without=self.failed,
            excluded=self.excluded,
            money=self.budget - self.spent,
            parts=self.parts,
        )

    def tell(self, model: str, result: float, *, standard_error: float = math.nan) -> "RunSearch":
        """The search with a result.

        Args:
            model: that was run.
            result: in the task's measure.
            standard_error: of it; default: what is usual. A result with a smaller one than before,
                of more rows, takes its place.

        Raises:
            InputError: an unknown model, a result that is not finite or another one of this model,
                an error that is not positive.
        """
        self._check(model)
        if not math.isfinite(result):
            raise InputError(f"result of {model!r} must be finite, got {result}: tell a failure")
        self._refuse_another(model, result, standard_error)
        failed = {m: why for m, why in self.failed.items() if m != model}
        taken = {**self.results, model: (float(result), float(standard_error))}
        return replace(self, results=taken, failed=failed)

    def tell_failure(self, model: str, why: str) -> "RunSearch":
        """The search with a run that failed: the model is not asked for again.

        Args:
            model: that was run.
            why: a few words.

        Raises:
            InputError: an unknown model.
        """
        self._check(model)
        return replace(self, failed={**self.failed, model: why})

    def tell_all(
        self, results: Mapping[str, tuple[float, float]], failed: Mapping[str, str]
    ) -> "RunSearch":
        """The search with many results and failures; what it knows already changes nothing.

        Args:
            results: (value, standard error or NaN) by model.
            failed: why, by model.

        Raises:
            InputError: as in `tell`.
        """
        for model in (*results, *failed):
            self._check(model)
        for model, (value, error) in results.items():
            self._refuse_another(model, value, error)
        taken = {**self.results, **results}
        left = {m: why for m, why in {**self.failed, **failed}.items() if m not in taken}
        return replace(self, results=taken, failed=left)

    def with_costs(self, costs: Mapping[str, float]) -> "RunSearch":
        """The search with what runs cost.

        Args:
            costs: by model; an unknown cost is the usual one.

        Raises:
            InputError: an unknown model, or a cost that is not positive.
        """
        known = frozenset(self.prior.models)  # there may be a million
        for model in costs:
            if model not in known:
                self._check(model)
        return replace(self, costs=dict(costs))

    def _refuse_another(self, model: str, result: float, error: float) -> None:
        before = self.results.get(model)
        if before is not None and not supersedes((result, error), before):
            raise InputError(
                f"{model!r} has the result {before[0]:g} already, got {result:g}: keep one, or "
                "their mean; one on more rows has a smaller standard error"
            )

    def _check(self, model: str) -> None:
        if model not in self.prior.models:
            raise InputError(
                f"the prior knows no model {model!r}: it knows {len(self.prior.models)}; add it to "
                "the records with its facts and fit again"
            )

    # ---- on disk -------------------------------------------------------------------------------

    def save(self, path: Path | str) -> None:
        """Write the state, all or nothing.

        Args:
            path: of a JSON file.
        """
        write_json(Path(path), KIND, self.to_content())

    def to_content(self) -> dict[str, Any]:
        """The state as plain values."""
        return {
            "describe": self.describe,
            "facts": dict(self.facts),
            "like": list(self.like),
            "direction": self.direction,
            "goal": self.goal,
            "results": {
                m: [v, e if math.isfinite(e) else None] for m, (v, e) in self.results.items()
            },
            "failed": dict(self.failed),
            "costs": dict(self.costs),
            "budget": self.budget if math.isfinite(self.budget) else None,
            "enough": self.enough,
            "parts": self.parts,
            **({"excluded": sorted(self.excluded)} if self.excluded else {}),
        }

    @staticmethod
    def load(path: Path | str, prior: RecordsPrior) -> "RunSearch":
        """Read what `save` wrote.

        Args:
            path: of the JSON file.
            prior: from records.

        Raises:
            InputError: no search, or not a whole one.
        """
        given = read_json(Path(path), KIND)
        try:
            return RunSearch(
                prior,
                describe=str(given["describe"]),
                facts={str(k): str(v) for k, v in given["facts"].items()},
                like=tuple(map(str, given["like"])),
                direction=_direction(given),
                goal=given["goal"],
                results={str(m): _pair(v) for m, v in given["results"].items()},
                failed={str(m): str(why) for m, why in given["failed"].items()},
                costs={str(m): float(c) for m, c in given["costs"].items()},
                budget=math.inf if given["budget"] is None else float(given["budget"]),
                enough=float(given["enough"]),
                parts=_yes_or_no(given.get("parts", False)),
                excluded=frozenset(map(str, given.get("excluded", ()))),
            )
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            why = str(error) if isinstance(error, InputError) else repr(error)
            raise InputError(f"{path} is not a whole search: {why}") from None


def supersedes(new: tuple[float, float], old: tuple[float, float]) -> bool:
    """Whether a result may take the place of another of its model: the same, or on more rows.

    Args:
        new: value and standard error or NaN.
        old: as new.
    """
    return new[0] == old[0] or new[1] < old[1]


def _direction(given: Mapping[str, Any]) -> Direction | None:
    if "smaller" not in given:
        return given["direction"]  # the search refuses another
    return "smaller" if _yes_or_no(given["smaller"]) else None  # as the first searches have it


def _yes_or_no(given: object) -> bool:
    if not isinstance(given, bool):
        raise ValueError(f"it must be true or false, got {given!r}")
    return given


def _pair(given: Sequence[float | None]) -> tuple[float, float]:
    value, error = given
    return float(value), math.nan if error is None else float(error)  # type: ignore[arg-type]
