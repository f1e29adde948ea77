"""Run as a program, FOLDER OUT [PORT PROCESS]: write the best of an index by meshes of 4 devices.

With a PORT, one of two processes that have two of the devices each.
"""

import json
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from spider_jax.index import search as top_k
from spider_jax.index.zoo_index import ZooIndex
from support.toy_index import toy_tokens

TASKS = [toy_tokens(classes, seed=classes) for classes in (3, 7)]
# Shape and axes of the mesh, k: in "all" more than any device holds.
CASES: dict[str, tuple[tuple[int, ...], tuple[str, ...], int]] = {
    "line": ((4,), ("model",), 40),
    "all": ((4,), ("model",), 100_000),
    "turned grid": ((2, 2), ("model", "data"), 40),
    "grid": ((2, 2), ("data", "model"), 40),
}


def best(index: ZooIndex, case: str, mesh: Mesh | None = None) -> list[Any]:
    """[names, scores] by task."""
    rankings = index.top_k_tasks(TASKS, CASES[case][-1], mesh=mesh)
    return [[list(ranking.names), np.asarray(ranking.scores).tolist()] for ranking in rankings]


def recorded_reads() -> list[list[int]]:
    """A list that grows by the first and last row of all that this process reads."""
    load, read = top_k.load, []

    def recorded(block: Any, span: Any, *more: Any) -> Any:
        read.append([span.first, span.first + span.stop - span.start - 1])
        return load(block, span, *more)

    top_k.load = recorded
    return read


def main(folder: str, out: str, *others: str) -> None:
    if others:
        port, process = others
        jax.distributed.initialize(
            f"127.0.0.1:{port}", 2, int(process), initialization_timeout=1800
        )
    index, found, read = ZooIndex.open(folder), {}, recorded_reads()
    for case, (shape, axes, _) in CASES.items():
        read.clear()
        mesh = Mesh(np.array(jax.devices()).reshape(shape), axes)
        try:
            answer = best(index, case, mesh)
        except ValueError as error:  # the other process must not wait for this one
            found[case] = {"error": repr(error)}
        else:
            found[case] = {"best": answer, "read": sorted(read)}
            found[case]["resident"] = best(index.to_device(mesh=mesh), case)
    Path(out).write_text(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
