"""Which form scores faster, "few" or "many", at how many models? What `folding.form_for` rests on.

    python bench/speed/scoring_forms.py

Writes bench/results/speed/scoring_forms.json and .md. Random weights, one task from raw tokens
(1,280 wide), one process; medians of runs in turns after one that compiles. The last column is the
geometric mean over widths and numbers of classes: above 1, "few" is faster. About two minutes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np
import tyro
from jaxtyping import Float32

from bench.common import about, command, write_results
from spider_jax import Spider
from spider_jax.report.tables import to_markdown
from spider_jax.spider.folding import form_for

FORMS = ("few", "many")
State = Mapping[str, Float32[np.ndarray, "..."]]


@dataclass(frozen=True)
class Run:
    """What to run.

    Attributes:
        out: path without suffix for .json and .md.
        runs: of each.
        models: numbers of models.
        classes: numbers of classes.
        widths: of tokens.
        extractor: width of raw tokens.
    """

    out: Path = Path("bench/results/speed/scoring_forms")
    runs: int = 5
    models: tuple[int, ...] = (8, 24, 42, 64, 96, 128, 192, 256, 512)
    classes: tuple[int, ...] = (10, 100)
    widths: tuple[int, ...] = (256, 1024)
    extractor: int = 1280


def random_state(M: int, d: int, D: int) -> State:
    """Random parameters under the published names.

    Args:
        M: models.
        d: width of tokens.
        D: width of raw tokens.
    """
    rng = np.random.default_rng(0)
    shapes: dict[str, tuple[int, ...]] = {
        "model_prompt": (1, M, d),
        "uni_linear.weight": (d, D),
        "mlp_head.1.weight": (1, d),
        "mlp_head.1.bias": (1,),
    }
    shapes |= {f"transformer.{name}.weight": (d, d) for name in ("w_qs", "w_ks", "w_vs", "fc")}
    for name in ("transformer.layer_norm", "mlp_head.0"):
        shapes |= {f"{name}.weight": (d,), f"{name}.bias": (d,)}
    shapes |= {"transformer.fc.bias": (d,), "uni_linear.bias": (d,)}
    return {
        name: rng.standard_normal(shape, dtype=np.float32) / np.float32(shape[-1] ** 0.5)
        for name, shape in shapes.items()
    }


def milliseconds(spiders: Mapping[str, Spider], C: int, run: Run) -> dict[str, float]:
    """Median time of a task by every form, runs in turns.

    Args:
        spiders: by form.
        C: classes.
        run: what to run.
    """
    task = np.random.default_rng(C).standard_normal((C, run.extractor), dtype=np.float32) / 4
    taken: dict[str, list[float]] = {form: [] for form in spiders}
    for spider in spiders.values():
        spider.scores([task])
    for _ in range(run.runs):
        for form, spider in spiders.items():
            spider.scores([task])
            start = perf_counter()
            spider.scores([task])
            taken[form].append(1e3 * (perf_counter() - start))
    return {form: float(np.median(times)) for form, times in taken.items()}


def main(run: Run) -> None:
    """Run the grid and write the table.

    Args:
        run: what to run.
    """
    rows: list[list[object]] = []
    for M in run.models:
        names, cells = [f"model {i}" for i in range(M)], []
        for d in run.widths:
            state = random_state(M, d, run.extractor)
            spiders = {f: Spider.from_torch(state, models=names, form=f) for f in FORMS}
            cells += [milliseconds(spiders, C, run) for C in run.classes]
        ratios = [cell["many"] / cell["few"] for cell in cells]
        mean = float(np.exp(np.mean(np.log(ratios))))
        rows.append([M, form_for(M), *(cell["few"] for cell in cells), *ratios, mean])
        print(rows[-1], flush=True)
    where = [f"d = {d}, C = {C}" for d in run.widths for C in run.classes]
    columns = ("M", "default", *(f"few, ms: {w}" for w in where))
    columns += (*(f"many / few: {w}" for w in where), "mean")
    page = f"# Two forms of one sum\n\n`{command('speed/scoring_forms', run.out)}`\n\n"
    write_results(run.out, about() | {"rows": rows}, page + f"{to_markdown(columns, rows)}\n")


if __name__ == "__main__":
    main(tyro.cli(Run, description=__doc__))
