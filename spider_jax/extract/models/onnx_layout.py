"""Where the channels of a tensor inside an ONNX graph stand, followed from the operators."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float32
from numpy.typing import NDArray

from spider_jax.extract.models.foreign_classes import GraphProto, NodeProto

FIRST, LAST = "first", "last"  # behind the batch, or the last axis
CHANNELS = (FIRST, LAST)
# The operators of ONNX that read maps read [N, C, ...] without exception.
OF_MAPS = frozenset(
    {
        "Conv",
        "ConvTranspose",
        "ConvInteger",
        "QLinearConv",
        "DeformConv",
        "MaxPool",
        "AveragePool",
        "LpPool",
        "MaxUnpool",
        "GlobalAveragePool",
        "GlobalMaxPool",
        "GlobalLpPool",
        "QLinearAveragePool",
        "QLinearGlobalAveragePool",
        "BatchNormalization",
        "InstanceNormalization",
        "GroupNormalization",
        "LRN",
        "DepthToSpace",
        "SpaceToDepth",
        "Upsample",
        "GridSample",
        "RoiAlign",
        "MaxRoiPool",
    }
)
ALONG_LAST = frozenset(
    {
        "MatMul",
        "MatMulInteger",
        "QLinearMatMul",
        "Gemm",
        "LayerNormalization",
        "SkipLayerNormalization",
        "RMSNormalization",
        "FusedMatMul",
        "Attention",
        "MultiHeadAttention",
    }
)
AXES_OF_PICTURE = {"nchw": FIRST, "nhwc": LAST}
SOFTENING = frozenset(
    {
        "Identity",
        "Cast",
        "Reshape",
        "Flatten",
        "Squeeze",
        "Unsqueeze",
    }
)


class Layout:
    """What the operators of a graph say of its tensors.

    Args:
        graph: an `onnx.GraphProto`.
        picture: name of the input that holds pictures.
        layout: of that input, nchw or nhwc.
    """

    def __init__(self, graph: GraphProto, picture: str, layout: str) -> None:
        self._makers = {name: node for node in graph.node for name in node.output}
        self._weights = {tensor.name for tensor in graph.initializer}
        self._picture, self._layout = picture, layout

    def channels(self, tensor: str) -> str | None:
        """The axis of the channels, "first" or "last"; None where nothing says it.

        Args:
            tensor: name of a tensor of three or more axes.
        """
        turned = False
        for _ in range(len(self._makers) + 1):
            if tensor == self._picture:
                return _turn(AXES_OF_PICTURE[self._layout], turned)
            node = self._makers.get(tensor)
            if node is None:
                return None
            if node.op_type in OF_MAPS | ALONG_LAST:
                left = node.op_type == "MatMul" and node.input[0] in self._weights  # W x, not x W
                return _turn(FIRST if left or node.op_type in OF_MAPS else LAST, turned)
            if node.op_type == "Transpose":
                moved = _moved(_integers(node, "perm"))
                if moved is None:
                    return None
                turned ^= moved
            tensor = self._main_input(node)
        return None

    def _main_input(self, node: NodeProto) -> str:
        """The first input that the graph makes from the picture, not from weights alone."""
        given = [name for name in node.input if name not in self._weights]
        made = [n for n in given if n == self._picture or self._depends(n)]
        return (made or given or [""])[0]

    def _depends(self, tensor: str) -> bool:
        """Whether a tensor depends on the picture."""
        open_ends, seen = [tensor], set()
        while open_ends:
            name = open_ends.pop()
            if name == self._picture:
                return True
            if name not in seen and name in self._makers:
                seen.add(name)
                open_ends.extend(self._makers[name].input)
        return False

    def is_softmax(self, tensor: str) -> bool:
        """Whether a tensor is a softmax already.

        Args:
            tensor: its name.
        """
        node = self._makers.get(tensor)
        while node is not None and node.op_type in SOFTENING:
            node = self._makers.get(node.input[0])
        return node is not None and node.op_type == "Softmax"


def _integers(node: NodeProto, attribute: str) -> Sequence[int]:
    return next((tuple(a.ints) for a in node.attribute if a.name == attribute), ())


def _moved(order: Sequence[int]) -> bool | None:
    """Whether a transposition moves channels between the first axis and the last; None: neither."""
    if not order:
        return None
    inner = tuple(range(1, len(order)))
    if tuple(order) == (0, *inner):
        return False
    moves = (0, *inner[1:], 1), (0, inner[-1], *inner[:-1])
    return True if tuple(order) in moves else None


def _turn(axis: str, turned: bool) -> str:
    return (LAST if axis == FIRST else FIRST) if turned else axis


def picture_layout(graph: GraphProto, picture: str, shape: Sequence[object]) -> str | None:
    """nchw or nhwc, from the shape of the input; None where neither side holds 1 or 3 channels.

    Args:
        graph: an `onnx.GraphProto`.
        picture: name of the input.
        shape: four numbers, or words for sides that are free.
    """
    for layout, side in (("nchw", shape[1]), ("nhwc", shape[3])):
        if side in (1, 3):
            return layout
    if isinstance(shape[1], int):
        return None
    for node in graph.node:  # a free side: what reads the picture shows its order
        if picture in node.input and node.op_type == "Transpose":
            return "nhwc" if tuple(_integers(node, "perm")) == (0, 3, 1, 2) else "nchw"
    return "nchw"


def pooled(features: Float32[np.ndarray, "N ..."], channels: str) -> Float32[np.ndarray, "N D"]:
    """Means over places or tokens.

    Args:
        features: [b, D], [b, D, ...] or [b, ..., D].
        channels: "first" or "last".

    Returns:
        [b, D].
    """
    if features.ndim <= 2:
        return features.reshape(len(features), -1)
    places = range(2, features.ndim) if channels == FIRST else range(1, features.ndim - 1)
    found: NDArray[np.float32] = features.mean(tuple(places))
    return found


def widths(outputs: Mapping[str, Sequence[object]]) -> str:
    """Outputs with their shapes, for errors.

    Args:
        outputs: shapes by name.

    >>> widths({"logits": ["N", 10], "maps": [1, 8, 4, 4]})
    'logits [N, 10], maps [1, 8, 4, 4]'
    """
    return ", ".join(f"{name} [{', '.join(map(str, shape))}]" for name, shape in outputs.items())
