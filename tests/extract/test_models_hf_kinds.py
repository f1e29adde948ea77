"""Transformers of many families: what is read is what their classifier reads, of the row alone."""

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
safetensors: Any = pytest.importorskip("safetensors.torch", reason="weights are safetensors")
pytest.importorskip("PIL", reason="pictures need pillow")

from spider_jax.extract import extract
from spider_jax.extract.models.encoder import Encoder
from spider_jax.extract.models.hf import read_hf
from spider_jax.extract.spec import Spec
from support.toy_extract import pictures

Refused = Callable[..., AbstractContextManager[None]]
pytestmark = [
    pytest.mark.filterwarnings("default"),  # transformers warns of itself
    pytest.mark.usefixtures("one_torch_thread"),
]
SIDE = 16
VISION = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 20,
    "image_size": SIDE,
    "patch_size": 8,
}
WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "red", "green", "blue", "sky", "leaf")
TEXT = {
    "vocab_size": len(WORDS),
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 20,
    "max_position_embeddings": 12,
}
TEXTS = ("red sky", "green blue sky red leaf leaf green", "blue sky red", "sky", "leaf red " * 12)


def seeded(model: Any) -> Any:
    """Every parameter drawn anew, norms too, so that no layer is the identity."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / 3)
    return model.eval()


def save_vision(folder: Path, name: str, sizes: dict[str, Any], **options: Any) -> Any:
    """A tiny model of a class of transformers on disk, with its processor."""
    made = getattr(transformers, name)
    model = seeded(made(made.config_class(**sizes, **options)))
    model.save_pretrained(folder)
    processor = {"image_processor_type": "ViTImageProcessor", "size": {"height": 16, "width": 16}}
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return model


def save_text(
    folder: Path, name: str, sizes: dict[str, Any], *, pad: bool = True, side: str = "right"
) -> Any:
    """A tiny model of a class of transformers on disk, with a tokenizer of words."""
    tokenizers = pytest.importorskip("tokenizers")
    made = getattr(transformers, name)
    model = seeded(made(made.config_class(**sizes)))
    model.save_pretrained(folder)
    vocabulary = {word: i for i, word in enumerate(WORDS)}
    core = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="[UNK]"))
    core.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    more = {"pad_token": "[PAD]"} if pad else {}
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=core, unk_token="[UNK]", padding_side=side, **more
    ).save_pretrained(folder)
    return model


def opened(folder: Path, **options: str) -> Encoder:
    return read_hf(Spec("hf", str(folder), options))


def prepared(encoder: Encoder, count: int = 4) -> tuple[list[Any], Any]:
    """Prepared pictures, and the pixels that a processor without anything but scaling makes."""
    items = [encoder.prepare(picture) for picture in pictures(count, SIDE)]
    pixels = np.stack([np.asarray(item) for item in items]).transpose(0, 3, 1, 2)
    return items, torch.from_numpy((pixels.astype(np.float32) / 255 - 0.5) / 0.5)


# ---- pictures --------------------------------------------------------------------------------

CLASSES = {"num_labels": 5}
HALVES = {"hidden_sizes": [6, 8], "depths": [1, 1], "num_stages": 2}
SWIN = {
    "image_size": SIDE,
    "patch_size": 2,
    "embed_dim": 8,
    "depths": [1, 1],
    "num_heads": [2, 2],
    "window_size": 2,
}
DINO = {name: value for name, value in VISION.items() if name != "intermediate_size"}
DINO_HEAD = DINO | CLASSES
TOWERS = {"vision_config": VISION, "text_config": TEXT | {"eos_token_id": 3}}
MAE = VISION | {
    "decoder_hidden_size": 8,
    "decoder_num_hidden_layers": 1,
    "decoder_num_attention_heads": 2,
    "decoder_intermediate_size": 8,
}


def classifier_input(model: Any, pixels: Any) -> Any:
    """What the classifier reads, by a hook on it."""
    seen: list[Any] = []
    heads = [model.classifier] if hasattr(model, "classifier") else []
    head = heads[0][-1] if isinstance(heads[0], torch.nn.Sequential) else heads[0]
    hook = head.register_forward_hook(lambda m, given, output: seen.append(given[0]))
    model(pixels)
    hook.remove()
    return seen[0]


def pooler(model: Any, pixels: Any) -> Any:
    return model(pixels).pooler_output.flatten(1)


def tower(model: Any, pixels: Any) -> Any:
    return model.vision_model(pixels).pooler_output


def class_token(model: Any, pixels: Any) -> Any:
    return model(pixels).last_hidden_state[:, 0]


def unmasked(model: Any, pixels: Any) -> Any:
    model.config.mask_ratio = 0.0
    return model.vit(pixels).last_hidden_state[:, 0]


FAMILIES: list[tuple[str, dict[str, Any], Callable[[Any, Any], Any]]] = [
    ("ViTForImageClassification", VISION | CLASSES, classifier_input),
    ("BeitForImageClassification", VISION | CLASSES, classifier_input),
    ("SwinForImageClassification", SWIN | CLASSES, classifier_input),
    ("ConvNextForImageClassification", HALVES | CLASSES, classifier_input),
    ("Dinov2ForImageClassification", DINO_HEAD, classifier_input),
    ("CLIPForImageClassification", TOWERS | CLASSES, classifier_input),
    ("SiglipForImageClassification", TOWERS | CLASSES, classifier_input),
    ("ViTModel", VISION, class_token),
    ("Dinov2Model", DINO, pooler),
    ("BeitModel", VISION, pooler),
    ("SwinModel", SWIN, pooler),
    ("ConvNextModel", HALVES, pooler),
    ("CLIPVisionModel", VISION, pooler),
    ("CLIPModel", TOWERS, tower),
    ("SiglipModel", TOWERS, tower),
    ("ViTMAEForPreTraining", MAE, unmasked),
]


@pytest.mark.parametrize(("name", "sizes", "wanted"), FAMILIES, ids=[f[0] for f in FAMILIES])
def test_the_feature_is_the_models_own(
    tmp_path: Path, name: str, sizes: dict[str, Any], wanted: Any
) -> None:
    model = save_vision(tmp_path / "m", name, sizes)
    encoder = opened(tmp_path / "m")
    items, pixels = prepared(encoder)
    found = encoder.encode(items, None)
    with torch.inference_mode():
        np.testing.assert_allclose(found.features, wanted(model, pixels), rtol=1e-4, atol=1e-5)
        if name.endswith("Classification"):
            softmax = torch.softmax(model(pixels).logits, 1)
            np.testing.assert_allclose(found.probabilities, softmax, rtol=1e-4, atol=1e-6)
        else:
            assert found.probabilities is None
    again, alone = encoder.encode(items, None), encoder.encode(items[1:2], None)
    np.testing.assert_array_equal(again.features, found.features)
    np.testing.assert_allclose(alone.features[0], found.features[1], rtol=1e-4, atol=1e-5)


def test_two_averaged_heads(tmp_path: Path) -> None:
    name = "DeiTForImageClassificationWithTeacher"
    model = save_vision(tmp_path / "m", name, VISION, **CLASSES)
    encoder = opened(tmp_path / "m")
    items, pixels = prepared(encoder)
    found = encoder.encode(items, None)
    with torch.inference_mode():
        tokens = model.deit(pixels).last_hidden_state[:, :2].mean(1)
        softmax = torch.softmax(model(pixels).logits, 1)
    np.testing.assert_allclose(found.features, tokens, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.probabilities, softmax, rtol=1e-4, atol=1e-6)


def test_a_class_token_that_is_none(tmp_path: Path, refused: Refused) -> None:
    save_vision(tmp_path / "m", "SwinModel", SWIN)
    with refused("no class token", "own or mean"):
        opened(tmp_path / "m", pooling="cls")


def test_labels_that_exclude_nothing_have_no_softmax(tmp_path: Path) -> None:
    name, several = "ViTForImageClassification", {"problem_type": "multi_label_classification"}
    save_vision(tmp_path / "m", name, VISION, **CLASSES, **several)
    encoder = opened(tmp_path / "m")
    assert encoder.encode(prepared(encoder)[0], None).probabilities is None


def test_sounds_are_refused(tmp_path: Path, refused: Refused) -> None:
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    more = {"intermediate_size": 8, "conv_dim": (8,), "conv_stride": (2,), "conv_kernel": (3,)}
    positions = {"num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2}
    config = transformers.Wav2Vec2Config(**sizes, **more, **positions)
    transformers.Wav2Vec2Model(config).save_pretrained(tmp_path / "m")
    with refused("takes input_values", "only pictures and texts"):
        opened(tmp_path / "m")


# ---- texts -----------------------------------------------------------------------------------

GPT = {"vocab_size": len(WORDS), "n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 12}
GPT_ENDS = GPT | {"bos_token_id": 0, "eos_token_id": 0}
T5 = {"vocab_size": len(WORDS), "d_model": 16, "d_kv": 8, "d_ff": 20, "num_layers": 1}
T5_HEADS = T5 | {"num_heads": 2, "decoder_start_token_id": 0}
BART = {"vocab_size": len(WORDS), "d_model": 16, "max_position_embeddings": 12}
BART_PARTS = {f"{part}_layers": 1 for part in ("encoder", "decoder")}
BART_HEADS = {f"{part}_attention_heads": 2 for part in ("encoder", "decoder")}
XLNET = {"vocab_size": len(WORDS), "d_model": 16, "n_layer": 1, "n_head": 2, "d_inner": 20}
LLAMA = TEXT | {"num_key_value_heads": 2}


def bodies(model: Any, ids: Any) -> Any:
    """Last hidden states of the encoder, or of the body."""
    if model.config.is_encoder_decoder:
        return model.get_encoder()(ids).last_hidden_state
    return model.base_model(ids).last_hidden_state


LANGUAGES: list[tuple[str, dict[str, Any]]] = [
    ("BertForMaskedLM", TEXT),
    ("BertForSequenceClassification", TEXT),
    ("RobertaModel", TEXT | {"pad_token_id": 0, "max_position_embeddings": 13}),
    ("GPT2LMHeadModel", GPT_ENDS),
    ("GPT2ForSequenceClassification", GPT_ENDS),
    ("LlamaForSequenceClassification", LLAMA),
    ("T5ForConditionalGeneration", T5_HEADS),
    ("T5EncoderModel", T5_HEADS),
    ("BartModel", BART | BART_PARTS | BART_HEADS),
    ("XLNetForSequenceClassification", XLNET),
]


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize(("name", "sizes"), LANGUAGES, ids=[each[0] for each in LANGUAGES])
def test_a_text_alone_and_among_longer_ones(
    tmp_path: Path, name: str, sizes: dict[str, Any], side: str
) -> None:
    """Texts of all lengths, one beyond the positions; tokenizers without a padding token, too."""
    model = save_text(tmp_path / "m", name, sizes, pad=side == "left", side=side)
    for pooling, read in (("mean", lambda h: h.mean(1)), ("last", lambda h: h[:, -1])):
        encoder = opened(tmp_path / "m", pooling=pooling, tokens="12")
        items = [encoder.prepare(text) for text in TEXTS]
        found = encoder.encode(items, None)
        for row, text in enumerate(TEXTS):
            ids = torch.tensor([[WORDS.index(word) for word in text.split()[:12]]])
            with torch.inference_mode():
                wanted = read(bodies(model, ids))[0]
            np.testing.assert_allclose(found.features[row], wanted, rtol=1e-4, atol=1e-5)
            if found.probabilities is not None:
                alone = encoder.encode(items[row : row + 1], None).probabilities
                np.testing.assert_allclose(found.probabilities[row], alone[0], atol=1e-5)  # type: ignore[index]
    assert (found.probabilities is not None) == name.endswith("Classification")


@pytest.mark.parametrize("text", ["", "  ", "\n\t"])
def test_an_empty_text_is_named_by_its_row(tmp_path: Path, text: str) -> None:
    save_text(tmp_path / "m", "BertModel", TEXT)
    encoder = opened(tmp_path / "m")
    with pytest.raises(ValueError, match="an empty text"):
        encoder.prepare(text)


# ---- weights ---------------------------------------------------------------------------------


def changed(folder: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """The weights of a checkpoint, changed."""
    path = folder / "model.safetensors"
    state = safetensors.load_file(path)
    safetensors.save_file(change(state), path, {"format": "pt"})


def renamed(prefix: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda state: {prefix + name: tensor for name, tensor in state.items()}


def without(part: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda state: {name: tensor for name, tensor in state.items() if part not in name}


HALF: Callable[[dict[str, Any]], dict[str, Any]] = lambda state: {  # noqa: E731
    name: tensor.half() for name, tensor in state.items()
}
WHOLE: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "half": HALF,
    "compiled": renamed("_orig_mod."),
    "of several processes": renamed("module."),
    "both": renamed("module._orig_mod."),
    "another head": lambda state: state | {"cls.seq_relationship.weight": torch.zeros(2, 16)},
    "counters": lambda state: state | {"bert.embeddings.position_ids": torch.arange(12)},
    "heads of DeBERTa": lambda state: state | {"mask_predictions.dense.bias": torch.zeros(16)},
    "no head": without("cls."),  # of the pretraining, which is not read
}


@pytest.mark.parametrize("kind", WHOLE)
def test_a_checkpoint_that_is_whole(tmp_path: Path, kind: str) -> None:
    save_text(tmp_path / "m", "BertForMaskedLM", TEXT)
    before = opened(tmp_path / "m").encode(TEXTS, None).features
    changed(tmp_path / "m", WHOLE[kind])
    after = opened(tmp_path / "m").encode(TEXTS, None).features
    assert after.dtype == np.float32
    np.testing.assert_allclose(after, before, atol=2e-3 if kind == "half" else 0)


BROKEN: dict[str, tuple[Callable[[dict[str, Any]], dict[str, Any]], str]] = {
    "a layer is missing": (without("attention.self.query.weight"), "lacks bert.encoder"),
    "the head is missing": (without("classifier."), "lacks classifier"),
    "all is missing": (renamed("other."), "lacks"),
    "one layer too many": (
        lambda state: state | {"bert.encoder.layer.1.output.dense.bias": torch.zeros(16)},
        "none of the model's: bert.encoder.layer.1",
    ),
    "an adapter": (
        lambda state: state | {"bert.encoder.layer.0.lora_A": torch.zeros(2, 16)},
        "none of the model's: bert.encoder.layer.0.lora_A",
    ),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_checkpoint_that_is_not_whole(tmp_path: Path, kind: str, refused: Refused) -> None:
    change, mention = BROKEN[kind]
    save_text(tmp_path / "m", "BertForSequenceClassification", TEXT)
    changed(tmp_path / "m", change)
    with refused("its checkpoint", mention):
        opened(tmp_path / "m")


def test_a_pooler_that_is_drawn_at_random_is_not_read(tmp_path: Path, refused: Refused) -> None:
    save_text(tmp_path / "m", "BertModel", TEXT)
    changed(tmp_path / "m", without("pooler."))
    first, second = (opened(tmp_path / "m").encode(TEXTS, None).features for _ in range(2))
    np.testing.assert_array_equal(first, second)
    with refused("lacks the pooler"):
        opened(tmp_path / "m", pooling="own")
    with refused("own reads the last layer"):
        opened(tmp_path / "m", pooling="own", layer="0")


def test_masking_that_stays_on_is_refused(tmp_path: Path, monkeypatch: Any) -> None:
    """Without the care that is taken of masked autoencoders, the guard finds them."""
    save_vision(tmp_path / "m", "ViTMAEModel", MAE | {"image_size": 32})
    from spider_jax.extract.models import hf_inputs

    monkeypatch.setattr(hf_inputs, "_kept_order", lambda encoder: lambda inputs: inputs)
    whole = transformers.ViTMAEModel.from_pretrained

    def masked(*given: Any, config: Any, **more: Any) -> Any:
        config.mask_ratio = 0.75
        return whole(*given, config=config, **more)

    monkeypatch.setattr(transformers.ViTMAEModel, "from_pretrained", masked)
    np.savez(tmp_path / "toys.npz", images=pictures(6, 32), labels=np.arange(6) % 2)
    (tmp_path / "m" / "preprocessor_config.json").write_text(
        '{"image_processor_type": "ViTImageProcessor", "size": {"height": 32, "width": 32}}'
    )
    (problem,) = extract(
        [f"hf:{tmp_path / 'm'}"], [f"arrays:{tmp_path / 'toys.npz'}"], tmp_path / "zoo"
    ).problems
    assert "is no function of a row" in problem.message
    assert "masking is on" in problem.message
