"""How fast is a task scored from raw tokens? Ours, the published form, the best torch, faiss.

    pip install -e ".[bench]" && python bench/speed/scoring.py

Writes bench/results/speed/scoring.json and .md. One process, one thread count, one dtype; folding
per checkpoint and compilation are timed apart. Medians of interleaved runs of: (a) the published
form, a loop over models with full attention; (b) the factorised torch form of
../peers/torch_scoring.py, eager and under torch.compile; (c) faiss IndexFlatIP with the task's C
tokens as queries over M vectors of width d, k = 100. The ceiling: the two matrix products of a
pair, compiled alone. About 25 minutes on two cores.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import torch
import tyro
from jaxtyping import Array

from bench.common import about, command, threads, write_results
from bench.peers.torch_scoring import (
    FactorisedForm,
    PublishedForm,
    PublishedState,
    Search,
    faiss_flat,
    random_state,
)
from spider_jax import Spider
from spider_jax.report.tables import to_markdown

MODELS, CLASSES, WIDTHS, EXTRACTOR = (42, 1000, 100_000), (10, 100, 400), (256, 1024), 1280
PUBLISHED_UP_TO, COMPILED_UP_TO, BRIEF = 1000, 1000, 1000
Call = Callable[[], object]


@dataclass(frozen=True)
class Run:
    """What to run.

    Attributes:
        out: path without suffix for .json and .md.
        runs: per cell, four times as many where calls take milliseconds.
        published_runs: of the published form.
        models: numbers of models.
        classes: numbers of classes.
        widths: of tokens.
    """

    out: Path = Path("bench/results/speed/scoring")
    runs: int = 15
    published_runs: int = 5
    models: tuple[int, ...] = MODELS
    classes: tuple[int, ...] = CLASSES
    widths: tuple[int, ...] = WIDTHS


class Forms(NamedTuple):
    """Everything that is folded once per checkpoint.

    Attributes:
        spider: ours.
        bfloat16: ours with bfloat16 operands.
        torch: the factorised form.
        faiss: a search among the models' tokens.
    """

    spider: Spider
    bfloat16: Spider
    torch: FactorisedForm
    faiss: Search


def milliseconds(calls: Mapping[str, Call], runs: int) -> dict[str, tuple[float, float]]:
    """Median and spread (half the interquartile range) of every call, runs interleaved.

    Every timed call follows a pause, in which another library's threads stop spinning, and one
    call that is not timed.

    Args:
        calls: by name.
        runs: of each.
    """
    for call in calls.values():
        call()
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(runs):
        for name, call in calls.items():
            time.sleep(0.05)
            if len(calls) > 1:
                call()
            start = time.perf_counter()
            call()
            taken[name].append(1e3 * (time.perf_counter() - start))
    quartiles = {name: np.percentile(t, (25, 50, 75)) for name, t in taken.items()}
    return {name: (float(q[1]), float(q[2] - q[0]) / 2) for name, q in quartiles.items()}


def products(M: int, C: int, K: int, d: int) -> Call:
    """The two matrix products of all pairs and nothing else.

    Args:
        M: models.
        C: classes.
        K: width of the keys.
        d: width of the values.
    """
    rng = np.random.default_rng(0)
    shapes = ((M, K), (C, K), (C, d))
    arrays = [jnp.asarray(rng.standard_normal(shape, dtype=np.float32)) for shape in shapes]

    @jax.jit
    def both(key: Array, partners: Array, values: Array) -> Array:
        return jnp.matmul(
            jnp.matmul(key, partners.T, precision="highest"), values, precision="highest"
        )

    return lambda: both(*arrays).block_until_ready()


def operations(spider: Spider, M: int, C: int) -> tuple[float, float]:
    """Floating-point operations of the form that is run: of the task side, and of the pairs.

    Args:
        spider: ours.
        M: models.
        C: classes.
    """
    shared, D = spider.folded.shared, EXTRACTOR
    K, d = spider.folded.chunks[0].key.shape[-1], shared.head.shape[-1]
    projection = 2.0 * C * D * shared.project.shape[2]
    if spider.description.form == "few":
        return projection, 2.0 * M * (2 * C * K + K * d)
    return projection + 2.0 * C * K * d, 2.0 * M * C * (K + d)


def cell(state: PublishedState, M: int, C: int, d: int, run: Run, forms: Forms) -> dict[str, Any]:
    """One cell of the grid.

    Args:
        state: the weights.
        M: models.
        C: classes.
        d: width of tokens.
        run: numbers of runs.
        forms: of `prepare`.
    """
    tokens = np.random.default_rng(C).standard_normal((C, EXTRACTOR), dtype=np.float32) / 4
    given, mask = torch.from_numpy(tokens)[None], torch.ones(1, C, dtype=torch.bool)
    spider, rough = forms.spider, forms.bfloat16
    start = time.perf_counter()
    ours = spider.scores([tokens])[0]
    compile_s = time.perf_counter() - start
    apart = float(np.abs(ours - forms.torch(given, mask)[0].numpy()).max())
    calls: dict[str, Call] = {
        "spider_jax": lambda: spider.scores([tokens]),
        "spider_jax bfloat16": lambda: rough.scores([tokens]),
        "torch factorised": lambda: forms.torch(given, mask),
    }
    if M <= COMPILED_UP_TO:
        compiled = torch.compile(forms.torch, fullgraph=True)
        calls["torch compiled"] = lambda: compiled(given, mask)
    searched = np.ascontiguousarray(tokens[:, :d])
    calls["faiss"] = lambda: forms.faiss(searched, 100)
    K = spider.folded.chunks[0].key.shape[-1]
    calls["two products"] = products(M, C, K, d)
    found = milliseconds(calls, run.runs if M > BRIEF else 4 * run.runs)
    if M <= PUBLISHED_UP_TO:
        found |= published(state, given, mask, run)
    task, pairs = operations(spider, M, C)
    time_of = {name: entry[0] for name, entry in found.items()}
    return {
        "M": M,
        "C": C,
        "d": d,
        "form": spider.description.form,
        "milliseconds": {name: entry[0] for name, entry in found.items()},
        "spread": {name: entry[1] for name, entry in found.items()},
        "first call, compiling, s": compile_s,
        "largest difference to torch": apart,
        "gigaflops a second": (task + pairs) / time_of["spider_jax"] / 1e6,
        "gigaflops a second of the two products": 2.0
        * M
        * C
        * (K + d)
        / time_of["two products"]
        / 1e6,
    }


def published(
    state: PublishedState, tokens: torch.Tensor, mask: torch.Tensor, run: Run
) -> dict[str, tuple[float, float]]:
    """The published form: seconds to a minute a run, so no more runs than asked for.

    Args:
        state: the weights.
        tokens: [1, C, D_psi].
        mask: [1, C].
        run: numbers of runs.
    """
    form = PublishedForm.from_state(state)
    start = time.perf_counter()
    form(tokens, mask)
    runs = run.published_runs if time.perf_counter() - start < 30 else 1
    return milliseconds({"published": lambda: form(tokens, mask)}, runs)


def prepare(M: int, d: int) -> tuple[PublishedState, Forms]:
    """Random weights, and everything that is folded per checkpoint.

    Args:
        M: models.
        d: width of tokens.
    """
    state = random_state(M, d, EXTRACTOR, seed=0)
    names = [f"model {i}" for i in range(M)]
    return state, Forms(  # in the form that users get
        Spider.from_torch(state, models=names),
        Spider.from_torch(state, models=names, precision="bfloat16"),
        FactorisedForm(state),
        faiss_flat(state["model_prompt"][0].numpy()),
    )


RATIOS = ("published", "torch factorised", "torch compiled", "faiss", "spider_jax bfloat16")


def page(cells: Sequence[Mapping[str, Any]], run: Run, where: Mapping[str, Any]) -> str:
    """Times of ours and how many times longer the others take.

    Args:
        cells: of the grid.
        run: what is run.
        where: of `about`.
    """
    rows: list[list[object]] = []
    for c in cells:
        t = c["milliseconds"]
        ratios = [t[name] / t["spider_jax"] if name in t else None for name in RATIOS]
        share = c["gigaflops a second"] / c["gigaflops a second of the two products"]
        rows.append([c["M"], c["C"], c["d"], c["form"], t["spider_jax"], *ratios, share])
    others = (f"{name} / ours" for name in RATIOS)
    columns = ("M", "C", "d", "form", "ours, ms", *others, "of the products' rate")
    return (
        f"# Scoring one task from raw tokens\n\n`{command('speed/scoring', run.out)}`; "
        f"{where['device']}, {where['threads']} threads, commit {where['commit']}\n\n"
        f"{to_markdown(columns, rows)}\n"
    )


def main(run: Run) -> None:
    """Run the grid and write the tables.

    Args:
        run: what to run.
    """
    import faiss

    torch.set_num_threads(threads())
    faiss.omp_set_num_threads(threads())
    where = about(torch=torch.__version__, faiss=faiss.__version__)
    cells = []
    for d in run.widths:
        for M in run.models:
            state, forms = prepare(M, d)
            for C in run.classes:
                cells.append(cell(state, M, C, d, run, forms))
                print({k: v for k, v in cells[-1].items() if k != "spread"}, flush=True)
                write_results(run.out, where | {"cells": cells}, page(cells, run, where))


if __name__ == "__main__":
    main(tyro.cli(Run, description=__doc__))
