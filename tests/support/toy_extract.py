"""Small torch models that a factory makes, and small pictures, for the tests of extract."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

torch: Any = pytest.importorskip("torch", reason="the toy models are torch's")

CLASSES, WIDTH, SIDE = 3, 6, 12
SPEC = f"torch:support.toy_extract:tiny?size={SIDE}&resize={SIDE}"
MEAN = np.array([0.485, 0.456, 0.406])
STD = np.array([0.229, 0.224, 0.225])


class Tiny(torch.nn.Module):
    """Convolution, ReLU, pooling, dropout, linear head."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = torch.nn.Conv2d(3, WIDTH, 3)
        self.dropout = torch.nn.Dropout(0.5)
        self.head = torch.nn.Linear(WIDTH, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.convolution(x)).mean((2, 3))
        return self.head(self.dropout(x))


def seeded(model: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """Every parameter drawn anew from one seed; torch's own generator is left alone."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / 3)
    return model


def tiny() -> torch.nn.Module:
    return seeded(Tiny())


def other() -> torch.nn.Module:
    return seeded(Tiny(), 1)


class Headless(Tiny):
    """Its output is the map of the convolution."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.convolution(x))


def headless() -> torch.nn.Module:
    return seeded(Headless())


class Broken(Tiny):
    """NaN for a picture of one colour."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        black = x[:, 0].flatten(1).std(1) < 1e-6
        return super().forward(torch.where(black[:, None, None, None], torch.nan, x))


def broken() -> torch.nn.Module:
    return seeded(Broken())


class Large(Tiny):
    """Features beyond what float16 holds."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(1e6 + torch.relu(self.convolution(x)).mean((2, 3)))


def large() -> torch.nn.Module:
    return seeded(Large())


def fails() -> torch.nn.Module:
    raise RuntimeError("no weights\nhere")


def no_module() -> object:
    return object()


def pictures(count: int, side: int = SIDE, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), np.uint8)


def normalised(images: NDArray[np.uint8]) -> torch.Tensor:
    """float32 [N, 3, H, W], from float64 arithmetic."""
    scaled = (images.astype(np.float64) / 255 - MEAN) / STD
    return torch.from_numpy(scaled.transpose(0, 3, 1, 2).astype(np.float32))


def write_arrays(path: Path, count: int, **more: NDArray[np.generic]) -> Path:
    """An .npz of pictures whose classes take turns."""
    np.savez(path, images=pictures(count), labels=np.arange(count) % CLASSES, **more)
    return path


def write_folder(root: Path, per_class: int = 3, classes: tuple[str, ...] = ("cat", "dog")) -> Path:
    """Pictures as PNG, a sub-folder a class."""
    from PIL import Image

    images = iter(pictures(per_class * len(classes)))
    for name in classes:
        (root / name).mkdir(parents=True)
        for number in range(per_class):
            Image.fromarray(next(images)).save(root / name / f"{number}.png")
    return root
