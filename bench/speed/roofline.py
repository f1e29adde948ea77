"""How long must each program take at least? Formulas beside what the compiler counts.

    pip install -e . && python bench/speed/roofline.py --name "a machine" --bandwidth 4.8e12 ...

Writes bench/results/speed/roofline.json and .md. Nothing is run: programs are compiled for this CPU
on shapes alone, in calls of the size that a GPU's are. Beside the formula stand three counts:

- operations, of `compiled.cost_analysis()`;
- bytes from outside: arguments and results of the calls, of `compiled.memory_analysis()`: what main
  memory must give where what one step of a call hands to the next stays on the chip;
- bytes of every step, by `cost_analysis()`: what it must give where nothing stays on the chip.

The floor on a machine is the larger of operations / (operations a second) and bytes of the formula
/ (bytes a second). The machine is what its vendor says, not what was measured. A minute.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import tyro

from bench.common import about, page_head, write_results
from bench.speed.accelerator_ours import pair_operations, step_operations
from spider_jax.heads import training as heads
from spider_jax.index.best import Best, update
from spider_jax.report.tables import to_markdown
from spider_jax.runtime.device_kinds import KINDS, DeviceKind
from spider_jax.spider.folding import ModelRows, Shared, chunk_rows
from spider_jax.spider.scoring import TaskSide, score_chunk, task_side
from spider_jax.spider.weights import Weights
from spider_jax.training.config import TrainConfig
from spider_jax.training.parallel import over_mesh, state_specs, training_mesh
from spider_jax.training.state import Lanes, Members, State
from spider_jax.training.step import direction

EXTRACTOR, FOUND = 1280, 100
WIDE = {"float32": 4, "bfloat16": 2}


@dataclass(frozen=True)
class Run:
    """The machine, and the shapes.

    Attributes:
        out: path without suffix for .json and .md.
        name: of the machine.
        float32: operations a second of products of float32, without TF32.
        bfloat16: operations a second of products of bfloat16 with sums in float32.
        bandwidth: bytes a second of main memory.
        on_chip: bytes that stay on the chip between two steps.
        kind: whose sizes of calls are taken: a row of the table of device kinds.
    """

    out: Path = Path("bench/results/speed/roofline")
    name: str = "NVIDIA H200 SXM, data sheet"
    float32: float = 67e12
    bfloat16: float = 989e12
    bandwidth: float = 4.8e12
    on_chip: float = 50e6
    kind: str = "gpu"


class Work(NamedTuple):
    """A program: so many calls of one compiled function, and what the formulas say of all.

    Attributes:
        name: for people.
        call: jitted.
        given: shapes of its arguments.
        calls: how many make the whole.
        operations: of the whole, by formula.
        needed: bytes of the whole that must be read or written once.
        precision: of the products.
        more: why bytes of every step exceed the formula.
    """

    name: str
    call: Any
    given: tuple[Any, ...]
    calls: int
    operations: float
    needed: float
    precision: str
    more: str


def shape(*size: int, dtype: str = "float32") -> Any:
    """An array that is not there.

    Args:
        size: its shape.
        dtype: its type.
    """
    return jax.ShapeDtypeStruct(size, dtype)


# ---- scoring and search ----------------------------------------------------------------------

BETWEEN = (
    "logits, weights [m, C] and averages [m, d] go from step to step: about 10 C + 6 d numbers a "
    "row beside its 3 d"
)


def rows_of(m: int, d: int, precision: str) -> ModelRows:
    """Rows of m models, whose keys meet tokens of width d.

    Args:
        m: models.
        d: width.
        precision: of the keys.
    """
    own, numbers = shape(1, m, d), shape(1, m, d, dtype=precision)
    return ModelRows(numbers, shape(1, m), own, own)


def shared_of(d: int, width: int) -> Shared:
    """What all models share, with tokens projected from `width` to d.

    Args:
        d: width of a model's token.
        width: of the extractor.
    """
    column = shape(1, d)
    project = shape(1, width, d), shape(1, d)
    return Shared(*project, shape(1, d, d), *(column,) * 6, shape(1))


def row_bytes(d: int, precision: str) -> int:
    """Bytes of one model's row: key, self value, base, self logit.

    Args:
        d: width.
        precision: of the key.
    """
    return d * WIDE[precision] + 2 * 4 * d + 4


def scoring(M: int, C: int, d: int, precision: str, kind: DeviceKind) -> Work:
    """M models on one task.

    Args:
        M: models.
        C: classes.
        d: width.
        precision: of the products.
        kind: of device.
    """
    m = chunk_rows("many", 1, d, kind)
    side = TaskSide(shape(1, 1, C, d), shape(1, 1, C, d), shape(1, C, dtype="bool"))
    given = rows_of(m, d, precision), shared_of(d, EXTRACTOR), side
    needed = M * (row_bytes(d, precision) + 4.0)
    name = f"score {M:,}, C {C}, d {d}, {precision}"
    return Work(
        name, score_chunk, given, -(-M // m), pair_operations(M, C, d), needed, precision, BETWEEN
    )


def search(M: int, C: int, d: int, precision: str, kind: DeviceKind) -> Work:
    """The best of M models that lie in memory.

    Args:
        M: models.
        C: classes.
        d: width.
        precision: of the products.
        kind: of device.
    """
    work = scoring(M, C, d, precision, kind)
    _, shared, side = work.given
    m = kind.span
    best = Best(shape(1, FOUND), shape(1, FOUND, dtype="int32"))
    more = shape(m, dtype="bool"), shape(dtype="int32")
    given = best, rows_of(m, d, precision), shared, side, *more
    name = f"best {FOUND} of {M:,}, C {C}, d {d}, {precision}"
    needed = M * (row_bytes(d, precision) + 1.0)
    return Work(
        name, update, given, -(-M // m), pair_operations(M, C, d), needed, precision, BETWEEN
    )


def side(C: int, d: int) -> Work:
    """What a task brings: two products, whose matrices are read once.

    Args:
        C: classes.
        d: width.
    """
    given = shared_of(d, EXTRACTOR), shape(1, C, EXTRACTOR), shape(1, C, dtype="bool")
    needed = 4.0 * (EXTRACTOR * d + d * d + C * (EXTRACTOR + 2 * d))
    operations = 2.0 * C * d * (EXTRACTOR + d)
    why = "partners are read again for the values, and matrices are turned for the CPU's products"
    return Work(f"task side, C {C}, d {d}", task_side, given, 1, operations, needed, "float32", why)


# ---- training --------------------------------------------------------------------------------


def weights_of(M: int, d: int) -> Weights:
    """Of one member.

    Args:
        M: models.
        d: width.
    """
    square, column = shape(1, d, d), shape(1, d)
    whole = dict.fromkeys(Weights._fields, column) | {"head_bias": shape(1)}
    whole |= {"theta": shape(1, M, d), "project": shape(1, EXTRACTOR, d)}
    whole |= dict.fromkeys(("query", "key", "value", "output"), square)
    return Weights(**whole)._replace(own_project=None, own_bias=None)


def training(B: int, M: int, C: int, d: int) -> Work:
    """One step of plain training: forwards once, backwards twice, Adam.

    Args:
        B: tasks.
        M: models.
        C: classes.
        d: width.
    """
    config = TrainConfig(members=1, batch=B, width=d, clip=0.0, token_dropout=0.0, token_noise=0.0)
    weights = weights_of(M, d)
    moments = jax.eval_shape(jax.vmap(direction(config).init), weights)
    state = State(weights, moments, shape(dtype="int32"))
    lanes = Lanes(
        shape(B, 1, C, EXTRACTOR),
        shape(B, 1, C, dtype="bool"),
        shape(B, 1, M),
        None,
        shape(B, 1, 1, dtype="bool"),
    )
    numbers = (shape(dtype="int32"),) * 3
    given = state, lanes, Members(shape(1, 2, dtype="uint32"), shape(1)), *numbers
    call = over_mesh(config, training_mesh(jax.devices()[:1]), M, 1000, state_specs(state))
    parameters = sum(np.prod(leaf.shape) for leaf in jax.tree.leaves(weights))
    needed = 4.0 * (6 * parameters + B * (C * EXTRACTOR + M))
    name = f"training step, B {B}, M {M:,}, C {C}, d {d}"
    why = (
        "logits [B, M, C] and averages [B, M, d] are written forwards and read backwards; both "
        "lie on the chip of a large device for small B M only"
    )
    operations = step_operations(B, M, C, d)
    return Work(name, call, given, 1, operations, needed, "float32", why)


def head_steps(R: int, n: int, D: int, K: int) -> Work:
    """One pass of linear heads of R models over n rows, 64 rows a step.

    Args:
        R: models.
        n: rows.
        D: width of features.
        K: outputs.
    """
    config = heads.HeadConfig()
    params = {"W": shape(R, D, K), "b": shape(R, K)}
    state = jax.eval_shape(jax.vmap(heads.optimizer(config).init), params)
    column = shape(R, D)
    order = shape(1, config.batch, dtype="int32")
    given = params, state, shape(R, config.batch, D), column, column, shape(config.batch, K), order
    steps = n // config.batch
    needed = 4.0 * steps * R * (config.batch * D + 6 * D * K)
    operations = steps * R * config.batch * (4.0 * D * K + 2 * D)
    name = f"heads of {R} models, {n:,} rows, D {D}, K {K}"
    why = "scaled features and drawn rows are written once more each; Adam's steps are several"
    call = heads._compiled_block("classification", config)
    return Work(name, call, given, steps, operations, needed, "float32", why)


# ---- the table -------------------------------------------------------------------------------


def works(kind: DeviceKind) -> Iterator[Work]:
    """All programs.

    Args:
        kind: of device.
    """
    for precision in WIDE:
        for C, d in ((10, 256), (100, 256), (400, 256), (100, 1024)):
            yield scoring(1_000_000, C, d, precision, kind)
        yield search(1_000_000, 100, 256, precision, kind)
    yield side(100, 256)
    for B, M in ((16, 42), (16, 500), (256, 42)):
        yield training(B, M, 100, 256)
    yield head_steps(42, 6400, 1024, 10)


def counted(work: Work, run: Run) -> dict[str, Any]:
    """Formulas, counts and floor of a program.

    Args:
        work: the program.
        run: the machine.
    """
    with jax.numpy_dtype_promotion("standard"):  # optax mixes int counts with floats
        compiled = work.call.lower(*work.given).compile()
    cost, memory = compiled.cost_analysis(), compiled.memory_analysis()
    outside = memory.argument_size_in_bytes + memory.output_size_in_bytes
    rate = run.bfloat16 if work.precision == "bfloat16" else run.float32
    arithmetic, transfer = work.operations / rate, work.needed / run.bandwidth
    return {
        "program": work.name,
        "operations": work.operations,
        "operations counted / formula": work.calls * cost["flops"] / work.operations,
        "bytes needed": work.needed,
        "from outside / needed": work.calls * outside / work.needed,
        "every step / needed": work.calls * cost["bytes accessed"] / work.needed,
        "between steps of a call, bytes": memory.temp_size_in_bytes,
        "stays on the chip": bool(memory.temp_size_in_bytes <= run.on_chip),
        "floor, us": 1e6 * max(arithmetic, transfer),
        "bound by": "operations" if arithmetic > transfer else "bytes",
        "why more": work.more,
    }


def page(found: list[dict[str, Any]], run: Run) -> str:
    """The page.

    Args:
        found: rows of the table.
        run: the machine.
    """
    head = page_head("Floors of the programs, on paper", "speed/roofline", run.out)
    notes: dict[str, list[str]] = {}
    for row in found:
        notes.setdefault(row["why more"], []).append(row["program"].split()[0])
    columns = [name for name in found[0] if name != "why more"]
    rows = [[_short(row[name]) for name in columns] for row in found]
    why = "\n".join(f"- {', '.join(dict.fromkeys(of))}: {text}." for text, of in notes.items())
    return f"""{head}Machine: {run.name}: {run.float32:.3g} operations a second in float32, \
{run.bfloat16:.3g} in bfloat16, {run.bandwidth:.3g} bytes a second, {run.on_chip:.3g} bytes on the \
chip. These figures are given, not measured, and no program has been run on such a machine. Counts \
are those of XLA's compiler for the CPU; that for the machine fuses other steps.

{to_markdown(columns, rows)}

"From outside" counts arguments and results of the calls; "every step" what all steps of a call read
and write, which main memory must give where it does not stay on the chip. A search should read at
most 1.1 times what it needs, scores in float32 1.2 times: so they do from outside; counted by every
step they move 3 to 8 times that, and would need one kernel for a whole call. Loops count as one
pass: a training step is one of them. Why every step moves more than what is needed:

{why}
"""


def _short(value: Any) -> Any:
    return f"{value:.3g}" if isinstance(value, float) else value


def main(run: Run) -> None:
    """Count and write.

    Args:
        run: the machine.
    """
    found = [counted(work, run) for work in works(KINDS[run.kind])]
    machine = {name: value for name, value in vars(run).items() if name != "out"}
    write_results(
        run.out, about(machine=machine, jax=jax.__version__, rows=found), page(found, run)
    )
    print(page(found, run))


if __name__ == "__main__":
    main(tyro.cli(Run, description=__doc__))
