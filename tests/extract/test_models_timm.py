"""timm's own numbers: what its transforms do in evaluation, without timm."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import pytest

image: Any = pytest.importorskip("PIL.Image", reason="pictures need pillow")

from spider_jax.extract.data.images import preprocessing_of
from spider_jax.extract.models.torch_zoos import timm_preprocessing
from spider_jax.extract.spec import Spec

Refused = Callable[..., AbstractContextManager[None]]
SPEC = Spec("timm", "net")
CONFIG = {
    "input_size": (3, 224, 224),
    "interpolation": "bicubic",
    "mean": (0.5, 0.5, 0.5),
    "std": (0.5, 0.5, 0.5),
    "crop_pct": 0.9,
    "crop_mode": "center",
}


@pytest.mark.parametrize(
    ("size", "share", "before"),
    [(224, 0.9, 248), (224, 0.875, 256), (224, 0.95, 235), (288, 1.0, 288), (240, 0.882, 272)],
)
def test_the_side_before_the_crop_is_rounded_down(size: int, share: float, before: int) -> None:
    config = CONFIG | {"input_size": (3, size, size), "crop_pct": share}
    found = timm_preprocessing(SPEC, config)
    assert (found.size, found.resize, found.stretch) == (size, before, False)
    assert "stretch" not in found.facts()  # manifests of before stay as they are


@pytest.mark.parametrize(("share", "resize", "stretch"), [(1.0, 0, False), (0.5, 448, True)])
def test_squash_stretches_both_sides(share: float, resize: int, stretch: bool) -> None:
    found = timm_preprocessing(SPEC, CONFIG | {"crop_mode": "squash", "crop_pct": share})
    assert (found.size, found.resize, found.stretch) == (224, resize, stretch)
    pixels = np.random.default_rng(0).integers(0, 256, (40, 90, 3), np.uint8)
    before = round(224 / share)
    wide = image.fromarray(pixels).resize((before, before), image.Resampling.BICUBIC)
    edge = (before - 224) // 2
    wanted = np.asarray(wide.crop((edge, edge, edge + 224, edge + 224)), np.float32) / 255
    np.testing.assert_allclose(found(pixels), (wanted.transpose(2, 0, 1) - 0.5) / 0.5, atol=1e-6)
    assert preprocessing_of(SPEC, found) == found


def test_random_interpolation_is_bilinear() -> None:
    assert timm_preprocessing(SPEC, CONFIG | {"interpolation": "random"}).interpolation == (
        "bilinear"
    )


@pytest.mark.parametrize(
    ("change", "mention"),
    [
        ({"crop_mode": "border"}, "'border'"),
        ({"input_size": (3, 224, 288)}, "3 x 224 x 288"),
        ({"input_size": (1, 28, 28)}, "1 x 28 x 28"),
        ({"interpolation": "hamming"}, "'hamming'"),
    ],
)
def test_what_is_not_made_is_refused(
    change: dict[str, Any], mention: str, refused: Refused
) -> None:
    with refused("timm:net", mention):
        timm_preprocessing(SPEC, CONFIG | change)
