"""`static:FILE`: word vectors, a text is the mean of those of its tokens.

FILE is a .npy array [V, D], or a .safetensors file whose one matrix is taken, or a folder with one
of them, as model2vec and sentence-transformers write it. Beside it lies tokenizer.json, or
vocab.txt with a word a line in the order of the rows.

Options:
    tensor: name of the matrix, where the file has several.
    tokens: the most tokens of a text, by default all of them.
    pairs: joined (the default) or product, as for hf:.

A text without a known word is all zeros; the log counts these.
"""

import hashlib
import re
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, Int64

from spider_jax.errors import InputError, one_line
from spider_jax.extract.data.items import Item, TextPair
from spider_jax.extract.models.encoder import Encoded, Encoder
from spider_jax.extract.models.hf_texts import CutTexts, text_item
from spider_jax.extract.models.onnx_text import PAIRS, encoded_pairs
from spider_jax.extract.models.token_arrays import FILE
from spider_jax.extract.spec import Spec
from spider_jax.runtime.optional import need

OPTIONS = ("tensor", "tokens", "pairs")
VOCABULARY = "vocab.txt"
ARRAYS = (".safetensors", ".npy")
WORDS = re.compile(r"\w+|[^\w\s]")
ALL = 1 << 20  # tokens of a text


def read_static(spec: Spec) -> Encoder:
    """An encoder by word vectors; nothing is run but a mean.

    Args:
        spec: static:FILE with the options above.

    Returns:
        The model.

    Raises:
        InputError: no matrix, no vocabulary, or one of another length.
    """
    spec.known(OPTIONS)
    path = _file(Path(spec.what))
    vectors = _vectors(spec, path)
    cut = CutTexts(spec.number("tokens", ALL))
    ids, words = _tokens_of(spec, path, len(vectors))
    unknown: set[int] = set()
    product = spec.choice("pairs", PAIRS, PAIRS[0]) == "product"

    def mean(item: Item) -> Float32[np.ndarray, " D"]:
        joined = f"{item.first} {item.second}" if isinstance(item, TextPair) else str(item)
        found = ids(joined)
        cut.add([item], [len(found) > cut.most])
        if not len(found):
            unknown.add(hash(item))
            return np.zeros(vectors.shape[1], np.float32)
        return np.asarray(vectors[found[: cut.most]], np.float32).mean(0)

    def encode(batch: Sequence[Item]) -> Float32[np.ndarray, "b D"]:
        return np.stack([mean(item) for item in batch])

    def report() -> str:
        count = len(unknown)
        unknown.clear()
        said = f"{count} texts have no known word: their features are zeros" if count else ""
        return "; ".join(filter(None, (cut.report(), said)))

    return Encoder(
        name=spec.name or path.stem,
        modality="text",
        prepare=text_item,
        encode=lambda batch, _: Encoded(encoded_pairs(encode, batch, product), None),
        facts={
            "source": f"static:{path.name}",
            "weights_sha256": hashlib.sha256(np.ascontiguousarray(vectors).tobytes()).hexdigest(),
            "preprocessing": {"vocabulary": words, "tokens": cut.most},
            "layer": "mean of word vectors" + ", product of pairs" * product,
            "params": int(vectors.size),
        },
        versions={"numpy": metadata.version("numpy")},
        also=("pair",),
        report=report,
        memory=int(vectors.nbytes),
    )


def _file(path: Path) -> Path:
    if path.is_dir():
        found = sorted(p for p in path.rglob("*") if p.suffix.lower() in ARRAYS)
        if len(found) != 1:
            raise InputError(f"{path} must hold one .safetensors or .npy file, got {len(found)}")
        return found[0]
    if path.suffix.lower() not in ARRAYS or not path.is_file():
        raise InputError(f"{path} must be a .npy or .safetensors file of word vectors")
    return path


def _vectors(spec: Spec, path: Path) -> Float[np.ndarray, "V D"]:
    """The matrix of word vectors, finite."""
    try:
        if path.suffix.lower() == ".npy":
            found: Any = np.load(path, mmap_mode="r", allow_pickle=False)
        else:
            safe = need("safetensors.numpy", "safetensors", f"model {spec}")
            tensors = safe.load_file(path)
            asked = spec.options.get("tensor")
            fits = [n for n, a in tensors.items() if a.ndim == 2 and asked in (None, n)]
            if len(fits) != 1:
                raise InputError(
                    f"{path} has matrices {', '.join(tensors)}: name that of the words, ?tensor="
                )
            found = tensors[fits[0]]
    except InputError:
        raise
    except Exception as error:  # of the package's own kind
        raise InputError(f"{path} cannot be read: {one_line(error)}") from None
    if found.ndim != 2 or found.dtype.kind != "f":
        raise InputError(f"{path} must be float vectors [V, D], got {found.dtype} {found.shape}")
    if not np.isfinite(found).all():
        raise InputError(f"{path} has word vectors that are not finite")
    return np.asarray(found)


def _tokens_of(
    spec: Spec, path: Path, rows: int
) -> tuple[Callable[[str], Int64[np.ndarray, " n"]], str]:
    """Text -> rows of its known words; and a digest of the vocabulary.

    Raises:
        InputError: no vocabulary beside the file, or one of another length.
    """
    folder = next(
        (
            f
            for f in (path.parent, path.parent.parent)
            if (f / FILE).is_file() or (f / VOCABULARY).is_file()
        ),
        None,
    )
    if folder is None:
        raise InputError(f"model {spec}: put {FILE} or {VOCABULARY} beside {path.name}")
    file = folder / (FILE if (folder / FILE).is_file() else VOCABULARY)
    text = file.read_text(encoding="utf-8")
    digest = hashlib.sha256(text.encode()).hexdigest()
    if file.name == FILE:
        core = need("tokenizers", "tokenizers", f"model {spec}").Tokenizer.from_str(text)
        core.no_padding()
        core.no_truncation()
        unknown = core.token_to_id("[UNK]"), core.token_to_id("<unk>")
        size = core.get_vocab_size()
    else:
        known = {word: i for i, word in reversed(list(enumerate(text.splitlines())))}
        size = len(text.splitlines())
    if size != rows:
        raise InputError(f"{file} has {size} words, {path.name} has {rows} vectors: of one model?")

    def by_tokenizer(said: str) -> Int64[np.ndarray, " n"]:
        ids = core.encode(said, add_special_tokens=False).ids
        return np.array([i for i in ids if i not in unknown], np.int64)

    def by_words(said: str) -> Int64[np.ndarray, " n"]:
        each = (known.get(word, known.get(word.lower())) for word in WORDS.findall(said))
        return np.array([row for row in each if row is not None], np.int64)

    return (by_tokenizer if file.name == FILE else by_words), digest
