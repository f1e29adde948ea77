"""What extraction measures of a model: seconds an example and bytes, as facts of the manifest."""

import json
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pytest

from spider_jax.extract import extract
from spider_jax.extract.data.dataset import Dataset
from spider_jax.extract.export import measured as module
from spider_jax.extract.export.measured import Stopwatch, kept_measured
from spider_jax.extract.export.run import Settings, export
from spider_jax.extract.models.encoder import Encoded, Encoder
from spider_jax.facts import judge, read_facts
from spider_jax.zoo.store import FeatureStore

WORDS = ("a", "bb", "ccc", "dddd", "eeeee", "f", "gg", "hhh", "iiii", "jjjjj")


def texts(name: str, count: int = 10) -> Dataset:
    """Texts of two classes."""
    return Dataset(
        name=name,
        modality="text",
        item=lambda row: WORDS[row],
        rows=count,
        where=lambda row: f"row {row}",
        labels=np.arange(count) % 2,
        kind="classification",
        classes=("even", "odd"),
        source=name,
        fingerprint=f"{name}{count}",
    )


def lengths(memory: int | None = 12) -> Encoder:
    def encode(items: Any, settled: int | None) -> Encoded:
        return Encoded(np.array([[len(item)] for item in items], np.float32), None)

    facts = {"source": "function:lengths", "params": 3}
    return Encoder("lengths", "text", lambda item: item, encode, facts, {}, memory=memory)


def entry(zoo: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((zoo / "manifest.json").read_text())["models"]["lengths"]
    return found


def state(zoo: Path, **facts: object) -> None:
    """What an owner writes into the manifest."""
    path = zoo / "manifest.json"
    content = json.loads(path.read_text())
    content["models"]["lengths"] |= facts
    path.write_text(json.dumps(content))


def test_the_median_of_the_batches_after_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    # Batches of 4, 4, 2 rows that take 9, 1 and 3 seconds.
    clock = iter([0.0, 9.0, 10.0, 11.0, 20.0, 23.0])
    monkeypatch.setattr(module, "perf_counter", lambda: next(clock))
    watch = Stopwatch()
    for rows in (4, 4, 2):
        watch.start()
        watch.stop(rows)
    found = watch.found()
    assert found["seconds"] == median([1 / 4, 3 / 2])
    assert (found["rows"], found["batch"]) == (6, 4)
    assert "cores" in found["machine"]


def test_one_batch_says_nothing() -> None:
    watch = Stopwatch()
    assert watch.found() == {}
    watch.start()
    watch.stop(3)
    assert watch.found() == {}  # it compiled


def test_the_measurement_on_more_rows_counts() -> None:
    few, many = {"seconds": 1.0, "rows": 4, "memory": 8}, {"seconds": 2.0, "rows": 9}
    assert kept_measured(few, many) == {"seconds": 2.0, "rows": 9, "memory": 8}
    assert kept_measured(many, few) == {"seconds": 2.0, "rows": 9, "memory": 8}
    assert kept_measured(few, {"memory": 8}) == few


def test_extraction_measures_and_facts_read_it(tmp_path: Path) -> None:
    zoo = tmp_path / "zoo"
    assert export(zoo, lengths(), texts("words"), Settings(batch=3)) == "written"
    found = entry(zoo)["measured"]
    assert found["seconds"] > 0
    assert (found["rows"], found["memory"]) == (7, 12)
    facts = read_facts(zoo)
    assert facts.numbers["seconds"][0] == found["seconds"]
    assert facts.value("memory", 0) == 12
    assert facts.value("params", 0) == 3
    assert judge("seconds <= 60 and memory <= 1k", facts).names == ("lengths",)
    assert any("as extract measured them on" in note for note in facts.notes)


def test_a_second_run_and_another_task_keep_it(tmp_path: Path) -> None:
    zoo = tmp_path / "zoo"
    export(zoo, lengths(), texts("words"), Settings(batch=2))
    before = entry(zoo)["measured"]
    assert export(zoo, lengths(), texts("words"), Settings(batch=2)) == "there"
    assert entry(zoo)["measured"] == before
    export(zoo, lengths(), texts("few", 4), Settings(batch=4))  # one batch: nothing is measured
    assert entry(zoo)["measured"] == before


def test_what_the_owner_states_is_never_overwritten(tmp_path: Path) -> None:
    zoo = tmp_path / "zoo"
    export(zoo, lengths(), texts("words"), Settings(batch=2))
    state(zoo, latency_ms=5e6, memory=99, params=7, licence="mit")
    export(zoo, lengths(), texts("more", 8), Settings(batch=2))
    assert {k: entry(zoo)[k] for k in ("latency_ms", "memory", "params", "licence")} == {
        "latency_ms": 5e6,
        "memory": 99,
        "params": 7,
        "licence": "mit",
    }
    facts = FeatureStore(zoo).facts
    values = [facts.value(fact, 0) for fact in ("seconds", "memory", "params")]
    assert values == [5000, 99, 7]
    assert any(note.startswith("seconds of lengths is") for note in facts.notes)  # the two differ


def test_params_stated_in_other_words_are_not_stated_twice(tmp_path: Path) -> None:
    zoo = tmp_path / "zoo"
    export(zoo, lengths(), texts("words"), Settings(batch=2))
    state(zoo, params=None, params_m=2)
    content = json.loads((zoo / "manifest.json").read_text())
    del content["models"]["lengths"]["params"]
    (zoo / "manifest.json").write_text(json.dumps(content))
    export(zoo, lengths(), texts("more", 8), Settings(batch=2))
    assert "params" not in entry(zoo)
    assert FeatureStore(zoo).facts.value("params", 0) == 2e6


def test_two_machines_do_not_compare(tmp_path: Path) -> None:
    zoo = tmp_path / "zoo"
    export(zoo, lengths(), texts("words"), Settings(batch=2))
    content = json.loads((zoo / "manifest.json").read_text())
    other = {"seconds": 0.5, "rows": 9, "batch": 1, "machine": "arm64, 8 cores"}
    content["models"]["other"] = {"measured": other}
    content["models"]["odd"] = {"measured": [1]}  # of someone else
    (zoo / "manifest.json").write_text(json.dumps(content))
    facts = FeatureStore(zoo).facts
    assert any("2 kinds of machine, whose seconds do not compare" in n for n in facts.notes)
    assert [facts.value("seconds", i) for i in (1, 2)] == [0.5, None]


def test_weights_of_a_graph_are_counted_in_bytes(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="a graph is made with it")
    pytest.importorskip("onnxruntime", reason="it runs the graph")
    make, kinds = onnx.helper, onnx.TensorProto
    weights = np.random.default_rng(0).normal(size=(3, 5)).astype(np.float32)
    graph = make.make_graph(
        [
            make.make_node("GlobalAveragePool", ["x"], ["mean"]),
            make.make_node("Flatten", ["mean"], ["flat"]),
            make.make_node("MatMul", ["flat", "w"], ["y"]),
        ],
        "graph",
        [make.make_tensor_value_info("x", kinds.FLOAT, ["b", 3, 8, 8])],
        [make.make_tensor_value_info("y", kinds.FLOAT, ["b", 5])],
        [onnx.numpy_helper.from_array(weights, "w")],
    )
    model = make.make_model(graph, opset_imports=[make.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(tmp_path / "net.onnx"))
    images = np.random.default_rng(1).integers(0, 256, (12, 8, 8, 3), np.uint8)
    np.savez(tmp_path / "toys.npz", images=images, labels=np.arange(12) % 2)
    zoo = tmp_path / "zoo"
    found = extract(
        [f"onnx:{tmp_path / 'net.onnx'}"], [f"arrays:{tmp_path / 'toys.npz'}"], zoo, batch=4
    )
    assert found.written == [("net", "toys")], found.problems
    facts = read_facts(zoo)
    assert facts.value("memory", 0) == weights.nbytes
    assert facts.value("params", 0) == weights.size
