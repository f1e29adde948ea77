"""Encoders of transformers: pooling and layers of tiny models with weights drawn at random."""

import json
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch: Any = pytest.importorskip("torch", reason="transformers need torch")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its own, on import
    transformers: Any = pytest.importorskip("transformers", reason="hf: needs transformers")
pytest.importorskip("PIL", reason="pictures need pillow")

from spider_jax.extract import extract
from spider_jax.extract.models.hf import read_hf
from spider_jax.extract.spec import Spec
from spider_jax.metrics import logme
from spider_jax.zoo.store import FeatureStore
from support.toy_extract import normalised, pictures, write_arrays

Refused = Callable[..., AbstractContextManager[None]]
WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "red", "green", "blue", "sky", "leaf")
TEXTS = ("red sky", "green", "blue sky red leaf", "leaf green green", "sky", "red red leaf")
SIZES = {
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 20,
}
pytestmark = pytest.mark.filterwarnings("default")  # transformers warns of itself


@pytest.fixture
def bert(tmp_path: Path) -> Path:
    folder = tmp_path / "bert"
    torch.manual_seed(0)
    config = transformers.BertConfig(vocab_size=len(WORDS), max_position_embeddings=12, **SIZES)
    transformers.BertForSequenceClassification(config).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    transformers.BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)
    return folder


@pytest.fixture
def vit(tmp_path: Path) -> Path:
    folder = tmp_path / "vit"
    torch.manual_seed(0)
    config = transformers.ViTConfig(image_size=12, patch_size=4, num_labels=4, **SIZES)
    transformers.ViTForImageClassification(config).save_pretrained(folder)
    processor = {
        "image_processor_type": "ViTImageProcessor",
        "size": {"height": 12, "width": 12},
        "image_mean": [0.485, 0.456, 0.406],
        "image_std": [0.229, 0.224, 0.225],
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return folder


@pytest.fixture
def texts(tmp_path: Path) -> str:
    lines = [f"{text},{'warm' if 'red' in text else 'cold'}" for text in TEXTS]
    (tmp_path / "texts.csv").write_text("\n".join(["text,label", *lines]))
    return f"csv:{tmp_path / 'texts.csv'}"


def hidden(folder: Path, text: str) -> tuple[list[Any], Any]:
    """Hidden states [1, tokens, D] of every layer and the logits of one text, without padding."""
    model = transformers.BertForSequenceClassification.from_pretrained(folder).eval()
    ids = [WORDS.index(word) for word in ("[CLS]", *text.split(), "[SEP]")]
    with torch.no_grad():
        output = model(torch.tensor([ids]), output_hidden_states=True)
    return [h.numpy() for h in output.hidden_states], output.logits


@pytest.mark.parametrize(
    ("options", "read"),
    [
        ("", lambda layers: layers[-1].mean(1)),
        ("?pooling=cls", lambda layers: layers[-1][:, 0]),
        ("?pooling=last", lambda layers: layers[-1][:, -1]),
        ("?layer=mean", lambda layers: np.mean([layer.mean(1) for layer in layers], 0)),
        ("?layer=1", lambda layers: layers[1].mean(1)),
        ("?layer=0&pooling=cls", lambda layers: layers[0][:, 0]),
    ],
)
def test_a_text_encoder(tmp_path: Path, bert: Path, texts: str, options: str, read: Any) -> None:
    found = extract([f"hf:{bert}{options}"], [texts], tmp_path / "zoo")
    assert (found.written, found.problems) == ([("bert", "texts")], [])
    zoo = FeatureStore(tmp_path / "zoo")
    for row, text in enumerate(TEXTS):
        layers, logits = hidden(bert, text)
        np.testing.assert_allclose(zoo.features("bert", "texts")[row], read(layers)[0], atol=1e-5)
        softmax = torch.softmax(logits, 1).numpy()[0]
        np.testing.assert_allclose(zoo.probabilities("bert", "texts")[row], softmax, atol=1e-5)
    assert zoo.labels("texts").tolist() == [1, 0, 1, 0, 0, 1]
    assert zoo.task_info("texts")["classes"] == ["cold", "warm"]


def test_the_best_layer_of_a_task(tmp_path: Path, bert: Path, texts: str) -> None:
    assert extract([f"hf:{bert}?layer=best"], [texts], tmp_path / "zoo").problems == []
    zoo = FeatureStore(tmp_path / "zoo")
    layers = [[] for _ in range(4)]  # type: list[list[Any]]
    for text in TEXTS:
        for layer, values in zip(layers, hidden(bert, text)[0], strict=True):
            layer.append(values.mean(1)[0])
    scores = [logme(np.stack(layer), zoo.labels("texts")) for layer in layers]
    best = int(np.argmax(scores))
    assert zoo.model_info("bert")["layers"] == {"texts": best}
    np.testing.assert_allclose(zoo.features("bert", "texts"), np.stack(layers[best]), atol=1e-5)


def test_an_image_encoder(tmp_path: Path, vit: Path) -> None:
    data = write_arrays(tmp_path / "toys.npz", 5)
    assert extract([f"hf:{vit}"], [f"arrays:{data}"], tmp_path / "zoo").problems == []
    model = transformers.ViTForImageClassification.from_pretrained(vit).eval()
    with torch.no_grad():
        x = normalised(pictures(5))
        features = model.vit(x).last_hidden_state[:, 0].numpy()
        softmax = torch.softmax(model(x).logits, 1).numpy()
    zoo = FeatureStore(tmp_path / "zoo")
    np.testing.assert_allclose(zoo.features("vit", "toys"), features, atol=1e-5)
    np.testing.assert_allclose(zoo.probabilities("vit", "toys"), softmax, atol=1e-5)
    assert zoo.model_info("vit")["preprocessing"]["image_mean"] == [0.485, 0.456, 0.406]


def test_items_of_another_kind_are_refused(tmp_path: Path, bert: Path) -> None:
    data = write_arrays(tmp_path / "toys.npz", 5)
    (problem,) = extract([f"hf:{bert}"], [f"arrays:{data}"], tmp_path / "zoo").problems
    assert "'bert' takes texts, arrays:toys.npz has images" in problem.message


def test_code_of_a_repository_is_never_run(tmp_path: Path, bert: Path, refused: Refused) -> None:
    made = tmp_path / "made"
    (bert / "own.py").write_text(f"open({str(made)!r}, 'w')")
    config = json.loads((bert / "config.json").read_text())
    config |= {"auto_map": {"AutoConfig": "own.Config", "AutoModel": "own.Model"}}
    config["model_type"] = "own"
    (bert / "config.json").write_text(json.dumps(config))
    with refused("cannot be loaded"):
        read_hf(Spec("hf", str(bert)))
    assert not made.exists()


def test_pickled_weights_are_not_read(bert: Path, refused: Refused) -> None:
    (bert / "model.safetensors").unlink()
    torch.save({}, bert / "pytorch_model.bin")
    with refused("cannot be loaded"):
        read_hf(Spec("hf", str(bert)))


def test_a_layer_that_is_none(bert: Path, refused: Refused) -> None:
    with refused("layer must be last, mean, best or 0..3", "'9'"):
        read_hf(Spec("hf", str(bert), {"layer": "9"}))
    with refused("pooling must be one of mean, cls, last", "'max'"):
        read_hf(Spec("hf", str(bert), {"pooling": "max"}))
