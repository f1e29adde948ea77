"""`onnx:FILE#tensor`: a tensor inside an ONNX graph as the feature.

Options:
    logits: a tensor whose softmax is kept as source probabilities.
    layout: nchw or nhwc, by default as the shape of the input shows.
    size, resize, interpolation, mean, std: of the preprocessing.

External data must lie in the model's folder.
"""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from spider_jax.errors import InputError, one_line
from spider_jax.extract.data.images import OPTIONS as PICTURE_OPTIONS
from spider_jax.extract.data.images import Preprocessing, preprocessing_of
from spider_jax.extract.data.items import Item
from spider_jax.extract.models.encoder import Encoded, Encoder, softmax
from spider_jax.extract.spec import Spec
from spider_jax.runtime.optional import need

OPTIONS = ("logits", "layout")
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

    def run(
        self, names: Sequence[str], feeds: dict[str, NDArray[np.generic]]
    ) -> Sequence[NDArray[np.generic]]: ...


class _Graph(NamedTuple):
    """A session, the name of its input, its layout and the batch it is fixed to (0: any)."""

    session: _Session
    input: str
    layout: str
    batch: int


def read_onnx(spec: Spec) -> Encoder:
    """An encoder of pictures around an ONNX graph, run by onnxruntime.

    Args:
        spec: onnx:FILE#tensor with the options above.

    Returns:
        The model.

    Raises:
        InputError: no such file or tensor, external data outside its folder, or an input that is
            no picture.
    """
    spec.known((*OPTIONS, *PICTURE_OPTIONS))
    file, _, tensor = spec.what.partition("#")
    path = Path(file)
    onnx = need("onnx", "onnx", f"model {spec}")
    runtime = need("onnxruntime", "onnxruntime", f"model {spec}")
    try:
        model = onnx.load(file, load_external_data=False)
    except Exception as error:  # protobuf's kinds, OSError
        raise InputError(f"{path} is not a readable ONNX file: {one_line(error)}") from None
    external = external_files(model, path)
    names = [
        name for name in (tensor or model.graph.output[0].name, spec.options.get("logits")) if name
    ]
    _add_outputs(onnx, model, names, spec)
    graph = _graph(spec, _session(runtime, model, path), model)
    preprocessing = preprocessing_of(spec, _default(graph, spec))
    return Encoder(
        name=spec.name or path.stem,
        modality="image",
        prepare=preprocessing if graph.layout == "nchw" else _last_axis(preprocessing),
        encode=lambda batch, _: _encode(graph, batch, names),
        facts={
            "source": f"onnx:{path.name}#{names[0]}",
            "weights_sha256": _hash([path, *external]),
            "preprocessing": preprocessing.facts(),
            "layer": names[0],
        },
        versions={p: metadata.version(p) for p in ("onnx", "onnxruntime", "pillow")},
    )


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


def _graph(spec: Spec, session: _Session, model: _Model) -> _Graph:
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [i for i in session.get_inputs() if i.name not in weights]
    if len(inputs) != 1 or inputs[0].type != "tensor(float)" or len(inputs[0].shape) != 4:
        shown = ", ".join(f"{i.name} {i.type} {i.shape}" for i in inputs)
        raise InputError(f"model {spec} must take one float picture [N, 3, H, W], it takes {shown}")
    shape = inputs[0].shape
    said = "nhwc" if shape[3] == 3 and shape[1] != 3 else "nchw"
    layout = spec.choice("layout", ("nchw", "nhwc"), said)
    return _Graph(session, inputs[0].name, layout, shape[0] if isinstance(shape[0], int) else 0)


def _default(graph: _Graph, spec: Spec) -> Preprocessing:
    """The size that the graph is fixed to, if it is."""
    height, width = graph.session.get_inputs()[0].shape[2 if graph.layout == "nchw" else 1 :][:2]
    if not isinstance(height, int) or not isinstance(width, int):
        return Preprocessing()
    if height != width:
        raise InputError(f"model {spec} takes {height} x {width} pictures, only squares are made")
    return Preprocessing(size=height, resize=round(height * 256 / 224))


def _last_axis(preprocessing: Preprocessing) -> Callable[[Item], Item]:
    return lambda picture: preprocessing(picture).transpose(1, 2, 0)


def _encode(graph: _Graph, batch: Sequence[Item], names: Sequence[str]) -> Encoded:
    """Run in batches of the fixed size; the last one is filled up with its first row."""
    size = graph.batch or len(batch)
    parts: list[list[NDArray[np.float32]]] = []
    for start in range(0, len(batch), size):
        rows = np.stack([np.asarray(item) for item in batch[start : start + size]])
        full = np.concatenate([rows, np.repeat(rows[:1], size - len(rows), 0)])
        outputs = graph.session.run(names, {graph.input: full})
        parts.append([np.asarray(output, np.float32)[: len(rows)] for output in outputs])
    joined = [np.concatenate(part) for part in zip(*parts, strict=True)]
    features = _pooled(joined[0], graph.layout)
    return Encoded(features, softmax(joined[1]) if len(joined) > 1 else None)


def _pooled(features: NDArray[np.float32], layout: str) -> NDArray[np.float32]:
    """[b, D]: means over places or tokens."""
    if features.ndim <= 2:
        return features.reshape(len(features), -1)
    if features.ndim == 3 or layout == "nhwc":
        return features.mean(tuple(range(1, features.ndim - 1)))
    return features.mean(tuple(range(2, features.ndim)))
