"""Selection on a zoo with heads that are trained: recall, isolated failures, blind to test rows."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from spider_jax.heads import trainer as head_trainer
from spider_jax.heads.trainer import HeadTrainer
from spider_jax.heads.training import HeadConfig
from spider_jax.records.performance import PastResults
from spider_jax.selection.run import SelectConfig
from spider_jax.selection.selector import Selector
from spider_jax.selection.two_phases import select_models, usable_past
from spider_jax.spider.spider import Spider
from spider_jax.zoo.splits import task_split
from spider_jax.zoo.store import FeatureStore
from support.command_line import new_task
from support.small_selection import HEAD, QUICK, choices, select, with_split

pytestmark = pytest.mark.slow


def test_a_model_wins_and_the_cost_is_said(small_zoo: Path, tmp_path: Path) -> None:
    found = select(small_zoo, tmp_path / "run")
    entries = found.selector.entries
    assert found.selector.spent <= 8
    assert sorted(e.fate for e in entries.values()) == ["dropped", "dropped", "dropped", "won"]
    assert entries[str(found.selector.winner)].epochs == 3
    assert found.to_rows()[0][1] == "won"
    text = found.to_text()
    assert "brute force: 12 on the 4 models started, 12 on all 4" in text
    assert f"winner: {found.selector.winner}, test accuracy {found.test:.3f}" in text
    assert found.test is not None
    share = np.clip(found.test, 0.05, 0.95)
    error = np.sqrt(share * (1 - share) / 8)  # of 8 test rows
    assert f"standard error {error:.3f} (read once" in text
    assert f"{found.selector.spent} epochs spent of 8;" in text
    assert "apples has no splits file: rows dealt 60/20/20" in text
    assert "no past curves" in text


def test_the_best_of_really_different_models_wins(small_zoo: Path, tmp_path: Path) -> None:
    zoo = FeatureStore(small_zoo)
    labels = zoo.labels("cars")
    said = np.eye(5, dtype=np.float32)[labels] + 0.01 * np.arange(50, dtype=np.float32)[:, None]
    noise = np.random.default_rng(0).normal(size=(50, 5)).astype(np.float32)
    FeatureStore.write_features(small_zoo, "oracle", "cars", said)
    FeatureStore.write_features(small_zoo, "noise", "cars", noise)
    found = select(small_zoo, tmp_path / "run", task="cars")
    assert found.selector.entries["oracle"].epochs >= 1  # recall lets it in
    brute = SelectConfig(budget=None, epochs=8, policy="brute-force", head=HEAD)
    found = select(small_zoo, tmp_path / "brute", brute, task="cars")
    assert found.test is not None
    assert found.test >= 0.9
    assert found.selector.entries["noise"].validation[-1] < 0.6


def test_nothing_of_the_targets_test_touches_the_selection(small_zoo: Path, tmp_path: Path) -> None:
    split = with_split(small_zoo)
    before = select(small_zoo, tmp_path / "before")
    rng = np.random.default_rng(0)
    test = np.flatnonzero(split == 2)
    # the test rows' features and labels, and the target's known accuracies, are scrambled
    for model in FeatureStore(small_zoo).models:
        features = np.load(small_zoo / "features" / model / "apples.npy")
        features[test] = rng.normal(size=(len(test), features.shape[1]))
        FeatureStore.write_features(small_zoo, model, "apples", features)
    lines = (small_zoo / "accuracies.csv").read_text().splitlines()
    kept = [line for line in lines if ",apples," not in line]
    scrambled = [f"{m},apples,{rng.uniform():.3f}" for m in FeatureStore(small_zoo).models]
    (small_zoo / "accuracies.csv").write_text("\n".join([*kept, *scrambled, ""]))
    after = select(small_zoo, tmp_path / "after")
    assert choices(after) == choices(before)
    assert after.test is not None
    assert before.test is not None
    assert after.test < before.test  # it was read after the end, of rows that now say nothing


def test_labels_of_test_rows_are_not_read_before_the_end(small_zoo: Path, tmp_path: Path) -> None:
    split = with_split(small_zoo)
    before = select(small_zoo, tmp_path / "before")
    labels = np.load(small_zoo / "labels" / "apples.npy")
    labels[split == 2] = (labels[split == 2] + 1) % 3
    FeatureStore.write_labels(small_zoo, "apples", labels)
    assert choices(select(small_zoo, tmp_path / "after")) == choices(before)


def test_a_model_with_broken_features_is_dropped(small_zoo: Path, tmp_path: Path) -> None:
    features = np.load(small_zoo / "features" / "wide" / "apples.npy")
    features[7, 1] = np.nan
    FeatureStore.write_features(small_zoo, "wide", "apples", features)
    found = select(small_zoo, tmp_path / "run")
    assert found.selector.entries["wide"].fate == "failed"
    assert "NaN or infinite" in found.selector.entries["wide"].reason
    assert found.selector.winner is not None


def test_one_of_a_width_that_breaks_does_not_take_the_others(
    small_zoo: Path, tmp_path: Path
) -> None:
    features = np.load(small_zoo / "features" / "wide" / "apples.npy")
    FeatureStore.write_features(small_zoo, "twin", "apples", features)
    features[3, 3] = np.inf
    FeatureStore.write_features(small_zoo, "wide", "apples", features)
    found = select(small_zoo, tmp_path / "run", SelectConfig(budget=None, epochs=2, head=HEAD))
    fates = {model: entry.fate for model, entry in found.selector.entries.items()}
    assert fates["wide"] == "failed"
    assert fates["twin"] in ("dropped", "won")


def test_a_head_that_diverges_is_dropped(small_zoo: Path, tmp_path: Path) -> None:
    # widths differ, so that every head diverges by itself; then nobody is left
    wild = HeadConfig(batch=16, learning_rate=1e30)
    config = SelectConfig(budget=None, epochs=3, head=wild)
    found = select(small_zoo, tmp_path / "run", config)
    assert {e.fate for e in found.selector.entries.values()} == {"failed"}
    assert "validation score is nan" in found.to_text()
    assert "no model is left" in found.to_text()
    assert (found.selector.winner, found.test) == (None, None)


def test_regression_by_rmse_without_a_prior(small_zoo: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(3.0, 2.0, size=60).astype(np.float32)
    for model, noise in (("near", 0.1), ("far", 5.0)):
        width = 4
        features = truth[:, None] + noise * rng.normal(size=(60, width))
        FeatureStore.write_features(small_zoo, model, "price", features.astype(np.float32))
    FeatureStore.write_labels(small_zoo, "price", truth)
    config = SelectConfig(budget=None, epochs=20, head=HEAD)
    found = select(small_zoo, tmp_path / "run", config, "price")
    assert (found.measure, found.selector.winner) == ("rmse", "near")
    assert found.test is not None
    assert -1.5 < found.test < 0  # negative, and better than the labels' own spread of 2
    assert "rmse does not compare across tasks" in found.to_text()
    assert found.selector.validation_rows is None
    assert found.selector.entries["far"].standard_error[0] > 0


def test_the_manifest_names_the_measure(small_zoo: Path, tmp_path: Path) -> None:
    FeatureStore.write_manifest(small_zoo, tasks={"cars": {"measure": "matthews"}})
    found = select(small_zoo, tmp_path / "run", task="cars")
    assert found.measure == "matthews"
    assert found.selector.validation_rows is None  # its standard error is given instead
    said = [e.standard_error[0] for e in found.selector.entries.values() if e.epochs]
    assert np.isfinite(said).all()


@pytest.mark.parametrize("measure", ["log-loss", "AUC"])
def test_the_settings_name_another_measure(
    small_zoo: Path, tmp_path: Path, refused: Callable[..., object], measure: str
) -> None:
    config = SelectConfig(budget=4, epochs=2, head=HEAD, measure=measure)
    found = select(small_zoo, tmp_path / "run", config)
    assert found.measure == measure.lower().replace("-", "_")
    assert found.test is not None
    assert (found.test < 0) == (measure == "log-loss")
    assert found.test_error is not None  # 0 where all of a few rows are in order
    assert np.isnan(found.ranking().resolution)  # no share of rows
    with refused("is classification", "'rmse'", "use one of accuracy"):  # type: ignore[attr-defined]
        select(small_zoo, tmp_path / "other", SelectConfig(measure="rmse"))


@pytest.mark.parametrize("recall", ["prior", "knn", "spider"])
def test_recall_decides_who_starts(
    small_zoo: Path, tmp_path: Path, recall: str, request: pytest.FixtureRequest
) -> None:
    config = SelectConfig(budget=4, epochs=2, recall=recall, head=HEAD)
    zoo = FeatureStore(small_zoo)
    spider, task = None, "apples"
    if recall == "spider":
        spider, task = request.getfixturevalue("spider"), "eels"
        new_task(small_zoo, "eels", like="apples")
        zoo = FeatureStore(small_zoo)
    found = select_models(zoo, task, config, run=tmp_path / "run", spider=spider)
    entries = list(found.selector.entries.values())
    assert [e.fate == "not started" for e in entries] == [False] * 3 + [True]
    if recall == "prior":
        past = PastResults.from_accuracies(zoo.accuracies).without_task("apples")
        order = np.argsort(-past.mean_accuracies(), kind="stable")
        assert [e.model for e in entries] == [past.models[i] for i in order]


def test_only_representatives_are_run(
    small_zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    base = rng.uniform(0.4, 0.8, size=8)
    results = {
        (model, f"t{i}"): float(base[i] + shift)
        for model, shift in (("middle", 0.0), ("narrow", 0.01), ("psi", 0.02), ("wide", 0.3))
        for i in range(8)
    }
    past = PastResults.from_accuracies(results)
    config = SelectConfig(budget=4, epochs=2, representatives=True, head=HEAD)
    asked = []
    real = FeatureStore.features

    def features(self: FeatureStore, model: str, task: str) -> object:
        asked.append(model)
        return real(self, model, task)

    monkeypatch.setattr(FeatureStore, "features", features)
    monkeypatch.setattr(HeadTrainer, "epoch", None)
    with pytest.raises(TypeError):  # recall is over, training would begin
        select_models(FeatureStore(small_zoo), "apples", config, run=tmp_path / "r", past=past)
    assert asked == ["psi"]  # the best of the cluster; wide is a singleton
    selector = Selector.load(tmp_path / "r" / "selection.json")
    assert next(iter(selector.entries)) == "wide"


def test_curves_go_into_the_repository_and_serve_other_tasks(
    small_zoo: Path, tmp_path: Path
) -> None:
    first = select(small_zoo, tmp_path / "one")
    known = first.add_to(PastResults.from_accuracies({}))
    assert known.tasks == ("apples",)
    winner = known.models.index(str(first.selector.winner))
    assert known.accuracies[winner, 0] == first.test
    assert np.isfinite(known.accuracies).sum() == 1
    assert known.validation_rows.tolist() == [8]
    curve = first.selector.entries[known.models[winner]].validation
    np.testing.assert_array_equal(known.curves[winner, 0], curve)


def test_unknown_names_are_refused(
    small_zoo: Path, tmp_path: Path, refused: Callable[..., object]
) -> None:
    with refused("recall must be a spider, prior, or one of", "'best'"):  # type: ignore[attr-defined]
        select(small_zoo, tmp_path / "a", SelectConfig(recall="best"))
    with refused("recall", "'ncti'"):  # type: ignore[attr-defined]
        select(small_zoo, tmp_path / "b", SelectConfig(recall="ncti"))
    with refused("unknown policy"):  # type: ignore[attr-defined]
        select(small_zoo, tmp_path / "c", SelectConfig(policy="best"))
    with refused("recall='spider' needs a spider"):  # type: ignore[attr-defined]
        select(small_zoo, tmp_path / "d", SelectConfig(recall="spider"))
    with refused("unknown task"):  # type: ignore[attr-defined]
        select(small_zoo, tmp_path / "e", task="none")
    with refused("recall by leep", "no probabilities", "prior"):  # type: ignore[attr-defined]
        select(small_zoo, tmp_path / "f", SelectConfig(recall="leep"))


def test_a_spider_that_knows_the_target_is_refused(
    small_zoo: Path, tmp_path: Path, spider: Spider, refused: Callable[..., object]
) -> None:
    config = SelectConfig(budget=4, epochs=2, recall="spider", head=HEAD)
    with refused("trained on 'apples'", "held_out"):  # type: ignore[attr-defined]
        select_models(FeatureStore(small_zoo), "apples", config, run=tmp_path / "a", spider=spider)
    new_task(small_zoo, "eels", like="apples")
    FeatureStore.write_manifest(small_zoo, extractor="wide")
    with refused("'wide'", "'psi'"):  # type: ignore[attr-defined]
        select_models(FeatureStore(small_zoo), "eels", config, run=tmp_path / "b", spider=spider)


def test_results_that_mean_something_else_take_no_part(small_zoo: Path, tmp_path: Path) -> None:
    """An rmse, declared or by default, is no prior of accuracies, nor one for the repository."""
    numbers = np.random.default_rng(0).normal(size=30).astype(np.float32)
    for task in ("price", "size"):
        FeatureStore.write_labels(small_zoo, task, numbers)
        for model in ("wide", "narrow"):
            features = np.random.default_rng(1).normal(size=(30, 12 if model == "wide" else 5))
            FeatureStore.write_features(small_zoo, model, task, features.astype(np.float32))
    FeatureStore.write_manifest(small_zoo, tasks={"size": {"measure": "r2"}})
    zoo = FeatureStore(small_zoo)
    given = {("wide", "price"): -20.0, ("wide", "size"): 0.5, ("wide", "elsewhere"): 0.7}
    past, _ = usable_past(zoo, "apples", "accuracy", PastResults.from_accuracies(given))
    assert sorted(past.tasks) == ["elsewhere", "size"]
    found = select(small_zoo, tmp_path / "run", task="price")
    assert found.measure == "rmse"
    none = PastResults.from_accuracies({})
    assert found.add_to(none) is none


def test_a_file_that_goes_away_takes_out_its_model(small_zoo: Path, tmp_path: Path) -> None:
    zoo = FeatureStore(small_zoo)
    for model, harm in (("wide", Path.unlink), ("narrow", lambda path: path.write_bytes(b""))):
        harm(small_zoo / "features" / model / "apples.npy")
    found = select_models(zoo, "apples", QUICK, run=tmp_path / "run")
    entries = found.selector.entries
    assert [m for m, e in entries.items() if e.fate == "failed"] in (
        ["narrow", "wide"],
        ["wide", "narrow"],
    )
    assert "changed since the zoo was opened" in entries["wide"].reason
    assert found.selector.winner in ("middle", "psi")


def test_a_group_is_as_large_as_memory(small_zoo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    features = np.load(small_zoo / "features" / "wide" / "apples.npy")
    for twin in "abcd":
        FeatureStore.write_features(small_zoo, twin, "apples", features)
    zoo = FeatureStore(small_zoo)
    trainer = HeadTrainer(
        zoo, "apples", task_split(zoo, "apples"), "accuracy", HEAD, small_zoo / "run"
    )
    models = ["a", "b", "psi", "c", "wide", "d"]
    assert list(trainer.groups(models)) == [["psi"], ["a", "b", "c", "wide", "d"]]
    monkeypatch.setattr(head_trainer, "GROUP_BYTES", 2 * trainer._bytes(12))
    assert list(trainer.groups(models)) == [["psi"], ["a", "b"], ["c", "wide"], ["d"]]
    monkeypatch.setattr(head_trainer, "GROUP_BYTES", 1)
    assert len(list(trainer.groups(models))) == len(models)
