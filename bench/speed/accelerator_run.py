"""The cells of accelerator.py, its page, and the order of its work."""

import json
import platform
import subprocess
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax

from bench.speed import accelerator_ours as ours
from bench.speed import accelerator_torch as peer
from bench.speed.accelerator_checks import checks, task_of, zoo_of
from bench.speed.accelerator_timing import Report, figures, rates, seconds

CLASSES = 100
LARGEST = 1 << 28  # numbers of the models' tokens that the torch form is made of
Rates = Mapping[str, float]


class Grid(NamedTuple):
    """What is measured.

    Attributes:
        scores: (M, C, d).
        searches: (M, d).
        steps: (B, M).
        models: of LogME.
        copied: bytes of a measured copy.
        product: rows of a measured matrix product.
        compiled: whether torch's forms are compiled as well.
    """

    scores: tuple[tuple[int, int, int], ...]
    searches: tuple[tuple[int, int], ...]
    steps: tuple[tuple[int, int], ...]
    models: int
    copied: int
    product: int
    compiled: bool = True


WIDTHS = (256, 1024)
GRIDS = {
    "gpu": Grid(
        tuple((M, C, d) for M in (1000, 10**5, 10**6) for C in (10, 100, 400) for d in WIDTHS),
        ((10**6, 256), (10**7, 256)),
        ((16, 42), (64, 42), (256, 42), (16, 1000), (256, 1000), (16, 10**4), (16, 10**5)),
        100,
        1 << 30,
        8192,
    ),
    "cpu": Grid(
        ((1000, 10, 256), (1000, 100, 256)), ((50_000, 256),), ((16, 42),), 10, 1 << 27, 1024
    ),
    "tiny": Grid(((300, 10, 32),), ((3000, 32),), ((4, 12),), 2, 1 << 20, 64, False),
}
FORMS = "training by mesh and by pmap: bench/speed/train.py has both, and needs the package"
LEFT_OUT = {
    "gpu": (FORMS,),
    "cpu": (FORMS, "sizes that are for a GPU"),
    "tiny": (FORMS, "all but the least sizes", "torch.compile"),
}


def measure(grid: Grid, rate: Rates, report: Report) -> None:
    """All cells: those of small arrays first.

    Args:
        grid: of sizes.
        rate: of `rates`.
        report: takes them.
    """

    def cell(name: str, make: Callable[..., dict[str, Any]], *sizes: Any) -> None:
        report.measure(name, partial(make, *sizes, report, name))
        peer.forget()

    for M, C, d in grid.scores:
        for precision in ("float32", "bfloat16"):
            name = f"scores, M {M}, C {C}, d {d}, {precision}"
            cell(name, scored, M, C, d, precision, rate, grid.compiled)
    for B, M in grid.steps:
        name = f"training step, B {B}, M {M}"
        cell(name, trained, B, M, grid.searches[0][1], rate, grid.compiled)
    name = f"LogME of {grid.models} models"
    cell(name, evidence, grid.models)
    for M, d in grid.searches:
        for precision in ("float32", "bfloat16"):
            name = f"best {ours.FOUND} of {M}, d {d}, {precision}"
            cell(name, searched, M, d, precision, rate, grid.compiled)


def scored(
    M: int, C: int, d: int, precision: str, rate: Rates, compiled: bool, report: Report, name: str
) -> dict[str, Any]:
    """A cell of scores; the torch form is of float32."""
    others = {}
    if precision == "float32" and M * d <= LARGEST:
        others = peer.scoring(
            peer.published(M, d, ours.EXTRACTOR), ours.tokens_of(C).centres, compiled=compiled
        )
    return figures(ours.scoring(M, C, d, precision), others, precision, rate, report, name)


def searched(
    M: int, d: int, precision: str, rate: Rates, compiled: bool, report: Report, name: str
) -> dict[str, Any]:
    """A cell of a search; torch scores all and takes the best."""
    others = {}
    if precision == "float32" and M <= 10**6:
        state = peer.published(M, d, ours.EXTRACTOR)
        others = peer.scoring(state, ours.tokens_of(CLASSES).centres, ours.FOUND, compiled=compiled)
    return figures(ours.search(M, CLASSES, d, precision), others, precision, rate, report, name)


def trained(
    B: int, M: int, d: int, rate: Rates, compiled: bool, report: Report, name: str
) -> dict[str, Any]:
    """A cell of training."""
    state, task = peer.published(M, d, ours.EXTRACTOR), task_of(B, M, CLASSES)
    host = {name: value.numpy() for name, value in state.items()}
    timed = ours.training(host, *task, ours.step_operations(B, M, CLASSES, d))
    return figures(
        {"ours": timed},
        peer.training(state, *task, compiled=compiled),
        "float32",
        rate,
        report,
        name,
    )


def evidence(models: int, report: Report, name: str) -> dict[str, Any]:
    """A cell of LogME: ours decomposes on the host and maximises on the device."""
    features, labels = zoo_of(models, 2000, 512) if models > 2 else zoo_of(models, 200, 20)
    calls = {
        "ours": lambda: ours.logme_of(features, labels),
        "torch": peer.waited(lambda: peer.logme(features, labels)),
    }
    taken = seconds(calls, report, name)
    row: dict[str, Any] = {"milliseconds": {n: 1e3 * s for n, s in taken.items()}}
    return row | ({"torch / ours": taken["torch"] / taken["ours"]} if len(taken) == 2 else {})


def about() -> dict[str, Any]:
    """Where this is."""
    git = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()
    one = jax.devices()[0]
    return {
        "commit": commit,
        "device": one.device_kind,
        "platform": one.platform,
        "python": platform.python_version(),
        "jax": jax.__version__,
        "torch": peer.version(),
        "torch device": str(peer.device()),
    }


def page(found: dict[str, Any], out: Path) -> str:
    """The page.

    Args:
        found: all that goes into the JSON.
        out: path without suffix.
    """
    where, on = found["about"], found["about"]["platform"]
    rows = "\n".join(f"| {' | '.join(_cells(row))} |" for row in found["rows"])
    right = "\n".join(
        f"| {name} | {gap:.2g} | {most:.2g} |" for name, (gap, most) in found["checks"].items()
    )
    never = "" if on == "gpu" else "It has not been run on a GPU: what follows is of a CPU.\n\n"
    return f"""# On this device

`python bench/speed/accelerator.py --out {out}` at commit {where["commit"]}

{never}{where["device"]} ({on}), jax {where["jax"]}, torch {where["torch"]} on \
{where["torch device"]}. Measured rates: {_rates(found["rates"])}. {found["seconds"]:.0f} s in all.

| program | difference from float64 | allowed |
| --- | ---: | ---: |
{right}

| program | ms | fastest torch / ours | share of the measured roofline |
| --- | --- | ---: | ---: |
{rows}

Left out:

{chr(10).join(f"- {line}" for line in found["left out"]) or "- nothing"}
"""


def _cells(row: dict[str, Any]) -> list[str]:
    times = ", ".join(f"{name} {value:.3g}" for name, value in row["milliseconds"].items())
    ratios = (row.get(name) for name in ("torch / ours", "share of roofline"))
    return [row["program"], times, *("" if r is None else f"{r:.2f}" for r in ratios)]


def _rates(rate: Rates) -> str:
    return ", ".join(
        f"{value:.3g} {'bytes' if name == 'bytes' else f'operations in {name}'} a second"
        for name, value in rate.items()
    )


def main(out: Path, minutes: float, grid: str | None) -> int:
    """Check, time and write.

    Args:
        out: path without suffix.
        minutes: after which no cell is begun.
        grid: name in GRIDS; None for what suits the device.

    Returns:
        The exit code: 1 where a program is wrong.
    """
    report = Report(minutes)
    peer.start()
    chosen = grid or ("gpu" if jax.default_backend() != "cpu" else "cpu")
    right = checks(chosen == "tiny")
    for name, (gap, most) in right.items():
        print(f"{'right' if gap <= most else 'WRONG'}: {name}: {gap:.2g}, at most {most:.2g}")
    wrong = [name for name, (gap, most) in right.items() if not gap <= most]
    rate: Rates = {}
    if not wrong:
        sizes = GRIDS[chosen]
        rate = rates(sizes.copied, sizes.product)
        print(_rates(rate), flush=True)
        for line in LEFT_OUT[chosen]:
            report.leave(chosen, line)
        measure(sizes, rate, report)
    else:
        report.leave("all timing", f"wrong: {', '.join(wrong)}")
    found = {
        "about": about(),
        "checks": right,
        "rates": rate,
        "rows": report.rows,
        "left out": report.left_out,
        "seconds": report.passed(),
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    out.with_suffix(".json").write_text(json.dumps(found, indent=1) + "\n")
    out.with_suffix(".md").write_text(page(found, out))
    return 1 if wrong else 0
