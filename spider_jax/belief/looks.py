"""Which models to look at next, by what is expected of the looks."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from spider_jax.belief.decision import Candidates, expected_gain
from spider_jax.belief.gaussian import Posterior


class Next(NamedTuple):
    """A model that is worth a look.

    Attributes:
        model: its name.
        gain: how much better the chosen model is expected to be after it, in standard units; half
            of what a pair gains together.
        cost: of the look.
    """

    model: str
    gain: float
    cost: float


def next_looks(
    given: Candidates,
    posterior: Posterior,
    level: int | None,
    looked: Sequence[bool],
    variance: float,
    costs: Sequence[float],
    names: Sequence[str],
    n: int,
) -> list[Next]:
    """Choose looks one after the other, each by what it gains beside those before, for its cost.

    While nothing has been looked at, a look is judged together with one at the present first
    model: a lone value has no level to be read against. So the first two come as a pair.

    Args:
        given: the models that may be the best.
        posterior: what is known.
        level: which of its observations are looks; None where there are none.
        looked: whether each of all M models has been looked at.
        variance: of the error of a look.
        costs: of a look at each of all M models.
        names: of the M models.
        n: looks at most.

    Returns:
        The looks; each of a pair carries half of its gain.
    """
    joint = posterior.covariance_with_level(given.models, level)
    left = [place for place, model in enumerate(given.models) if not looked[model]]
    chosen: list[int] = []
    found: list[Next] = []
    before = 0.0
    while left and len(found) < n:
        partner = [left[0]] if level is None and not chosen else []
        asked = [place for place in left if place not in partner] or left
        gains = [
            expected_gain(given.mean, joint, np.array([*chosen, *partner, place]), variance)
            if place not in partner
            else 0.0
            for place in asked
        ]
        prices = [costs[given.models[place]] for place in asked]
        best = int(np.argmax((np.array(gains) - before) / np.array(prices)))
        together = list(dict.fromkeys([*partner, asked[best]]))
        gain = max(0.0, gains[best] - before) / len(together)
        for place in together:
            model = given.models[place]
            found.append(Next(names[model], gain, costs[model]))
            chosen.append(place)
            left.remove(place)
        before = gains[best]
    return found[:n]
