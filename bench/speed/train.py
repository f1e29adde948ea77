"""How fast is a training step, in what memory, on how many devices? Ours beside two torch forms.

    pip install -e ".[bench]" && python bench/speed/train.py

Writes bench/results/speed/train.json and .md. Random tasks (1,280 wide, 50 to 100 classes, padded
to 100), one member, float32, no dropout; Adam. Ours is what `spider_jax.train` runs: the runner of
training/parallel.py, its AdamW, compiled calls of many steps. The peers of
../peers/torch_training.py take random batches from tasks in memory, as ours does. Before anything
is timed, loss and gradient of all forms are compared at the same weights. Medians of interleaved
runs, in milliseconds a step. The growth over M is timed here and its memory taken in a process of
its own for each M; so are virtual devices and two processes, where two cores can show overhead
only. About ten minutes on two quiet cores (--small: three). On busy ones torch, whose threads wait
for each other, loses several times more than XLA does: then even the ratios mean nothing ("load
before" is in the JSON).
"""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
import tyro

from bench.common import about, command, threads, write_results
from bench.speed.train_forms import (
    CLASSES,
    COMPILED,
    OURS,
    PUBLISHED,
    RECOMPUTED,
    TORCH,
    Call,
    Ours,
    Size,
    Times,
    interleaved,
    ours_of,
    peer,
    random_tasks,
    start,
)
from bench.speed.train_processes import DEVICES, answer, begin, two_processes
from spider_jax.report.tables import to_markdown
from spider_jax.spider.weights import Weights
from spider_jax.training.arrays import TrainingArrays
from spider_jax.training.loop import whole

if TYPE_CHECKING:
    from bench.peers.torch_scoring import PublishedState

TOLERANCE = 1e-4
LONG_RATE = 2.0**20
NIL = ("head_norm_bias", "head_bias")  # shift all scores of a task alike: no gradient
CELLS = (Size(16, 42, 1024, 8), Size(16, 42, 256, 32), Size(16, 1000, 256, 8))
TURN = 300_000  # steps times models of a call
GROWTH = tuple(Size(4, M, 256, max(1, 20_000 // M)) for M in (1000, 10_000, 30_000, 100_000))


@dataclass(frozen=True)
class Run:
    """What to run.

    Attributes:
        out: path without suffix for .json and .md.
        runs: of a call.
        published_runs: of a published step.
        small: the first cell and the first two sizes of the growth only.
    """

    out: Path = Path("bench/results/speed/train")
    runs: int = 7
    published_runs: int = 3
    small: bool = False


def gradients(state: "PublishedState", given: TrainingArrays, form: str) -> tuple[float, Weights]:
    """Loss and gradient of one batch of all tasks; ours is read off a long step of plain SGD.

    Args:
        state: the weights.
        given: the tasks.
        form: OURS or one of the torch forms.
    """
    if form == OURS:
        before = ours_of(state)
        training = Ours(before, given, len(given.targets), optimizer="sgd", learning_rate=LONG_RATE)
        loss = training()
        after = jax.tree.map(whole, training.runner.state_of(training.state).weights)
        return loss, jax.tree.map(lambda b, a: (np.float64(b) - a) / LONG_RATE, before, after)
    from bench.peers.torch_training import trainer

    its = trainer(form, state, given.tokens, given.mask, given.targets, len(given.targets))
    loss, gradient = its.gradient()
    return loss, ours_of(gradient)


def agreement(size: Size, forms: Sequence[str]) -> float:
    """Largest relative difference to ours of a form's loss or of a parameter's gradient.

    Args:
        size: of the step.
        forms: that are compared with ours.

    Raises:
        SystemExit: it is above TOLERANCE; times of different functions mean nothing.
    """
    state, given = start(size), random_tasks(size, 1)
    loss, mine = gradients(state, given, OURS)
    total = np.sqrt(sum(float((g**2).sum()) for g in mine.arrays().values()))
    found = {}
    for form in forms:
        its_loss, its = gradients(state, given, form)
        found[form, "loss"] = abs(its_loss - loss) / abs(loss)
        for (name, a), b in zip(mine.arrays().items(), its.arrays().values(), strict=True):
            scale = total if name in NIL else np.linalg.norm(a)
            found[form, name] = float(np.linalg.norm(a - b) / scale)
    worst = max(found, key=lambda key: found[key])
    print(
        f"{size}: loss and gradients agree to {found[worst]:.1e} ({', '.join(worst)})", flush=True
    )
    if not found[worst] < TOLERANCE:
        raise SystemExit(f"{worst} differs by {found[worst]:.1e}: not the same function")
    return found[worst]


def cell(size: Size, run: Run, forms: Sequence[str]) -> dict[str, Any]:
    """Ours and peers at one size.

    Args:
        size: of the step.
        run: numbers of runs.
        forms: the peers.
    """
    agree = agreement(size, forms)
    state, given = start(size), random_tasks(size, size.steps)
    ours = Ours(ours_of(state), given, size.B)
    begun = time.perf_counter()
    ours()
    first = time.perf_counter() - begun
    calls: dict[str, tuple[Call, int, int]] = {OURS: (ours, size.steps, run.runs)}
    for form in forms:
        steps, runs = (1, run.published_runs) if form == PUBLISHED else (size.steps, run.runs)
        calls[form] = peer(form, state, given, size, steps), steps, runs
    times = interleaved(calls)
    median = {name: each.median for name, each in times.items()}
    return {
        **size._asdict(),
        "C": CLASSES,
        "milliseconds a step": {name: each._asdict() for name, each in times.items()},
        "tasks x models a second": {n: 1e3 * size.B * size.M / t for n, t in median.items()},
        "compiling, s": first - size.steps * median[OURS] / 1e3,
        "loss and gradients agree to": agree,
        "ratios": {name: t / median[OURS] for name, t in median.items() if name != OURS},
    }


def growth(size: Size, run: Run) -> dict[str, Any]:
    """Ours and the factorised form at one number of models, and their memory.

    Args:
        size: of the step.
        run: numbers of runs.
    """
    found = cell(size, run, (TORCH, RECOMPUTED))
    for form in (OURS, TORCH, RECOMPUTED):
        found[f"memory of {form}"] = answer(begin(("memory", form, str(size.M))))
    return found


def growth_in_turn(sizes: Sequence[Size], run: Run) -> dict[str, Times]:
    """Ours at every number of models, in turn, because a machine's pace changes within minutes.

    All calls do the same work and so last as long. In longer calls, of 3 to 14 s, 100,000 models
    took 3 to 14 % more each than 30,000.

    Args:
        sizes: of the step.
        run: numbers of runs.
    """
    calls: dict[str, tuple[Call, int, int]] = {}
    for size in sizes:
        steps = TURN // size.M
        ours = Ours(ours_of(start(size)), random_tasks(size, steps), size.B)
        ours()
        calls[str(size.M)] = ours, steps, run.runs
    return interleaved(calls)


def cell_rows(cells: Sequence[Mapping[str, Any]]) -> str:
    """A table of the cells.

    Args:
        cells: of `cell`.
    """
    rows = []
    for c in cells:
        times = c["milliseconds a step"]
        rate, seconds = c["tasks x models a second"][OURS], c["compiling, s"]
        spread = [times[form][kind] for form in (OURS, TORCH) for kind in ("fastest", "spread")]
        ratios = [c["ratios"].get(form) for form in (PUBLISHED, TORCH, COMPILED)]
        own = times[OURS]["median"], *spread[:2], times[TORCH]["median"], *spread[2:]
        rows.append([*(c[name] for name in "BMCd"), *own, rate, seconds, *ratios])
    own = ("ours, ms a step", "fastest", "spread", f"{TORCH}, ms", "fastest", "spread")
    ratios = [f"{form} / ours" for form in (PUBLISHED, TORCH, COMPILED)]
    return to_markdown((*"BMCd", *own, "tasks x models / s", "compiling, s", *ratios), rows)


def growth_rows(points: Sequence[Mapping[str, Any]]) -> str:
    """A table of the growth over models.

    Args:
        points: of `growth`.
    """
    rows, forms = [], (OURS, TORCH, RECOMPUTED)
    for c in points:
        peaks = [c[f"memory of {form}"] for form in forms]
        median = c["milliseconds a step"][OURS]["median"]
        over = [m["peak, MB"] - m["before, MB"] for m in peaks]
        ratios = [c["ratios"][form] for form in forms[1:]]
        rows.append([c["M"], median, 1e3 * median / c["M"], *over, *ratios])
    peaks = [f"{form}, MB" for form in forms]
    ratios = [f"{form} / ours" for form in forms[1:]]
    return to_markdown(("M", "ours, ms a step", "us a model", *peaks, *ratios), rows)


def device_rows(times: Mapping[str, Any]) -> str:
    """A table of the forms of parallelism.

    Args:
        times: by form, one device of one process first.
    """
    one = next(iter(times.values()))["median"]
    rows = [
        [n, t["median"], t["spread"], 1e3 / t["median"], one / t["median"]]
        for n, t in times.items()
    ]
    columns = ("devices", "ms a step", "spread", "steps / s", "of one device's rate")
    return to_markdown(columns, rows)


def page(found: Mapping[str, Any], run: Run) -> str:
    """The whole page.

    Args:
        found: what the JSON holds.
        run: what was run.
    """
    parts = [
        f"# Training steps\n\n`{command('speed/train', run.out)}`; {found['device']}, "
        f"{found['threads']} threads, {found['dtype']}, jax {found['jax']}, torch "
        f"{found['torch']}, commit {found['commit']}",
        f"Medians, in ms a step. Loss and gradients of all forms agree to "
        f"{max(c['loss and gradients agree to'] for c in found['cells']):.1e}.",
        cell_rows(found["cells"]),
    ]
    if found["growth"]:
        turns = found["growth in turn"]
        us = ", ".join(f"{1e3 * t['median'] / int(M):.1f} at {int(M):,}" for M, t in turns.items())
        parts += ["## Growth over models, B = 4, d = 256", growth_rows(found["growth"])]
        parts += [f"Ours alone, the sizes in turn: us a model {us}."]
    if found["devices"]:
        size = f"B = {DEVICES.B}, M = {DEVICES.M}, d = {DEVICES.d}"
        parts += [f"## Virtual devices on {found['threads']} cores, {size}"]
        parts += [device_rows(found["devices"])]
    return "\n\n".join(parts) + "\n"


def main(run: Run) -> None:
    """Run all parts and write the tables; ratios are printed last.

    Args:
        run: what to run.
    """
    import torch

    torch.set_num_threads(threads())  # as many for torch as for XLA
    versions = {"jax": jax.__version__, "torch": torch.__version__, "numpy": np.__version__}
    load = {"load before": os.getloadavg()[0]}
    found = about(dtype="float32", **load, **versions, cells=[], growth=[], devices={})
    for size in CELLS[:1] if run.small else CELLS:
        forms = (TORCH, COMPILED, PUBLISHED) if size.M <= CLASSES else (TORCH, COMPILED)
        found["cells"].append(cell(size, run, forms))
        print(found["cells"][-1], flush=True)
    sizes = GROWTH[:2] if run.small else GROWTH
    for size in sizes:
        found["growth"].append(growth(size, run))
        print(found["growth"][-1], flush=True)
    turns = growth_in_turn(sizes, run)
    found["growth in turn"] = {M: times._asdict() for M, times in turns.items()}
    found["devices"] = answer(begin(["devices"], 4)) | two_processes(1) | two_processes(2)
    write_results(run.out, found, page(found, run))
    print(device_rows(found["devices"]))
    for c in found["cells"] + found["growth"]:
        print({name: c[name] for name in "BMCd"}, {n: round(r, 2) for n, r in c["ratios"].items()})


if __name__ == "__main__":
    main(tyro.cli(Run, description=__doc__))
