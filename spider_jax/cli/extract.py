"""`spider-jax extract`: models and data in, a zoo out."""

from pathlib import Path
from typing import Annotated

import tyro

from spider_jax.cli.output import (
    BAD_INPUT,
    SKIPPED,
    Flat,
    Messages,
    messages_only,
    report_skipped,
    say,
)
from spider_jax.errors import InputError


def extract(
    model: Annotated[tuple[str, ...], tyro.conf.arg(metavar="[NAME=]SPEC")],
    data: Annotated[tuple[str, ...], tyro.conf.arg(metavar="[TASK=]SPEC")],
    out: Path,
    extractor: bool = False,
    dtype: str = "float32",
    batch: int | None = None,
    shard: str = "1/1",
    left_out: float = 0.01,
    messages: Annotated[Messages, Flat] = Messages(),
) -> int:
    """Export features of models on datasets into a zoo; run it again, it goes on.

    Models: torch:module:factory, timm:NAME, torchvision:NAME, hf:NAME, onnx:FILE#tensor,
    static:FILE (word vectors), and features:FILE (.npy, .npz, .safetensors, .parquet, .csv).
    Data: folder:PATH (a sub-folder a class), arrays:FILE.npz, tfds:NAME[/config]:split, csv:FILE,
    parquet:FILE, hf:NAME:split.

    Options follow as ?key=value&key=value, as in "timm:resnet18?size=160&layer=layer3".
    Of models that see pictures: size, resize, interpolation, mean, std (of the preprocessing);
    torch: also weights, head, layer (names of modules); timm, torchvision: these and pretrained;
    onnx: logits, layout. hf: pooling (mean, cls, last), layer (last, mean, best, a number), head,
    tokens, pairs (joined, product), word (first, mean), prompt. features: key (array, tensor or
    columns). Graphs of texts (tokenizer.json beside them): pooling, tokens, pairs, prompt.
    Of data. csv, parquet: text, label (columns), pair (a second text), words (of sentences, with a
    label each), kind (classification, regression, multi-label);
    hf: config, image, text, pair, words, label; tfds: data_dir, version, image, text, label;
    arrays: images, texts, labels, kind; folder: none.

    Seconds an example (median over the batches after the first, on this machine) and bytes of the
    parameters become facts of the model, for --where, --show and --pareto; stated ones go before.

    timm:, torchvision:, hf: and onnx: need their packages: pip install "spider_jax[timm]",
    "spider_jax[torchvision]", "spider_jax[transformers]", "spider_jax[datasets]" or
    "spider_jax[onnx]"; torch: needs "spider_jax[extract]".

    Args:
        model: what to run; several may follow.
        data: what to run them on; several may follow.
        out: folder of the zoo; what it holds is kept.
        extractor: make this model the zoo's general extractor.
        dtype: float16 or float32; values beyond 65,504 make a file float32.
        batch: rows at a time; default: as memory allows, at most 64.
        shard: i/n: do the i-th of n parts; whoever ends last joins them.
        left_out: the share of a dataset's items that are left out where they cannot be read (exit
            code 3); with more of them the dataset fails, and goes on once they are mended.
        messages: what goes to stderr.
    """
    show = messages.start()
    from spider_jax.extract.extract_features import extract as run

    with messages_only():  # factories and readers of others may print
        found = run(
            model,
            data,
            out,
            extractor=extractor,
            dtype=dtype,
            batch=batch,
            shard=_shard(shard),
            left_out=left_out,
            show_progress=show,
        )
    for word, pairs in (
        ("written", found.written),
        ("there already", found.there),
        ("waits for the other shards", found.waiting),
    ):
        for name, task in pairs:
            say(f"{word}: {name} on {task}")
    code = report_skipped(found.problems)
    if code == SKIPPED and not (found.written or found.there or found.waiting):
        return BAD_INPUT
    return code


def _shard(text: str) -> tuple[int, int]:
    part, slash, parts = text.partition("/")
    if not slash or not part.isdecimal() or not parts.isdecimal():
        raise InputError(f"--shard must be i/n, as 1/4, got {text!r}")
    return int(part), int(parts)
