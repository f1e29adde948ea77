"""Models that come and go: their places, and that nothing else moves by a bit."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from spider_jax.index.zoo_index import ZooIndex
from spider_jax.onboarding.add_models import measure_models
from spider_jax.onboarding.cold_start import cold_start_weights
from spider_jax.onboarding.edit import remove, rename
from spider_jax.onboarding.training_tasks import redraw_training_tasks
from spider_jax.spider.spider import Spider
from spider_jax.tasks.tokens import TaskTokens
from spider_jax.training.training_set import training_set
from spider_jax.zoo.store import FeatureStore
from support.published_torch import published_state
from support.small_training import CONFIG, Refused, tokens, train
from support.small_zoo import SMALL_CLASSES
from support.toy_onboarding import (
    GENERAL,
    KNOWN,
    NEW,
    add,
    add_models,
    arrays_of,
    same_bits,
    trained,
    write_zoo,
)

pytestmark = pytest.mark.slow

Kept = dict[str, Spider]
Theta = NDArray[np.float32]
DEVIATIONS = np.float32([[1.5, 1, 2, 1, 1, 1], [0.5, 0.6, 1, 0.5, 0.5, 0.4]])


@pytest.fixture
def zoo(tmp_path: Path) -> FeatureStore:
    return write_zoo(tmp_path / "zoo")


@pytest.fixture
def known(tmp_path: Path, trained_spiders: Kept) -> Spider:
    return trained(trained_spiders, tmp_path)


@pytest.fixture(params=[False, True], ids=["general", "looking"])
def either(request: Any, tmp_path: Path, trained_spiders: Kept) -> Spider:
    return trained(trained_spiders, tmp_path, looking=request.param)


def column(spider: Spider, model: str) -> Theta:
    return np.asarray(spider.weights.theta)[:, spider.models.index(model)]


def place(spider: Spider, model: str) -> Theta:
    assert spider.memory is not None
    return spider.memory.targets[:, spider.models.index(model)]


def by_model(spider: Spider, zoo: FeatureStore | None = None) -> dict[str, bytes]:
    """The bits of every model's scores: with and without deviations, and by attention."""
    found = [spider.scores([tokens(c), tokens(3)])[0] for c in (3, 12)]
    found.append(spider.scores([TaskTokens(tokens(), DEVIATIONS)])[0])
    scores = {m: b"".join(s[i].tobytes() for s in found) for i, m in enumerate(spider.models)}
    if zoo is not None:
        ranking = spider.rank_task(zoo, "cars", k=len(spider.models), by="attention")
        for name, score in zip(ranking.names, ranking.scores, strict=True):
            scores[name] += score.tobytes()
    return scores


# ---- everything else stays ---------------------------------------------------------------------


def test_no_other_score_moves_by_a_bit(either: Spider, zoo: FeatureStore) -> None:
    own_zoo = zoo if either.own is not None else None
    before = by_model(either, own_zoo)
    added = add(either, zoo)
    assert added.models == NEW
    assert added.problems == ()
    assert added.spider.models == (*KNOWN, *NEW)
    after = by_model(added.spider, own_zoo)
    assert {m: after[m] for m in KNOWN} == before
    fewer = remove(added.spider, ["noise", "twin"])
    assert fewer.models == ("blurred", "middle", "narrow", "psi", "wide")
    assert by_model(fewer, own_zoo) == {m: after[m] for m in fewer.models}
    other = rename(added.spider, {"wide": "broad", "psi": "wide"} if own_zoo is None else {})
    assert list(by_model(other, own_zoo).values()) == list(after.values())


def test_all_that_was_learned_is_frozen(either: Spider, zoo: FeatureStore) -> None:
    added = add(either, zoo).spider
    assert same_bits(arrays_of(added, len(KNOWN)), arrays_of(either))
    assert added.description.widths == {**either.description.widths, "twin": 5, "wide": 12}
    same = replace(added.description, models=KNOWN, widths=either.description.widths)
    training = {n: v for n, v in same.training.items() if n != "added"}
    assert replace(same, training=training) == either.description
    assert added.description.training["added"] == dict.fromkeys(NEW, "fitted to its metrics")
    assert same_bits(arrays_of(remove(added, NEW)), arrays_of(either))


def test_more_models_than_a_chunk_holds(known: Spider, zoo: FeatureStore) -> None:
    """The spider keeps its form, "few", whose chunks are of 48 models."""
    many = add_models(zoo.folder, **{f"cold {i}": None for i in range(50)})
    grown = add(known, many, cold=True).spider
    assert len(grown.models) == 57
    after = by_model(grown)
    assert {m: after[m] for m in KNOWN} == by_model(known)


def test_the_same_call_gives_the_same_bits(either: Spider, zoo: FeatureStore) -> None:
    assert same_bits(arrays_of(add(either, zoo).spider), arrays_of(add(either, zoo).spider))


def test_saved_and_loaded_it_is_the_same(either: Spider, zoo: FeatureStore, tmp_path: Path) -> None:
    own_zoo = zoo if either.own is not None else None
    added = add(either, add_models(zoo.folder, cold=None), cold=True).spider
    added.save(tmp_path / "spider")
    loaded = Spider.load(tmp_path / "spider")
    assert same_bits(arrays_of(loaded), arrays_of(added))
    assert json.dumps(asdict(loaded.description)) == json.dumps(asdict(added.description))
    assert loaded.guessed == ("cold",)
    if own_zoo is None:
        assert by_model(loaded) == by_model(added)
    assert loaded.rank_task(zoo, "cars").names == added.rank_task(zoo, "cars").names


def test_an_older_index_takes_the_new_models(
    known: Spider, zoo: FeatureStore, tmp_path: Path
) -> None:
    index = ZooIndex.build(known, tmp_path / "index")
    grown = add(known, add_models(zoo.folder, cold=None), cold=True).spider
    ranking = index.append(grown).top_k(TaskTokens(tokens(), DEVIATIONS), 100)
    scores = grown.scores([TaskTokens(tokens(), DEVIATIONS)])[0]
    expected = dict(zip(grown.models, scores, strict=True))
    assert {*ranking.names} == {*KNOWN, *NEW, "cold"}
    close = 1e-6 * max(1, float(np.ptp(list(expected.values()))))
    assert dict(zip(ranking.names, ranking.scores, strict=True)) == pytest.approx(
        expected, abs=close, rel=0
    )


# ---- the places of the new ones ----------------------------------------------------------------


@pytest.mark.parametrize("model", NEW)
def test_a_place_is_that_of_a_training_with_the_model(
    known: Spider, zoo: FeatureStore, tmp_path: Path, model: str
) -> None:
    """The training set of M + 1 models, where the M known ones are brought to mean 0, sd 1; what is
    remembered goes all the way to known accuracies."""
    more = write_zoo(tmp_path / "more", sorted((*KNOWN, model)))
    given = training_set(more, replace(GENERAL, calibration=1.0), more.tasks)
    orders = np.float64(given.targets)
    new = given.models.index(model)
    others = np.delete(orders, new, axis=1)
    expected = (orders[:, new] - others.mean(1)) / others.std(1)
    found = place(add(known, zoo, [model]).spider, model)
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5)


def test_true_accuracies_are_the_place_where_these_are_learned(
    zoo: FeatureStore, tmp_path: Path, refused: Refused
) -> None:
    config = replace(GENERAL, targets="accuracies", epochs=1)
    spider = train(write_zoo(tmp_path / "known", KNOWN), config)
    late = add_models(zoo.folder, late=lambda wide: wide)
    found = add(spider, late, ["wide", "late"])
    assert [str(p) for p in found.problems] == ["late on apples: no accuracy in accuracies.csv"]
    added = found.spider
    table = {m: [zoo.accuracies[m, t] for t in SMALL_CLASSES] for m in (*KNOWN, "wide")}
    truth = np.array([table[m] for m in KNOWN])
    expected = (np.array(table["wide"]) - truth.mean(0)) / truth.std(0)
    np.testing.assert_allclose(place(added, "wide")[:4], expected, rtol=1e-5)
    with refused("late on apples", "accuracies.csv"):
        add(spider, late, ["late"])


def test_a_copy_stands_beside_its_model(zoo: FeatureStore, tmp_path: Path) -> None:
    """One teacher: its presence changes mean and deviation of the metric, no distance in units of
    the known ones' deviation, so the columns are equal."""
    config = replace(CONFIG, teachers=("logme",), epochs=4)
    added = add(train(write_zoo(tmp_path / "known", KNOWN), config), zoo, ["twin"]).spider
    np.testing.assert_allclose(place(added, "twin"), place(added, "narrow"), rtol=0, atol=1e-5)
    tasks = [tokens(seed=seed) for seed in range(20)]
    scores = added.scores([TaskTokens(task, DEVIATIONS) for task in tasks]).astype(np.float64)
    apart = np.abs(scores - scores[:, [added.models.index("twin")]]).mean(0)
    assert [added.models[i] for i in np.argsort(apart)[:2]] == ["twin", "narrow"]
    ranks = np.argsort(np.argsort(-scores, axis=1), axis=1)
    beside = np.abs(ranks[:, -1] - ranks[:, added.models.index("narrow")]) == 1
    assert beside.mean() > 0.9


def test_a_copy_of_a_removed_model_measures_as_it_did(known: Spider, zoo: FeatureStore) -> None:
    fewer = remove(known, ["narrow"])
    names, new, problems = measure_models(fewer, zoo, redraw_training_tasks(fewer, zoo), ["twin"])
    assert (names, problems) == (("twin",), ())
    assert known.teacher_table is not None
    metrics = known.teacher_table.metrics[..., [KNOWN.index("narrow")]]
    np.testing.assert_array_equal(new.metrics, metrics)


def test_a_token_does_not_hang_on_who_else_comes(either: Spider, zoo: FeatureStore) -> None:
    """Alone, with another, and in the second of two chunks: bit for bit."""
    alone = add(either, zoo, ["wide"]).spider
    rng = np.random.default_rng(0)
    late = {f"late {i:02}": lambda wide: wide + rng.normal(size=wide.shape) for i in range(17)}
    many = add_models(zoo.folder, **late)
    for others in (["twin", "wide"], ["wide", "twin"], [*late, "wide"]):
        both = add(either, many, others).spider
        assert column(both, "wide").tobytes() == column(alone, "wide").tobytes()
        assert place(both, "wide").tobytes() == place(alone, "wide").tobytes()
        if both.own is not None and alone.own is not None:
            found, wanted = (s.own.of(s.models.index("wide")) for s in (both, alone))  # type: ignore[union-attr]
            assert same_bits(found._asdict(), wanted._asdict())


def test_accuracies_of_one_do_not_hang_on_those_of_others(known: Spider, zoo: FeatureStore) -> None:
    """Most of those that come have no accuracy; wide's corrects its place all the same."""
    alone = add(known, zoo, ["wide"]).spider
    more = add_models(zoo.folder, **{f"late {i}": lambda wide: wide[:, :6] for i in range(3)})
    both = add(known, more, ["wide", "late 0", "late 1", "late 2"]).spider
    assert place(both, "wide").tobytes() == place(alone, "wide").tobytes()
    assert np.isfinite(place(both, "late 0")).all()


def test_one_after_the_other(known: Spider, zoo: FeatureStore) -> None:
    """What was measured is the same; the second is ranked among one more than if both come."""
    both = add(known, zoo, ["twin", "wide"]).spider
    one = add(known, zoo, ["twin"]).spider
    then = add(one, zoo, ["wide"]).spider
    assert then.models == both.models
    assert same_bits(arrays_of(then, 6), arrays_of(both, 6))
    assert then.teacher_table is not None
    assert both.teacher_table is not None
    assert same_bits(then.teacher_table._asdict(), both.teacher_table._asdict())
    assert np.corrcoef(place(then, "wide"), place(both, "wide"))[0, 1] > 0.95


def test_a_wide_model_may_be_looked_at(
    zoo: FeatureStore, tmp_path: Path, trained_spiders: Kept
) -> None:
    added = add(trained(trained_spiders, tmp_path, looking=True), zoo).spider
    assert added.own is not None
    assert [added.own.width(i) for i in range(len(added.models))] == [7, 8, 5, 4, 6, 5, 12]
    ranking = added.rank_task(zoo, "cars", k=len(added.models), by="attention")
    assert ranking.skipped == ()
    first = added.rank_task(zoo, "cars")
    moved = dict(zip(first.names, first.scores, strict=True))
    looked = dict(zip(ranking.names, ranking.scores, strict=True))
    assert all(looked[m] != moved[m] for m in (*KNOWN, *NEW))


# ---- guesses -----------------------------------------------------------------------------------


def test_a_cold_start_is_a_mean_of_known_models_and_says_so(
    either: Spider, zoo: FeatureStore
) -> None:
    more = add_models(zoo.folder, cold=None)
    added = add(either, more, ["cold"], cold=True)
    assert (added.models, added.problems) == (("cold",), ())
    facts = {m: more.model_info(m) for m in (*KNOWN, "cold")}
    weights, _ = cold_start_weights(facts, KNOWN, ["cold"])
    theta = np.float64(either.weights.theta)
    expected = sum(w * theta[:, i] for i, w in enumerate(weights[0]))
    np.testing.assert_allclose(column(added.spider, "cold"), expected, rtol=0, atol=1e-6)
    assert either.memory is not None
    expected = np.float64(either.memory.targets) @ weights[0]
    np.testing.assert_allclose(place(added.spider, "cold"), expected, rtol=0, atol=1e-5)
    assert added.spider.guessed == ("cold",)
    assert added.spider.description.training["added"] == {"cold": "guessed from params, family"}
    notes = added.spider.rank(tokens()).notes
    assert any("guesses" in note and "cold" in note for note in notes)
    assert rename(added.spider, {"cold": "chill"}).guessed == ("chill",)
    assert remove(added.spider, ["cold"]).guessed == ()
    if either.own is not None:
        ranking = added.spider.rank_task(zoo, "cars", k=6, by="attention")
        assert len(ranking.skipped) == 1
        assert ranking.skipped[0].startswith("cold on cars: ")


def test_a_guess_moves_no_model_that_comes_later(known: Spider, zoo: FeatureStore) -> None:
    alone = add(known, zoo, ["wide"]).spider
    guessed = add(known, add_models(zoo.folder, cold=None), ["cold"], cold=True).spider
    later = add(guessed, zoo, ["wide"]).spider
    assert later.models == (*KNOWN, "cold", "wide")
    assert place(later, "wide").tobytes() == place(alone, "wide").tobytes()
    np.testing.assert_array_equal(column(later, "wide"), column(alone, "wide"))


def test_a_spider_from_elsewhere_takes_guesses_only(zoo: FeatureStore, refused: Refused) -> None:
    names = ("resnet", "vit.b16")
    spider = Spider.from_torch(published_state(names, D=6), models=names, extractor="psi")
    with refused("no teacher table", "cold"):
        add(spider, zoo, ["wide"])
    added = add(spider, zoo, ["wide"], cold=True).spider
    assert added.guessed == ("wide",)
    expected = np.asarray(spider.weights.theta).mean(1)
    np.testing.assert_allclose(column(added, "wide"), expected, rtol=0, atol=1e-6)
