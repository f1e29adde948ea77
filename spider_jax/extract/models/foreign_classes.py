"""Classes of optional packages that signatures name. None of these is imported here."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto
    from torch import Tensor
    from torch.nn import Module
    from transformers import PretrainedConfig, PreTrainedTokenizerBase
else:
    GraphProto = NodeProto = Tensor = Module = object
    PretrainedConfig = PreTrainedTokenizerBase = object

__all__ = [
    "GraphProto",
    "Module",
    "NodeProto",
    "PreTrainedTokenizerBase",
    "PretrainedConfig",
    "Tensor",
]
