"""Pairs of texts, words of sentences, and text encoders of other makers, by plain arithmetic."""

import json
import logging
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
tokenizers: Any = pytest.importorskip("tokenizers", reason="texts need a tokenizer")

from spider_jax.extract import extract
from spider_jax.extract.data.items import TextPair, Word
from spider_jax.extract.models.encoder import Encoder
from spider_jax.extract.readers import open_data, open_model
from spider_jax.extract.spec import Spec
from spider_jax.zoo.store import FeatureStore

Refused = Callable[..., AbstractContextManager[None]]
pytestmark = [
    pytest.mark.filterwarnings("default"),  # transformers warns of itself
    pytest.mark.usefixtures("one_torch_thread"),
]
WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "red", "green", "blue", "sky", "leaf", "##s")
SIZES = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2}
MORE = {"intermediate_size": 12, "vocab_size": len(WORDS), "max_position_embeddings": 12}
PAIRS = (("red sky", "blue"), ("leaf", "green leaf leaf"), ("sky", "sky"))
SENTENCES = ("red skys", "green", "leafs blue red", "red " * 14 + "sky")


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bert")
    torch.manual_seed(0)
    transformers.BertModel(transformers.BertConfig(**SIZES, **MORE)).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    transformers.BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)
    return folder


def hidden(folder: Path, ids: list[int], second: int = 0) -> Any:
    """Last hidden states [tokens, D]; the last `second` tokens are of a second text."""
    model = transformers.BertModel.from_pretrained(folder).eval()
    types = [0] * (len(ids) - second) + [1] * second
    with torch.inference_mode():
        found = model(torch.tensor([ids]), token_type_ids=torch.tensor([types]))
    return found.last_hidden_state[0].numpy()


def ids_of(text: str) -> list[int]:
    return [
        WORDS.index(w) for w in text.replace("skys", "sky ##s").replace("leafs", "leaf ##s").split()
    ]


def opened(what: Path, reader: str = "hf", **options: str) -> Encoder:
    return open_model(Spec(reader, str(what), options))


def close(found: Any, wanted: Any) -> None:
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


# ---- pairs and words -------------------------------------------------------------------------


def test_a_pair_is_joined_by_the_models_own_separator(bert: Path) -> None:
    found = opened(bert).encode([TextPair(*pair) for pair in PAIRS], None).features
    for row, (first, second) in zip(found, PAIRS, strict=True):
        ids = [2, *ids_of(first), 3, *ids_of(second), 3]
        close(row, hidden(bert, ids, len(ids_of(second)) + 1).mean(0))


def test_the_product_of_a_pair(bert: Path) -> None:
    found = opened(bert, pairs="product").encode([TextPair(*p) for p in PAIRS], None).features
    for row, pair in zip(found, PAIRS, strict=True):
        u, v = (hidden(bert, [2, *ids_of(text), 3]).mean(0) for text in pair)
        close(row, np.concatenate([u, v, abs(u - v), u * v]))


@pytest.mark.parametrize("word", ["first", "mean"])
def test_a_word_in_its_sentence(bert: Path, word: str) -> None:
    """By its first token or all; in the last sentence behind all that the model reads."""
    items = [Word(tuple(s.split()), i) for s in SENTENCES for i in range(len(s.split()))]
    found = opened(bert, word=word).encode(items, None).features
    assert len(found) == len(items)
    for row, item in zip(found[:6], items[:6], strict=True):
        before = ids_of(" ".join(item.sentence[: item.place]))
        tokens = len(ids_of(item.sentence[item.place]))
        whole = hidden(bert, [2, *ids_of(" ".join(item.sentence)), 3])
        at = 1 + len(before)
        close(row, whole[at : at + (tokens if word == "mean" else 1)].mean(0))
    close(found[-1], hidden(bert, [2, WORDS.index("sky"), 3])[1])


def test_words_and_pairs_from_tables_to_a_zoo(
    bert: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = ["a,b,label", *(f"{a},{b},{i % 2}" for i, (a, b) in enumerate(PAIRS))]
    (tmp_path / "nli.csv").write_text("\n".join(rows))
    tags = [" ".join("COL" if w in "red green blue" else "O" for w in s.split()) for s in SENTENCES]
    rows = ["sentence,label", *(f"{s.strip()},{t}" for s, t in zip(SENTENCES, tags, strict=True))]
    (tmp_path / "ner.csv").write_text("\n".join(rows))
    data = [f"csv:{tmp_path}/nli.csv?text=a&pair=b", f"csv:{tmp_path}/ner.csv?words=sentence"]
    with caplog.at_level(logging.WARNING, "spider_jax"):
        assert extract([f"bert=hf:{bert}"], data, tmp_path / "zoo").problems == []
    assert "longer than the 12 tokens" in caplog.text
    zoo = FeatureStore(tmp_path / "zoo")
    assert zoo.features("bert", "nli").shape == (3, 8)
    assert zoo.features("bert", "ner").shape == (21, 8)
    assert zoo.task_info("ner")["classes"] == ["COL", "O"]
    groups = np.load(tmp_path / "zoo" / "groups" / "ner.npy")
    assert groups.tolist() == np.repeat(np.arange(4), (2, 1, 3, 15)).tolist()


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        ("words,label\nred sky,A\n", "words=words", ("line 2", "2 words and 1 labels")),
        ("text,label\nred,A\n", "pair=other", ("no column 'other'", "'text', 'label'")),
        ("a,b,label\nred,sky,A\n", "pair=b", ("no first text", "?text=")),
        ("a,b,label\nred,sky,A\n", "pair=b&words=a", ("without text or pair",)),
        ("a,label\n  ,\n", "words=a", ("no words",)),
    ],
)
def test_tables_of_pairs_and_words_that_are_refused(
    tmp_path: Path, refused: Refused, text: str, options: str, said: tuple[str, ...]
) -> None:
    (tmp_path / "t.csv").write_text(text)
    with refused("t.csv", *said):
        open_data(f"csv:{tmp_path / 't.csv'}?{options}")


def test_who_takes_no_words_says_so(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("red\nsky")
    np.save(tmp_path / "w.npy", np.eye(2))
    (tmp_path / "t.csv").write_text("words,label\nred sky,A B\n")
    found = extract(
        [f"static:{tmp_path}/w.npy"], [f"csv:{tmp_path}/t.csv?words=words"], tmp_path / "zoo"
    )
    assert "'w' takes texts, pairs, csv:t.csv has words" in str(found.problems[0])


# ---- sentence-transformers -------------------------------------------------------------------


def sentence_folder(root: Path, bert: Path, modules: tuple[str, ...], **pooling: Any) -> Path:
    (root / "0_T").symlink_to(bert)
    paths = {"Transformer": "0_T", "Pooling": "1_Pooling", "Normalize": "2_N", "Dense": "2_D"}
    said = [{"type": f"sentence_transformers.models.{m}", "path": paths[m]} for m in modules]
    (root / "modules.json").write_text(json.dumps(said))
    (root / "1_Pooling").mkdir()
    (root / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    prompts = {"prompts": {"query": "red red "}, "default_prompt_name": None}
    (root / "config_sentence_transformers.json").write_text(json.dumps(prompts))
    return root


POOLED = ("Transformer", "Pooling")


@pytest.mark.parametrize(
    ("modules", "pooling", "wanted"),
    [
        (POOLED, {"pooling_mode_cls_token": True}, lambda h: h[0]),
        (POOLED, {"pooling_mode_mean_tokens": True}, lambda h: h.mean(0)),
        (POOLED, {"pooling_mode_max_tokens": True}, lambda h: h.max(0)),
        (POOLED, {"pooling_mode": "lasttoken"}, lambda h: h[-1]),
        (
            POOLED,
            {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": True},
            lambda h: np.concatenate([h[0], h.mean(0)]),
        ),
        (
            (*POOLED, "Normalize"),
            {"pooling_mode_mean_tokens": True},
            lambda h: h.mean(0) / np.linalg.norm(h.mean(0)),
        ),
    ],
)
def test_a_sentence_transformers_folder(
    bert: Path, tmp_path: Path, modules: tuple[str, ...], pooling: dict[str, Any], wanted: Any
) -> None:
    folder = sentence_folder(tmp_path, bert, modules, **pooling)
    found = opened(folder).encode(["red sky", "leaf leaf blue green"], None).features
    close(found[0], wanted(hidden(bert, [2, *ids_of("red sky"), 3])))


@pytest.mark.parametrize("include", [True, False])
def test_prompts(bert: Path, tmp_path: Path, include: bool) -> None:
    pooling = {"pooling_mode_mean_tokens": True, "include_prompt": include}
    folder = sentence_folder(tmp_path, bert, POOLED, **pooling)
    found = opened(folder, prompt="query").encode(["sky", "leaf leaf"], None).features
    whole = hidden(bert, [2, *ids_of("red red sky"), 3])
    close(found[0], whole[0 if include else 3 :].mean(0))


def test_sentence_files_that_are_refused(bert: Path, tmp_path: Path, refused: Refused) -> None:
    folder = sentence_folder(tmp_path, bert, (*POOLED, "Dense"))
    with refused("modules.json", "Dense", "pooling"):
        opened(folder)
    assert opened(folder, pooling="mean").modality == "text"  # without its files
    with refused("no prompt 'x'", "'query'"):
        opened(folder, prompt="x", pooling="cls")


# ---- ONNX and word vectors -------------------------------------------------------------------

TABLE = np.random.default_rng(0).normal(size=(len(WORDS), 5)).astype(np.float32)


def write_tokenizer(folder: Path) -> None:
    core = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="[UNK]")
    )
    core.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    core.save(str(folder / "tokenizer.json"))


@pytest.fixture
def text_onnx(tmp_path: Path) -> Path:
    """Vectors of tokens, times the mask and shifted by the type, so that all inputs are seen."""
    onnx = pytest.importorskip("onnx", reason="graphs need onnx")
    pytest.importorskip("onnxruntime", reason="graphs need onnxruntime")
    helper, kind = onnx.helper, onnx.TensorProto.INT64
    names = ("input_ids", "attention_mask", "token_type_ids")
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["vectors"]),
        helper.make_node("Cast", ["token_type_ids"], ["types"], to=onnx.TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["types", "two"], ["shift"]),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=onnx.TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "two"], ["seen"]),
        helper.make_node("Add", ["vectors", "shift"], ["shifted"]),
        helper.make_node("Mul", ["shifted", "seen"], ["last_hidden_state"]),
    ]
    weights = [
        onnx.numpy_helper.from_array(TABLE, "table"),
        onnx.numpy_helper.from_array(np.array([2]), "two"),
    ]
    inputs = [helper.make_tensor_value_info(n, kind, ["b", "l"]) for n in names]
    shape = ["b", "l", TABLE.shape[1]]
    output = helper.make_tensor_value_info("last_hidden_state", onnx.TensorProto.FLOAT, shape)
    made = helper.make_graph(nodes, "toy", inputs, [output], weights)
    opset = [helper.make_opsetid("", 17)]
    (tmp_path / "onnx").mkdir()
    path = tmp_path / "onnx" / "text.onnx"
    onnx.save(helper.make_model(made, opset_imports=opset, ir_version=8), path)
    return path


@pytest.mark.parametrize(
    ("pooling", "wanted"),
    [
        ("mean", lambda h: h.mean(0)),
        ("max", lambda h: h.max(0)),
        ("cls", lambda h: h[0]),
        ("last", lambda h: h[-1]),
    ],
)
def test_an_onnx_text_encoder(text_onnx: Path, refused: Refused, pooling: str, wanted: Any) -> None:
    with refused("tokenizer.json", "beside text.onnx"):
        opened(text_onnx, "onnx")
    write_tokenizer(text_onnx.parent.parent)
    encoder = opened(text_onnx, "onnx", pooling=pooling, tokens="4")
    texts = ["red sky", "leaf", "blue green leaf sky red red", "odd sky"]
    found = encoder.encode(texts, None).features
    for row, text in zip(found, texts, strict=True):
        ids = [WORDS.index(w) if w in WORDS else 1 for w in text.split()][:4]
        close(row, wanted(TABLE[ids]))
    assert encoder.report() == "1 texts are longer than the 4 tokens that it reads, and are cut"
    assert encoder.report() == ""


def test_onnx_pairs_and_sentence_files(text_onnx: Path, refused: Refused) -> None:
    folder = text_onnx.parent.parent
    write_tokenizer(folder)
    pair = TextPair("red sky", "leaf")
    first, second = TABLE[[4, 7]], TABLE[[8]]
    joined = opened(text_onnx, "onnx").encode([pair], None).features[0]
    close(joined, np.concatenate([first, second + 1]).mean(0))
    product = opened(text_onnx, "onnx", pairs="product").encode([pair], None).features[0]
    u, v = first.mean(0), second[0]
    close(product, np.concatenate([u, v, abs(u - v), u * v]))
    said = [{"type": "x.Transformer", "path": ""}, {"type": "x.Pooling", "path": "p"}]
    (folder / "modules.json").write_text(json.dumps([*said, {"type": "x.Normalize", "path": "n"}]))
    (folder / "p").mkdir()
    (folder / "p" / "config.json").write_text('{"pooling_mode_max_tokens": true}')
    found = opened(text_onnx, "onnx").encode(["red sky"], None).features[0]
    close(found, first.max(0) / np.linalg.norm(first.max(0)))
    with refused("unknown option 'size'", "pooling"):
        opened(text_onnx, "onnx", size="3")


@pytest.mark.parametrize("vocabulary", ["tokenizer.json", "vocab.txt"])
@pytest.mark.parametrize("kind", ["npy", "safetensors"])
def test_word_vectors(tmp_path: Path, vocabulary: str, kind: str) -> None:
    if kind == "npy":
        np.save(tmp_path / "w.npy", TABLE)
    else:
        pytest.importorskip("safetensors.numpy").save_file(
            {"embeddings": TABLE}, tmp_path / "w.safetensors"
        )
    if vocabulary == "vocab.txt":
        (tmp_path / vocabulary).write_text("\n".join(WORDS))
    else:
        write_tokenizer(tmp_path)
    encoder = opened(tmp_path / f"w.{kind}", "static")
    found = encoder.encode(["red sky odd", "nothing known", "leaf"], None).features
    close(found, [TABLE[[4, 7]].mean(0), np.zeros(5), TABLE[8]])
    assert encoder.report() == "1 texts have no known word: their features are zeros"


@pytest.mark.parametrize(
    ("array", "words", "said"),
    [
        (np.eye(3), "a\nb", ("2 words", "3 vectors")),
        (np.zeros((2, 2, 2)), "a\nb", ("float vectors [V, D]",)),
        (np.full((2, 2), np.nan), "a\nb", ("not finite",)),
        (np.eye(2), None, ("vocab.txt beside w.npy",)),
    ],
)
def test_word_vectors_that_are_refused(
    tmp_path: Path, refused: Refused, array: Any, words: str | None, said: tuple[str, ...]
) -> None:
    np.save(tmp_path / "w.npy", array)
    if words is not None:
        (tmp_path / "vocab.txt").write_text(words)
    with refused("w.npy", *said):
        opened(tmp_path / "w.npy", "static")
