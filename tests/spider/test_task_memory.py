"""The memory of training tasks: what is recalled, and that scores, files and index carry it."""

import dataclasses
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import Ridge

from spider_jax.belief.task_process import TaskProcess, constant_weights
from spider_jax.index.zoo_index import ZooIndex
from spider_jax.spider.spider import Spider
from spider_jax.spider.task_kernel import embed
from spider_jax.spider.task_memory import (
    Memory,
    MemoryWeights,
    memory_rows,
    memory_weights,
    process_rows,
    tasks_alone,
)
from spider_jax.spider.task_ridge import TaskRidge, fit_task_ridge
from spider_jax.tasks.description import describe, design
from spider_jax.tasks.sampling import MetaTask
from spider_jax.tasks.scaling import apply_scaling
from spider_jax.tasks.tokens import TaskTokens
from support.toy_index import toy_spider, toy_tokens

S, C, WIDTH, M = 6, 4, 3, 5


def remembered_tasks(seed=0):
    """Tokens [S, C, WIDTH] with rubbish where a task has no class, mask, targets [S, M]."""
    rng = np.random.default_rng(seed)
    mask = np.arange(C)[None] < rng.integers(2, C + 1, S)[:, None]
    tokens = np.where(mask[..., None], rng.normal(size=(S, C, WIDTH)), 1e6)
    return tokens.astype(np.float32), mask, rng.normal(size=(S, M)).astype(np.float32)


def expected_weights(embeddings, tokens):
    """exp(-(D - min D) / (0.3 sd D)), normalised, for one task without padding."""
    asked = np.concatenate([tokens.mean(0), tokens.std(0)])
    distance = np.array([((asked - known) ** 2).sum() for known in embeddings.astype(np.float64)])
    weights = np.exp(-(distance - distance.min()) / (0.3 * distance.std()))
    return weights / weights.sum()


class Given(NamedTuple):
    """Training tasks whose raw tokens are twice the scaled ones."""

    scaled: NDArray[np.float32]
    tokens: NDArray[np.float32]
    mask: NDArray[np.bool_]
    deviations: NDArray[np.float32]
    unit: NDArray[np.float32]
    targets: NDArray[np.float32]


def notes(seed=0):
    tokens, mask, targets = remembered_tasks(seed)
    rng = np.random.default_rng(seed + 100)
    deviations = rng.uniform(0.2, 2, (S, 2, WIDTH)).astype(np.float32)
    unit = np.array([0.5, 1.0, 3.0], np.float32)
    return Given(tokens, 2 * tokens, mask, deviations, unit, targets)


HYPER = np.array([0.4, 0.2, 0.8, 0.3, 0.1], np.float32).astype(float)


def design_of(given):
    return design(describe(given.tokens, given.mask, given.deviations, given.unit))


def process_of(given):
    constant = constant_weights(tasks_alone(META))
    return TaskProcess.of(design_of(given), given.unit, constant, HYPER)


def memory_of(given, kind="process"):
    """Of a spider of today, or of an older one ("ridge")."""
    embeddings = embed(given.scaled, given.mask).astype(np.float32)
    if kind == "ridge":
        ridge = fit_task_ridge(design_of(given), given.unit, 1.5)
        return Memory(MemoryWeights(embeddings, ridge), given.targets)
    return Memory(MemoryWeights(embeddings, process=process_of(given)), given.targets)


def meta_of(*sources):
    nothing = np.zeros(0, np.int32)
    return [MetaTask(names, nothing, nothing.astype(np.int64), nothing) for names in sources]


META = meta_of(("a",), ("a", "b"), ("b",), ("c",), ("c", "d"), ("e",))


def test_with_centres_alone_a_task_recalls_by_distance_to_mean_and_deviation_of_its_tokens():
    memory, new = memory_of(notes()), notes(1)
    found = memory_weights(memory.weights, new.scaled, new.mask, new.tokens)
    for t in range(S):
        real = new.scaled[t][new.mask[t]].astype(np.float64)
        expected = expected_weights(memory.weights.embeddings, real)
        np.testing.assert_allclose(found[t], expected, atol=1e-6)


@pytest.mark.parametrize("kind", ["process", "ridge"])
def test_a_task_of_padding_recalls_nothing(kind):
    memory, new = memory_of(notes(), kind), notes(1)
    new.mask[2] = False
    found = memory_weights(memory.weights, new.scaled, new.mask, new.tokens)
    np.testing.assert_allclose(found.sum(1), [1, 1, 0, 1, 1, 1], atol=1e-6)
    found = memory_weights(memory.weights, new.scaled, new.mask, new.tokens, new.deviations)
    assert [bool(row.any()) for row in found] == [True, True, False, True, True, True]


def described(given):
    """[S, 2 WIDTH] by the definition, one task and one feature at a time."""
    out = np.zeros((S, 2 * WIDTH))
    for t in range(S):
        real = given.tokens[t][given.mask[t]].astype(np.float64)
        for c, unit in enumerate(given.unit.astype(np.float64)):
            total, within = given.deviations[t, :, c] / unit
            out[t, c] = np.log(total + 0.1)
            out[t, WIDTH + c] = np.log((real[:, c].std() / unit + 0.1) / (within + 0.1))
        out[t, WIDTH:] -= out[t, WIDTH:].mean()
    return out


def ridge_of(X, Y, asked):
    """scikit-learn's ridge with intercept, its penalty in units of the mean eigenvalue."""
    centred = X - X.mean(0)
    model = Ridge(alpha=(centred**2).sum() / len(X))
    return model.fit(X, Y).predict(asked)


def halves(X, given):
    """Each half divided by its deviation over the training tasks."""
    sizes = [np.sqrt(part.var(0).sum()) for part in np.split(given, 2, axis=1)]
    return X / np.repeat(sizes, WIDTH)


def test_with_deviations_an_older_memory_recalls_by_ridge_regression():
    given, new = notes(), notes(1)
    memory, X = memory_of(given, "ridge"), described(given)
    found = memory_weights(memory.weights, new.scaled, new.mask, new.tokens, new.deviations)
    expected = ridge_of(halves(X, X), memory.targets.astype(float), halves(described(new), X))
    np.testing.assert_allclose(found @ memory.targets, 1.5 * expected, atol=2e-5)


def squared(X, Y, half):
    part = slice(0, WIDTH) if half == 0 else slice(WIDTH, None)
    return ((X[:, None, part] - Y[None, :, part]) ** 2).sum(-1)


def process_by_hand(X, Y, alone, asked):
    """Mean of a Gaussian process about the mean over datasets of the means on their own tasks."""
    a, b, signal, noise, _ = HYPER
    own = [Y[rows].mean(0) for rows in alone if rows.any()]
    constant = np.mean(own, 0) if own else Y.mean(0)

    def covariance(P, Q):
        return signal * np.exp(-a * squared(P, Q, 0) - b * squared(P, Q, 1))

    known = covariance(X, X) + noise * np.eye(len(X))
    return constant + covariance(asked, X) @ np.linalg.inv(known) @ (Y - constant)


def centred_halves(given, about):
    X = described(about)
    return halves(described(given) - X.mean(0), X)


def test_with_deviations_a_task_recalls_by_the_process():
    given, new = notes(), notes(1)
    memory = memory_of(given)
    found = memory_weights(memory.weights, new.scaled, new.mask, new.tokens, new.deviations)
    X, asked = centred_halves(given, given), centred_halves(new, given)
    expected = process_by_hand(X, given.targets.astype(float), tasks_alone(META), asked)
    np.testing.assert_allclose(found @ memory.targets, expected, atol=2e-5)


INSIDE = np.array([[True, True, True, True, True, False], [True] * S])


def own_predictions(given, inside, predict):
    """What is said of each training task from the allowed ones that share no dataset with it."""
    out = np.zeros((S, M))
    for t, task in enumerate(META):
        names = set(task.datasets)
        allowed = [s for s in range(S) if inside[s] and not names & set(META[s].datasets)]
        out[t] = predict(allowed, t)
    return out


def test_a_training_task_recalls_none_that_shares_a_dataset():
    given = notes()
    X, Y = centred_halves(given, given), given.targets.astype(float)

    def predict(allowed, t):
        alone = tasks_alone(META)[:, allowed]
        return process_by_hand(X[allowed], Y[allowed], alone, X[t : t + 1])[0]

    found = process_rows(process_of(given), given.targets, META, INSIDE)
    for e in range(2):
        np.testing.assert_allclose(found[e], own_predictions(given, INSIDE[e], predict), atol=2e-5)


def test_nor_does_one_of_an_older_spider():
    """Predictions are multiplied so that those of new tasks have the weight as their deviation."""
    given = notes()
    X, Y = halves(described(given), described(given)), given.targets.astype(float)

    def predict(allowed, t):
        return ridge_of(X[allowed], Y[allowed], X[t : t + 1])[0]

    found = memory_rows(design_of(given).rows, given.targets, META, INSIDE, 2.0)
    for e in range(2):
        expected = own_predictions(given, INSIDE[e], predict)
        gain = 2.0 / expected[INSIDE[e]].std(1).mean()
        np.testing.assert_allclose(found[e], gain * expected, atol=2e-5)


def test_nothing_to_recall_says_nothing():
    given, alike = notes(), meta_of(*[("a",)] * S)
    for found in (
        process_rows(process_of(given), given.targets, alike, np.ones((1, S), bool)),
        memory_rows(design_of(given).rows, given.targets, alike, np.ones((1, S), bool), 2.0),
    ):
        np.testing.assert_array_equal(found, np.zeros((1, S, M), np.float32))


# ---- a spider that remembers ------------------------------------------------------------------


def remembering(models: int, form: str = "many", members: int = 2) -> Spider:
    spider = toy_spider(models, members=members)
    width = 2 * spider.description.token_width
    rng = np.random.default_rng(0)
    D = spider.description.extractor["width"]

    def drawn(*shape: int) -> NDArray[np.float32]:
        return rng.normal(size=shape).astype(np.float32)

    ridge = TaskRidge(1 + drawn(D) ** 2, drawn(2 * D), 0.1 * drawn(2 * D, S), np.float32(1.5))
    memory = Memory(MemoryWeights(drawn(S, width), ridge), drawn(S, models))
    about = dataclasses.replace(spider.description, form=form)
    return dataclasses.replace(spider, description=about, memory=memory)


def scaled(spider: Spider, tokens: np.ndarray) -> np.ndarray:
    mask = np.ones((1, len(tokens)), bool)
    return np.asarray(apply_scaling(spider.scaling, tokens[None], mask))[0]


@pytest.mark.parametrize("form", ["many", "few"])
def test_scores_are_the_networks_and_what_is_recalled(form):
    spider = remembering(9, form)
    assert spider.memory is not None
    tasks = [toy_tokens(classes) for classes in (3, 12, 5)]
    alone = dataclasses.replace(spider, memory=None).scores(tasks)
    for tokens, network, found in zip(tasks, alone, spider.scores(tasks), strict=True):
        weights = expected_weights(
            spider.memory.weights.embeddings, scaled(spider, tokens).astype(float)
        )
        expected = network + weights @ spider.memory.targets
        np.testing.assert_allclose(found, expected, atol=2e-6 * max(1, np.ptp(expected)))


def toy_deviations(spider: Spider, tasks: int) -> list[NDArray[np.float32]]:
    rng = np.random.default_rng(7)
    D = spider.description.extractor["width"]
    return [rng.uniform(0.1, 2, (2, D)).astype(np.float32) for _ in range(tasks)]


def whole(centres: list[Any], deviations: list[Any]) -> list[TaskTokens]:
    return [TaskTokens(*both) for both in zip(centres, deviations, strict=True)]


@pytest.mark.parametrize("form", ["many", "few"])
def test_with_deviations_scores_recall_by_the_ridge(form):
    spider = remembering(9, form)
    assert spider.memory is not None
    assert spider.memory.weights.ridge is not None
    ridge, tasks = spider.memory.weights.ridge, [toy_tokens(classes) for classes in (3, 12, 5)]
    deviations = toy_deviations(spider, 3)
    alone = dataclasses.replace(spider, memory=None).scores(tasks)
    found = spider.scores(whole(tasks, deviations))
    for tokens, spread, network, scores in zip(tasks, deviations, alone, found, strict=True):
        real = np.ones((1, len(tokens)), bool)
        asked = describe(tokens[None], real, spread[None], ridge.unit)[0] - ridge.centre
        weights = 1.5 * (asked @ ridge.coefficients + 1 / S)
        expected = network + weights @ spider.memory.targets
        np.testing.assert_allclose(scores, expected, atol=2e-6 * max(1, np.ptp(expected)))
        assert spider.rank(TaskTokens(tokens, spread)).notes == ()
        assert "class centres alone" in spider.rank(tokens).notes[0]


def test_a_batch_may_hold_tasks_with_deviations_and_without():
    spider = remembering(9)
    tasks = [toy_tokens(classes) for classes in (3, 12, 5, 4)]
    given = whole(tasks, toy_deviations(spider, 4))
    mixed = spider.scores([tasks[0], given[1], tasks[2], given[3]])
    bare, all_known = spider.scores(tasks), spider.scores(given)
    np.testing.assert_array_equal(mixed, [bare[0], all_known[1], bare[2], all_known[3]])
    assert (bare != all_known).any(1).all()


@pytest.mark.parametrize("wrong", ["width", "nan", "negative", "words"])
def test_deviations_that_do_not_fit_are_refused(wrong, refused):
    spider = remembering(9)
    given = toy_deviations(spider, 2)
    if wrong == "width":
        given[1] = given[1][:, 1:]
    elif wrong == "words":
        given[1] = [["a"], ["b"]]
    else:
        given[1][0, 0] = np.nan if wrong == "nan" else -1
    tasks = [TaskTokens(toy_tokens(3), given[0]), TaskTokens(toy_tokens(4))]
    object.__setattr__(tasks[1], "deviations", given[1])  # as it comes where no type is checked
    with refused("deviations of tokens of task 1 must be [2, ", "task_deviations of"):
        spider.scores(tasks)


@pytest.mark.parametrize("ridge", [True, False])
def test_it_is_saved_and_loaded(tmp_path: Path, ridge: bool):
    spider = remembering(9)
    assert spider.memory is not None
    if not ridge:  # as spiders were before there was one
        kept = spider.memory.weights._replace(ridge=None)
        spider = dataclasses.replace(spider, memory=spider.memory._replace(weights=kept))
    spider.save(tmp_path / "spider")
    tasks = [toy_tokens(4)]
    given = whole(tasks, toy_deviations(spider, 1))
    again = Spider.load(tmp_path / "spider")
    np.testing.assert_array_equal(again.scores(tasks), spider.scores(tasks))
    found = again.scores(given)
    np.testing.assert_array_equal(found, spider.scores(given))
    assert (found != again.scores(tasks)).any() == ridge


def test_an_index_carries_it(tmp_path: Path):
    spider = remembering(9)
    index = ZooIndex.build(spider, tmp_path / "index")
    tasks = [toy_tokens(classes) for classes in (3, 12, 5)]
    for given in (tasks, whole(tasks, toy_deviations(spider, 3))):
        found = index.top_k_tasks(given, 9)
        for ranking, scores in zip(found, spider.scores(given), strict=True):
            order = np.argsort(-scores, kind="stable")
            assert ranking.names == tuple(spider.models[i] for i in order)
            spread = max(1.0, float(np.ptp(scores)))
            np.testing.assert_allclose(ranking.scores, scores[order], atol=1e-6 * spread)
    assert index.verify() == ()
