"""What a training learns for beliefs, and what the network is found to add."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from spider_jax.tasks.description import source_unit
from spider_jax.training.arrays import TrainingArrays
from spider_jax.training.config import TrainConfig
from spider_jax.training.learn_belief import Learned, corrected_standings, learn_belief
from spider_jax.training.loop import TrainingResult
from spider_jax.training.network_share import network_share
from spider_jax.training.training_set import TrainingSet, training_set
from spider_jax.zoo.store import FeatureStore
from support.small_training import CONFIG

TRUE = replace(CONFIG, calibration=0.5)


def z(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """Standard scores over the last axis; 0 where all values are equal."""
    wide = values.astype(np.float64)
    gaps, sizes = wide - wide.mean(-1, keepdims=True), wide.std(-1, keepdims=True)
    return np.where(sizes > 1e-12, gaps / np.maximum(sizes, 1e-12), 0)


@pytest.fixture
def zoo(small_zoo: Path) -> FeatureStore:
    zoo = FeatureStore(small_zoo)
    rng = np.random.default_rng(0)
    rows = [f"{m},{t},{rng.uniform(0.3, 0.9):.6f}" for m in zoo.models for t in zoo.tasks]
    (small_zoo / "accuracies.csv").write_text("\n".join(["model,task,accuracy", *rows]) + "\n")
    return FeatureStore(small_zoo)


def learned_of(zoo: FeatureStore, given: TrainingSet, config: TrainConfig = TRUE) -> Learned:
    features = np.concatenate([zoo.training_features("psi", task) for task in zoo.tasks])
    return learn_belief(given, config, source_unit(features), zoo.tasks, {})


def test_standings_go_all_the_way_to_known_accuracies(zoo: FeatureStore) -> None:
    """z of the teachers' z, moved by each dataset's gap times its share of a task's rows."""
    given = training_set(zoo, TRUE, zoo.tasks)
    said = z(z(given.metrics).mean(1))
    moved = said.copy()
    for name, accuracies in given.accuracies.items():
        own = [i for i, task in enumerate(given.meta) if task.datasets == (name,)]
        if not own:
            continue
        gap = z(accuracies) - z(said[own].mean(0))
        for i, task in enumerate(given.meta):
            if name in task.datasets:
                moved[i] += (task.source == task.datasets.index(name)).mean() * gap
    expected = z(moved)
    np.testing.assert_allclose(corrected_standings(given, TRUE), expected, atol=2e-5)
    assert np.abs(corrected_standings(given, CONFIG) - expected).max() > 0.1  # calibration 0


def test_with_calibration_0_no_accuracy_counts(zoo: FeatureStore) -> None:
    given = training_set(zoo, CONFIG, zoo.tasks)
    other = given._replace(accuracies={n: a[::-1].copy() for n, a in given.accuracies.items()})
    first, second = (learned_of(zoo, one, CONFIG) for one in (given, other))
    np.testing.assert_array_equal(first.standings, second.standings)
    np.testing.assert_array_equal(first.process.hyper, second.process.hyper)
    np.testing.assert_array_equal(first.state.factors.own, second.state.factors.own)
    found = learned_of(zoo, given._replace(accuracies=other.accuracies))
    assert (found.standings != learned_of(zoo, given).standings).any()


def test_a_dataset_without_a_task_of_its_own_breaks_nothing(zoo: FeatureStore) -> None:
    given = training_set(zoo, TRUE, zoo.tasks)
    gone = [i for i, task in enumerate(given.meta) if task.datasets == (zoo.tasks[0],)]
    kept = [i for i in range(len(given.meta)) if i not in gone]
    assert gone
    some = given._replace(
        meta=[given.meta[i] for i in kept],
        **{
            n: getattr(given, n)[kept]
            for n in ("tokens", "mask", "deviations", "metrics", "targets")
        },
    )
    found = learned_of(zoo, some)
    for array in (found.process.hyper, *found.state.factors, found.standings):
        assert np.isfinite(array).all()


E_, V, M, T = 3, 4, 5, 9


def held_out(network: float) -> tuple[TrainingArrays, TrainingResult, Learned]:
    """Standings that are what the memory says, `network` times the network's score, and noise."""
    rng = np.random.default_rng(0)
    said = rng.normal(size=(E_, T, M)).astype(np.float32)
    scores = rng.normal(size=(E_, T, M)).astype(np.float32)
    held = np.array([[0, 1, 2, 3], [3, 4, 5, 6], [5, 6, 7, 8]])
    standings = np.zeros((T, M), np.float32)
    prior = np.zeros((E_, T, M), np.float32)
    left = np.zeros((T, M), np.float32)
    for t in range(T):
        standings[t] = rng.normal(size=M)
        left[t] = rng.normal(size=M)
    for e in range(E_):  # what the network adds is the same for every member that holds a task out
        prior[e] = 16 * (standings - network * left - 0.1 * said[e])
        scores[e] = prior[e] + 16 * left
    nothing = np.zeros((T, 1, 1), np.float32)
    arrays = TrainingArrays(
        nothing, np.ones((T, 1), bool), standings, prior, np.ones((E_, T), bool), held
    )
    result = TrainingResult.__new__(TrainingResult, *[None] * len(TrainingResult._fields))
    found = np.stack([scores[e][held[e]] for e in range(E_)])
    return arrays, result._replace(held_scores=found), Learned(None, standings, None)  # type: ignore[arg-type]


def least_squares(arrays: TrainingArrays, result: TrainingResult, learned: Learned) -> float:
    def centred(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return values - values.mean(-1, keepdims=True)

    assert arrays.prior is not None
    n, e = [], []
    for member, held in enumerate(arrays.held):
        said = arrays.prior[member, held].astype(float) / 16
        n.append(centred(result.held_scores[member] / 16 - said).ravel())
        e.append(centred(learned.standings[held] - said).ravel())
    fit, *_ = np.linalg.lstsq(np.concatenate(n)[:, None], np.concatenate(e), rcond=None)
    return float(fit[0])


@pytest.mark.parametrize("weight", [0.7, 0.3])
def test_the_networks_share_is_that_of_least_squares(weight: float) -> None:
    given = held_out(weight)
    found = network_share(TrainConfig(memory=16.0), *given)
    assert found * 16 == pytest.approx(least_squares(*given), rel=1e-5)
    assert found * 16 == pytest.approx(weight, abs=0.1)


@pytest.mark.parametrize("weight", [0.0, -0.5])
def test_a_network_that_adds_nothing_counts_0(weight: float) -> None:
    assert network_share(TrainConfig(memory=16.0), *held_out(weight)) == pytest.approx(0, abs=0.005)


def test_a_network_that_ranks_alone_counts_1() -> None:
    arrays, result, _ = held_out(0.5)
    assert network_share(TrainConfig(memory=0.0), arrays, result, None) == 1
