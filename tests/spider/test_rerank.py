"""A look at the best models: what each sort makes of them, what it costs, what is missing."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import zscore

from spider_jax.ranking.ranking import Ranking
from spider_jax.spider.rerank import EVIDENCE, checked_k
from spider_jax.spider.spider import Spider
from spider_jax.tasks.tokens import zoo_tokens
from spider_jax.zoo.scores import score_zoo
from spider_jax.zoo.store import FeatureStore
from support.references import ranking_and_spider as reference
from support.small_training import PSI_WIDTH, Refused, tokens
from support.small_zoo import SMALL_CLASSES
from support.toy_onboarding import KNOWN, trained, write_zoo

pytestmark = pytest.mark.slow

Kept = dict[str, Spider]
TASK, M = "cars", len(KNOWN)
ROWS = 50  # of the task
TEACHERS = ("logme", "knn", "ridge")
PARAMS = {
    "U": "project",
    "b_U": "project_bias",
    "W_q": "query",
    "W_k": "key",
    "W_v": "value",
    "W_o": "output",
    "b_o": "output_bias",
    "ln_gain": "norm_scale",
    "ln_bias": "norm_bias",
    "head_ln_gain": "head_norm_scale",
    "head_ln_bias": "head_norm_bias",
    "head_w": "head",
    "head_b": "head_bias",
}


@pytest.fixture
def zoo(tmp_path: Path) -> FeatureStore:
    return write_zoo(tmp_path / "zoo", KNOWN)


@pytest.fixture
def known(tmp_path: Path, trained_spiders: Kept) -> Spider:
    """As spiders were before they had beliefs: they look at the k best, all at once."""
    return replace(trained(trained_spiders, tmp_path, looking=True), beliefs=None)


def scores_of(ranking: Ranking) -> dict[str, float]:
    return {n: float(s) for n, s in zip(ranking.names, ranking.scores, strict=True)}


def z_of(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """z-scores; 0 where all are equal."""
    return zscore(values) if np.ptp(values) > 0 else np.zeros(len(values))


def lacking(zoo: FeatureStore, model: str, *, broken: bool = False) -> FeatureStore:
    """The zoo without the model's features on the task, or with a NaN in them."""
    path = zoo.folder / f"features/{model}/{TASK}.npy"
    features = np.load(path)
    features[4] = np.nan
    path.unlink()
    if broken:
        FeatureStore.write_features(zoo.folder, model, TASK, features)
    return FeatureStore(zoo.folder)


# ---- evidence and metrics ----------------------------------------------------------------------


@pytest.mark.parametrize("by", ["evidence", "logme", "knn", "h_score_shrunk"])
@pytest.mark.parametrize("k", [1, 2, 3, M, 99])
def test_the_mean_z_of_metrics_over_the_best_k(
    known: Spider, zoo: FeatureStore, by: str, k: int
) -> None:
    """new = first + sd z, or sd z + mean first, then all raised alike, if need be."""
    first = scores_of(known.rank_task(zoo, TASK))
    top = list(first)[:k]
    table = score_zoo(zoo, TASK, TEACHERS if by == EVIDENCE else (by,))
    values = table.values[[table.models.index(m) for m in top]]
    z = np.mean([z_of(column) for column in values.T], axis=0)
    prior = np.array([first[m] for m in top])
    scores = np.array([first[m] for m in known.models])
    new = (prior if by == EVIDENCE else prior.mean()) + scores.std() * z
    rest = [score for name, score in first.items() if name not in top]
    lift = max(0.0, max(rest, default=-np.inf) - new.min())
    found = scores_of(known.rank_task(zoo, TASK, k=k, by=by))
    expected = first | dict(zip(top, new + lift, strict=True))
    assert found == pytest.approx(expected, rel=0, abs=1e-5)
    assert {m: found[m] for m in first if m not in top} == {
        m: first[m] for m in first if m not in top
    }
    assert {*list(found)[:k]} == {*top}


def test_evidence_asks_the_teachers_of_the_spider(known: Spider, zoo: FeatureStore) -> None:
    """Of one whose configuration names knn alone it is the word of knn."""
    config = dict(known.description.training["config"]) | {"teachers": ["knn"]}
    training = dict(known.description.training) | {"config": config}
    other = replace(known, description=replace(known.description, training=training))
    knn = score_zoo(zoo, TASK, ("knn",)).column("knn")
    first = known.scores([zoo_tokens(zoo, TASK, known.description.extractor)])[0].astype(np.float64)
    ranking = other.rank(
        zoo_tokens(zoo, TASK, known.description.extractor), k=M, zoo=zoo, task=TASK
    )
    expected = dict(zip(known.models, first + first.std() * zscore(knn), strict=True))
    assert scores_of(ranking) == pytest.approx(expected, rel=0, abs=1e-5)


# ---- attention ---------------------------------------------------------------------------------


def own_gain(spider: Spider, zoo: FeatureStore, model: str) -> float:
    """Mean over members of full attention in float64 with own class centres less without."""
    assert spider.own is not None
    row, labels = spider.models.index(model), zoo.training_labels(TASK)

    def centres(name: str) -> NDArray[np.float64]:
        features = np.load(zoo.folder / f"features/{name}/{TASK}.npy").astype(np.float64)
        return np.array([features[labels == c].mean(0) for c in range(SMALL_CLASSES[TASK])])

    mean, matrix, _ = (np.float64(part) for part in spider.scaling)
    general = (centres("psi") - mean) @ matrix
    own = spider.own.of(row)
    reduced = (centres(model) - np.float64(own.mean)) @ np.float64(own.matrix)
    gains = []
    for e in range(spider.description.members):
        arrays = {n: np.float64(a[e]) for n, a in spider.weights.arrays().items()}
        params = {n: arrays[of].T for n, of in PARAMS.items()}
        extra = reduced @ np.float64(own.project[e]) + np.float64(own.bias[e])
        theta = arrays["theta"][row]
        both = [reference.full_attention_score(params, theta, general, x) for x in (extra, None)]
        gains.append(both[0] - both[1])
    return float(np.mean(gains))


@pytest.mark.parametrize("k", [2, M])
def test_attention_adds_own_class_centres(known: Spider, zoo: FeatureStore, k: int) -> None:
    first = scores_of(known.rank_task(zoo, TASK))
    found = scores_of(known.rank_task(zoo, TASK, k=k, by="attention"))
    gains = {m: own_gain(known, zoo, m) for m in list(first)[:k]}
    assert max(map(abs, gains.values())) > 1e-3
    expected = {m: score + gains.get(m, 0.0) for m, score in first.items()}
    assert found == pytest.approx(expected, rel=0, abs=1e-5)
    rest = list(first)[k:]
    assert [found[m] for m in rest] == [first[m] for m in rest]


def test_attention_needs_a_spider_that_learned_it(
    known: Spider, zoo: FeatureStore, refused: Refused
) -> None:
    with refused("attention", "k_max"):
        replace(known, own=None).rank_task(zoo, TASK, k=1, by="attention")


def test_features_of_another_width_are_left_out(known: Spider, zoo: FeatureStore) -> None:
    narrow = np.load(zoo.folder / f"features/narrow/{TASK}.npy")
    for task in SMALL_CLASSES:
        (zoo.folder / f"features/narrow/{task}.npy").unlink()
    FeatureStore.write_features(zoo.folder, "narrow", TASK, np.tile(narrow, 2))
    ranking = known.rank_task(FeatureStore(zoo.folder), TASK, k=M, by="attention")
    (why,) = ranking.skipped
    assert why.startswith(f"narrow on {TASK}: ")
    assert "must be 5 wide" in why
    assert "got 10" in why


# ---- what is not there -------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["evidence", "knn", "attention"])
@pytest.mark.parametrize("broken", [False, True], ids=["missing", "NaN"])
@pytest.mark.parametrize("place", [0, 1])
def test_a_model_without_usable_features_keeps_its_score(
    known: Spider, zoo: FeatureStore, by: str, broken: bool, place: int
) -> None:
    first = known.rank_task(zoo, TASK)
    model = [name for name in first.names[:3] if name != "psi"][place]
    ranking = known.rank_task(lacking(zoo, model, broken=broken), TASK, k=3, by=by)
    before, after = scores_of(first), scores_of(ranking)
    others = [m for m in first.names[:3] if m != model]
    assert {m for m in before if after[m] == before[m]} >= {model, *first.names[3:]}
    assert any(after[m] != before[m] for m in others)
    (why,) = ranking.skipped
    assert why.startswith(f"{model} on {TASK}: ")
    assert ("NaN" in why) == broken
    assert f"not looked at: {why}" in ranking.to_text()
    assert any("1 kept their first score" in note for note in ranking.notes)


def test_where_no_model_has_features_nothing_changes(known: Spider, zoo: FeatureStore) -> None:
    first = known.rank_task(zoo, TASK)
    for model in {*KNOWN} - {"psi"}:
        lacking(zoo, model)
    best = [name for name in first.names if name != "psi"][:1]
    bare = FeatureStore(zoo.folder)
    k = first.names.index(best[0]) + 1
    for by in ("evidence", "attention", "knn"):
        ranking = known.rank_task(bare, TASK, k=k, by=by)
        assert len(ranking.skipped) == len([m for m in first.names[:k] if m != "psi"])
        if by != "attention" or "psi" not in first.names[:k]:
            assert ranking.names == first.names
            np.testing.assert_array_equal(ranking.scores, first.scores)


# ---- what it costs -----------------------------------------------------------------------------


def test_what_it_cost_and_what_more_would(known: Spider, zoo: FeatureStore) -> None:
    """The extractor is run anyhow, so a look at it as a candidate is free."""
    first = known.rank_task(zoo, TASK).names
    for k in range(1, M + 1):
        said, price = known.rank_task(zoo, TASK, k=k).notes
        passes = len({"psi", *first[:k]})
        assert said.startswith(f"looked at {k} of 5 models by evidence: {passes} forward passes")
        assert f"over {ROWS} samples" in said
        read = sum(np.load(zoo.folder / f"features/{m}/{TASK}.npy").nbytes for m in first[:k])
        assert f"{read / 1e6:.1f} MB" in said
        expected = [f"{n}: {len({'psi', *first[:n]})}" for n in (0, 1, 3)]
        assert price == f"forward passes for k = {', '.join(expected)}, all 5: 5"


def test_only_training_rows_are_counted(known: Spider, zoo: FeatureStore) -> None:
    folder = zoo.folder / "splits"
    folder.mkdir()
    np.save(folder / f"{TASK}.npy", (np.arange(ROWS) % 5 == 4).astype(np.int8))
    said, _ = known.rank_task(FeatureStore(zoo.folder), TASK, k=1).notes
    assert "over 40 samples" in said


# ---- how many, and of what ---------------------------------------------------------------------


def test_without_a_look_no_feature_is_read(known: Spider, zoo: FeatureStore) -> None:
    ranking = known.rank_task(zoo, TASK)
    for model in {*KNOWN} - {"psi"}:
        lacking(zoo, model)
    bare = known.rank_task(FeatureStore(zoo.folder), TASK, k=0)
    np.testing.assert_array_equal(bare.scores, ranking.scores)
    assert (bare.names, bare.notes, bare.skipped) == (ranking.names, (), ())


def test_rank_and_rank_task_agree(known: Spider, zoo: FeatureStore) -> None:
    extractor = known.description.extractor
    found = known.rank(zoo_tokens(zoo, TASK, extractor), k=2, zoo=zoo, task=TASK)
    whole = known.rank_task(zoo, TASK, k=2)
    assert (found.names, found.notes) == (whole.names, whole.notes)
    np.testing.assert_array_equal(found.scores, whole.scores)
    assert whole.accuracies == {m: zoo.accuracies[m, TASK] for m in KNOWN}


@pytest.mark.parametrize("by", ["evidence", "attention"])
def test_auto_takes_what_was_chosen_in_training(known: Spider, zoo: FeatureStore, by: str) -> None:
    looks = known.description.training["looks"]
    assert {*looks} == {"attention"}  # evidence is chosen by beliefs
    for chosen in (0, 2, 99):
        training = dict(known.description.training) | {"looks": {by: {"k": chosen}}}
        spider = replace(known, description=replace(known.description, training=training))
        found = spider.rank_task(zoo, TASK, k="auto", by=by)
        expected = known.rank_task(zoo, TASK, k=chosen, by=by)
        assert (found.names, found.notes) == (expected.names, expected.notes)
    if by in looks:
        assert checked_k(known, "auto", zoo, TASK, by) == min(looks[by]["k"], M)


def test_what_cannot_be_asked(known: Spider, zoo: FeatureStore, refused: Refused) -> None:
    asked = tokens()
    assert asked.shape[1] == PSI_WIDTH
    with refused("k = 2 needs zoo and task"):
        known.rank(asked, k=2)
    with refused("k = 2 needs zoo and task"):
        known.rank(asked, k=2, zoo=zoo)
    with refused("k = 2 needs zoo and task"):
        known.rank(asked, k=2, task=TASK)
    with refused("k must be a whole number", "-1"):
        known.rank_task(zoo, TASK, k=-1)
    with refused("by must be one of evidence, attention", "'guesswork'"):
        known.rank_task(zoo, TASK, k=0, by="guesswork")
    with refused("'leep'"):  # it needs probabilities, no features
        known.rank_task(zoo, TASK, k=1, by="leep")
    with refused('k = "auto"', "'knn'", "held-out"):
        known.rank_task(zoo, TASK, k="auto", by="knn")
    for by in ("evidence", "attention"):
        with refused("unknown task 'pears'"):
            known.rank(asked, k=1, zoo=zoo, task="pears", by=by)
