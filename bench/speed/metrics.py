"""How fast is every metric beside its peer, the published algorithm in NumPy? And a whole zoo?

    pip install -e ".[bench]" && python bench/speed/metrics.py

Writes bench/results/speed/metrics.json and .md. One process, one number of threads (all; one with
OPENBLAS_NUM_THREADS=1 under `taskset -c 0`), one dtype of both sides (--dtype), features that look
like a network's (ReLU of a random map of class-structured data, so that the spectrum decays), at
N = 5,000, D = 2,048, C = 100, Z = 1,000 and at N = 500, D = 2,048, C = 10. Medians of runs in turns
after one that compiles, which stands in a column of its own: it is what a user waits for who scores
one model. A peer of over --slow seconds runs once. Beside every ratio of times stands that of the
operation counts (metric_operations.py).
../peers/metrics.py names the repository and function of every peer. About 15 minutes on two cores.
"""

import tempfile
import time
import tracemalloc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tyro
from jaxtyping import Float, Int64
from scipy.special import softmax

from bench.common import about, command, write_results
from bench.peers import metrics as feature_peers
from bench.peers import probability_metrics as probability_peers
from bench.speed.metric_operations import operations
from spider_jax import FeatureStore, score_zoo
from spider_jax.metrics import DEFAULT_METRICS, METRICS
from spider_jax.metrics.shared.inputs import check_labels
from spider_jax.metrics.shared.statistics import Statistics
from spider_jax.report.tables import to_markdown

SIZES = ((5000, 2048, 100, 1000), (500, 2048, 10, 1000))
ZOO_MODELS = 20
PROBE_ROWS = 1000  # scikit-learn's 80 fits of N = 5,000, C = 100 take hours
PEERS: dict[str, Callable[..., object]] = vars(probability_peers) | vars(feature_peers)
Call = Callable[[], object]
Features = Float[np.ndarray, "N D"]
Labels = Int64[np.ndarray, " N"]
Probabilities = Float[np.ndarray, "N Z"]


@dataclass(frozen=True)
class Run:
    """What to run.

    Attributes:
        out: path without suffix for .json and .md.
        runs: of each.
        slow: seconds; a slower peer runs once.
        only: metrics to time; none for all.
        dtype: of features and probabilities: the peers' own are float32 from a network, float64 in
            most published code.
    """

    out: Path = Path("bench/results/speed/metrics")
    runs: int = 5
    slow: float = 4.0
    only: tuple[str, ...] = ()
    dtype: Literal["float32", "float64"] = "float64"


def like_a_network(N: int, D: int, C: int, Z: int) -> tuple[Features, Probabilities, Labels]:
    """Features, source probabilities and labels as of a network.

    Args:
        N: samples.
        D: feature width.
        C: classes.
        Z: source classes.
    """
    rng = np.random.default_rng(0)
    y = rng.permutation(np.arange(N) % C)
    hidden = rng.standard_normal((C, 256))[y] + 1.5 * rng.standard_normal((N, 256))
    hidden *= (1 + np.arange(256.0)) ** -0.5
    F = np.maximum(hidden @ rng.standard_normal((256, D)) + 0.3 * rng.standard_normal((N, D)), 0)
    P = softmax(F @ rng.standard_normal((D, Z)) / 16, axis=1)
    return F, P, y


def calls(F: Features, P: Probabilities, y: Labels) -> dict[str, tuple[Call, Call]]:
    """Ours and the peer, by name.

    Args:
        F: features.
        P: source probabilities.
        y: labels.
    """

    def pair(name: str, peer: str | None = None, **options: object) -> tuple[Call, Call]:
        ours, theirs = METRICS[name].score, PEERS[peer or name]
        if METRICS[name].needs == "probabilities":
            given = {"probabilities": P, "labels": y}
            return lambda: ours(**given), lambda: theirs(**given)
        return lambda: ours(F, y), lambda: theirs(F, y, **options)

    found = {
        name: pair(name)
        for name in METRICS
        if name in PEERS and name not in ("knn", "linear_probe")
    }
    found["knn"] = pair("knn", k=5, metric="cosine")
    if len(F) <= PROBE_ROWS:
        found["linear_probe"] = pair("linear_probe")
    found["leep (gather)"] = pair("leep", "leep_gather")
    found["leep (einsum)"] = pair("leep", "leep_einsum")
    return found


def seconds(ours: Call, theirs: Call, run: Run) -> tuple[float, list[float], list[float]]:
    """Time of our first call, which compiles, and times of both, in turns.

    Args:
        ours: a call.
        theirs: a call of the peer.
        run: numbers of runs.
    """

    def once(call: Call) -> float:
        time.sleep(0.05)  # another library's threads stop spinning
        start = time.perf_counter()
        call()
        return time.perf_counter() - start

    cold = once(ours)
    mine, other = [once(ours)], [once(theirs)]
    for _ in range(run.runs - 1):
        mine.append(once(ours))
        if other[0] < run.slow:
            other.append(once(theirs))
    return cold, mine, other


def peak(call: Call) -> int:
    """Largest memory that NumPy held above what was there, bytes.

    Args:
        call: is called once.
    """
    tracemalloc.start()
    call()
    found = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return found


def one_size(N: int, D: int, C: int, Z: int, run: Run) -> dict[str, Any]:
    """All metrics at one size.

    Args:
        N: samples.
        D: feature width.
        C: classes.
        Z: source classes.
        run: numbers of runs.
    """
    F, P, y = like_a_network(N, D, C, Z)
    F, P = F.astype(run.dtype), P.astype(run.dtype)
    rows = []
    for name, (ours, theirs) in calls(F, P, y).items():
        if run.only and name.split(" ")[0] not in run.only:
            continue
        cold, mine, other = seconds(ours, theirs, run)
        key = {"leep (gather)": "leep_gather", "leep (einsum)": "leep_einsum"}.get(name, name)
        counted = operations(key, N, D, C, Z)
        entry = {
            "metric": name,
            "ours_first_ms": 1e3 * cold,
            "ours_ms": 1e3 * float(np.median(mine)),
            "peer_ms": 1e3 * float(np.median(other)),
            "spread_ms": 1e3 * float(np.subtract(*np.percentile(mine, (75, 25)))) / 2,
            "peer_runs": len(other),
            "ratio": float(np.median(other) / np.median(mine)),
            "operations_ratio": counted[0] / counted[1] if counted else None,
        }
        if name == "leep (einsum)":
            entry["memory_ratio"] = peak(theirs) / peak(ours)
        rows.append(entry)
        print(N, D, C, entry, flush=True)
    return {
        "N": N,
        "D": D,
        "C": C,
        "Z": Z,
        "metrics": rows,
        "default_set": default_set(F, P, y, run),
    }


def default_set(F: Features, P: Probabilities, y: Labels, run: Run) -> dict[str, float]:
    """The default metrics of one model on shared statistics, and each of them alone.

    Args:
        F: features.
        P: source probabilities.
        y: labels.
        run: numbers of runs.
    """
    labels = check_labels(y, len(y))

    def one(name: str, given: Statistics | None = None) -> None:
        metric = METRICS[name]
        if metric.shared:
            metric.shared(given or Statistics(F, labels))
        else:
            metric.score(probabilities=P, labels=y)

    def together() -> None:
        given = Statistics(F, labels)
        for name in DEFAULT_METRICS:
            one(name, given)

    def median(call: Call) -> float:
        taken = []
        for _ in range(run.runs):
            start = time.perf_counter()
            call()
            taken.append(time.perf_counter() - start)
        return 1e3 * float(np.median(taken))

    parts = {name: median(partial(one, name)) for name in DEFAULT_METRICS}
    whole = median(together)
    return {**parts, "together": whole, "over the dearest": whole / max(parts.values())}


def whole_zoo() -> dict[str, float]:
    """20 models on one task through `score_zoo`: seconds, and seconds again from the cache."""
    N, D, C, Z = 2000, 1024, 20, 1000
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        F, _, y = like_a_network(N, D, C, Z)
        FeatureStore.write_labels(place / "zoo", "task", y)
        rng = np.random.default_rng(1)
        for i in range(ZOO_MODELS):
            mixed = (F @ rng.standard_normal((D, D)) / 32).astype(np.float32)
            FeatureStore.write_features(place / "zoo", f"model {i}", "task", mixed)
        taken = []
        for _ in range(2):
            start = time.perf_counter()
            score_zoo(FeatureStore(place / "zoo"), "task", cache=place / "cache")
            taken.append(time.perf_counter() - start)
    return {"models": ZOO_MODELS, "N": N, "D": D, "C": C, "first_s": taken[0], "again_s": taken[1]}


def page(
    sizes: Sequence[Mapping[str, Any]],
    zoo: Mapping[str, float],
    run: Run,
    where: Mapping[str, Any],
) -> str:
    """Tables of all sizes.

    Args:
        sizes: of `one_size`.
        zoo: of `whole_zoo`.
        run: what was run.
        where: of `about`.
    """
    parts = [
        f"# Metrics against the published algorithms\n\n`{command('speed/metrics', run.out)}`; "
        f"{where['device']}, {where['threads']} threads, commit {where['commit']}, {run.dtype}. A "
        "ratio above 1 says that ours is faster; a peer alone in its row ran once."
    ]
    keys = (
        "metric",
        "ours_first_ms",
        "ours_ms",
        "peer_ms",
        "ratio",
        "operations_ratio",
        "peer_runs",
    )
    times = ("ours, ms", "peer, ms", "peer / ours")
    columns = ("metric", "ours, first call, ms", *times, "of operation counts", "peer's runs")
    for size in sizes:
        rows = [[m[key] for key in keys] for m in size["metrics"]]
        head = ", ".join(f"{k} = {size[k]:,}" for k in ("N", "D", "C", "Z"))
        memory = [m["memory_ratio"] for m in size["metrics"] if "memory_ratio" in m]
        notes = [f"LEEP: the einsum form holds {memory[0]:.0f} times the memory"] if memory else []
        together = size["default_set"]
        notes.append(
            f"default set on one model: {together['together']:.0f} ms, "
            f"{together['over the dearest']:.2f} times its dearest part alone"
        )
        parts.append(f"## {head}\n\n{to_markdown(columns, rows)}\n\n- " + "\n- ".join(notes))
    parts.append(
        f"## A zoo\n\n`score_zoo`, default metrics, {zoo['models']} models on one task "
        f"(N = {zoo['N']:,}, D = {zoo['D']:,}, C = {zoo['C']}): {zoo['first_s']:.1f} s, again from "
        f"the cache {zoo['again_s']:.2f} s."
    )
    return "\n\n".join(parts) + "\n"


def main(run: Run) -> None:
    """Measure and write the tables.

    Args:
        run: what to run.
    """
    where = about()
    sizes = [one_size(*size, run) for size in SIZES]
    zoo = whole_zoo()
    write_results(run.out, where | {"sizes": sizes, "zoo": zoo}, page(sizes, zoo, run, where))


if __name__ == "__main__":
    main(tyro.cli(Run, description=__doc__))
