"""Members that help each other are chosen, one is enough where it is, and the ensemble is kept."""

import numpy as np
import pytest

from spider_jax.ensemble import Ensemble, combine_zoo, fewest_as_good, forward_choice
from spider_jax.ensemble import combine as module
from spider_jax.ensemble.calibration import answers_of
from spider_jax.errors import InputError
from spider_jax.zoo.files import write_domains
from spider_jax.zoo.store import FeatureStore

ROWS = 240


@pytest.fixture
def zoo(tmp_path):
    """`left` and `right` see two halves of what tells the classes apart, `copy` sees as `left`."""
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.arange(ROWS) % 4)
    bits = np.stack([labels // 2, labels % 2], 1) * 2.0 - 1
    seen = {"left": bits[:, :1], "right": bits[:, 1:], "copy": bits[:, :1], "noise": bits[:, :0]}
    FeatureStore.write_labels(tmp_path, "four", labels)
    for model, signal in seen.items():
        F = np.hstack([signal + 0.5 * rng.normal(size=signal.shape), rng.normal(size=(ROWS, 3))])
        FeatureStore.write_features(tmp_path, model, "four", F.astype(np.float32))
    return tmp_path


def predicted(zoo, found):
    store = FeatureStore(zoo)
    return found.ensemble.predict({m: store.features(m, "four") for m in found.ensemble.members})


@pytest.mark.parametrize("method", ["auto", "average", "concatenate", "select"])
def test_those_who_help_each_other_go_together(zoo, method):
    models = ("copy", "left", "right", "noise")
    found = combine_zoo(FeatureStore(zoo), "four", models=models, method=method, cache=False)
    assert "right" in [step.model for step in found.steps[:2]]  # not the copy of the first
    assert "right" in found.ensemble.members
    assert len(found.ensemble.members) > 1
    assert found.validation[0] > found.validation[1] + 0.2
    assert found.test[0] > found.test[1] + 0.1
    assert "forward passes a row" in found.notes[0]
    if method == "select":
        assert found.selected.kept.sum() <= 4
    assert found.to_rows()[0][:2] == [found.steps[0].model, "yes"]


def test_one_model_is_as_good(zoo):
    found = combine_zoo(FeatureStore(zoo), "four", models=("left", "noise"), cache=False)
    assert (found.method, found.ensemble.members) == ("one model", ("left",))
    assert found.notes[0] == "one model is as good: left, 1 forward pass a row"
    assert found.validation[0] == found.validation[1]
    assert found.test[0] == found.test[1]


def test_the_budget_is_kept(zoo):
    found = combine_zoo(FeatureStore(zoo), "four", models=("left", "right"), budget=1, cache=False)
    assert len(found.steps) == 1


def test_a_saved_ensemble_predicts_as_before(zoo, tmp_path):
    models = ("left", "right")
    found = combine_zoo(FeatureStore(zoo), "four", models=models, method="concatenate", cache=False)
    folder = tmp_path / "out"
    found.ensemble.save(folder)
    found.ensemble.save(folder)  # a second time, in its place
    read = Ensemble.load(folder)
    store = FeatureStore(zoo)
    given = {m: store.features(m, "four") for m in read.members}
    np.testing.assert_array_equal(read.predict(given), predicted(zoo, found))
    assert read.about == found.ensemble.about
    answers = answers_of("classification", read.predict(given), store.labels("four"))
    assert (answers == store.labels("four")).mean() > 0.8
    first = read.members[0]
    for bad in ({}, {**given, first: given[first][:, :2]}, {**given, first: given[first][:5]}):
        with pytest.raises(InputError, match="features of"):
            read.predict(bad)
    broken = given | {first: np.where(np.arange(ROWS)[:, None] == 3, np.nan, given[first])}
    with pytest.raises(InputError, match="finite"):
        read.predict(broken)


@pytest.mark.parametrize("damage", ["cut", "other", "gone"])
def test_a_damaged_ensemble_is_refused(zoo, tmp_path, damage):
    found = combine_zoo(FeatureStore(zoo), "four", models=("left", "right"), cache=False)
    found.ensemble.save(tmp_path / "out")
    weights = tmp_path / "out" / "weights.npz"
    if damage == "cut":
        weights.write_bytes(weights.read_bytes()[:-30])
    elif damage == "other":
        held = dict(np.load(weights))
        np.savez(weights, **{name: value + 1 for name, value in held.items()})
    else:
        weights.unlink()
    with pytest.raises(InputError, match="no whole ensemble"):
        Ensemble.load(tmp_path / "out")


def test_what_was_done_is_not_done_again(zoo, tmp_path, monkeypatch):
    store, cache = FeatureStore(zoo), tmp_path / "cache"
    expected = combine_zoo(store, "four", models=("left", "right"), cache=False)
    combine_zoo(store, "four", models=("left",), cache=cache)  # as if it ended there
    done = []
    whole = module._left_out
    monkeypatch.setattr(module, "fit_head", lambda *a: done.append(a) or fit(*a))
    from spider_jax.ensemble.linear_head import fit_head as fit

    found = combine_zoo(store, "four", models=("left", "right"), cache=cache)
    assert whole is module._left_out
    assert len(done) == 3  # only right left out; then the joint head, and the first for the test
    np.testing.assert_array_equal(predicted(zoo, found), predicted(zoo, expected))


def test_one_broken_model_is_left_out_by_name(zoo):
    F = np.array(FeatureStore(zoo).features("copy", "four"))
    F[7] = np.nan
    FeatureStore.write_features(zoo, "copy", "four", F)
    for models in (("copy", "left", "right"), ("auto:2",)):
        found = combine_zoo(FeatureStore(zoo), "four", models=models, cache=False)
        assert [problem.model for problem in found.problems] == ["copy"]
        assert "copy" not in found.ensemble.members


@pytest.mark.parametrize("kind", ["regression", "multi-label"])
def test_every_kind_of_task(zoo, kind):
    labels = FeatureStore(zoo).labels("four")
    bits = np.stack([labels // 2, labels % 2], 1)
    other = bits > 0 if kind == "multi-label" else (bits.sum(1) + 0.1).astype(np.float32)
    FeatureStore.write_labels(zoo, "four", other)
    found = combine_zoo(FeatureStore(zoo), "four", models=("left", "right", "noise"), cache=False)
    assert set(found.ensemble.members) == {"left", "right"}
    assert found.test[0] > found.test[1]
    assert np.isfinite(predicted(zoo, found)).all()


def test_domains_are_not_parted(zoo):
    domains = np.arange(ROWS) % 7
    write_domains(zoo, "four", domains)
    found = combine_zoo(FeatureStore(zoo), "four", models=("left", "right"), cache=False)
    assert "no domain parted" in found.notes[-1]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"models": ("left", "nobody")}, "nobody"),
        ({"models": ("auto:0",)}, "auto:K"),
        ({"models": ("auto:2", "left")}, "auto:K"),
        ({"models": ()}, "none is given"),
        ({"budget": 0}, "budget"),
        ({"method": "vote"}, "method"),
    ],
)
def test_bad_input_is_one_line(zoo, options, said):
    with pytest.raises((InputError, TypeError) if "method" in options else InputError, match=said):
        combine_zoo(FeatureStore(zoo), "four", cache=False, **options)


def test_the_next_member_is_who_helps_most():
    """`b` is second alone, but errs where `a` does; `c` is third and errs elsewhere."""
    Y = np.eye(2)[np.zeros(8, int)]
    right = {"a": [0.9] * 6 + [0.2] * 2, "b": [0.85] * 6 + [0.2] * 2, "c": [0.2] * 2 + [0.85] * 6}
    given = {n: np.stack([p, 1 - np.array(p)], 1) for n, p in right.items()}
    steps = forward_choice(given, Y, "classification", most=3)
    assert [step.model for step in steps][:2] == ["a", "c"]
    assert steps[1].correlation < 0 < steps[1].gain
    assert fewest_as_good(steps) in (1, 2)
