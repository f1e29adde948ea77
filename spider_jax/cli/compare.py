"""`spider-jax compare`: models and labelled data in, a ranking out."""

from pathlib import Path
from typing import Annotated

import tyro

from spider_jax.cli.output import Flat, Messages, Output, messages_only


def compare(
    model: Annotated[
        tuple[tuple[str, ...], ...],
        tyro.conf.arg(metavar="[NAME=]SPEC..."),
        tyro.conf.UseAppendAction,
    ],
    data: str,
    budget: str | None = None,
    out: Path | None = None,
    spider: Path | None = None,
    extractor: str | None = None,
    batch: int | None = None,
    explain: str | None = None,
    top: int | None = None,
    output: Annotated[Output, Flat] = Output(),
    messages: Annotated[Messages, Flat] = Messages(),
) -> int:
    """Run models on labelled data and rank them; run it again, it answers at once or goes on.

    Models as for `extract`: timm:NAME, hf:NAME, onnx:FILE, torch:module:factory, features:FILE; an
    ONNX file or a folder of them needs no word before its path. A model that fails is left out.

    Args:
        model: what to run; several may follow, and the option may come again.
        data: [TASK=]SPEC as for `extract`, a folder of pictures with a sub-folder a class, or a
            table of texts.
        budget: run so many models, or begin none after 90s, 10m or 1.5h; default: all run.
        out: zoo that keeps the features; default: in the user's cache, by what the data hold.
        spider: folder of a trained spider, whose expectation comes first.
        extractor: [NAME=]SPEC of the spider's extractor, where it is none of the models.
        batch: rows at a time; default: as memory allows, at most 64.
        explain: a model: say why it stands where it stands, instead of the table.
        top: show only the best so many.
        output: how data is written.
        messages: what goes to stderr.
    """
    show = messages.start()
    from spider_jax.choose.compared import compare_models

    with messages_only():  # models and readers of others may print
        found = compare_models(
            [one for some in model for one in some],
            data,
            budget=budget,
            out=out,
            spider=spider,
            extractor=extractor,
            batch=batch,
            show_progress=show,
        )
    if explain is not None:
        return output.write(found.explain(explain), beside=found.skipped)
    ranking = found.rank()
    return output.write(ranking, ranking.page(top), models=ranking.data()["models"][:top])
