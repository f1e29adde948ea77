"""A prior from records: what it says of a task, what it must not have seen, on disk and back."""

import json
from dataclasses import replace

import numpy as np
import pytest

from spider_jax.belief.belief import STANDARD
from spider_jax.recommend.records_prior import RecordsPrior
from spider_jax.recommend.saved_prior import is_prior, load_prior, save_prior, saved_arrays
from spider_jax.records.table import Records
from support.references.beliefs import conditioned, expected_sample_variance, seen_spread
from support.references.recommending import (
    constant_order,
    moved,
    shown_results,
    surprise_covariance,
)
from support.small_records import MODELS, records_of, table_of


def arrays_of(prior):
    return {name: array.tobytes() for name, array in saved_arrays(prior).items()}


def dense_z(prior):
    dense = np.full((len(prior.models), len(prior.words.tasks)), np.nan)
    dense[prior.scaled.model, prior.scaled.task] = prior.scaled.z
    return dense


def dense_belief(prior, similarity):
    """mu and the whole covariance of a task of these similarities."""
    kernel, covariance = prior.kernel, prior.covariance
    w = np.exp(kernel.others[0] + (np.exp(kernel.fields)[:, None] * (similarity - 1)).sum(0))
    others = np.exp(kernel.others[1:])
    others[1] /= 1 + others[1]
    z = dense_z(prior)
    constant = constant_order(z, prior.before)
    mean, v = moved(z, constant, w, others)
    unit = np.sqrt(v)
    shown = mean / unit, (mean - constant) / unit
    dense = surprise_covariance(*covariance.factors, covariance.facts, *shown, covariance.weights)
    return mean, dense * np.outer(unit, unit)


def same_belief(one, two):
    assert one.mean.tobytes() == two.mean.tobytes()
    assert one.sd.tobytes() == two.sd.tobytes()


# ---- what it says ------------------------------------------------------------------------------


@pytest.mark.parametrize("heard", [1, 2, 3, 6])
def test_the_belief_is_the_dense_posterior(prior, heard):
    start = prior.belief("medical texts on the bird")
    mean, covariance = dense_belief(prior, prior.words.of_description("medical texts on the bird"))
    np.testing.assert_allclose(start.mean, mean, rtol=0, atol=1e-10)
    np.testing.assert_allclose(start.sd, np.sqrt(np.diagonal(covariance)), rtol=0, atol=1e-10)
    models = np.array([3, 0, 13, 7, 8, 5])[:heard]
    results = np.array([0.4, -1.0, 2.2, 0.4, 0.9, 0.0])[:heard]
    size, worth = start.evidence.results
    errors = size * np.linspace(0.05, 0.3, heard)
    names = [prior.models[i] for i in models]
    after = start.observe(
        dict(zip(names, results.tolist(), strict=True)),
        standard_error=dict(zip(names, errors.tolist(), strict=True)),
    )
    expected = 1.0
    if heard > 1:
        expected = expected_sample_variance(mean[models], covariance[np.ix_(models, models)])
    seen = seen_spread(size, worth, results, expected)
    values, variances, unit, origin = results / seen, (errors / seen) ** 2, seen, 0.0
    if heard > 2:
        values, variances, unit, origin = shown_results(
            results, errors, expected, seen, size, prior.reading.ranks
        )
    dense = conditioned(mean, covariance, [(models, values, variances + prior.reading.link + 1e-9)])
    M = len(mean)
    np.testing.assert_allclose(after.posterior.mean, dense.mean[:M], rtol=0, atol=1e-8)
    np.testing.assert_allclose(
        after.posterior.covariance(np.arange(M)), dense.covariance[:M, :M], rtol=0, atol=1e-8
    )
    if heard > 1:
        shown = origin + unit * (dense.mean[:M] + dense.mean[M])
        np.testing.assert_allclose(after.mean, shown, rtol=0, atol=1e-6)


def test_nothing_described_is_nearly_the_constant_order(prior):
    found = prior.belief()
    assert found.unit == STANDARD
    assert np.corrcoef(found.mean, prior.constant)[0, 1] > 0.9
    assert 0 <= found.explained < prior.belief(like=["bird medical"]).explained <= 1


def test_like_a_known_task(prior, refused):
    found = prior.belief(like=["cat legal", "dog medical"])
    near = np.maximum(*prior.words.of_tasks([4, 7]).transpose(1, 0, 2))
    np.testing.assert_allclose(found.mean, dense_belief(prior, near)[0], rtol=0, atol=1e-10)
    both = prior.belief("legal texts", like=["cat legal", "dog medical"])
    near = (near + prior.words.of_description("legal texts")) / 2
    np.testing.assert_allclose(both.mean, dense_belief(prior, near)[0], rtol=0, atol=1e-10)
    with refused("cat legals", "12 tasks"):
        prior.belief(like=["cat legals"])


def test_a_model_without_any_record_has_a_place_by_its_facts(prior):
    assert prior.scaled.counts[-1] == 0
    start = prior.belief()
    np.testing.assert_allclose(prior.constant[-1], prior.before[-1])
    weight = prior.scaled.counts / (prior.scaled.counts + 1)
    means = np.nan_to_num(np.nansum(dense_z(prior), 1) / np.maximum(prior.scaled.counts, 1))
    P = prior.covariance.facts
    ridge = np.linalg.solve(
        P.T @ np.diag(weight) @ P + 5 * np.eye(P.shape[1]), P.T @ (weight * means)
    )
    np.testing.assert_allclose(prior.before, P @ ridge, rtol=0, atol=1e-10)
    assert start.sd[-1] > np.median(start.sd)


def test_a_prior_of_small_tables_takes_results_in_any_measure(plain_prior):
    assert not np.isfinite(plain_prior.scaled.size).any()
    seen = plain_prior.belief("birds").observe({"ada": 83.0, "bob": 71.0, "dan": 78.0})
    assert seen.unit == "result"
    order = [seen.names[i] for i in np.argsort(-seen.mean)]
    assert [m for m in order if m != "cy"] == ["ada", "dan", "bob"]
    assert 60 < seen.mean.min() < seen.mean.max() < 95


# ---- what it must not have seen ----------------------------------------------------------------


def test_results_of_a_held_out_task_touch_nothing(records, prior):
    held = records.tasks.index("bird legal")
    value = records.value.copy()
    at = records.task == held
    value[at] = 1e6 * np.random.default_rng(5).normal(size=at.sum())
    scrambled = RecordsPrior.fit(replace(records, value=value), hold_out=["bird legal"])
    assert arrays_of(scrambled) == arrays_of(prior)
    same_belief(scrambled.belief(like=["bird legal"]), prior.belief(like=["bird legal"]))
    assert prior.scaled.known.toarray()[held].sum() == 0


def test_another_order_of_models_and_tasks(records, prior):
    rng = np.random.default_rng(6)
    models, tasks = rng.permutation(14), rng.permutation(12)
    rows = rng.permutation(len(records))
    moved_ = Records(
        models=tuple(records.models[i] for i in models),
        tasks=tuple(records.tasks[i] for i in tasks),
        model=np.argsort(models)[records.model[rows]].astype(np.int32),
        task=np.argsort(tasks)[records.task[rows]].astype(np.int32),
        value=records.value[rows],
        stderr=records.stderr[rows],
        model_facts={c: tuple(t[i] for i in models) for c, t in records.model_facts.items()},
        task_facts={c: tuple(t[i] for i in tasks) for c, t in records.task_facts.items()},
    )
    found = RecordsPrior.fit(moved_, hold_out=["bird legal"])
    np.testing.assert_allclose(dense_z(found), dense_z(prior)[models][:, tasks], rtol=0, atol=1e-9)
    p = np.r_[found.kernel.fields, found.kernel.others]
    np.testing.assert_allclose(p, np.r_[prior.kernel.fields, prior.kernel.others], atol=0.02)
    one, two = prior.belief("medical texts"), found.belief("medical texts")
    np.testing.assert_allclose(two.mean, one.mean[models], rtol=0, atol=2e-3)


def test_what_cannot_be_fitted(records, refused):
    with refused("hold_out", "'no such task'"):
        RecordsPrior.fit(records, hold_out=["no such task"])
    with refused("groups", "'no such column'", "type, description"):
        RecordsPrior.fit(records, groups="no such column")
    with refused("groups", "12 tasks"):
        RecordsPrior.fit(records, groups=["a", "b"])
    one = records_of(table_of(3, 1), ("a", "b", "c"), ("t",))
    with refused("two models on two tasks", "3 results of 3 models on 1 tasks"):
        RecordsPrior.fit(one)
    with refused("two models on two tasks", "2 results of 1 models on 2 tasks"):
        RecordsPrior.fit(records_of(table_of(1, 2), ("a",), ("t", "u")))
    with refused("two models on two tasks"):
        RecordsPrior.fit(records, hold_out=records.tasks[1:])


@pytest.mark.parametrize(
    "rows",
    [
        [("a", "t", 1.0), ("b", "u", 2.0)],
        [(m, f"{t} x", 0.5) for m in "abc" for t in "tuvwxyz"],
        [(m, t, float(i * j)) for i, m in enumerate("☆—…") for j, t in enumerate("★◆●")],
        [(m, t, 1e6 * i + j) for i, m in enumerate("ab") for j, t in enumerate("tuvw")],
    ],
    ids=["a record each", "all equal", "no words", "two models"],
)
def test_odd_tables(rows):
    prior = RecordsPrior.fit(Records.from_rows(rows))
    names = prior.models
    seen = prior.belief("x").observe({names[0]: 12.0, names[1]: 11.0})
    assert np.isfinite([seen.mean, seen.sd]).all()
    assert (seen.sd > 0).all()
    assert seen.probability_above(names[0], names[1]) > 0.5


# ---- on disk -----------------------------------------------------------------------------------


def test_a_saved_prior_says_the_same_to_the_bit(prior, tmp_path):
    save_prior(prior, tmp_path / "prior")
    save_prior(prior, tmp_path / "prior")  # in place of an older one
    assert is_prior(tmp_path / "prior")
    assert not is_prior(tmp_path)
    found = load_prior(tmp_path / "prior")
    assert arrays_of(found) == arrays_of(prior)
    assert (found.models, found.measures) == (prior.models, prior.measures)
    heard = {MODELS[0]: 0.3, MODELS[4]: 0.1, MODELS[9]: 0.9}
    for one, two in (
        (found.belief(), prior.belief()),
        (found.belief("legal", like=["cat legal"]), prior.belief("legal", like=["cat legal"])),
        (found.belief("legal").observe(heard), prior.belief("legal").observe(heard)),
    ):
        same_belief(one, two)
        assert one.evidence == two.evidence


def changed(folder, **content):
    path = folder / "prior.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | content))


def test_a_damaged_prior_is_one_line(plain_prior, tmp_path, refused):
    folder = tmp_path / "prior"
    with refused("prior.json", "missing"):
        load_prior(folder)
    for content in (
        {"measures": []},
        {"models": ["a"]},
        {"tasks": ["a"]},
        {"task_facts": {"type": ["x"]}},
        {"task_facts": []},
        {"models": 3},
    ):
        save_prior(plain_prior, folder)
        changed(folder, **content)
        with refused("prior.json", "not a whole prior"):
            load_prior(folder)
    save_prior(plain_prior, folder)
    changed(folder, version=99)
    with refused("prior.json", "newer"):
        load_prior(folder)
    save_prior(plain_prior, folder)
    path = folder / "arrays" / "z.npy"
    path.write_bytes(path.read_bytes()[:-8] + b"damaged!")
    with refused("z.npy", "damaged", "fit the prior again"):
        load_prior(folder)
    path.unlink()
    with refused("z.npy", "missing"):
        load_prior(folder)


def test_a_foreign_folder_is_not_replaced(plain_prior, tmp_path, refused):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with refused("mine", "no prior"):
        save_prior(plain_prior, tmp_path / "mine")
    (tmp_path / "file").write_text("")
    with refused("file"):
        save_prior(plain_prior, tmp_path / "file")
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"
