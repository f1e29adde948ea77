"""Pictures to arrays: opened by Pillow, then resized, cropped and normalised for a model."""

import io
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Num, UInt8
from numpy.typing import NDArray

from spider_jax.errors import InputError, one_line
from spider_jax.extract.data.items import Item, Picture, TextPair, Word
from spider_jax.extract.spec import Spec
from spider_jax.runtime.optional import need

SUFFIXES = (
    *(".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm"),
    *(".tif", ".tiff", ".webp"),
)
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
INTERPOLATIONS = ("bilinear", "bicubic", "nearest", "lanczos")
LONGEST = 200  # times the shorter side: resizing would take gigabytes for a line of pixels
DEPTHS = (8, 10, 12, 14, 16)  # bits of cameras, scanners and microscopes
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
            _refuse_bomb(opened, image.MAX_IMAGE_PIXELS)
            return to_rgb(ops.exif_transpose(opened))
    except InputError as error:
        raise InputError(f"{where} {error}") from None
    except Exception as error:  # Pillow's decoders raise of every kind on damaged files
        raise InputError(f"{where} is not a readable picture: {one_line(error)}") from None


def _refuse_bomb(opened: Picture, limit: int | None) -> None:
    """Pillow itself only warns up to twice its limit."""
    pixels = opened.size[0] * opened.size[1]
    if limit is not None and pixels > limit:
        raise InputError(f"has {pixels} pixels, more than Pillow's limit of {limit}")


def to_rgb(picture: Item) -> Picture:
    """A picture in RGB: deeper ones scaled by their range, see-through ones laid on white.

    Args:
        picture: Pillow's of any mode, or an array uint8 [H, W] or [H, W, 1, 3 or 4].

    Returns:
        Pillow's picture of mode "RGB".

    Raises:
        InputError: a text, or pixels that are not finite.
    """
    if isinstance(picture, str | TextPair | Word):
        raise InputError(f"is a text and no picture: {str(picture)[:40]!r}")
    found = _of_array(picture) if isinstance(picture, np.ndarray) else picture
    if found.mode[0] in "IF":  # more than 8 bits, which convert would clip
        found = _of_array(eight_bits(np.asarray(found)))
    if "transparency" in found.info or found.mode in ("LA", "La", "PA", "RGBA", "RGBa"):
        return _on_white(found.convert("RGBA"))
    return found if found.mode == "RGB" else found.convert("RGB")


def _on_white(picture: Picture) -> Picture:
    """What is seen of a picture with an alpha channel on white paper."""
    pixels = np.asarray(picture)
    colours, alpha = pixels[..., :3].astype(np.uint32), pixels[..., 3:].astype(np.uint32)
    if (alpha == 255).all():
        return picture.convert("RGB")
    return _of_array(((colours * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8))


def eight_bits(pixels: Num[np.ndarray, "H W"]) -> UInt8[np.ndarray, "H W"]:
    """Pixels of one channel in 8 bits, by the range that they fill.

    Whole numbers are of 8, 10, 12, 14 or 16 bits, whichever holds the largest; floats lie in 0..1,
    -1..1, or as whole numbers do. Anything else is spread from its smallest to its largest value.

    Args:
        pixels: whole numbers or floats.

    Returns:
        0..255.

    Raises:
        InputError: a value that is not finite.

    >>> eight_bits(np.array([[0, 1024, 4095]], np.uint16)), eight_bits(np.array([[0, 0.5, 1]]))
    (array([[  0,  64, 255]], dtype=uint8), array([[  0, 128, 255]], dtype=uint8))
    """
    low, high = float(pixels.min()), float(pixels.max())
    if not np.isfinite([low, high]).all():
        raise InputError("has pixels that are not finite")
    depth = next((bits for bits in DEPTHS if high < 1 << bits), None)
    if pixels.dtype.kind in "iu" and low >= 0 and depth is not None:
        return (pixels.astype(np.uint32) >> (depth - 8)).astype(np.uint8)
    if pixels.dtype.kind == "f" and low >= -1 and high <= 1:
        low, high = (0.0 if low >= 0 else -1.0), 1.0
    elif low >= 0 and depth is not None:
        low, high = 0.0, float(2**depth - 1)
    scaled = (pixels.astype(np.float64) - low) * (255 / max(high - low, np.finfo(float).tiny))
    return np.clip(np.rint(scaled), 0, 255).astype(np.uint8)


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
