"""Who is not beaten in both: expected performance, and what a model costs.

A model is on the front where no other has at least its score for at most its cost, and more of one.
A model behind it may be on it where every model that is as cheap or cheaper stands among those that
the ranking cannot tell from it.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64, Int

from spider_jax.errors import InputError
from spider_jax.facts.fact_table import FactTable
from spider_jax.facts.quantities import short_quantity
from spider_jax.ranking.ranking import Ranking

NAMED = 8  # models that a sentence names


@dataclass(frozen=True)
class Front:
    """The front of a ranking against a cost.

    Attributes:
        fact: the cost.
        costs: by model; of some of them.
        on: models on the front, the cheapest first.
        maybe: models that cannot be separated from it, best first.
        unknown: models whose cost is not known, best first.
    """

    fact: str
    costs: Mapping[str, float]
    on: tuple[str, ...]
    maybe: tuple[str, ...]
    unknown: tuple[str, ...]

    @property
    def column(self) -> str:
        """Heading of `mark`."""
        return f"best for its {self.fact}"

    def marks(self) -> dict[str, str]:
        """ "yes" on the front, "maybe" where that is open, "?" without a cost; no other model."""
        return {
            **dict.fromkeys(self.on, "yes"),
            **dict.fromkeys(self.maybe, "maybe"),
            **dict.fromkeys(self.unknown, "?"),
        }

    def notes(self) -> tuple[str, ...]:
        """The front in words, and what is open."""
        front = ", ".join(f"{m} ({short_quantity(self.costs[m])})" for m in self.on[:NAMED])
        said = [
            f"Pareto front, score against {self.fact}, the cheapest first: {front}{_more(self.on)}"
        ]
        if self.maybe:
            said.append(f"cannot be separated from the front: {_named(self.maybe)}")
        if self.unknown:
            said.append(f"{self.fact} is not known of {_named(self.unknown)}")
        return tuple(said)

    def content(self) -> dict[str, Any]:
        """What a JSON says."""
        return {
            "cost": self.fact,
            "front": list(self.on),
            "cannot_tell_from_front": list(self.maybe),
            "unknown": list(self.unknown),
            "costs": dict(self.costs),
        }

    @staticmethod
    def read(content: Mapping[str, Any]) -> "Front":
        """The inverse of `content`; older files have no costs.

        Args:
            content: of a JSON.
        """
        lists = (content[key] for key in ("front", "cannot_tell_from_front", "unknown"))
        on, maybe, unknown = (tuple(map(str, names)) for names in lists)
        costs = {str(name): float(cost) for name, cost in content.get("costs", {}).items()}
        return Front(str(content["cost"]), costs, on, maybe, unknown)


def pareto(ranking: Ranking, facts: FactTable, fact: str) -> Front:
    """The front of a ranking against a cost, the smaller the better.

    Args:
        ranking: models with their scores and the places that they may hold.
        facts: of these models.
        fact: the cost, a number.

    Returns:
        The front.

    Raises:
        InputError: no such fact, or one that is no number.

    >>> import numpy as np
    >>> ranking = Ranking.from_scores(["a", "b", "c"], [3, 2, 1], resolution=0.5)
    >>> costs = FactTable(("a", "b", "c"), {"params": np.array([9.0, 4.0, 5.0])})
    >>> pareto(ranking, costs, "params").on
    ('b', 'a')
    """
    found = facts.find(fact, "pareto")
    if found not in facts.numbers:
        numbers = ", ".join(n for n in facts.names if n in facts.numbers) or "none"
        raise InputError(f"pareto needs a fact that is a number, got {found}: known are {numbers}")
    table = facts.for_models(ranking.names)
    costs = table.numbers[found]
    known = np.flatnonzero(~np.isnan(costs))
    first = ranking.rank_intervals()[:, 0]
    on, maybe = front_of(ranking.scores[known].astype(np.float64), costs[known], known, first)
    names = ranking.names
    cheap = known[on][np.argsort(costs[known[on]], kind="stable")]
    return Front(
        found,
        {names[i]: float(costs[i]) for i in known},
        tuple(names[i] for i in cheap),
        tuple(names[i] for i in known[maybe & ~on]),
        tuple(names[i] for i in np.flatnonzero(np.isnan(costs))),
    )


def front_of(
    scores: Float64[np.ndarray, " n"],
    costs: Float64[np.ndarray, " n"],
    places: Int[np.ndarray, " n"],
    first: Int[np.ndarray, " M"],
) -> tuple[Bool[np.ndarray, " n"], Bool[np.ndarray, " n"]]:
    """Which models are on the front, and which may be.

    Args:
        scores: never increasing.
        costs: of the same models.
        places: from 0, in the whole ranking.
        first: of every model of the whole ranking: its first possible place, from 1.
    """
    order = np.lexsort((-scores, costs))  # the cheapest first, of equal ones the best
    on, maybe = np.zeros(len(scores), bool), np.zeros(len(scores), bool)
    best, price, place = -math.inf, -math.inf, math.inf  # of what is as cheap or cheaper
    for i in order:
        # As good as the best so far is good enough only at the same price.
        on[i] = scores[i] > best or (scores[i] == best and costs[i] == price)
        if scores[i] > best:
            best, price = float(scores[i]), float(costs[i])
        place = min(place, float(places[i]))
        maybe[i] = place + 1 >= first[places[i]]
    return on, maybe


def _named(models: tuple[str, ...]) -> str:
    return ", ".join(models[:NAMED]) + _more(models)


def _more(models: tuple[str, ...]) -> str:
    return f" and {len(models) - NAMED} more" if len(models) > NAMED else ""
