"""What the package began at commit 5e663de goes on, to the same end.

Every test works in a copy of the folder, from inside: commands name their files as they did then.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from spider_jax import (
    FeatureStore,
    Spider,
    ZooIndex,
)
from spider_jax.extract.data.dataset import Dataset
from spider_jax.extract.export.run import Settings, export
from spider_jax.extract.models.encoder import Encoded, Encoder
from spider_jax.onboarding.add_models import add
from spider_jax.selection.selector import Selector
from support.written_before import (
    EXPECTED,
    SELECT,
    TEACH,
    TRAINED,
    Command,
    assert_ranked,
    assert_same,
    assert_same_arrays,
    assert_same_content,
    bare,
    content,
    dice,
    expected,
    for_training,
    same_bits,
    stamps,
    tasks,
)

pytestmark = pytest.mark.slow


def test_models_are_added_as_then() -> None:
    """What the spider keeps of its training suffices: meta-tasks, teacher table, memory."""
    spider, zoo = Spider.load("spider"), FeatureStore("zoo")
    with for_training():
        found = add(add(spider, zoo, ["late"]).spider, zoo, ["unseen"], cold=True).spider
    scores, M = found.scores(tasks()), len(spider.models)
    np.testing.assert_array_equal(scores[:, :M], spider.scores(tasks()))
    assert_same(scores, expected("spider_added/scores with deviations"), TRAINED)


def test_a_training_goes_on(command: Command) -> None:
    run = "training/interrupted.run"
    lines, before = Path(run, "metrics.jsonl").read_text(), stamps("cache/spider_jax/labels")
    with for_training():
        command("train", "zoo", "--config", "training/page.toml", "--out", "done", "--run", run)
    assert Path(run, "metrics.jsonl").read_text().startswith(lines)  # and a speed of its own
    labels = stamps("cache/spider_jax/labels")
    assert labels.items() > before.items()  # what was taught is found
    assert len(labels) == 10  # and five of the datasets as wholes
    spider = Spider.load("done")  # its memory is of today, so it ends as another
    history, then = spider.description.training["history"], EXPECTED["history"]
    done = len(lines.splitlines())
    assert 0 < done < len(history) == len(then)
    assert_same_content(history[:done], then[:done], TRAINED)
    for given in (bare(tasks()), tasks()):
        assert np.isfinite(spider.scores(given)).all()
    assert spider.belief(tasks()[0]).next(1)[0].model in spider.models


def test_an_index_changes() -> None:
    spider, before = Spider.load("spider"), stamps("index/blocks", "index/shared")
    index = ZooIndex.open("index").append(spider, ["narrow"]).remove(["late"])
    assert list(index.names()) == ["lab/wide", "middle", "psi", "unseen", "narrow"]
    assert stamps("index/blocks", "index/shared").items() > before.items()
    assert_ranked(index.top_k(dice().centres, 3), "index")


def test_the_building_of_an_index_goes_on() -> None:
    before = stamps("index_begun/blocks")
    index = ZooIndex.build(Spider.load("spider_many"), "index_begun", precision="bfloat16")
    assert stamps("index_begun/blocks") == before
    assert_ranked(index.top_k(dice().centres, 3), "index_begun")


@pytest.mark.parametrize("policy", sorted(EXPECTED["asked"]))
def test_a_selector_goes_on(policy: str) -> None:
    selector, asked, said = (
        Selector.load(Path(f"selection/asking-{policy}.json")),
        [],
        EXPECTED["said"],
    )
    assert (selector.spent, selector.about) == (6, {"why": "a test"})
    while not selector.done:
        asked.append(selector.ask())
        for model in asked[-1]:
            score = said[model][selector.entries[model].epochs]
            selector.tell(model, score, standard_error=0.02 if model == "psi" else None)
    entries = selector.entries.items()
    found = {
        "asked": asked,
        "winner": selector.winner,
        "spent": selector.spent,
        "fates": {model: [e.fate, e.epochs, e.reason] for model, e in entries},
        "confidence": {model: e.confidence for model, e in entries},
    }
    assert_same_content(found, EXPECTED["asked"][policy])


def test_a_selection_goes_on(command: Command) -> None:
    run, heads = "selection/interrupted", Path("selection/interrupted/heads")
    gone = [e["model"] for e in content(f"{run}/selection.json")["entries"] if e["reason"]]
    assert len(gone) == 3
    before = stamps(*(heads / f"{model}.npz" for model in gone))
    found = json.loads(command("select", "zoo", "dice", *SELECT, "--run", run, "--json"))
    wanted = content("printed/selected-models.json")
    for one in (found, wanted):
        one["notes"] = one["notes"][:-1]  # where state and heads are
    assert_same_content(found, wanted, TRAINED)
    assert stamps(*before) == before
    finished = sorted(Path("selection/finished/heads").iterdir())
    assert [path.name for path in finished] == sorted(path.name for path in heads.iterdir())
    for path in finished:
        assert_same_arrays(heads / path.name, path)


def test_a_tuning_goes_on(command: Command) -> None:
    """The name of a run's folder hangs on bits of LogME: elsewhere it begins anew."""
    run = Path("tuned/interrupted")
    before = stamps(*run.glob("*/checkpoints/10"))
    assert len(before) > 5
    given = ("tune", "zoo", "dice", *TEACH, "--run", run, "--out", "done", "--json")
    found = json.loads(command(*given))
    assert_same_content(found, content("printed/tuned-students.json"), TRAINED)
    assert_same_content(content("done/tuned.json"), content("tuned/student/tuned.json"), TRAINED)
    assert_same_arrays(Path("done/params.npz"), Path("tuned/student/params.npz"))
    if same_bits():
        assert len(list(run.glob("b-tuning-*"))) == 1
        assert stamps(*before) == before


def toys(seen: list[str]) -> tuple[Encoder, Dataset]:
    """The encoder of then, which tells what it has seen, and its six texts."""

    def encode(items: Sequence[str], layer: int | None) -> Encoded:
        seen.extend(items)
        features = np.array([[len(text), text.count("a")] for text in items], np.float32)
        shares = features[:, :1] / (features[:, :1] + 4)
        return Encoded(features, np.concatenate([shares, 1 - shares], axis=1))

    texts = ("a", "banana", "cherry", "date", "elderberry", "fig")
    facts = {"weights_sha256": "0" * 64, "preprocessing": "none", "layer": "last"}
    encoder = Encoder("lens", "text", lambda text: text, encode, facts, {"numpy": "any"}, batch=2)
    data = Dataset(
        name="toys",
        source="texts",
        modality="text",
        rows=len(texts),
        item=texts.__getitem__,
        where=lambda row: f"text {row}",
        labels=np.array([0, 1, 0, 1, 0, 1], np.int32),
        kind="classification",
        classes=("first", "second"),
        fingerprint="1" * 64,
    )
    return encoder, data


def test_an_export_goes_on() -> None:
    seen: list[str] = []
    assert export(Path("export"), *toys(seen), Settings()) == "written"
    assert "cherry" not in seen  # of the two blocks that were there; the first text tells the width
    zoo = FeatureStore("export")
    np.testing.assert_array_equal(zoo.features("lens", "toys"), expected("export/features"))
    found = zoo.probabilities("lens", "toys")
    np.testing.assert_array_equal(found, expected("export/probabilities"))
    assert not Path("export/.extract").exists()
