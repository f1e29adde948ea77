"""EfficientNet-Lite0 without weights: what a user's factory looks like."""

from typing import Any


def make() -> Any:
    from efficientnet_lite_pytorch import EfficientNet

    return EfficientNet.from_name("efficientnet-lite0")
