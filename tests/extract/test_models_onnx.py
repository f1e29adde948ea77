"""ONNX graphs: any tensor as the feature, external data only from the model's own folder."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

onnx: Any = pytest.importorskip("onnx", reason="graphs need onnx")
pytest.importorskip("onnxruntime", reason="graphs need onnxruntime")
pytest.importorskip("PIL", reason="pictures need pillow")

from spider_jax.extract import extract
from spider_jax.extract.models.onnx_graph import read_onnx
from spider_jax.extract.spec import Spec
from spider_jax.zoo.store import FeatureStore

Refused = Callable[..., AbstractContextManager[None]]
SIDE, CHANNELS, CLASSES = 8, 5, 3
RNG = np.random.default_rng(0)
MIX = RNG.normal(size=(CHANNELS, 3)).astype(np.float32)
HEAD = RNG.normal(size=(CHANNELS, CLASSES)).astype(np.float32)
IMAGES = RNG.integers(0, 256, (7, SIDE, SIDE, 3), np.uint8)


def graph(batch: str | int = "N", layout: str = "nchw") -> Any:
    """1 x 1 convolution, ReLU, mean over places, linear head."""
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    nchw = [batch, 3, SIDE, SIDE]
    shape = nchw if layout == "nchw" else [batch, SIDE, SIDE, 3]
    nodes = [
        helper.make_node("Conv", ["x" if layout == "nchw" else "t", "mix"], ["map"]),
        helper.make_node("Relu", ["map"], ["relu"]),
        helper.make_node("GlobalAveragePool", ["relu"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["flat"]),
        helper.make_node("MatMul", ["flat", "head"], ["logits"]),
    ]
    if layout == "nhwc":
        nodes.insert(0, helper.make_node("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2]))
    weights = [
        onnx.numpy_helper.from_array(MIX[:, :, None, None], "mix"),
        onnx.numpy_helper.from_array(HEAD, "head"),
    ]
    inputs = [helper.make_tensor_value_info("x", kind, shape)]
    outputs = [helper.make_tensor_value_info("logits", kind, [batch, CLASSES])]
    made = helper.make_graph(nodes, "toy", inputs, outputs, weights)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def reference() -> tuple[Any, Any]:
    """Features and softmax in float64."""
    x = (IMAGES / 255 - 0.5) / 0.25
    features = np.maximum(np.einsum("nhwi,oi->nhwo", x, MIX.astype(np.float64)), 0).mean((1, 2))
    weights = np.exp(features @ HEAD)
    return features, weights / weights.sum(1, keepdims=True)


@pytest.fixture
def data(tmp_path: Path) -> str:
    np.savez(tmp_path / "toys.npz", images=IMAGES, labels=np.arange(7) % 2)
    return f"arrays:{tmp_path / 'toys.npz'}"


@pytest.mark.parametrize("batch", ["N", 1, 4])
@pytest.mark.parametrize(
    ("layout", "tensor"), [("nchw", "flat"), ("nchw", "relu"), ("nhwc", "flat")]
)
def test_a_tensor_inside(
    tmp_path: Path, data: str, batch: str | int, layout: str, tensor: str
) -> None:
    onnx.save(graph(batch, layout), tmp_path / "toy.onnx")
    spec = f"onnx:{tmp_path / 'toy.onnx'}#{tensor}?logits=logits&mean=0.5&std=0.25&resize={SIDE}"
    assert extract([spec], [data], tmp_path / "zoo").problems == []
    zoo, (features, softmax) = FeatureStore(tmp_path / "zoo"), reference()
    np.testing.assert_allclose(zoo.features("toy", "toys"), features, rtol=0, atol=1e-5)
    np.testing.assert_allclose(zoo.probabilities("toy", "toys"), softmax, rtol=0, atol=1e-5)
    assert zoo.model_info("toy")["source"] == f"onnx:toy.onnx#{tensor}"
    assert zoo.facts.value("params", 0) == MIX.size + HEAD.size
    assert zoo.facts.value("input_size", 0) == SIDE


def save_external(path: Path, location: str) -> None:
    """The toy with its head's numbers in a file of their own."""
    model = graph()
    (head,) = [t for t in model.graph.initializer if t.name == "head"]
    onnx.external_data_helper.set_external_data(head, location)
    head.ClearField("raw_data")
    head.data_location = onnx.TensorProto.EXTERNAL
    path.write_bytes(model.SerializeToString())


def test_external_data_of_the_folder(tmp_path: Path, data: str, monkeypatch: Any) -> None:
    (tmp_path / "model").mkdir()
    save_external(tmp_path / "model" / "toy.onnx", "head.bin")
    (tmp_path / "model" / "head.bin").write_bytes(HEAD.tobytes())
    monkeypatch.chdir(tmp_path)  # a model is found from any working folder
    for path, name in (("model/toy.onnx", "a"), (f"{tmp_path}/model/toy.onnx", "b")):
        spec = f"{name}=onnx:{path}#flat?logits=logits&mean=0.5&std=0.25&resize={SIDE}"
        assert extract([spec], [data], tmp_path / "zoo").problems == []
        found = FeatureStore(tmp_path / "zoo").probabilities(name, "toys")
        np.testing.assert_allclose(found, reference()[1], rtol=0, atol=1e-5)


def test_external_data_elsewhere_are_refused(tmp_path: Path, refused: Refused) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "head.bin").write_bytes(HEAD.tobytes())
    (tmp_path / "model" / "link.bin").symlink_to(tmp_path / "head.bin")
    path = tmp_path / "model" / "toy.onnx"
    for location in ("../head.bin", str(tmp_path / "head.bin"), "link.bin"):
        save_external(path, location)
        with refused("toy.onnx", "data of 'head' lie outside its folder"):
            read_onnx(Spec("onnx", f"{path}#flat"))


def test_bad_graphs(tmp_path: Path, refused: Refused) -> None:
    path = tmp_path / "toy.onnx"
    onnx.save(graph(), path)
    with refused("no tensor 'pool'", "flat, logits"):
        read_onnx(Spec("onnx", f"{path}#pool"))
    path.write_bytes(b"no graph")
    with refused("toy.onnx"):
        read_onnx(Spec("onnx", str(path)))
    with refused("none.onnx", "not a readable ONNX file"):
        read_onnx(Spec("onnx", str(tmp_path / "none.onnx")))
