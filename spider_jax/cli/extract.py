"""`spider-jax extract`: models and data in, a zoo out."""

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from spider_jax.cli.output import BAD_INPUT, DONE, SKIPPED, Flat, Messages
from spider_jax.errors import InputError

if TYPE_CHECKING:
    from spider_jax.ranking.ranking import Ranking

EXTRACTOR = "SPIDER_JAX_EXTRACTOR"  # how to run the general extractor, in the user's own words


def extract(
    model: Annotated[tuple[str, ...], tyro.conf.arg(metavar="[NAME=]SPEC")],
    data: Annotated[tuple[str, ...], tyro.conf.arg(metavar="[TASK=]SPEC")],
    out: Path,
    extractor: bool = False,
    dtype: str = "float32",
    batch: int | None = None,
    shard: str = "1/1",
    messages: Annotated[Messages, Flat] = Messages(),
) -> int:
    """Export features of models on datasets into a zoo; run it again, it goes on.

    Models: torch:module:factory, timm:NAME, torchvision:NAME, hf:NAME, onnx:FILE#tensor, and
    features:FILE (.npy, .npz, .safetensors, .parquet, .csv). Data: folder:PATH (a sub-folder a
    class), arrays:FILE.npz, tfds:NAME[/config]:split, csv:FILE, parquet:FILE, hf:NAME:split.
    Options follow as ?key=value&key=value.

    Args:
        model: what to run; several may follow.
        data: what to run them on; several may follow.
        out: folder of the zoo; what it holds is kept.
        extractor: make this model the zoo's general extractor.
        dtype: float16 or float32; values beyond 65,504 make a file float32.
        batch: rows at a time; default: as memory allows, at most 64.
        shard: i/n: do the i-th of n parts; whoever ends last joins them.
    """
    show = messages.start()
    from spider_jax.extract.extract_features import extract as run

    found = run(
        model,
        data,
        out,
        extractor=extractor,
        dtype=dtype,
        batch=batch,
        shard=_shard(shard),
        show_progress=show,
    )
    for word, pairs in (
        ("written", found.written),
        ("there already", found.there),
        ("waits for the other shards", found.waiting),
    ):
        for name, task in pairs:
            print(f"{word}: {name} on {task}")
    for problem in found.problems:
        print(f"spider-jax: skipped: {problem}", file=sys.stderr)
    if not found.problems:
        return DONE
    return SKIPPED if found.written or found.there or found.waiting else BAD_INPUT


def _shard(text: str) -> tuple[int, int]:
    part, slash, parts = text.partition("/")
    if not slash or not part.isdecimal() or not parts.isdecimal():
        raise InputError(f"--shard must be i/n, as 1/4, got {text!r}")
    return int(part), int(parts)


def ranking_of_data(
    spider: Path, data: str, extractor: str | None, clusters: int, bins: int, show: bool
) -> "Ranking":
    """Rank the models of a spider for data that no zoo holds: the extractor runs on them here.

    Args:
        spider: folder of the spider. data: a spec. extractor: the spec of the model that the spider
            knows tasks by; default: the environment variable SPIDER_JAX_EXTRACTOR.
        clusters: of data without labels. bins: of a regression. show: a bar on stderr.

    Raises:
        InputError: no extractor is named, or another one.
    """
    from spider_jax.extract.target_task import task_from
    from spider_jax.spider.spider import Spider

    loaded = Spider.load(spider)
    name = loaded.description.extractor["name"]
    spec = extractor or os.environ.get(EXTRACTOR)
    if spec is None:
        raise InputError(
            f"{spider} knows tasks by {name!r}: say how to run it, --extractor {name}=READER:WHAT, "
            f"or put that into {EXTRACTOR}"
        )
    facts = loaded.description.training.get("extractor_facts")
    options: dict[str, Any] = {"clusters": clusters, "bins": bins, "show_progress": show}
    task = task_from(data, spec, named=name, facts=facts, **options)
    ranking = loaded.rank(task.tokens, task=task.name)
    return replace(ranking, notes=(*ranking.notes, task.note)) if task.note else ranking
