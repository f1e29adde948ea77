"""The zoo inside the package: sound, small, licensed; what its scripts make of the originals."""

import inspect
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest

import spider_jax
from bench.zoos import embedded_sources, embedded_text_sources
from bench.zoos import make_embedded as maker
from bench.zoos import make_embedded_text as text_maker
from spider_jax.zoo.embedded import embedded_zoo
from spider_jax.zoo.store import FeatureStore

FOLDER = Path(spider_jax.__file__).parent / "zoo" / "embedded_data"
ORIGINALS = {"vision": "real_zoo", "text": "text_zoo"}
HELD_OUT = {"vision": embedded_sources.HELD_OUT, "text": embedded_text_sources.HELD_OUT}
SMALL_MODELS = {"vision": "human_iris", "text": "surface_counts"}
Refused = Callable[..., AbstractContextManager[None]]


@pytest.fixture(scope="module", params=ORIGINALS)
def part(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def zoo(part: str) -> FeatureStore:
    return embedded_zoo(part)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def text() -> FeatureStore:
    return embedded_zoo("text")


@pytest.fixture(scope="module")
def original(part: str) -> FeatureStore:
    if "SPIDER_JAX_DATA" not in os.environ:
        pytest.skip("SPIDER_JAX_DATA is not set: the comparison with the original zoo is left out")
    return FeatureStore(Path(os.environ["SPIDER_JAX_DATA"]) / ORIGINALS[part])


def held_out(zoo: FeatureStore) -> set[str]:
    return {task for task in zoo.tasks if zoo.task_info(task).get("held_out")}


# ---- the zoo itself --------------------------------------------------------------------------


def test_opens_without_problems(zoo: FeatureStore) -> None:
    assert zoo.problems == []
    assert zoo.extractor in zoo.models
    assert len(zoo.models) >= 12
    assert len(zoo.tasks) >= 10
    assert len(held_out(zoo)) >= 2
    assert all(zoo.models_of(task) == zoo.models for task in zoo.tasks)


def test_vision_is_the_part_that_is_meant_where_none_is_named() -> None:
    assert embedded_zoo().folder == embedded_zoo("vision").folder == FOLDER
    assert embedded_zoo("text").folder == FOLDER / "text"


def test_an_unknown_part_is_refused(refused: Refused) -> None:
    unchecked = inspect.unwrap(embedded_zoo)  # without the types, as a user calls it
    with refused("name must be one of ('vision', 'text')", "'sound'"):
        unchecked("sound")  # type: ignore[arg-type]


def test_holds_only_small_numbers_and_text() -> None:
    paths = [FOLDER, *FOLDER.rglob("*")]
    assert {path.suffix for path in paths if path.is_file()} == {".npy", ".json", ".csv", ".md"}
    in_text = [path for path in paths if path.is_relative_to(FOLDER / "text")]
    assert sum(path.stat().st_size for path in in_text) <= 6_000_000
    assert sum(path.stat().st_size for path in set(paths) - set(in_text)) <= 12_000_000


def test_manifest_describes_every_model_and_task(zoo: FeatureStore) -> None:
    assert set(zoo.manifest["models"]) == set(zoo.models)
    assert set(zoo.manifest["tasks"]) == set(zoo.tasks)
    assert zoo.manifest["note"]
    for model in zoo.models:
        info = zoo.model_info(model)
        assert all(info[key] for key in ("licence", "family", "trained_for"))
        assert info.get("source") or (info["package"] and info["version"])
        assert zoo.width(model) == info["width"] <= info["original_width"]
    for task in zoo.tasks:
        info = zoo.task_info(task)
        assert info["kind"] == "classification"
        assert info["source"]
        assert len(zoo.labels(task)) == info["samples"]
        assert set(zoo.labels(task)) == set(range(len(info["classes"])))


def test_everything_is_licensed_and_listed(zoo: FeatureStore) -> None:
    page = (zoo.folder / "PROVENANCE.md").read_text(encoding="utf-8")
    named = [("models", zoo.model_info(m), m) for m in zoo.models]
    named += [("tasks", zoo.task_info(t), t) for t in zoo.tasks]
    for section, info, name in named:
        assert info["licence"].strip(), (section, name)
        assert name in page
        assert info["licence"] in page


def test_features_are_finite_float16(zoo: FeatureStore) -> None:
    for model in zoo.models:
        for task in zoo.tasks:
            features = zoo.features(model, task)
            assert features.dtype == np.float16
            assert np.isfinite(features).all()


def test_accuracies_are_known_for_all_pairs(zoo: FeatureStore) -> None:
    pairs = {(model, task) for model in zoo.models for task in zoo.tasks}
    assert set(zoo.accuracies) == pairs
    assert all(0 <= accuracy <= 1 for accuracy in zoo.accuracies.values())


def test_held_out_tasks_of_vision_share_no_domain_with_source_tasks() -> None:
    zoo = embedded_zoo()
    apart = held_out(zoo)
    domains = {task: zoo.task_info(task)["domain"] for task in zoo.tasks}
    assert all(domains.values())
    assert not {domains[t] for t in apart} & {domains[t] for t in domains.keys() - apart}


# ---- the text part ---------------------------------------------------------------------------


def test_the_text_part_is_described_by_an_extractor_of_many_languages(text: FeatureStore) -> None:
    assert text.extractor == "use_multilingual_v3"
    assert text.standardized
    assert len(text.models) >= 14
    assert all(len(text.labels(task)) <= 200 for task in text.tasks)
    widths = {model: text.width(model) for model in text.models}
    assert widths.pop(text.extractor) == 128
    assert max(widths.values()) == 64


def test_two_held_out_texts_are_of_a_known_domain_and_one_is_of_its_own(text: FeatureStore) -> None:
    domains = {task: text.task_info(task)["domain"] for task in text.tasks}
    known = {domains[task] for task in domains.keys() - held_out(text)}
    assert len(known) >= 5
    assert sorted(domains[task] in known for task in held_out(text)) == [False, True, True]


def test_text_models_allow_to_hand_on_what_is_computed_with_them(text: FeatureStore) -> None:
    licences = {text.model_info(model)["licence"] for model in text.models}
    assert licences <= {"Apache-2.0", "MIT", "BSD-3-Clause", "PDDL"}


def test_a_model_of_another_licence_is_left_out_and_named(tmp_path: Path) -> None:
    models = {"free": "MIT", "copyleft": "GPL-3.0", "unknown": "none stated"}
    for model in models:
        FeatureStore.write_features(tmp_path, model, "task", np.ones((4, 2), np.float32))
    FeatureStore.write_labels(tmp_path, "task", np.arange(4) % 2)
    facts = {model: {"licence": licence} for model, licence in models.items()}
    FeatureStore.write_manifest(tmp_path, models=facts)
    zoo = FeatureStore(tmp_path)
    assert text_maker.kept_models(zoo) == ("free",)
    assert list(text_maker.left_out(zoo)) == ["copyleft", "unknown", "task"]


# ---- how it is made --------------------------------------------------------------------------


def test_rows_are_stratified_and_in_order() -> None:
    labels = np.random.default_rng(5).permutation(np.repeat([0, 1, 2], [100, 60, 40]))
    rows = maker.choose_rows(labels, 101)  # shares 50.5, 30.3, 20.2: class 0 gets the odd row
    assert np.bincount(labels[rows]).tolist() == [51, 30, 20]
    assert (np.diff(rows) > 0).all()
    assert maker.choose_rows(labels, 200).tolist() == list(range(200))
    assert maker.choose_rows(labels, 500).tolist() == list(range(200))


def test_projection_keeps_the_leading_variances() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(50, 6)) @ rng.normal(size=(6, 6)) + 3
    x = np.c_[x, np.full(50, 7.0), x[:, 0] * 2 + 1]  # one constant feature, one copied
    z = (x - x.mean(0))[:, [0, 1, 2, 3, 4, 5, 7]]
    expected = np.linalg.svd(z / z.std(0), compute_uv=False)[:3] ** 2 / 50
    projected = maker.fit_projection(x, 3)(x).astype(np.float64)
    assert maker.fit_projection(x, 8)(x).shape == (50, 6)
    np.testing.assert_allclose(projected.var(0), expected / expected.mean(), rtol=1e-2)
    np.testing.assert_allclose(np.corrcoef(projected.T), np.eye(3), atol=1e-2)


def test_held_out_rows_do_not_shape_the_projection(tmp_path: Path) -> None:
    rng, made = np.random.default_rng(0), []
    source = rng.normal(size=(30, 5)).astype(np.float32)
    rows = {"plain": np.arange(20), "apart": np.arange(30)}
    for scale in (1, 100):
        folder = tmp_path / str(scale)
        for task, features in (("plain", source), ("apart", source[::-1] * scale)):
            FeatureStore.write_labels(folder, task, np.arange(30) % 3)
            FeatureStore.write_features(folder, "m", task, features)
        made.append(maker.compact_features(FeatureStore(folder), "m", rows, ("apart",)))
    assert made[0]["plain"].tobytes() == made[1]["plain"].tobytes()
    assert made[0]["apart"].tobytes() != made[1]["apart"].tobytes()


def test_leave_one_out_is_the_same_as_refitting() -> None:
    rng = np.random.default_rng(1)
    labels = np.arange(24) % 3
    raw = rng.normal(size=(24, 7)) + labels[:, None] * 0.4
    x = (raw - raw.mean(0)) / raw.std(0)
    ridge = maker.RIDGE * (x**2).sum() / 24
    correct = 0
    for i in range(24):
        rest = np.arange(24) != i
        y = np.eye(3)[labels[rest]]
        design = np.c_[x[rest], np.ones(23)]  # the intercept is not penalised
        penalty = np.diag([ridge] * 7 + [0.0])
        beta = np.linalg.solve(design.T @ design + penalty, design.T @ y)
        correct += int((np.r_[x[i], 1.0] @ beta).argmax() == labels[i])
    assert 0 < correct < 24
    assert maker.loo_accuracy(raw, labels) == correct / 24


# ---- against the original --------------------------------------------------------------------


def test_labels_are_chosen_rows_of_the_original(
    part: str, zoo: FeatureStore, original: FeatureStore
) -> None:
    wanted = {"vision": original.tasks, "text": tuple(embedded_text_sources.TASKS)}
    assert zoo.tasks == wanted[part]
    for task in zoo.tasks:
        full, kept = original.labels(task), zoo.labels(task)
        share = len(kept) / len(full)
        assert np.array_equal(kept, full[maker.choose_rows(full)])
        assert zoo.task_info(task)["classes"] == original.task_info(task)["classes"]
        assert (np.abs(np.bincount(kept) - share * np.bincount(full)) < 1).all()


def test_accuracies_are_those_of_the_original(zoo: FeatureStore, original: FeatureStore) -> None:
    lines = (original.folder / "accuracies.csv").read_text(encoding="utf-8").splitlines()
    copied = (zoo.folder / "accuracies.csv").read_text(encoding="utf-8").splitlines()
    pairs = {(model, task) for model in zoo.models for task in zoo.tasks}
    assert copied == [lines[0], *(line for line in lines if (*line.split(",")[:2],) in pairs)]


def test_rerun_gives_the_same_bytes(part: str, zoo: FeatureStore, original: FeatureStore) -> None:
    rows = {task: maker.choose_rows(original.labels(task)) for task in zoo.tasks}
    model = SMALL_MODELS[part]
    again = maker.compact_features(original, model, rows, HELD_OUT[part])
    for task in zoo.tasks:
        assert again[task].tobytes() == zoo.features(model, task).tobytes()


def test_a_new_vision_part_leaves_the_text_part_alone(
    tmp_path: Path, real_zoo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maker, "write_arrays", lambda *_: {})  # features take long
    monkeypatch.setattr(maker, "provenance", lambda *_, **__: "")
    kept = tmp_path / "zoo" / "text" / "file"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"kept")
    (tmp_path / "zoo" / "old").touch()
    maker.build(FeatureStore(real_zoo), tmp_path / "zoo")
    assert kept.read_bytes() == b"kept"
    assert (tmp_path / "zoo" / "manifest.json").exists()
    assert not (tmp_path / "zoo" / "old").exists()
