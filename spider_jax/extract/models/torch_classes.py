"""The classes of torch that signatures name. Torch is optional, so it is not imported here."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module
else:
    Tensor = Module = object

__all__ = ["Module", "Tensor"]
