"""`onnx:FILE#tensor`: a tensor inside an ONNX graph as the feature.

Options:
    logits: a tensor whose softmax is kept as source probabilities, or that is a softmax.
    layout: nchw or nhwc, by default as the shape of the input shows.
    channels: first or last, where the channels of the feature stand, if the operators do not show.
    size, resize, interpolation, mean, std: of the preprocessing.
    pooling, tokens, pairs, prompt: of a text encoder, as for hf:.

A graph that takes input_ids is a text encoder: its tokenizer.json lies beside it or in the folder
above, as do the files of a sentence-transformers folder, which say how tokens are pooled.

External data must lie in the model's folder.
"""

import hashlib
import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from spider_jax.errors import InputError, one_line
from spider_jax.extract.data.images import OPTIONS as PICTURE_OPTIONS
from spider_jax.extract.data.images import Preprocessing, preprocessing_of, to_rgb
from spider_jax.extract.data.items import Item
from spider_jax.extract.models.encoder import Encoded, Encoder, softmax
from spider_jax.extract.models.onnx_layout import (
    CHANNELS,
    FIRST,
    LAST,
    Layout,
    picture_layout,
    pooled,
    widths,
)
from spider_jax.extract.models.onnx_text import OPTIONS as TEXT_OPTIONS
from spider_jax.extract.models.onnx_text import USUAL, takes_texts, text_graph
from spider_jax.extract.spec import Spec
from spider_jax.runtime.optional import need

OPTIONS = ("logits", "layout", "channels")
TYPES = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(double)": "float64"}
INT64 = 7  # of onnx.TensorProto
EXTERNAL_FOLDER = "session.model_external_initializers_file_folder_path"


@runtime_checkable
class Message(Protocol):
    """A protobuf message. The packages of ONNX are optional, so their classes are not named."""

    def ListFields(self) -> Iterable[tuple[Any, Any]]:
        """The fields that are set: what describes a field, and its value."""
        ...


@runtime_checkable
class _Model(Message, Protocol):
    """What is used of an `onnx.ModelProto`."""

    graph: Any

    def SerializeToString(self) -> bytes: ...


@runtime_checkable
class _Session(Protocol):
    """What is used of an `onnxruntime.InferenceSession`."""

    def get_inputs(self) -> Sequence[Any]: ...

    def get_outputs(self) -> Sequence[Any]: ...

    def run(
        self, names: Sequence[str], feeds: dict[str, NDArray[np.generic]]
    ) -> Sequence[NDArray[np.generic]]: ...


class _Graph(NamedTuple):
    """A graph that runs.

    Attributes:
        session: of the runtime.
        input: its name.
        shape: of the input, numbers or words.
        dtype: of the input.
        layout: of the input, nchw or nhwc.
        grey: whether a picture has one channel.
        batch: that it is fixed to; 0: any.
        names: of the feature, and of the logits where they are kept.
        channels: of the feature, "first" or "last".
        softmax: whether the logits are a softmax already.
    """

    session: _Session
    input: str
    shape: Sequence[Any]
    dtype: str
    layout: str
    grey: bool
    batch: int
    names: tuple[str, ...]
    channels: str = FIRST
    softmax: bool = False


def read_onnx(spec: Spec) -> Encoder:
    """An encoder of pictures around an ONNX graph, run by onnxruntime.

    Args:
        spec: onnx:FILE#tensor with the options above.

    Returns:
        The model.

    Raises:
        InputError: no such file or tensor, several outputs and none is named, external data outside
            its folder, or an input that is no picture.
    """
    spec.known((*OPTIONS, *PICTURE_OPTIONS, *TEXT_OPTIONS))
    file, _, tensor = spec.what.partition("#")
    path = Path(file)
    onnx = need("onnx", "onnx", f"model {spec}")
    runtime = need("onnxruntime", "onnxruntime", f"model {spec}")
    try:
        model = onnx.load(file, load_external_data=False)
    except Exception as error:  # protobuf's kinds, OSError
        raise InputError(f"{path} is not a readable ONNX file: {one_line(error)}") from None
    external = external_files(model, path)
    if takes_texts(model.graph.input):
        return _of_texts(spec, onnx, runtime, model, path, tensor)
    spec.known((*OPTIONS, *PICTURE_OPTIONS))
    names = _names(spec, model, tensor)
    _add_outputs(onnx, model, names, spec)
    graph = _graph(spec, _session(runtime, model, path), model, names)
    preprocessing = preprocessing_of(spec, _default(graph, spec))
    return Encoder(
        name=spec.name or path.stem,
        modality="image",
        prepare=_prepare(graph, preprocessing),
        encode=lambda batch, _: _encode(graph, batch),
        facts={
            "source": f"onnx:{path.name}#{names[0]}",
            "weights_sha256": _hash([path, *external]),
            "preprocessing": preprocessing.facts(),
            "layer": names[0],
            "params": _count_params(model),
        },
        versions={p: metadata.version(p) for p in ("onnx", "onnxruntime", "pillow")},
        memory=_bytes_of_params(onnx, model),
    )


def _of_texts(
    spec: Spec, onnx: ModuleType, runtime: ModuleType, model: _Model, path: Path, tensor: str
) -> Encoder:
    """An encoder of texts around the graph."""
    spec.known(TEXT_OPTIONS)
    there = {output.name for output in model.graph.output}
    usual = next((name for name in USUAL if name in there), "")
    names = _names(spec, model, tensor or usual)
    _add_outputs(onnx, model, names, spec)
    found = text_graph(spec, _session(runtime, model, path), path, names[0])
    return Encoder(
        name=spec.name or path.stem,
        modality="text",
        prepare=found.prepare,
        encode=found.encode,
        facts={
            "source": f"onnx:{path.name}#{names[0]}",
            "weights_sha256": _hash([path, *external_files(model, path)]),
            "preprocessing": found.preprocessing,
            "layer": f"{names[0]}, {found.pooling}",
            "params": _count_params(model),
        },
        versions={p: metadata.version(p) for p in ("onnx", "onnxruntime", "tokenizers")},
        batch=32,
        also=("pair",),
        report=found.report,
        memory=_bytes_of_params(onnx, model),
    )


def _count_params(model: _Model) -> int:
    """Numbers of all weights; whole numbers of 64 bits are shapes and places."""
    weights = (t for t in model.graph.initializer if t.data_type != INT64)
    return sum(math.prod(tensor.dims) for tensor in weights)


def _bytes_of_params(onnx: ModuleType, model: _Model) -> int:
    """Bytes of the numbers that `_count_params` counts, wherever they lie."""
    size = onnx.helper.tensor_dtype_to_np_dtype
    weights = (t for t in model.graph.initializer if t.data_type != INT64)
    return sum(math.prod(t.dims) * int(size(t.data_type).itemsize) for t in weights)


def _names(spec: Spec, model: _Model, tensor: str) -> tuple[str, ...]:
    """Names of the feature, and of the logits where they are asked for.

    Raises:
        InputError: several outputs, and none is named.
    """
    logits = spec.options.get("logits")
    shapes = {
        output.name: [d.dim_param or d.dim_value for d in output.type.tensor_type.shape.dim]
        for output in model.graph.output
    }
    rest = [name for name in shapes if name != logits] or list(shapes)
    if not tensor and len(rest) != 1:
        raise InputError(
            f"model {spec} has {len(shapes)} outputs, {widths(shapes)}: "
            f"name the feature, {spec}#{next(iter(shapes), 'TENSOR')}"
        )
    return (tensor or rest[0], *([logits] if logits else []))


# ---- the file --------------------------------------------------------------------------------


def external_files(model: Message, path: Path) -> list[Path]:
    """Files of tensors outside the model file, each inside the model's folder.

    Args:
        model: an `onnx.ModelProto`.
        path: of the model file.

    Returns:
        The files, sorted, links followed.

    Raises:
        InputError: a file outside the folder.
    """
    folder = Path(os.path.realpath(path.parent))
    found = set()
    for tensor in _tensors(model):
        for entry in tensor.external_data:
            if entry.key == "location":
                place = Path(os.path.realpath(folder / entry.value))
                if Path(entry.value).is_absolute() or not place.is_relative_to(folder):
                    raise InputError(f"{path}: data of {tensor.name!r} lie outside its folder")
                found.add(place)
    return sorted(found)


def _tensors(message: Message) -> Iterator[Any]:
    """Every TensorProto at any depth of a protobuf message."""
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        for part in [value] if hasattr(value, "ListFields") else value:
            if not hasattr(part, "ListFields"):
                continue
            if part.DESCRIPTOR.name == "TensorProto":
                yield part
            yield from _tensors(part)


def _hash(paths: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def _add_outputs(onnx: ModuleType, model: _Model, names: Sequence[str], spec: Spec) -> None:
    """Make tensors inside the graph outputs of it."""
    outputs = {output.name for output in model.graph.output}
    made = {name for node in model.graph.node for name in node.output}
    for name in names:
        if name not in outputs | made:
            last = [name for node in model.graph.node[-4:] for name in node.output]
            raise InputError(f"model {spec} has no tensor {name!r}: its last are {', '.join(last)}")
        if name not in outputs:
            model.graph.output.append(onnx.ValueInfoProto(name=name))
            outputs.add(name)


def _session(runtime: ModuleType, model: _Model, path: Path) -> _Session:
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    options.add_session_config_entry(EXTERNAL_FOLDER, str(path.parent.absolute()))
    known = runtime.get_available_providers()
    providers = [p for p in ("CUDAExecutionProvider", "CPUExecutionProvider") if p in known]
    try:
        return runtime.InferenceSession(model.SerializeToString(), options, providers=providers)
    except Exception as error:  # the runtime's kinds
        raise InputError(f"{path} cannot be run: {one_line(error)}") from None


# ---- the graph -------------------------------------------------------------------------------


def _graph(spec: Spec, session: _Session, model: _Model, names: tuple[str, ...]) -> _Graph:
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [i for i in session.get_inputs() if i.name not in weights]
    if len(inputs) != 1 or inputs[0].type not in TYPES or len(inputs[0].shape) != 4:
        raise _no_picture(spec, inputs)
    picture = inputs[0]
    said = picture_layout(model.graph, picture.name, picture.shape)
    if said is None and "layout" not in spec.options:
        raise _no_picture(spec, inputs)
    layout = spec.choice("layout", ("nchw", "nhwc"), said or "")
    side = picture.shape[1 if layout == "nchw" else 3]
    if isinstance(side, int) and side not in (1, 3):
        raise _no_picture(spec, inputs)
    first = picture.shape[0]
    graph = _Graph(
        session=session,
        input=picture.name,
        shape=picture.shape,
        dtype=TYPES[picture.type],
        layout=layout,
        grey=side == 1,
        batch=first if isinstance(first, int) and first > 0 else 0,
        names=names,
    )
    found = Layout(model.graph, picture.name, layout)
    softmax = len(names) > 1 and found.is_softmax(names[1])
    return graph._replace(softmax=softmax, channels=_channels(spec, found, names[0], session))


def _no_picture(spec: Spec, inputs: Sequence[Any]) -> InputError:
    shown = ", ".join(f"{i.name} {i.type} {i.shape}" for i in inputs)
    return InputError(
        f"model {spec} must take one float picture [N, 1 or 3, H, W], it takes {shown}"
    )


def _channels(spec: Spec, found: Layout, tensor: str, session: _Session) -> str:
    """Where the channels of the feature stand.

    Raises:
        InputError: it has places, and the operators do not show which axis holds the channels.
    """
    if "channels" in spec.options:
        return spec.choice("channels", CHANNELS, "")
    shape = next(output.shape for output in session.get_outputs() if output.name == tensor)
    if len(shape) in (1, 2):
        return FIRST
    channels = found.channels(tensor)
    if channels is None and len(shape) > 3:
        raise InputError(
            f"model {spec}: {tensor} has shape {shape}: say where its channels stand, "
            "channels=first or channels=last"
        )
    return channels or LAST  # of three axes [b, tokens, D]


def _default(graph: _Graph, spec: Spec) -> Preprocessing:
    """The size that the graph is fixed to, if it is."""
    height, width = graph.shape[2 if graph.layout == "nchw" else 1 :][:2]
    default = Preprocessing()
    if graph.grey:  # one mean for one channel
        mean, std = (float(np.mean(three)) for three in (default.mean, default.std))
        default = replace(default, mean=(mean,) * 3, std=(std,) * 3)
    if not isinstance(height, int) or not isinstance(width, int):
        return default
    if height != width:
        raise InputError(f"model {spec} takes {height} x {width} pictures, only squares are made")
    return replace(default, size=height, resize=round(height * 256 / 224))


def _prepare(graph: _Graph, preprocessing: Preprocessing) -> Callable[[Item], Item]:
    """From an item to the array that the graph takes: its layout, its channels, its type."""

    def prepare(picture: Item) -> Item:
        rgb = to_rgb(picture)
        pixels = preprocessing(rgb.convert("L").convert("RGB") if graph.grey else rgb)
        pixels = (pixels[:1] if graph.grey else pixels).astype(graph.dtype)
        return pixels if graph.layout == "nchw" else pixels.transpose(1, 2, 0)

    return prepare


def _encode(graph: _Graph, batch: Sequence[Item]) -> Encoded:
    """Run in batches of the fixed size; the last one is filled up with its first row."""
    size = graph.batch or len(batch)
    parts: list[list[NDArray[np.float32]]] = []
    for start in range(0, len(batch), size):
        rows = np.stack([np.asarray(item) for item in batch[start : start + size]])
        full = np.concatenate([rows, np.repeat(rows[:1], size - len(rows), 0)])
        outputs = graph.session.run(graph.names, {graph.input: full})
        parts.append([np.asarray(output, np.float32)[: len(rows)] for output in outputs])
    joined = [np.concatenate(part) for part in zip(*parts, strict=True)]
    features = pooled(joined[0], graph.channels)
    if len(joined) == 1:
        return Encoded(features, None)
    logits = joined[1].reshape(len(joined[1]), -1)
    return Encoded(features, logits if graph.softmax else softmax(logits))
