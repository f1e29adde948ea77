"""Comparison, baselines and the task kernel: every cell by hand or from the measures directly."""

import csv
import math
import statistics
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from spider_jax.evaluation.baselines import (
    Method,
    baseline_methods,
    kernel_method,
    metric_methods,
    truth_of,
)
from spider_jax.evaluation.comparison import Comparison
from spider_jax.metrics import knn
from spider_jax.ranking.measures import (
    bootstrap_interval,
    paired_difference,
    regret,
    top_k_hits,
    weighted_tau,
)
from spider_jax.spider.task_kernel import task_kernel
from spider_jax.tasks.sampling import TaskConfig
from spider_jax.training.config import TrainConfig
from spider_jax.training.training_set import training_set
from spider_jax.zoo.store import FeatureStore

Refused = Callable[..., AbstractContextManager[None]]
MODELS = ("middle", "narrow", "psi", "wide")
TASKS = ("apples", "birds", "cars", "dice")
CONSTANT = "constant order"


def known_accuracies(folder: Path) -> dict[str, list[float]]:
    """Task -> accuracies in the order of MODELS, read without the package."""
    with (folder / "accuracies.csv").open() as file:
        found = {
            (row["model"], row["task"]): float(row["accuracy"]) for row in csv.DictReader(file)
        }
    return {task: [found[model, task] for model in MODELS] for task in TASKS}


def rewrite_accuracies(folder: Path, change: Callable[[str, str, str], str | None]) -> None:
    """Each accuracy becomes change(model, task, accuracy); None drops the row."""
    head, *lines = (folder / "accuracies.csv").read_text().splitlines()
    changed = [(*line.split(",")[:2], change(*line.split(","))) for line in lines]
    kept = [f"{model},{task},{value}" for model, task, value in changed if value is not None]
    (folder / "accuracies.csv").write_text("\n".join([head, *kept, ""]))


# ---- truth and baselines ---------------------------------------------------------------------


def test_truth_is_what_the_zoo_says(small_zoo: Path) -> None:
    known = known_accuracies(small_zoo)
    found = truth_of(FeatureStore(small_zoo), ("cars", "apples"), MODELS)
    assert found.tolist() == [known["cars"], known["apples"]]


def test_a_missing_truth_is_refused(small_zoo: Path, refused: Refused) -> None:
    rewrite_accuracies(small_zoo, lambda m, t, a: None if (m, t) == ("wide", "cars") else a)
    zoo = FeatureStore(small_zoo)
    assert truth_of(zoo, ("apples",), MODELS).shape == (1, 4)
    with refused("accuracies.csv", "'wide'", "'cars'"):
        truth_of(zoo, TASKS, MODELS)


def test_constant_order_leaves_the_target_out(small_zoo: Path) -> None:
    known = known_accuracies(small_zoo)
    z = {}
    for task, values in known.items():
        mean, sd = statistics.fmean(values), statistics.pstdev(values)
        z[task] = [(value - mean) / sd for value in values]
    found = baseline_methods(FeatureStore(small_zoo), ("birds", "dice"), MODELS)[CONSTANT]
    assert found.reads == "nothing"
    for scores, target in zip(found.scores[0], ("birds", "dice"), strict=True):
        others = [z[task] for task in TASKS if task != target]
        wanted = [statistics.fmean(column) for column in zip(*others, strict=True)]
        np.testing.assert_allclose(scores, wanted, atol=1e-12)


def test_constant_order_never_reads_the_targets_truth(small_zoo: Path) -> None:
    before = baseline_methods(FeatureStore(small_zoo), TASKS, MODELS)[CONSTANT].scores[0]
    rewrite_accuracies(small_zoo, lambda m, t, a: str(1 - float(a)) if t == "birds" else a)
    after = baseline_methods(FeatureStore(small_zoo), TASKS, MODELS)[CONSTANT].scores[0]
    changed = [task for task, b, a in zip(TASKS, before, after, strict=True) if (b != a).any()]
    assert changed == ["apples", "cars", "dice"]


def test_constant_order_takes_tasks_with_every_accuracy(small_zoo: Path) -> None:
    rewrite_accuracies(small_zoo, lambda m, t, a: None if (m, t) == ("wide", "cars") else a)
    zoo = FeatureStore(small_zoo)
    known = known_accuracies_of(zoo, ("apples", "birds", "dice"))
    found = baseline_methods(zoo, ("apples",), MODELS)[CONSTANT].scores[0, 0]
    z = [(row - row.mean()) / row.std() for row in known[1:]]
    np.testing.assert_allclose(found, (z[0] + z[1]) / 2, atol=1e-12)


def known_accuracies_of(zoo: FeatureStore, tasks: tuple[str, ...]) -> NDArray[np.float64]:
    return np.array([[zoo.accuracies[model, task] for model in MODELS] for task in tasks])


def test_constant_order_needs_another_task(small_zoo: Path, refused: Refused) -> None:
    rewrite_accuracies(small_zoo, lambda m, t, a: a if t == "cars" else None)
    with refused("accuracies.csv", "no other task than 'cars'"):
        baseline_methods(FeatureStore(small_zoo), ("cars",), MODELS)


def test_random_orders_are_around_zero(small_zoo: Path) -> None:
    zoo = FeatureStore(small_zoo)
    comparison = Comparison(
        TASKS, MODELS, truth_of(zoo, TASKS, MODELS), baseline_methods(zoo, TASKS, MODELS)
    )
    taus = np.array(
        [
            [weighted_tau(t, s) for t, s in zip(comparison.truth, run, strict=True)]
            for run in comparison.methods["random"].scores
        ]
    )
    error = taus.std() / math.sqrt(taus.size)
    assert abs(comparison.taus("random").mean()) < 4 * error
    assert taus.std() > 0.3  # orders, not one order
    again = baseline_methods(zoo, TASKS, MODELS)["random"].scores
    assert again.tobytes() == comparison.methods["random"].scores.tobytes()
    other = baseline_methods(zoo, TASKS, MODELS, seed=1)["random"].scores
    assert (other != again).any()


def test_facts_are_baselines_where_every_model_has_them(small_zoo: Path) -> None:
    assert set(baseline_methods(FeatureStore(small_zoo), TASKS, MODELS)) == {CONSTANT, "random"}
    params = dict(zip(MODELS, (3, 1, 4, 2), strict=True))
    models = {m: {"params": p, "source_accuracy": 0.5} for m, p in params.items()}
    del models["psi"]["source_accuracy"]
    FeatureStore.write_manifest(small_zoo, extractor="psi", models=models)
    found = baseline_methods(FeatureStore(small_zoo), TASKS, MODELS)
    assert set(found) == {CONSTANT, "random", "parameter count"}
    assert found["parameter count"].scores.tolist() == [[[3, 1, 4, 2]] * 4]


# ---- the table -------------------------------------------------------------------------------


def comparison(notes: tuple[str, ...] = ()) -> Comparison:
    rng = np.random.default_rng(0)
    truth = rng.random((3, 5))
    methods = {
        CONSTANT: Method(np.tile(rng.random(5), (1, 3, 1)), "nothing"),
        "oracle": Method(truth[None].copy(), "truth"),
        "worst": Method(-truth[None], "truth"),
        "two | runs": Method(rng.random((2, 3, 5)), "extractor"),
    }
    return Comparison(("a", "b", "c"), tuple("vwxyz"), truth, methods, notes)


def per_task(compared: Comparison, name: str, measure: Callable[..., float]) -> list[float]:
    runs = compared.methods[name].scores
    return [
        statistics.fmean(measure(compared.truth[t], run[t]) for run in runs)
        for t in range(len(compared.tasks))
    ]


def test_rows_are_the_measures() -> None:
    compared = comparison()
    rows = {row[0]: dict(zip(Comparison.columns, row, strict=True)) for row in compared.to_rows()}
    assert list(rows) == list(compared.methods)
    for name, row in rows.items():
        taus = per_task(compared, name, weighted_tau)
        np.testing.assert_allclose(compared.taus(name), taus, atol=1e-12)
        _, low, high = bootstrap_interval(taus)
        assert row["reads of the target"] == compared.methods[name].reads
        assert row["weighted tau"] == pytest.approx(statistics.fmean(taus))
        assert row["95 % interval"] == f"[{low:.3f}, {high:.3f}]"
        by_truth = per_task(compared, name, lambda t, s: weighted_tau(t, s, rank=None))
        assert row["tau (by truth)"] == pytest.approx(statistics.fmean(by_truth))
        assert row["regret@1"] == pytest.approx(statistics.fmean(per_task(compared, name, regret)))
        hits = per_task(compared, name, top_k_hits)
        assert row["top-3 hits"] == pytest.approx(statistics.fmean(hits))


def test_a_perfect_order() -> None:
    row = dict(zip(Comparison.columns, comparison().to_rows()[1], strict=True))
    assert row["weighted tau"] == pytest.approx(1)
    assert (row["regret@1"], row["top-3 hits"]) == (0, 1)


def test_differences_are_paired_with_the_constant_order() -> None:
    compared = comparison()
    versus = {str(row[0]): str(row[-1]) for row in compared.to_rows()}
    assert versus[CONSTANT] == "-"
    assert versus["oracle"].startswith("+")
    assert versus["worst"].startswith("-")
    for name in ("oracle", "worst", "two | runs"):
        found = paired_difference(compared.taus(name), compared.taus(CONSTANT))
        wanted = f"{found.mean:+.3f} [{found.low:+.3f}, {found.high:+.3f}]"
        assert versus[name] == wanted + (" tie" if found.tie else "")
    assert not versus["oracle"].endswith("tie")


def test_a_method_like_the_constant_order_is_a_tie() -> None:
    compared = comparison()
    twin = compared.methods[CONSTANT]._replace(reads="all models")
    rows = Comparison(
        compared.tasks, compared.models, compared.truth, {CONSTANT: twin, "twin": twin}
    ).to_rows()
    assert rows[1][-1] == "+0.000 [+0.000, +0.000] tie"


def test_without_the_constant_order_nothing_is_compared() -> None:
    compared = comparison()
    methods = {"oracle": compared.methods["oracle"]}
    alone = Comparison(compared.tasks, compared.models, compared.truth, methods)
    assert [row[-1] for row in alone.to_rows()] == ["-"]


def test_text_and_markdown_hold_every_method_and_note() -> None:
    compared = comparison(("tie: the interval holds 0", "wide intervals"))
    text, markdown = compared.to_text(), compared.to_markdown()
    for name in compared.methods:
        assert name in text
        assert name.replace("|", "&#124;") in markdown
    for note in compared.notes:
        assert note in text.splitlines()
        assert f"- {note}" in markdown.splitlines()
    assert all(column in text and column in markdown for column in Comparison.columns[:3])
    table = [line for line in markdown.splitlines() if line.startswith("|")]
    assert len(table) == 2 + len(compared.methods)
    assert {line.count("|") for line in table} == {len(Comparison.columns) + 1}


# ---- metrics as methods ----------------------------------------------------------------------


def test_metrics_run_every_model(small_zoo: Path) -> None:
    zoo = FeatureStore(small_zoo)
    order = ("wide", "psi", "narrow", "middle")
    found = metric_methods(zoo, ("apples", "cars"), order, ("knn", "ridge", "nce"))
    assert set(found) == {"knn", "ridge"}  # no model has probabilities for nce
    assert found["knn"].reads == "all models"
    assert found["ridge"].reads == "all models (probe)"
    assert found["knn"].scores.shape == (1, 2, 4)
    for t, task in enumerate(("apples", "cars")):
        wanted = [knn(zoo.features(model, task), zoo.labels(task)) for model in order]
        np.testing.assert_allclose(found["knn"].scores[0, t], wanted, atol=1e-6)


def test_metrics_need_every_model(small_zoo: Path, refused: Refused) -> None:
    (small_zoo / "features" / "wide" / "cars.npy").unlink()
    with refused("'wide'", "'cars'"):
        metric_methods(FeatureStore(small_zoo), TASKS, MODELS, ("knn",))


# ---- the task kernel -------------------------------------------------------------------------


def kernel_reference(
    known: list[NDArray[np.float64]], targets: NDArray[np.float64], asked: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The formula of the kernel for one task, without padding."""

    def embed(tokens: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.concatenate([tokens.mean(0), tokens.std(0)])

    distances = np.array([((embed(asked) - embed(task)) ** 2).sum() for task in known])
    weights = np.exp(-(distances - distances.min()) / (0.3 * distances.std()))
    return np.array(np.average(targets, axis=0, weights=weights))


def padded(
    tasks: list[NDArray[np.float64]], classes: int
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    tokens = np.full((len(tasks), classes, tasks[0].shape[1]), 7.0)  # padding that must not count
    mask = np.zeros((len(tasks), classes), bool)
    for i, task in enumerate(tasks):
        tokens[i, : len(task)], mask[i, : len(task)] = task, True
    return tokens, mask


def test_kernel_is_its_formula() -> None:
    rng = np.random.default_rng(0)
    known = [rng.normal(size=(classes, 4)) for classes in (2, 3, 5, 3, 4)]
    asked = [rng.normal(size=(classes, 4)) for classes in (3, 6)]
    targets = rng.normal(size=(5, 7))
    found = task_kernel(*padded(known, 5), targets, *padded(asked, 8))
    wanted = [kernel_reference(known, targets, task) for task in asked]
    np.testing.assert_allclose(found, wanted, atol=1e-12)


def test_kernel_takes_the_order_of_the_task_it_knows() -> None:
    rng = np.random.default_rng(1)
    known = [rng.normal(size=(3, 4)) + 100 * i for i in range(3)]
    targets = rng.normal(size=(3, 7))
    tokens, mask = padded(known, 4)
    found = task_kernel(tokens, mask, targets, tokens[1:2], mask[1:2])
    # The other two are as far as each other: both weigh exp(-d/(0.3 sd)), sd = d sqrt(2)/3.
    other = math.exp(-3 / (0.3 * math.sqrt(2)))
    wanted = (targets[1] + other * (targets[0] + targets[2])) / (1 + 2 * other)
    np.testing.assert_allclose(found[0], wanted, atol=2e-4 * np.abs(targets).max())


def test_kernel_of_a_single_task_is_its_target() -> None:
    targets = np.array([[3.0, 1.0, 2.0]])
    tokens, mask = padded([np.ones((2, 4))], 2)
    assert task_kernel(tokens, mask, targets, tokens + 1, mask).tolist() == targets.tolist()


def test_kernel_method_ranks_for_a_zoos_tasks(small_zoo: Path) -> None:
    zoo = FeatureStore(small_zoo)
    config = TrainConfig(
        teachers=("logme",),
        tasks=TaskConfig(count=12, max_classes=4, rows=32, min_per_class=4, max_per_class=8),
    )
    sources = ("apples", "birds", "cars")
    given = training_set(zoo, config, sources)
    found = kernel_method(zoo, sources, ("dice", "apples"), given)
    assert found.shape == (2, 4)
    assert np.isfinite(found).all()
    assert (found[0] != found[1]).any()
    # A mean of z-scores lies between the smallest and the largest of them.
    z = (given.targets - given.targets.mean(1, keepdims=True)) / given.targets.std(1, keepdims=True)
    assert (found >= z.min(0) - 1e-6).all()
    assert (found <= z.max(0) + 1e-6).all()
    twice = kernel_method(zoo, sources, ("dice",), given)
    np.testing.assert_allclose(twice[0], found[0], atol=1e-6)
