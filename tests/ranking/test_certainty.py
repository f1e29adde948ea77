"""Rankings that are a view of a posterior: places, deviations, chances, files."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from spider_jax.belief.belief import LEVEL, Belief
from spider_jax.belief.evidence import EvidenceModel, Spread
from spider_jax.belief.gaussian import Standings
from spider_jax.errors import InputError
from spider_jax.ranking.ranking import Ranking
from support.references.beliefs import dense_prior

RESULTS = {"m0": 0.8, "m2": 0.7, "m3": 0.75}


def a_belief(models=6, seed=0, factors=2, **more):
    rng = np.random.default_rng(seed)
    prior = Standings(
        rng.normal(size=models),
        rng.normal(size=(models, factors)),
        rng.uniform(0.2, 1, size=models),
        0.5,
    )
    names = tuple(f"m{i}" for i in range(models))
    return Belief(names, prior, EvidenceModel(results=Spread(0.08, 2.0)), **more)


def places_by_pairs(belief):
    """Of each place: 1 + how many are surely better, M - how many are surely worse."""
    order = np.argsort(-belief.mean)
    mean, covariance = belief.mean[order], belief.covariance([belief.names[i] for i in order])
    M, found, gaps = len(mean), [], []
    for i in range(M):
        better = worse = 0
        for j in range(M):
            if i == j:
                continue
            variance = covariance[i, i] + covariance[j, j] - 2 * covariance[i, j]
            above = norm.cdf((mean[i] - mean[j]) / np.sqrt(variance))
            better, worse = better + (above < 1 - LEVEL), worse + (above > LEVEL)
            gaps.append(norm.ppf(LEVEL) * np.sqrt(variance))
        found.append([1 + better, M - worse])
    return found, float(np.median(gaps)) if gaps else 0.0


@given(seed=st.integers(0, 2**20), models=st.integers(1, 9), observed=st.booleans())
@settings(max_examples=30)
def test_places_are_those_of_pairs_that_cannot_be_told(seed, models, observed):
    belief = a_belief(models, seed)
    if observed and models > 3:
        belief = belief.observe(RESULTS)
    ranking = belief.rank()
    expected, resolution = places_by_pairs(belief)
    assert ranking.rank_intervals().tolist() == expected
    assert ranking.resolution == pytest.approx(resolution, rel=1e-6)
    for place, (first, last) in enumerate(ranking.rank_intervals().tolist(), start=1):
        assert 1 <= first <= place <= last <= models


def test_two_models_and_the_gap_that_separates_them():
    belief = a_belief(2)
    dense = dense_prior(*belief.prior[1:])
    deviation = np.sqrt(dense[0, 0] + dense[1, 1] - 2 * dense[0, 1])
    assert belief.rank().resolution == pytest.approx(norm.ppf(LEVEL) * deviation, rel=1e-6)


def test_many_models_have_places_around_their_own():
    ranking = a_belief(4200, factors=1).rank()
    first, last = ranking.rank_intervals().T
    own = np.arange(1, 4201)
    assert ((first >= 1) & (first <= own) & (own <= last) & (last <= 4200)).all()
    assert ((last - first) > 0).all()
    assert last[0] < 4200
    assert (np.diff(first) >= 0).all()


def test_a_ranking_says_what_the_belief_says():
    belief = a_belief(explained=0.2, task="pets").observe(RESULTS)
    ranking = belief.rank()
    where = [belief.names.index(name) for name in ranking.names]
    np.testing.assert_allclose(ranking.scores, belief.mean[where], rtol=1e-6)
    assert ranking.certainty is not None
    np.testing.assert_allclose(ranking.certainty.sd, belief.sd[where], rtol=1e-6)
    best = belief.probability_best()
    expected = [best[name] for name in ranking.names]
    np.testing.assert_allclose(ranking.certainty.best, expected, rtol=1e-6)
    assert (ranking.certainty.level, ranking.certainty.unit) == (LEVEL, "accuracy")
    assert ranking.task == "pets"
    assert ranking.notes == belief.notes()
    assert ranking.names[0] in ranking.notes[0]
    assert f"{best[ranking.names[0]]:.2f}" in ranking.notes[0]
    assert f"{belief.expected_loss():.3f}" in ranking.notes[0]
    assert "unlike all known tasks" in ranking.notes[1]


@pytest.mark.parametrize("results", [{}, RESULTS])
def test_certainty_comes_back_from_its_file(tmp_path, results):
    ranking = a_belief(task="pets").observe(results).rank()
    ranking.to_json(tmp_path / "ranking.json")
    back = Ranking.from_json(tmp_path / "ranking.json")
    assert back.names == ranking.names
    assert back.scores.tolist() == ranking.scores.tolist()
    assert back.certainty is not None
    for one, two in zip(back.certainty[:-1], ranking.certainty[:-1], strict=True):
        np.testing.assert_array_equal(one, two)
    assert back.certainty.sd.dtype == back.certainty.best.dtype == np.float32
    assert back.to_rows() == ranking.to_rows()
    assert back.to_text() == ranking.to_text()
    assert back.data() == ranking.data()


def test_a_ranking_without_a_posterior_has_no_certainty(tmp_path):
    plain = Ranking.from_scores(["a", "b"], [1.0, 0.5], resolution=0.1)
    plain.to_json(tmp_path / "plain.json")
    assert Ranking.from_json(tmp_path / "plain.json").certainty is None
    assert "best with" not in plain.to_text()
    assert "level" not in json.loads((tmp_path / "plain.json").read_text())


@pytest.mark.parametrize("key", ["sd", "probability_best", "cannot_tell_from"])
def test_a_file_that_lacks_a_part_of_its_certainty_is_refused(tmp_path, key):
    path = tmp_path / "ranking.json"
    a_belief().rank().to_json(path)
    content = json.loads(path.read_text())
    del content["models"][2][key]
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=key):
        Ranking.from_json(path)


def test_tables_show_deviations_and_chances():
    ranking = a_belief(task="pets").observe(RESULTS).rank()
    assert ranking.columns == ("rank", "cannot tell from", "model", "score", "+-", "best with")
    for place, row in enumerate(ranking.to_rows(top=3)):
        assert row[4] == float(ranking.certainty.sd[place])
        assert row[5] == float(ranking.certainty.best[place])
    for shown in (ranking.to_text(), ranking.to_markdown()):
        heading = next(line for line in shown.splitlines() if "cannot tell from" in line)
        assert "+-" in heading.replace("\\", "")
        assert "best with" in heading
        assert f"less sure than {100 * LEVEL:.0f} % count as unknown" in shown.replace("\\", "")
    assert "expected performance in accuracy" in ranking.to_text()
    assert "expected performance in standard units" in a_belief().rank().to_text()


def test_one_model_is_the_best_and_stands_alone():
    ranking = a_belief(1).rank()
    assert ranking.rank_intervals().tolist() == [[1, 1]]
    assert ranking.certainty.best.tolist() == [1.0]
    assert ranking.to_rows()[0][1] == "-"
