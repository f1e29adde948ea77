"""ONNX graphs of many makes: outputs by name, channels by operator, types, sizes, softmaxes."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

onnx: Any = pytest.importorskip("onnx", reason="graphs need onnx")
pytest.importorskip("onnxruntime", reason="graphs need onnxruntime")
pytest.importorskip("PIL", reason="pictures need pillow")

from spider_jax.extract.models.encoder import Encoder
from spider_jax.extract.models.onnx_graph import read_onnx
from spider_jax.extract.spec import Spec

Refused = Callable[..., AbstractContextManager[None]]
SIDE, CHANNELS, CLASSES = 6, 5, 3
RNG = np.random.default_rng(0)
MIX = RNG.normal(size=(CHANNELS, 3)).astype(np.float32)
HEAD = RNG.normal(size=(CHANNELS, CLASSES)).astype(np.float32)
IMAGES = RNG.integers(0, 256, (5, SIDE, SIDE, 3), np.uint8)
PLAIN = {"mean": "0.5", "std": "0.25", "resize": str(SIDE)}
node = onnx.helper.make_node


def save(
    path: Path,
    nodes: Sequence[Any],
    outputs: dict[str, Sequence[Any]],
    *,
    shape: Sequence[Any] = ("N", 3, SIDE, SIDE),
    dtype: str = "float32",
    **more: np.ndarray[Any, Any],
) -> None:
    """A graph of a picture x and of the weights mix, head and more."""
    kind = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    weights = {"mix": MIX[:, : shape[1] if shape[1] == 1 else 3, None, None], "head": HEAD} | more
    kept = [
        onnx.numpy_helper.from_array(w.astype(dtype) if w.dtype.kind == "f" else w, name)
        for name, w in weights.items()
    ]
    info = onnx.helper.make_tensor_value_info
    made = onnx.helper.make_graph(
        list(nodes),
        "toy",
        [info("x", kind, shape)],
        [info(name, kind, sides) for name, sides in outputs.items()],
        kept,
    )
    opset = [onnx.helper.make_opsetid("", 17)]
    onnx.save(onnx.helper.make_model(made, opset_imports=opset, ir_version=8), path)


CONV = node("Conv", ["x", "mix"], ["maps"])
MAPS = {"maps": ["N", CHANNELS, SIDE, SIDE]}
POOLED = [
    CONV,
    node("GlobalAveragePool", ["maps"], ["mean"]),
    node("Flatten", ["mean"], ["flat"]),
    node("MatMul", ["flat", "head"], ["logits"]),
]


def encoded(path: Path, tensor: str = "", **options: str) -> Any:
    encoder = opened(path, tensor, **options)
    return encoder.encode([encoder.prepare(image) for image in IMAGES], None)


def opened(path: Path, tensor: str = "", **options: str) -> Encoder:
    return read_onnx(Spec("onnx", f"{path}#{tensor}" if tensor else str(path), PLAIN | options))


def convolved(images: Any = IMAGES) -> Any:
    """The maps [b, C, H, W] in float64."""
    return np.einsum("nhwi,oi->nohw", (images / 255 - 0.5) / 0.25, MIX[:, : images.shape[3]])


# ---- channels --------------------------------------------------------------------------------

LAST = ["N", SIDE, SIDE, CHANNELS]
SCALE, SHIFT = np.ones(CHANNELS, np.float32), np.zeros(CHANNELS, np.float32)
TO_LAST = node("Transpose", ["maps"], ["moved"], perm=[0, 2, 3, 1])
NORM = node("LayerNormalization", ["moved", "scale", "shift"], ["normed"], axis=-1)
GRAPHS: dict[str, tuple[list[Any], Sequence[Any]]] = {
    "maps": ([CONV, node("Relu", ["maps"], ["out"])], MAPS["maps"]),
    "maps moved": ([CONV, TO_LAST, node("Relu", ["moved"], ["out"])], LAST),
    "norm over the last axis": ([CONV, TO_LAST, NORM, node("Relu", ["normed"], ["out"])], LAST),
    "a product over the last axis": (
        [CONV, TO_LAST, node("MatMul", ["moved", "square"], ["y"]), node("Relu", ["y"], ["out"])],
        LAST,
    ),
    "moved there and back": (
        [CONV, TO_LAST, NORM, node("Transpose", ["normed"], ["out"], perm=[0, 3, 1, 2])],
        MAPS["maps"],
    ),
    "a sum with weights first": (
        [CONV, node("Add", ["bias", "maps"], ["out"])],
        MAPS["maps"],
    ),
    "tokens": (
        [CONV, TO_LAST, node("Reshape", ["moved", "as_tokens"], ["out"])],
        ["N", SIDE * SIDE, CHANNELS],
    ),
    "places behind channels": (
        [CONV, node("Reshape", ["maps", "as_places"], ["out"])],
        ["N", CHANNELS, SIDE * SIDE],
    ),
}
MORE = {
    "scale": SCALE,
    "shift": SHIFT,
    "square": RNG.normal(size=(CHANNELS, CHANNELS)).astype(np.float32),
    "bias": RNG.normal(size=(1, CHANNELS, 1, 1)).astype(np.float32),
    "as_tokens": np.array([0, -1, CHANNELS]),
    "as_places": np.array([0, CHANNELS, -1]),
}


@pytest.mark.parametrize("kind", GRAPHS)
@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
def test_channels_are_found(tmp_path: Path, kind: str, layout: str) -> None:
    import onnxruntime

    nodes, shape = GRAPHS[kind]
    picture: Sequence[Any] = ("N", 3, SIDE, SIDE)
    if layout == "nhwc":
        picture = ("N", SIDE, SIDE, 3)
        first = node("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2])
        nodes = [first, node("Conv", ["t", "mix"], ["maps"]), *nodes[1:]]
    save(tmp_path / "toy.onnx", nodes, {"out": shape}, shape=picture, **MORE)
    found = encoded(tmp_path / "toy.onnx").features
    session = onnxruntime.InferenceSession(tmp_path / "toy.onnx")
    x = ((IMAGES / 255 - 0.5) / 0.25).astype(np.float32)
    (out,) = session.run(["out"], {"x": x.transpose(0, 3, 1, 2) if layout == "nchw" else x})
    places = [axis for axis, side in enumerate(shape) if axis and side != CHANNELS]
    np.testing.assert_allclose(found, out.mean(tuple(places)), atol=1e-5)


def test_channels_that_are_not_found_are_asked_for(tmp_path: Path, refused: Refused) -> None:
    odd = node("Transpose", ["maps"], ["out"], perm=[0, 3, 2, 1])
    save(tmp_path / "toy.onnx", [CONV, odd], {"out": ["N", SIDE, SIDE, CHANNELS]})
    with refused("say where its channels stand"):
        opened(tmp_path / "toy.onnx")
    found = encoded(tmp_path / "toy.onnx", channels="last").features
    np.testing.assert_allclose(found, convolved().mean((2, 3)), atol=1e-5)


# ---- outputs and softmaxes -------------------------------------------------------------------


def test_several_outputs_are_named(tmp_path: Path, refused: Refused) -> None:
    path = tmp_path / "toy.onnx"
    save(path, POOLED, {"logits": ["N", CLASSES], "flat": ["N", CHANNELS]})
    with refused("2 outputs, logits [N, 3], flat [N, 5]", "#logits"):
        opened(path)
    for found in (encoded(path, "flat"), encoded(path, logits="logits")):
        np.testing.assert_allclose(found.features, convolved().mean((2, 3)), atol=1e-5)


@pytest.mark.parametrize("last", ["nothing", "Softmax", "LogSoftmax", "Identity after Softmax"])
def test_a_softmax_is_not_softened_again(tmp_path: Path, last: str) -> None:
    nodes, name = list(POOLED), "logits"
    if last != "nothing":
        nodes.append(node(last.split()[-1], ["logits"], [name := "soft"], axis=1))
    if last.startswith("Identity"):
        nodes.append(node("Identity", ["soft"], [name := "out"]))
    save(tmp_path / "toy.onnx", nodes, {name: ["N", CLASSES]})
    found = encoded(tmp_path / "toy.onnx", "flat", logits=name).probabilities
    weights = np.exp(convolved().mean((2, 3)) @ HEAD)
    np.testing.assert_allclose(found, weights / weights.sum(1, keepdims=True), atol=1e-5)


# ---- types and shapes ------------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "close"), [("float16", 2e-2), ("float32", 1e-5)])
def test_other_types(tmp_path: Path, dtype: str, close: float) -> None:
    save(tmp_path / "toy.onnx", POOLED, {"logits": ["N", CLASSES]}, dtype=dtype)
    found = encoded(tmp_path / "toy.onnx", "flat", logits="logits")
    np.testing.assert_allclose(found.features, convolved().mean((2, 3)), atol=close)
    assert (found.features.dtype, found.probabilities.dtype) == (np.float32, np.float32)


@pytest.mark.parametrize("shape", [("N", 1, SIDE, SIDE), (1, 1, SIDE, SIDE), (2, 1, "h", "w")])
def test_one_channel(tmp_path: Path, shape: Sequence[Any]) -> None:
    from PIL import Image

    save(tmp_path / "toy.onnx", POOLED, {"logits": [shape[0], CLASSES]}, shape=shape)
    found = encoded(tmp_path / "toy.onnx", "flat", size=str(SIDE)).features
    grey = np.stack([np.asarray(Image.fromarray(image).convert("L")) for image in IMAGES])
    np.testing.assert_allclose(found, convolved(grey[..., None]).mean((2, 3)), atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "mention"),
    [
        (("N", 3, SIDE, 2 * SIDE), "only squares"),
        (("N", 4, SIDE, SIDE), "1 or 3"),
        (("N", SIDE, SIDE, 4), "1 or 3"),
    ],
)
def test_other_pictures_are_refused(
    tmp_path: Path, shape: Sequence[Any], mention: str, refused: Refused
) -> None:
    passed = [node("Relu", ["x"], ["out"])]
    save(tmp_path / "toy.onnx", passed, {"out": shape}, shape=shape)
    with refused("toy.onnx", mention):
        opened(tmp_path / "toy.onnx")


def test_an_input_of_bytes_is_refused(tmp_path: Path, refused: Refused) -> None:
    passed = [node("Identity", ["x"], ["out"])]
    save(tmp_path / "toy.onnx", passed, {"out": ("N", 3, SIDE, SIDE)}, dtype="uint8")
    with refused("one float picture", "tensor(uint8)"):
        opened(tmp_path / "toy.onnx")
