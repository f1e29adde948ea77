"""How good one policy of so many epochs could have been, chosen with the targets' test scores.

A policy of this kind decides, the same for all targets, how many models train in each epoch (or how
sure a drop must be) and how much the prior weighs. Every choice is replayed, and the best is looked
up with the targets' test scores, which no selection may read. So no rule that picks one of these
choices for all targets can do better. A rule that picks another choice for every target may.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations_with_replacement, product
from typing import ClassVar, NamedTuple

import numpy as np
from jaxtyping import Float64

from bench.quality.selection_replay import Contender, ours, replay
from spider_jax.ranking.measures import paired_difference
from spider_jax.records.performance import PastResults
from spider_jax.selection.policies import Drop, NoiseAware, Policy, Seen

# of the prior's weight; the first is next to none: the validation alone
SCALES = (1e-9, 0.125, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 4.0, 8.0)
SURE = tuple(np.arange(0.5, 1.0, 0.05).round(2).tolist())


@dataclass(frozen=True)
class Variant:
    """The noise-aware policy with another schedule.

    Attributes:
        noise: what it expects of which model.
        keeps: at most so many models train in epoch 1, 2, ...
        sure: of these, only those that the leader beats with less than this probability, after
            epoch 1 and later; None keeps all of them.
    """

    noise: NoiseAware
    keeps: tuple[int, ...]
    sure: tuple[float, float] | None = None
    name: ClassVar[str] = "variant"

    def started(self, models: int, epochs: int, budget: int | None) -> int:
        """How many models start: as many as its first epoch holds.

        Args:
            models: that there are.
            epochs: not read.
            budget: not read.
        """
        return min(models, self.keeps[0])

    def drops(self, seen: Seen) -> list[Drop]:
        """All but what the schedule keeps; after the last epoch all but the leader.

        Args:
            seen: what the policy may know of the models that still train.
        """
        epoch = seen.validation.shape[1]
        order = np.argsort(-self.noise.expected(seen), kind="stable")
        keep = self.keeps[epoch] if epoch < seen.epochs else 1
        kept = set(order[:keep].tolist())
        if self.sure is not None:
            sure = self.noise.confidence(seen, int(order[0]))
            worse = np.flatnonzero(sure >= self.sure[min(epoch, 2) - 1])
            kept -= set(worse.tolist()) - {int(order[0])}
        return [Drop(seen.models[i], "not kept") for i in order[::-1] if int(i) not in kept]


class Choice(NamedTuple):
    """A member of a family.

    Attributes:
        name: its settings in words.
        keeps: see `Variant`.
        scale: of the prior's weight.
        sure: see `Variant`.
    """

    name: str
    keeps: tuple[int, ...]
    scale: float
    sure: tuple[float, float] | None = None


def schedules(start: int, epochs: int, budget: int) -> Iterator[tuple[int, ...]]:
    """Models in every epoch: never more than before, one at least, within the budget.

    Args:
        start: the most models in the first epoch.
        epochs: of a full training.
        budget: the most epochs of all models together.

    >>> list(schedules(2, 3, 5))
    [(2, 2, 1), (2, 1, 1), (1, 1, 1)]
    """
    falling = combinations_with_replacement(range(start, 0, -1), epochs)
    return (keeps for keeps in falling if sum(keeps) <= budget)


def fixed(start: int, epochs: int, budget: int) -> list[Choice]:
    """Every schedule within the budget with every weight of the prior.

    Args:
        start: see `schedules`.
        epochs: see `schedules`.
        budget: see `schedules`.
    """
    return [
        Choice(f"{'-'.join(map(str, keeps))}, prior x {scale:.3g}", keeps, scale)
        for keeps in schedules(start, epochs, budget)
        for scale in SCALES
    ]


def racing(start: int, epochs: int) -> list[Choice]:
    """As many as are not surely worse, with every pair of confidences and weight of the prior.

    Args:
        start: how many models train in the first epoch.
        epochs: of a full training.
    """
    return [
        Choice(f"P < {a}, {b}, prior x {scale:.3g}", (start,) * epochs, scale, (a, b))
        for a, b in product(SURE, SURE)
        for scale in SCALES
    ]


class Best(NamedTuple):
    """The best of a family.

    Attributes:
        members: how many kept within the budget.
        mean: the least mean difference, and whose it is.
        bound: the least upper 95 % bound of the difference, and whose it is.
        holding: how many have a mean of at most 0 and a bound of at most the margin.
    """

    members: int
    mean: tuple[float, str]
    bound: tuple[float, str]
    holding: int


def best_of(
    zoo: PastResults,
    family: Sequence[Choice],
    base: Float64[np.ndarray, " T"],
    budget: int,
    margin: float,
) -> Best:
    """The family's best against another policy.

    Args:
        zoo: past results.
        family: its members.
        base: regret of the other policy per target.
        budget: members whose mean number of epochs exceeds it do not count.
        margin: see `Best`.
    """

    def policy(choice: Choice, past: PastResults) -> Policy:
        noise = ours(past)
        weighed = replace(noise.spread, between=noise.spread.between / choice.scale)
        return Variant(replace(noise, spread=weighed), choice.keeps, choice.sure)

    found = []
    for choice in family:
        contender = Contender(partial(policy, choice), choice.keeps[0])
        outcomes = [replay(zoo, task, contender) for task in zoo.tasks]
        if np.mean([o.epochs for o in outcomes]) <= budget:
            gap = paired_difference(np.array([o.in_zoo for o in outcomes]), base)
            found.append((gap.mean, gap.high, choice.name))
    return Best(
        len(found),
        min((mean, name) for mean, _, name in found),
        min((high, name) for _, high, name in found),
        sum(mean <= 0 and high <= margin for mean, high, _ in found),
    )
