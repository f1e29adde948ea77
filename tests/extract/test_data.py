"""Readers of data: order, labels and classes, pictures as the models see them, and bad input."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

image: Any = pytest.importorskip("PIL.Image", reason="pictures need pillow")
torch: Any = pytest.importorskip("torch", reason="the toy models are torch's")

from spider_jax.extract import extract
from spider_jax.extract.data.images import Preprocessing, open_image, preprocessing_of
from spider_jax.extract.readers import open_data
from spider_jax.extract.spec import Spec, parse_spec
from support.command_line import Command, one_line
from support.toy_extract import SPEC, pictures, write_arrays, write_folder

Refused = Callable[..., AbstractContextManager[None]]


# ---- specs -----------------------------------------------------------------------------------


def test_a_spec() -> None:
    spec = parse_spec("a b=torch:m:f?size=3&mean=0.5%2C1", ("torch",), "model")
    assert (spec.name, spec.reader, spec.what) == ("a b", "torch", "m:f")
    assert spec.options == {"size": "3", "mean": "0.5,1"}
    assert parse_spec("folder:C:/a=b", ("folder",), "data").what == "C:/a=b"


@pytest.mark.parametrize(
    ("text", "mentions"),
    [
        ("photos/", "READER:WHAT"),
        ("zip:photos", "one of folder"),
        ("folder:", "names nothing"),
        ("folder:a?b", "key=value"),
        ("folder:a?b=1&b=2", "each once"),
    ],
)
def test_a_bad_spec(text: str, mentions: str, refused: Refused) -> None:
    with refused(mentions):
        parse_spec(text, ("folder",), "data")


def test_bad_options(refused: Refused) -> None:
    for option, value in (
        ("size", "big"),
        ("mean", "1,2"),
        ("std", "0"),
        ("interpolation", "area"),
    ):
        with refused(option, value):
            preprocessing_of(Spec("torch", "m:f", {option: value}))
    with refused("resize"):
        preprocessing_of(Spec("torch", "m:f", {"size": "64", "resize": "32"}))


# ---- folder ----------------------------------------------------------------------------------


def test_a_folder_is_a_class_each(tmp_path: Path) -> None:
    write_folder(tmp_path / "pets", per_class=2, classes=("zebra", "ant"))
    (tmp_path / "pets" / ".cache").mkdir()
    (tmp_path / "pets" / "ant" / "notes.txt").write_text("no picture")
    data = open_data(f"folder:{tmp_path / 'pets'}")
    assert (data.name, data.source, data.rows) == ("pets", "folder:pets", 4)
    assert (data.classes, data.kind) == (("ant", "zebra"), "classification")
    assert data.labels is not None
    assert data.labels.tolist() == [0, 0, 1, 1]
    images = pictures(4)
    for row, at in enumerate((2, 3, 0, 1)):  # zebra was written first
        assert (np.asarray(data.item(row)) == images[at]).all()


def test_pictures_without_folders_have_no_labels(tmp_path: Path, command: Command) -> None:
    write_folder(tmp_path / "pets", classes=("cat",))
    data = open_data(f"folder:{tmp_path / 'pets' / 'cat'}")
    assert (data.labels, data.rows) == (None, 3)
    found = command(
        "extract", "--model", SPEC, "--data", f"folder:{tmp_path / 'pets' / 'cat'}",
        "--out", tmp_path / "zoo",
    )  # fmt: skip
    assert found.code == 2
    assert "has no labels" in found.err
    assert not (tmp_path / "zoo").exists()


def test_an_empty_class(tmp_path: Path, refused: Refused) -> None:
    write_folder(tmp_path / "pets")
    (tmp_path / "pets" / "eel").mkdir()
    with refused("class 'eel' has no pictures", str(tmp_path / "pets" / "eel")):
        open_data(f"folder:{tmp_path / 'pets'}")
    with refused("is not a folder"):
        open_data(f"folder:{tmp_path / 'none'}")
    (tmp_path / "empty").mkdir()
    with refused("has no pictures"):
        open_data(f"folder:{tmp_path / 'empty'}")


def test_a_corrupt_picture_names_file_and_row(tmp_path: Path, command: Command) -> None:
    write_folder(tmp_path / "pets", per_class=4)
    broken = tmp_path / "pets" / "dog" / "1.png"
    broken.write_bytes(broken.read_bytes()[:200])
    arrays = write_arrays(tmp_path / "toys.npz", 4)
    arguments = [
        "--out",
        tmp_path / "zoo",
        "--model",
        SPEC,
        "--data",
        f"folder:{tmp_path / 'pets'}",
    ]
    found = command("extract", *arguments)
    assert (found.code, found.out) == (2, "")
    (line,) = found.err.splitlines()
    assert f"{broken} (row 5)" in line
    assert {path.name for path in (tmp_path / "zoo").iterdir()} <= {".extract"}
    found = command("extract", *arguments, f"arrays:{arrays}")
    assert (found.code, found.out) == (3, "written: tiny on toys\n")
    assert "pets: " in found.err


def test_a_bomb_is_refused(tmp_path: Path, refused: Refused, monkeypatch: Any) -> None:
    picture = write_folder(tmp_path / "pets") / "cat" / "0.png"
    assert image.MAX_IMAGE_PIXELS is not None
    monkeypatch.setattr(image, "MAX_IMAGE_PIXELS", 12 * 12 - 1)
    with refused("144 pixels", "limit of 143", "0.png"):
        open_image(picture, str(picture))
    monkeypatch.setattr(image, "MAX_IMAGE_PIXELS", 12 * 6 - 1)  # Pillow's own error
    with refused("0.png"):
        open_image(picture, str(picture))


# ---- arrays ----------------------------------------------------------------------------------


def test_arrays(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_arrays(tmp_path / "toys.npz", 5)
    data = open_data(f"arrays:{tmp_path / 'toys.npz'}")
    assert (data.name, data.rows, data.kind, data.modality) == (
        "toys", 5, "classification", "image",
    )  # fmt: skip
    assert (data.item(3) == pictures(5)[3]).all()
    np.save(tmp_path / "images.npy", pictures(5)[..., 0])
    np.save(tmp_path / "targets.npy", np.linspace(0, 1, 5))
    spec = f"prices=arrays:{tmp_path / 'images.npy'}?labels={tmp_path / 'targets.npy'}"
    data = open_data(spec)
    assert (data.name, data.kind, data.rows) == ("prices", "regression", 5)
    assert caplog.text == ""
    np.save(tmp_path / "targets.npy", np.arange(5.0))
    assert open_data(spec).kind == "regression"
    assert "if they are classes, save them as integers" in caplog.text
    assert np.asarray(data.item(4)).shape == (12, 12)


def test_arrays_of_words_as_labels(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=pictures(4), labels=["cat", "007", "cat", "7"])
    data = open_data(f"arrays:{tmp_path / 'a.npz'}")
    assert data.labels is not None
    assert (data.classes, data.labels.tolist()) == (("007", "7", "cat"), [2, 0, 2, 1])


def test_bad_arrays(tmp_path: Path, refused: Refused) -> None:
    path, labels = tmp_path / "bad.npz", np.arange(4) % 2

    def bad(*mentions: str, options: str = "", **arrays: Any) -> None:
        np.savez(path, **arrays)
        with refused("bad.npz", *mentions):
            open_data(f"arrays:{path}{options}")

    bad("N=4", "got 3", "row 3", images=pictures(4), labels=labels[:3])
    bad("N=4", "got 5", images=pictures(4), labels=np.arange(5) % 2)
    bad("uint8", "float64", images=pictures(4) / 255, labels=labels)
    bad("no array 'it'", "'images'", options="?images=it", images=pictures(4), labels=labels)
    bad("neither images", "'other'", other=labels)
    bad("row 2 is not finite", images=pictures(4), labels=np.array([0, 1, np.nan, 2]))
    bad("int [N]", images=pictures(4), labels=np.eye(4), options="?kind=classification")
    bad("kind must be", images=pictures(4), labels=labels, options="?kind=ranking")
    bad("Object arrays", images=pictures(4), labels=np.array([0, 1, "a", None], object))
    path.write_bytes(path.read_bytes()[:100])
    with refused("bad.npz", "not a readable .npz"):
        open_data(f"arrays:{path}")
    np.save(tmp_path / "objects.npy", np.array([{}], object), allow_pickle=True)
    with refused("objects.npy", "Python objects"):
        open_data(f"arrays:{tmp_path / 'objects.npy'}")


def test_an_archive_larger_than_memory_is_not_unpacked(tmp_path: Path, refused: Refused) -> None:
    """A thousand arrays of 4 GB each, as the archive's directory says."""
    path = tmp_path / "bomb.npz"
    np.savez(path, **{f"images{i}": np.zeros(1, np.uint8) for i in range(1000)})
    content = bytearray(path.read_bytes())
    at = content.find(b"PK\1\2")
    while at >= 0:
        content[at + 24 : at + 28] = b"\xfe\xff\xff\xff"
        at = content.find(b"PK\1\2", at + 1)
    path.write_bytes(content)
    with refused("bomb.npz", "half of the memory", "4295.0", "save its arrays as .npy"):
        open_data(f"arrays:{path}")


def test_a_label_file_one_row_short(tmp_path: Path, command: Command) -> None:
    np.save(tmp_path / "images.npy", pictures(6))
    np.save(tmp_path / "labels.npy", np.arange(5) % 2)
    data = f"arrays:{tmp_path / 'images.npy'}?labels={tmp_path / 'labels.npy'}"
    found = command("extract", "--model", SPEC, "--data", data, "--out", tmp_path / "zoo")
    one_line(found, "images.npy", "N=6", "got 5", "row 5")
    assert not (tmp_path / "zoo").exists()


def test_a_line_of_pixels_is_refused(tmp_path: Path) -> None:
    line = np.zeros((2, 1, 3000, 3), np.uint8)
    np.savez(tmp_path / "lines.npz", images=line, labels=[0, 1])
    (problem,) = extract([SPEC], [f"arrays:{tmp_path / 'lines.npz'}"], tmp_path / "zoo").problems
    assert "lines.npz (row 0) has 3000 x 1 pixels" in problem.message


# ---- pictures --------------------------------------------------------------------------------


def test_preprocessing_equals_torchvision() -> None:
    try:
        import torchvision.transforms as transforms
    except Exception as error:  # absent, or its compiled parts do not fit this torch
        pytest.skip(f"the reference is torchvision: {error}")
    modes = transforms.InterpolationMode
    for side, mode in (((40, 61), "bilinear"), ((33, 21), "bicubic"), ((19, 64), "bilinear")):
        picture = image.fromarray(np.random.default_rng(0).integers(0, 256, (*side, 3), np.uint8))
        reference = transforms.Compose(
            [
                transforms.Resize(32, modes[mode.upper()]),
                transforms.CenterCrop(24),
                transforms.ToTensor(),
                transforms.Normalize((0.4, 0.5, 0.6), (0.1, 0.2, 0.3)),
            ]
        )
        ours = Preprocessing(24, 32, mode, (0.4, 0.5, 0.6), (0.1, 0.2, 0.3))
        np.testing.assert_allclose(ours(picture), reference(picture).numpy(), atol=2e-6)


def test_pictures_of_every_mode_become_rgb(tmp_path: Path) -> None:
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16)
    deep = image.fromarray(ramp.astype(np.uint16) * 257)
    palette = image.fromarray(ramp).convert("P")
    palette.info["transparency"] = bytes(range(256))
    alpha = image.fromarray(np.dstack([ramp, ramp, ramp, ramp]))
    share = ramp / 255
    on_white = np.rint(share * ramp + (1 - share) * 255).astype(np.uint8)
    for name, picture, wanted in (
        ("grey", image.fromarray(ramp), ramp),
        ("deep", deep, ramp),
        ("palette", palette, on_white),
        ("alpha", alpha, on_white),
        ("grey alpha", alpha.convert("LA"), on_white),
    ):
        picture.save(tmp_path / f"{name}.png")
        opened = open_image(tmp_path / f"{name}.png", name)
        assert opened.mode == "RGB"
        assert (np.asarray(opened) == wanted[..., None]).all(), name


RAMP = np.tile(np.linspace(0, 1, 256), (4, 1))


@pytest.mark.parametrize(
    ("pixels", "suffix"),
    [
        (np.uint16(RAMP * 65535), "png"),
        (np.uint16(RAMP * 65535), "tiff"),
        (np.uint16(RAMP * 16383), "tiff"),
        (np.uint16(RAMP * 4095), "tiff"),
        (np.uint16(RAMP * 4095), "png"),
        (np.uint16(RAMP * 1023), "tiff"),
        (np.uint16(RAMP * 255), "tiff"),
        (np.int32(RAMP * 255), "tiff"),
        (np.int32(RAMP * 65535), "tiff"),
        (np.int32(RAMP * 1e6), "tiff"),
        (np.int32(RAMP * 4095 - 1024), "tiff"),
        (np.float32(RAMP), "tiff"),
        (np.float32(2 * RAMP - 1), "tiff"),
        (np.float32(RAMP * 255), "tiff"),
        (np.float32(RAMP * 4095), "tiff"),
        (np.float32(RAMP * 1e6 - 3e5), "tiff"),
    ],
    ids=lambda v: v if isinstance(v, str) else f"{v.dtype} to {v.max():.4g}",
)
def test_a_deep_gradient_stays_a_gradient(tmp_path: Path, pixels: Any, suffix: str) -> None:
    image.fromarray(pixels).save(tmp_path / f"deep.{suffix}")
    found = np.asarray(open_image(tmp_path / f"deep.{suffix}", "deep")).astype(int)
    assert np.abs(found - np.rint(255 * RAMP)[..., None]).max() <= 1


def test_deep_pictures_that_are_flat_or_not_finite(tmp_path: Path, refused: Refused) -> None:
    for value, wanted in ((0.0, 0), (1.0, 255), (255.0, 255)):
        image.fromarray(np.full((4, 4), value, np.float32)).save(tmp_path / "flat.tiff")
        assert (np.asarray(open_image(tmp_path / "flat.tiff", "flat")) == wanted).all()
    image.fromarray(np.full((4, 4), np.nan, np.float32)).save(tmp_path / "nan.tiff")
    with refused("nan.tiff", "not finite"):
        open_image(tmp_path / "nan.tiff", "nan.tiff")


def test_what_lies_under_a_transparent_pixel_is_not_seen(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    seen = []
    for hidden in range(2):
        pixels = np.full((4, 4, 4), 255, np.uint8)
        pixels[:2] = (10, 20, 30, 255)
        pixels[2:, :, :3], pixels[2:, :, 3] = rng.integers(0, 256, (2, 4, 3)), 0
        image.fromarray(pixels).save(tmp_path / f"{hidden}.png")
        seen.append(np.asarray(open_image(tmp_path / f"{hidden}.png", "hidden")))
    assert (seen[0] == seen[1]).all()
    assert (seen[0][:2] == (10, 20, 30)).all()
    assert (seen[0][2:] == 255).all()


def test_a_picture_stands_as_its_exif_says(tmp_path: Path) -> None:
    picture = image.fromarray(pictures(1)[0][:6])
    exif = picture.getexif()
    exif[0x0112] = 6  # to be turned by a quarter
    picture.save(tmp_path / "turned.png", exif=exif)
    opened = np.asarray(open_image(tmp_path / "turned.png", "turned"))
    assert (opened == np.rot90(np.asarray(picture), -1)).all()
