"""A zoo scored on a task: shared statistics, the cache, what is left out, what is broken."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from spider_jax.metrics import DEFAULT_METRICS, METRICS, fit_logme, logme
from spider_jax.storage.cache import default_folder
from spider_jax.storage.files import read_json, write_json
from spider_jax.zoo.scores import score_zoo
from spider_jax.zoo.store import FeatureStore

CHEAP = [name for name in METRICS if name != "linear_probe"]


@pytest.fixture
def with_heads(small_zoo):
    """The small zoo, where two models have source probabilities."""
    rng = np.random.default_rng(0)
    folder = small_zoo / "probabilities"
    for model in ("narrow", "wide"):
        (folder / model).mkdir(parents=True)
        P = rng.dirichlet(np.ones(7), len(FeatureStore(small_zoo).labels("apples")))
        np.save(folder / model / "apples.npy", P.astype(np.float32))
    return small_zoo


def test_every_metric_is_the_function_on_the_features(with_heads):
    zoo = FeatureStore(with_heads)
    table = score_zoo(zoo, "apples", CHEAP)
    labels = zoo.training_labels("apples")
    for model, row in zip(table.models, table.values, strict=True):
        F = zoo.training_features(model, "apples")
        for name, value in zip(CHEAP, row, strict=True):
            metric = METRICS[name]
            if metric.combine is not None:
                continue
            if metric.needs == "features":
                assert value == pytest.approx(metric.score(F, labels), abs=1e-9)
            elif zoo.has_probabilities(model, "apples"):
                P = zoo.probabilities(model, "apples")
                assert value == metric.score(probabilities=P, labels=labels)
            else:
                assert np.isnan(value)
    assert table.problems == ()


def test_only_training_rows_are_read(small_zoo):
    zoo = FeatureStore(small_zoo)
    labels, F = zoo.labels("apples"), np.array(zoo.features("wide", "apples"))
    split = (np.arange(len(labels)) % 4 == 3).astype(np.int8)
    (small_zoo / "splits").mkdir()
    np.save(small_zoo / "splits" / "apples.npy", split)
    table = score_zoo(FeatureStore(small_zoo), "apples", ["logme", "knn"])
    rows = split == 0
    expected = [METRICS[name].score(F[rows], labels[rows]) for name in ("logme", "knn")]
    assert table.values[table.models.index("wide")] == pytest.approx(expected, abs=1e-9)


# ---- the cache -------------------------------------------------------------------------------


def test_a_second_run_computes_nothing_and_says_the_same(with_heads):
    first = score_zoo(FeatureStore(with_heads), "apples", CHEAP)
    again = score_zoo(FeatureStore(with_heads), "apples", CHEAP)
    assert first.computed == np.isfinite(first.values).sum()
    assert again.computed == 0
    np.testing.assert_array_equal(first.values, again.values)


def test_another_metric_computes_only_what_is_missing(small_zoo):
    score_zoo(FeatureStore(small_zoo), "apples", ["logme"])
    table = score_zoo(FeatureStore(small_zoo), "apples", ["logme", "knn"])
    assert table.computed == len(table.models)


@pytest.mark.parametrize("change", ["features", "labels"])
def test_a_changed_file_is_computed_again(small_zoo, change):
    zoo = FeatureStore(small_zoo)
    score_zoo(zoo, "apples", ["logme"])
    if change == "features":
        F = np.array(zoo.features("wide", "apples"))
        F[0, 0] += 1
        FeatureStore.write_features(small_zoo, "wide", "apples", F)
        missing = 1
    else:
        FeatureStore.write_labels(small_zoo, "apples", np.roll(zoo.labels("apples"), 1))
        missing = len(zoo.models)
    changed = score_zoo(FeatureStore(small_zoo), "apples", ["logme"])
    assert changed.computed == missing
    alone = score_zoo(FeatureStore(small_zoo), "apples", ["logme"], cache=False)
    np.testing.assert_array_equal(changed.values, alone.values)


def test_the_cache_is_the_users_own_a_folder_or_none(small_zoo, tmp_path):
    zoo = FeatureStore(small_zoo)
    score_zoo(zoo, "apples", ["knn"], cache=False)
    assert not default_folder().exists()
    score_zoo(zoo, "apples", ["knn"], cache=tmp_path / "mine")
    assert len(list((tmp_path / "mine").rglob("*.json"))) == len(zoo.models)
    assert not default_folder().exists()
    score_zoo(zoo, "apples", ["knn"])
    assert default_folder().stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("spoil", ["no JSON", "values of text", "newer", "another metric version"])
def test_a_cache_that_cannot_be_used_costs_time_and_not_the_run(small_zoo, spoil, monkeypatch):
    zoo = FeatureStore(small_zoo)
    first = score_zoo(zoo, "apples", ["knn"])
    for path in default_folder().rglob("*.json"):
        content = read_json(path, "score-cache")
        if spoil == "no JSON":
            path.write_text("{")
        elif spoil == "values of text":
            write_json(path, "score-cache", {"values": dict.fromkeys(content["values"], "0.5")})
        elif spoil == "newer":
            path.write_text(json.dumps(content | {"version": 99}))
    if spoil == "another metric version":
        monkeypatch.setitem(METRICS, "knn", METRICS["knn"]._replace(version=99))
    again = score_zoo(zoo, "apples", ["knn"])
    assert again.computed == len(zoo.models)
    np.testing.assert_array_equal(first.values, again.values)


def test_a_cache_that_cannot_be_written_costs_the_cache_only(small_zoo, tmp_path, caplog):
    (tmp_path / "file").write_text("")
    table = score_zoo(FeatureStore(small_zoo), "apples", ["knn"], cache=tmp_path / "file")
    assert np.isfinite(table.values).all()
    assert "scores are not cached" in caplog.text


def test_a_killed_run_leaves_what_it_had(small_zoo, tmp_path):
    """kill -9 while the third model is scored: the next run computes the others only."""
    script = (
        "import sys, time\n"
        "from spider_jax.metrics import METRICS\n"
        "from spider_jax.zoo.scores import score_zoo\n"
        "from spider_jax.zoo.store import FeatureStore\n"
        "knn, calls = METRICS['knn'].shared, []\n"
        "def slow(given):\n"
        "    calls.append(0)\n"
        "    if len(calls) == 3:\n"
        "        print('third', flush=True)\n"
        "        time.sleep(600)\n"
        "    return knn(given)\n"
        "METRICS['knn'] = METRICS['knn']._replace(shared=slow)\n"
        "score_zoo(FeatureStore(sys.argv[1]), 'apples', ['knn'], cache=sys.argv[2])\n"
    )
    arguments = [sys.executable, "-c", script, str(small_zoo), str(tmp_path / "mine")]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, env=os.environ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"third\n"
        process.send_signal(signal.SIGKILL)
    table = score_zoo(FeatureStore(small_zoo), "apples", ["knn"], cache=tmp_path / "mine")
    assert table.computed == len(table.models) - 2


# ---- what is left out --------------------------------------------------------------------------


def test_what_is_left_out_is_said(small_zoo):
    table = score_zoo(FeatureStore(small_zoo), "apples", DEFAULT_METRICS)
    why = dict(table.left_out)
    assert why["nce"] == why["leep"] == "no model has source probabilities on this task"
    assert "source" in why["otce"]
    columns, rows, text = table.columns, table.to_rows(), table.to_text()
    assert "left out: nce: no model" in text
    assert "nce" not in text.splitlines()[0].split()  # no empty column on a terminal
    assert columns == ("model", *DEFAULT_METRICS, "combined")  # for programs the columns stay
    assert {len(row) for row in rows} == {len(columns)}


def test_a_metric_that_fails_on_a_model_is_a_problem_of_its_own(small_zoo, monkeypatch):
    from spider_jax.errors import InputError

    def picky(given):
        if given.width == 12:
            raise InputError("features must not be 12 wide")
        return 1.0

    monkeypatch.setitem(METRICS, "knn", METRICS["knn"]._replace(shared=picky))
    table = score_zoo(FeatureStore(small_zoo), "apples", ["logme", "knn"])
    assert [str(p) for p in table.problems] == ["wide on apples: knn: features must not be 12 wide"]
    assert np.isnan(table.values[table.models.index("wide"), 1])
    assert np.isfinite(table.values).sum() == 2 * len(table.models) - 1


def test_otce_is_a_function_only(refused, small_zoo):
    with refused("otce", "source", "call it as a function"):
        score_zoo(FeatureStore(small_zoo), "apples", ["otce"])


@pytest.mark.parametrize("kind", ["regression", "multi-label"])
def test_other_tasks_are_scored_by_logme_alone(refused, small_zoo, kind):
    zoo, rng = FeatureStore(small_zoo), np.random.default_rng(0)
    n = len(zoo.labels("apples"))
    targets = rng.normal(size=(n, 2)).astype(np.float32)
    FeatureStore.write_labels(small_zoo, "apples", targets if kind == "regression" else targets > 0)
    FeatureStore.write_manifest(small_zoo, extractor="psi")  # it said classification
    zoo = FeatureStore(small_zoo)
    table = score_zoo(zoo, "apples", ["logme", "knn"])
    F = zoo.training_features("wide", "apples")
    expected = logme(F, zoo.training_labels("apples"))
    assert table.values[table.models.index("wide"), 0] == pytest.approx(expected, abs=1e-9)
    assert dict(table.left_out)["knn"] == f"it has no meaning on a {kind} task"
    with refused(kind, "knn"):
        score_zoo(zoo, "apples", ["knn"])


# ---- the fit behind LogME ----------------------------------------------------------------------


def test_the_posterior_mean_is_ridge_at_the_best_ratio():
    rng = np.random.default_rng(0)
    for shape in ((40, 6), (12, 30)):
        F = rng.normal(size=shape)
        Y = F[:, :2] + 0.5 * rng.normal(size=(shape[0], 2))
        fit = fit_logme(F, Y)
        for t, y, weights in zip(fit.ratio, Y.T, fit.posterior_mean, strict=True):
            ridge = F.T @ np.linalg.solve(F @ F.T + t * np.eye(shape[0]), y)
            np.testing.assert_allclose(weights, ridge, rtol=1e-6, atol=1e-9)
        assert fit.score == pytest.approx(logme(F, Y), abs=1e-12)


def test_the_fit_flags_what_has_no_maximum():
    rng = np.random.default_rng(0)
    F = rng.normal(size=(60, 4))
    noise = np.linalg.qr(np.column_stack([F, rng.normal(size=60)]))[0][:, 4]
    columns = np.column_stack([F @ rng.normal(size=4), noise, np.zeros(60), F[:, 0] + noise])
    fit = fit_logme(F, columns)
    assert fit.states == ("interpolates", "no signal", "empty", "interior")
    assert np.isfinite(fit.evidence[[0, 1, 3]]).all()
    assert not fit.posterior_mean[1].any()
    np.testing.assert_allclose(F @ fit.posterior_mean[0], columns[:, 0], atol=1e-8)
    assert fit.score == pytest.approx(fit.evidence[[0, 1, 3]].mean())


def test_an_unknown_compat_is_refused(refused):
    with refused("compat", "'icml'", "published"):
        logme(np.eye(4), [0, 1, 0, 1], compat="icml")
