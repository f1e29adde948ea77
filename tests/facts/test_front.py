"""The Pareto front: against all pairs, and what the places leave open."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from spider_jax.facts.fact_table import FactTable
from spider_jax.facts.front import pareto
from spider_jax.ranking.ranking import Ranking

models = st.tuples(st.integers(0, 6), st.none() | st.integers(1, 5))


@settings(max_examples=120)
@given(st.lists(models, min_size=1, max_size=9), st.sampled_from([0.0, 1.5, float("nan")]))
def test_the_front_is_who_is_not_dominated(
    given_models: list[tuple[int, int | None]], resolution: float
) -> None:
    names = [f"m{i}" for i in range(len(given_models))]
    scores = np.array([score for score, _ in given_models], float)
    costs = np.array([np.nan if cost is None else cost for _, cost in given_models], float)
    costs[0] = 3 if np.isnan(costs[0]) else costs[0]
    ranking = Ranking.from_scores(names, scores, resolution=resolution)
    found = pareto(ranking, FactTable(tuple(names), {"params": costs}), "params")

    def dominates(a: int, b: int) -> bool:
        no_worse = scores[a] >= scores[b] and costs[a] <= costs[b]
        return bool(no_worse and (scores[a] > scores[b] or costs[a] < costs[b]))

    known = [i for i in range(len(names)) if not np.isnan(costs[i])]
    on = {names[i] for i in known if not any(dominates(j, i) for j in known)}
    assert set(found.on) == on
    assert [found.costs[m] for m in found.on] == sorted(found.costs[m] for m in found.on)
    first = dict(zip(ranking.names, ranking.rank_intervals()[:, 0], strict=True))
    place = {name: i for i, name in enumerate(ranking.names, 1)}
    beaten = {
        names[i]
        for i in known
        if any(costs[j] <= costs[i] and place[names[j]] < first[names[i]] for j in known)
    }
    assert set(found.maybe) == {names[i] for i in known} - on - beaten
    assert set(found.unknown) == set(names) - {names[i] for i in known}
