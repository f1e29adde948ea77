"""What metrics say of unknown models: the table is what they are, and the intervals cover."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from scipy.stats import norm

from spider_jax.belief.belief import Belief
from spider_jax.belief.evidence import EvidenceModel
from spider_jax.choose.usual_evidence import (
    HELD,
    METRICS,
    KnownTasks,
    known_tasks,
    learn_usual,
    prior_of,
    usual_evidence,
    write_metrics,
)
from spider_jax.ranking.measures import weighted_tau
from spider_jax.zoo.embedded import embedded_zoo
from spider_jax.zoo.store import FeatureStore

PARTS = {name: known_tasks(embedded_zoo(name)) for name in ("vision", "text")}


def standings(known: KnownTasks) -> np.ndarray:
    mean, size = known.truth.mean(1, keepdims=True), known.truth.std(1, keepdims=True)
    return (known.truth - mean) / size


@cache
def learned_on(part: str) -> EvidenceModel:
    return learn_usual([PARTS[part]])


def beliefs(learned: str, asked: str, some: int | None = None):
    """Of every task of one part: what the other part reads in its metrics, and the truth."""
    evidence, known = learned_on(learned), PARTS[asked]
    rng = np.random.default_rng(0)
    for metrics, truth in zip(known.metrics, standings(known), strict=True):
        for _ in range(1 if some is None else 8):
            models = np.arange(len(truth)) if some is None else rng.permutation(len(truth))[:some]
            names = tuple(f"m{i}" for i in models)
            looks = {n: tuple(metrics[:, i]) for n, i in zip(names, models, strict=True)}
            yield Belief(names, prior_of(len(names)), evidence, looks=looks), truth[models]


def test_the_table_is_what_is_written_of_these_features(tmp_path) -> None:
    zoo = embedded_zoo("text")
    task, models = zoo.tasks[3], zoo.models[:4]
    FeatureStore.write_labels(tmp_path, task, zoo.labels(task))
    for model in models:
        FeatureStore.write_features(tmp_path, model, task, np.array(zoo.features(model, task)))
    FeatureStore.write_manifest(tmp_path, standardized=zoo.standardized)
    write_metrics(FeatureStore(tmp_path), tmp_path / "metrics.csv")
    found = known_tasks(FeatureStore(tmp_path))
    wanted = PARTS["text"].metrics[3, :, :4]
    np.testing.assert_allclose(found.metrics[0], wanted, rtol=2e-4, atol=1e-5)
    assert np.isnan(found.truth).all()  # there is no accuracies.csv


def test_both_parts_teach_together() -> None:
    found = usual_evidence()
    assert found.noise is not None
    assert found.metrics == METRICS
    assert ((found.noise.gain > 0.7) & (found.noise.gain < 1)).all()
    assert (np.linalg.eigvalsh(found.noise.noise) > 0.01).all()


@pytest.mark.parametrize("some", [None, 8, 4])
@pytest.mark.parametrize(("learned", "asked"), [("text", "vision"), ("vision", "text")])
def test_intervals_cover_what_is_said_on_tasks_of_the_other_kind(
    learned: str, asked: str, some: int
) -> None:
    gaps = np.concatenate(
        [np.abs(truth - belief.mean) / belief.sd for belief, truth in beliefs(learned, asked, some)]
    )
    for level, (low, high) in HELD.items():
        share = np.mean(gaps < norm.ppf(0.5 + level / 2))
        assert low - 0.01 < share < high + 0.01, (level, share)


@pytest.mark.parametrize("some", [None, 8, 4])
@pytest.mark.parametrize(("learned", "asked"), [("text", "vision"), ("vision", "text")])
def test_truth_is_more_likely_where_disagreement_counts(
    learned: str, asked: str, some: int
) -> None:
    """Than with one noise on every task: log likelihood of standings among the models."""
    found = {True: [], False: []}
    for belief, truth in beliefs(learned, asked, some):
        alike = replace(belief, evidence=belief.evidence._replace(varying=None))
        for counts, one in ((True, belief), (False, alike)):
            centre = np.eye(len(truth)) - 1 / len(truth)
            sd = np.sqrt(np.diagonal(centre @ one.covariance(one.names) @ centre))
            z = centre @ (truth - one.mean) / sd
            found[counts].append(np.mean(-(z**2) / 2 - np.log(sd)))
    assert np.mean(found[True]) > np.mean(found[False])


@pytest.mark.parametrize(("learned", "asked"), [("text", "vision"), ("vision", "text")])
def test_a_probability_to_be_better_is_how_often_it_is(learned: str, asked: str) -> None:
    said, true = [], []
    for belief, truth in beliefs(learned, asked):
        for a in range(len(truth)):
            for b in range(a):
                said.append(belief.probability_above(belief.names[a], belief.names[b]))
                true.append(truth[a] > truth[b])
    said, true = np.array(said), np.array(true)
    for low, high in ((0.6, 0.8), (0.8, 0.95), (0.95, 1.01)):
        sure = np.maximum(said, 1 - said)
        bin_ = (sure >= low) & (sure < high)
        right = np.where(said > 0.5, true, ~true)[bin_].mean()
        assert right > low - 0.1, (low, right)


@pytest.mark.parametrize(("learned", "asked"), [("text", "vision"), ("vision", "text")])
def test_the_order_is_better_than_chance_and_about_as_good_as_the_best_metric(
    learned: str, asked: str
) -> None:
    """No constant order is known of models without results; chance and metrics alone are."""
    taus = [weighted_tau(truth, belief.mean) for belief, truth in beliefs(learned, asked)]
    known, rng = PARTS[asked], np.random.default_rng(0)
    truth = standings(known)
    alone = [
        np.mean([weighted_tau(t, m[k]) for t, m in zip(truth, known.metrics, strict=True)])
        for k in range(len(METRICS))
    ]
    chance = [weighted_tau(t, rng.random(len(t))) for t in truth for _ in range(5)]
    assert np.mean(taus) > max(alone) - 0.03
    assert np.mean(taus) > np.mean(alone)
    assert np.mean(taus) > np.mean(chance) + 0.4
