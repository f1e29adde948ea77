"""Pictures to arrays: opened by Pillow, then resized, cropped and normalised for a model."""

import io
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32
from numpy.typing import NDArray

from spider_jax.errors import InputError, one_line
from spider_jax.extract.data.items import Item, Picture
from spider_jax.extract.spec import Spec
from spider_jax.runtime.optional import need

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
INTERPOLATIONS = ("bilinear", "bicubic", "nearest", "lanczos")
LONGEST = 200  # times the shorter side: resizing would take gigabytes for a line of pixels
OPTIONS = ("size", "resize", "interpolation", "mean", "std")


def open_image(source: Path | bytes, where: str) -> Picture:
    """A picture in RGB, turned as its EXIF says.

    Args:
        source: a file or its bytes.
        where: its name for errors.

    Returns:
        The picture.

    Raises:
        InputError: no picture, a broken one, or one beyond Pillow's limit of pixels.
    """
    image = need("PIL.Image", "pillow", "reading pictures")
    ops = need("PIL.ImageOps", "pillow", "reading pictures")
    try:
        with image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as opened:
            _refuse_bomb(opened, image.MAX_IMAGE_PIXELS, where)
            return to_rgb(ops.exif_transpose(opened))
    except InputError:
        raise
    except Exception as error:  # Pillow's decoders raise of every kind on damaged files
        raise InputError(f"{where} is not a readable picture: {one_line(error)}") from None


def _refuse_bomb(opened: Picture, limit: int | None, where: str) -> None:
    """Pillow itself only warns up to twice its limit."""
    pixels = opened.size[0] * opened.size[1]
    if limit is not None and pixels > limit:
        raise InputError(f"{where} has {pixels} pixels, more than Pillow's limit of {limit}")


def to_rgb(picture: Item) -> Picture:
    """A picture in RGB.

    Args:
        picture: Pillow's of any mode, or an array uint8 [H, W] or [H, W, 1, 3 or 4].

    Returns:
        Pillow's picture of mode "RGB".

    Raises:
        InputError: a text.
    """
    if isinstance(picture, str):
        raise InputError(f"is a text and no picture: {picture[:40]!r}")
    found = _of_array(picture) if isinstance(picture, np.ndarray) else picture
    if found.mode.startswith("I"):  # 16 bits, which convert would clip
        high = np.asarray(found, np.int64) >> 8
        found = _of_array(np.clip(high, 0, 255).astype(np.uint8))
    if "transparency" in found.info:
        found = found.convert("RGBA")
    return found if found.mode == "RGB" else found.convert("RGB")


def _of_array(pixels: NDArray[np.generic]) -> Picture:
    """A picture of uint8 [H, W] or [H, W, 1, 3 or 4]."""
    image = need("PIL.Image", "pillow", "reading pictures")
    made: Picture = image.fromarray(pixels[..., 0] if pixels.shape[2:] == (1,) else pixels)
    return made


@dataclass(frozen=True)
class Preprocessing:
    """Resize the shorter side, crop the centre, divide by 255, then (x - mean) / std.

    Attributes:
        size: side of the crop in pixels.
        resize: shorter side before the crop in pixels; 0 stretches both sides to `size`.
        interpolation: Pillow's, with antialiasing: bilinear, bicubic, nearest or lanczos.
        mean: of red, green and blue.
        std: of red, green and blue.
        stretch: both sides are stretched to `resize` before the crop.
    """

    size: int = 224
    resize: int = 256
    interpolation: str = "bilinear"
    mean: tuple[float, ...] = IMAGENET[0]
    std: tuple[float, ...] = IMAGENET[1]
    stretch: bool = False

    def __call__(self, picture: Item) -> Float32[np.ndarray, "3 H H"]:
        """The pixels that a model takes.

        Args:
            picture: Pillow's, or an array uint8 [H, W] or [H, W, 1, 3 or 4].

        Returns:
            float32 [3, size, size].

        Raises:
            InputError: a text, or one side more than 200 times the other.
        """
        pixels = np.asarray(self._cropped(to_rgb(picture)), np.float32) / np.float32(255)
        scaled = (pixels - np.array(self.mean, np.float32)) / np.array(self.std, np.float32)
        return np.ascontiguousarray(scaled.transpose(2, 0, 1))

    def _cropped(self, picture: Picture) -> Picture:
        resampling = need("PIL.Image", "pillow", "reading pictures").Resampling
        how = resampling[self.interpolation.upper()]
        if self.resize == 0:
            return picture.resize((self.size, self.size), how)
        width, height = picture.size
        short = min(width, height)
        new = (self.resize * width // short, self.resize * height // short)
        if self.stretch:
            new = (self.resize, self.resize)
        if max(new) > LONGEST * self.resize:
            raise InputError(
                f"has {width} x {height} pixels, sides of at most 1 : {LONGEST} are read"
            )
        if new != picture.size:
            picture = picture.resize(new, how)
        left, top = (round((side - self.size) / 2) for side in new)
        return picture.crop((left, top, left + self.size, top + self.size))

    def facts(self) -> dict[str, object]:
        """The fields by name, for the manifest; `stretch` where it is asked for."""
        fields = asdict(self) | {"mean": list(self.mean), "std": list(self.std)}
        return {name: value for name, value in fields.items() if name != "stretch" or value}


def preprocessing_of(spec: Spec, default: Preprocessing | None = None) -> Preprocessing:
    """The preprocessing that the options of a spec ask for.

    An option size without resize keeps the ratio of the two.

    Args:
        spec: whose options are read.
        default: what the options change; None: ImageNet's preprocessing at 224 pixels.

    Returns:
        The preprocessing.

    Raises:
        InputError: an option with a value that cannot be used.
    """
    base = default or Preprocessing()
    size = spec.number("size", base.size)
    resize = spec.number("resize", round(base.resize * size / base.size), least=0)
    if 0 < resize < size:
        raise InputError(f"{spec}: resize must be 0 or at least size ({size}), got {resize}")
    interpolation = spec.choice("interpolation", INTERPOLATIONS, base.interpolation)
    mean, std = _triple(spec, "mean", base.mean), _triple(spec, "std", base.std)
    if min(std) <= 0:
        raise InputError(f"{spec}: std must be positive, got {std}")
    return Preprocessing(size, resize, interpolation, mean, std, base.stretch)


def _triple(spec: Spec, option: str, default: tuple[float, ...]) -> tuple[float, ...]:
    text = spec.options.get(option)
    if text is None:
        return default
    try:
        values = tuple(map(float, text.split(",")))
    except ValueError:
        values = ()
    values = values * 3 if len(values) == 1 else values
    if len(values) != 3 or not np.isfinite(values).all():
        raise InputError(f"{spec}: {option} must be one or three numbers a,b,c, got {text!r}")
    return values
