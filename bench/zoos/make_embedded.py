"""Make the compact zoo inside the package, spider_jax/zoo/embedded_data, from the real zoo.

Its text part, a zoo of its own in the folder text, is made by make_embedded_text.py and stays.

    python bench/zoos/make_embedded.py

Reads $SPIDER_JAX_DATA/real_zoo. Half a minute to three on one core. Two runs with the same
libraries on one machine give the same bytes. It prints the size (8 MB), the rows of every task, and
how much of the signal is left after the reduction: a mean weighted tau of about 0.83 on the full
zoo, 0.80 on fewer rows, 0.73 here.
"""

import shutil
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tyro
from jaxtyping import Float, Float16, Float64, Int, Int64
from scipy.linalg import eigh
from scipy.stats import weightedtau

import spider_jax
from bench.common import real_zoo
from bench.zoos.embedded_sources import (
    DOMAINS,
    HELD_OUT,
    LEFT_OUT,
    MODEL_SOURCES,
    TASK_SOURCES,
    provenance,
)
from spider_jax.choose.usual_evidence import FILE, write_metrics
from spider_jax.errors import InputError
from spider_jax.storage.files import atomic_folder, write_text
from spider_jax.zoo.store import FeatureStore

Rows = Mapping[str, Int64[np.ndarray, " n"]]  # positions by task

FOLDER = Path(spider_jax.__file__).parent / "zoo" / "embedded_data"
TEXT = "text"  # in FOLDER
SAMPLES, WIDTH, EXTRACTOR_WIDTH = 200, 64, 128
RANK_TOLERANCE = 1e-9  # a component below this share of the largest variance is rounding
RIDGE = 0.1  # times the mean of the Gram matrix's diagonal
NOTE = (
    f"Made from a larger zoo. At most {SAMPLES} rows a task, stratified by class, the same for "
    f"every model; features standardised and reduced by PCA to at most {WIDTH} dimensions "
    f"(extractor: {EXTRACTOR_WIDTH}), both fitted without labels on the rows of the tasks that are "
    "not held out, one scale a model, float16. accuracies.csv is unchanged: a linear probe on ALL "
    "rows and ALL original features, not on these reduced ones."
)


# ---- rows and features -----------------------------------------------------------------------


def choose_rows(labels: Int[np.ndarray, " N"], samples: int = SAMPLES) -> Int64[np.ndarray, " n"]:
    """At most `samples` rows, stratified by class, in their original order.

    Class c gets samples * N_c / N rows, rounded so that they sum to `samples` (largest remainder,
    the lower class first), drawn without replacement by default_rng(0).

    Args:
        labels: int [N] in 0..C-1.
        samples: the most rows to keep.

    Returns:
        int64 [min(N, samples)], increasing.
    """
    counts = np.bincount(labels)
    shares = counts * min(1.0, samples / len(labels))
    quota = np.floor(shares + 1e-9).astype(np.int64)
    missing = min(len(labels), samples) - quota.sum()
    quota[np.argsort(quota - shares, kind="stable")[:missing]] += 1
    rng = np.random.default_rng(0)
    chosen = [
        rng.choice(np.flatnonzero(labels == c), quota[c], replace=False) for c in range(len(counts))
    ]
    return np.sort(np.concatenate(chosen)).astype(np.int64)


class Projection(NamedTuple):
    """z = (x - mean) @ matrix, fitted once a model.

    Attributes:
        mean: of the features.
        matrix: standardises and projects.
    """

    mean: Float64[np.ndarray, " D"]
    matrix: Float64[np.ndarray, "D k"]

    def __call__(self, features: Float[np.ndarray, "N D"]) -> Float16[np.ndarray, "N k"]:
        """The projected features. Adding 0 turns -0 into 0, so that equal numbers are equal bytes.

        Args:
            features: of any rows.
        """
        return ((np.asarray(features, np.float64) - self.mean) @ self.matrix).astype(
            np.float16
        ) + np.float16(0)


def fit_projection(features: Float[np.ndarray, "N D"], width: int) -> Projection:
    """Standardise, then the leading principal components, all under one scale, without labels.

    Constant features weigh 0. Components keep their own variances (no whitening); the scale makes
    the mean square of the projected rows 1, far from the ends of float16. A component's loading of
    largest magnitude is positive.

    Args:
        features: [N, D] rows of every task to fit on.
        width: the most components to keep; fewer where the features have a lower rank.
    """
    x = np.asarray(features, np.float64)
    mean, std = x.mean(0), x.std(0)
    weight = np.divide(1.0, std, out=np.zeros_like(std), where=std > 0)
    z = (x - mean) * weight
    first = max(0, z.shape[1] - width)
    variances, vectors = eigh(z.T @ z / len(z), subset_by_index=(first, z.shape[1] - 1))
    kept = np.flatnonzero(variances > RANK_TOLERANCE * variances[-1])[::-1]
    vectors = vectors[:, kept]
    peak = np.take_along_axis(vectors, np.abs(vectors).argmax(0)[None], 0)
    scale = np.sqrt(variances[kept].mean())
    return Projection(mean, weight[:, None] * vectors * np.sign(peak) / scale)


def compact_features(
    zoo: FeatureStore, model: str, rows: Rows, held_out: Collection[str]
) -> dict[str, Float16[np.ndarray, "n k"]]:
    """The reduced features of a model by task; held-out tasks take no part in the fit.

    Args:
        zoo: that is reduced.
        model: its name.
        rows: of every task.
        held_out: names of tasks.
    """
    features = {task: np.asarray(zoo.features(model, task)[rows[task]]) for task in rows}
    fitted_on = np.concatenate([features[task] for task in rows if task not in held_out])
    width = EXTRACTOR_WIDTH if model == zoo.extractor else WIDTH
    projection = fit_projection(fitted_on, width)
    return {task: projection(x) for task, x in features.items()}


# ---- what the reduction costs ----------------------------------------------------------------


def loo_accuracy(features: Float[np.ndarray, "N D"], labels: Int[np.ndarray, " N"]) -> float:
    """Leave-one-out accuracy of a ridge classifier on standardised features, in closed form.

    H = G (G + l I)^-1 + 1/N with the Gram matrix G = X X^T of the centred rows; leaving row i out
    predicts (H Y - h_ii Y)_i / (1 - h_ii).

    Args:
        features: [N, D].
        labels: int [N] in 0..C-1.
    """
    x = np.asarray(features, np.float64)
    std = x.std(0)
    x = np.divide(x - x.mean(0), std, out=np.zeros_like(x), where=std > 0)
    gram, n = x @ x.T, len(x)
    ridge = RIDGE * np.trace(gram) / n
    hat = np.linalg.solve(gram + ridge * np.eye(n), gram) + 1 / n
    targets = np.eye(labels.max() + 1)[labels]
    own = np.diag(hat)[:, None]
    left_out = (hat @ targets - own * targets) / (1 - own)
    return float((left_out.argmax(1) == labels).mean())


def signal(
    zoo: FeatureStore, models: Sequence[str], tasks: Sequence[str], rows: Rows | None = None
) -> dict[str, float]:
    """Weighted tau, by task, of the models' leave-one-out accuracies against the zoo's true ones.

    Args:
        zoo: where features, labels and accuracies are.
        models: the models to rank.
        tasks: names of tasks.
        rows: the rows of every task to use; None for all.
    """
    tau = {}
    for task in tasks:
        some = slice(None) if rows is None else rows[task]
        labels = zoo.labels(task)[some]
        guesses = [loo_accuracy(zoo.features(model, task)[some], labels) for model in models]
        truth = [zoo.accuracies[model, task] for model in models]
        tau[task] = float(weightedtau(truth, guesses).statistic)
    return tau


# ---- writing ---------------------------------------------------------------------------------


def model_entries(zoo: FeatureStore, widths: Mapping[str, int]) -> dict[str, dict[str, Any]]:
    """The manifest's entry of every kept model.

    Args:
        zoo: that is reduced.
        widths: of the reduced features by model.

    Raises:
        InputError: a model of a package, or a version of it, whose licence was not read.
    """
    read = {(source.package, source.version): source for source in MODEL_SOURCES}
    entries = {}
    for model, width in widths.items():
        info = zoo.model_info(model)
        package, _, version = info["source"].removesuffix(" (npm)").rpartition(" ")
        if (package, version) not in read:
            raise InputError(f"{model}: no licence was read for {info['source']}: add its source")
        entries[model] = {
            "width": width,
            "original_width": zoo.width(model),
            "family": info["family"],
            "trained_for": info["trained_for"],
            "package": package,
            "version": version,
            "licence": read[package, version].licence,
        }
    return entries


def task_entries(zoo: FeatureStore, rows: Rows) -> dict[str, dict[str, Any]]:
    """The manifest's entry of every task.

    Args:
        zoo: that is reduced.
        rows: of every task.
    """
    entries = {}
    for task, chosen in rows.items():
        info = zoo.task_info(task)
        entries[task] = {
            "kind": info["kind"],
            "classes": info["classes"],
            "source": info["source"],
            "licence": TASK_SOURCES[task].licence,
            "samples": len(chosen),
            "domain": DOMAINS.get(task, task),
        }
        if task in HELD_OUT:
            entries[task]["held_out"] = True
    return entries


def write_arrays(
    zoo: FeatureStore, folder: Path, models: Sequence[str], rows: Rows, held_out: Collection[str]
) -> dict[str, int]:
    """Write reduced features and labels.

    Args:
        zoo: that is reduced.
        folder: of the new zoo.
        models: that are kept.
        rows: of every task that is kept.
        held_out: names of tasks.

    Returns:
        Widths of the reduced features by model.
    """
    widths = {}
    for model in models:
        for task, features in compact_features(zoo, model, rows, held_out).items():
            FeatureStore.write_features(folder, model, task, features)
            widths[model] = features.shape[1]
    for task, chosen in rows.items():
        FeatureStore.write_labels(folder, task, zoo.labels(task)[chosen])
    return widths


def write_accuracies(
    source: Path, target: Path, models: Collection[str], tasks: Collection[str]
) -> None:
    """Copy the lines of the kept models and tasks as they stand.

    Args:
        source: accuracies.csv of the whole zoo.
        target: the new file.
        models: that are kept.
        tasks: that are kept.
    """
    lines = source.read_text(encoding="utf-8").splitlines()
    named = [(line, *line.split(",")[:2]) for line in lines[1:]]
    kept = [line for line, model, task in named if model in models and task in tasks]
    write_text(target, "\n".join([lines[0], *kept]) + "\n")


def build(zoo: FeatureStore, folder: Path) -> None:
    """Write the compact zoo, all or nothing.

    Args:
        zoo: that is reduced.
        folder: it is replaced, but for the text part in it.
    """
    models = [model for model in zoo.models if model not in LEFT_OUT]
    rows = {task: choose_rows(zoo.labels(task)) for task in zoo.tasks}
    with atomic_folder(folder) as new:
        widths = write_arrays(zoo, new, models, rows, HELD_OUT)
        facts = {"models": model_entries(zoo, widths), "tasks": task_entries(zoo, rows)}
        FeatureStore.write_manifest(
            new, extractor=zoo.extractor, standardized=True, note=NOTE, **facts
        )
        write_accuracies(zoo.folder / "accuracies.csv", new / "accuracies.csv", models, rows)
        write_text(new / "PROVENANCE.md", provenance(NOTE, **facts))
        if (folder / TEXT).is_dir():
            shutil.copytree(folder / TEXT, new / TEXT)


def report(zoo: FeatureStore, compact: FeatureStore, held_out: Sequence[str]) -> None:
    """Print size, rows and classes, and the weighted tau on full, fewer and reduced features.

    Args:
        zoo: that was reduced.
        compact: what became of it.
        held_out: names of tasks.
    """
    models, tasks = compact.models, compact.tasks
    rows = {task: choose_rows(zoo.labels(task)) for task in tasks}
    columns = (
        signal(zoo, models, tasks),
        signal(zoo, models, tasks, rows),
        signal(compact, models, tasks),
    )
    size = sum(path.stat().st_size for path in (compact.folder / "features").glob("*/*.npy"))
    print(f"{compact.folder.name}: {size / 1e6:.2f} MB of features, {len(models)} models")
    print("weighted tau of a leave-one-out ridge classifier against accuracies.csv:")
    header = ("task", "rows", "classes", "full zoo", "same rows", "compact")
    print("{:24}{:>6}{:>9}{:>11}{:>11}{:>11}".format(*header))
    for task in tasks:
        labels, name = compact.labels(task), task + " *" * (task in held_out)
        taus = "".join(f"{column[task]:11.3f}" for column in columns)
        print(f"{name:24}{len(labels):6}{labels.max() + 1:9}{taus}")
    for name, some in (("mean", tasks), ("mean of held out *", held_out)):
        means = "".join(f"{np.mean([column[t] for t in some]):11.3f}" for column in columns)
        print(f"{name:39}{means}")


def main(out: Path = FOLDER) -> None:
    """Build the compact zoo, then report.

    Args:
        out: folder to replace.
    """
    zoo = real_zoo()
    build(zoo, out)
    write_metrics(FeatureStore(out), out / FILE)
    report(zoo, FeatureStore(out), HELD_OUT)


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
