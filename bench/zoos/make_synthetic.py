"""Write a synthetic zoo, for which the right order of the models is known on every task.

    python bench/zoos/make_synthetic.py OUT --models 2000 --tasks 12 --classes 30 --rows 600

What is known exactly. A task has classes c with centres mu_c in a latent space of L dimensions and
a place w on the simplex of the domains; a row of class c is z = mu_c + w @ shifts + SPREAD * e. A
model sees x = R z + sigma e': R [D, L] has orthonormal columns of its own; its noise on a task is

    log sigma = general + w @ special          general ~ N(0, general^2), special ~ N(0, special^2)

so a model that is good in one domain may be bad in another, and the order changes with the task as
much as `special` is larger than `general`. R^T x = z + sigma e'' holds all that x says of z: an
isotropic Gaussian around the centre, of deviation s = (SPREAD^2 + sigma^2)^(1/2), for which the
nearest true centre is the best rule there is (equal classes). accuracies.csv holds its accuracy.
A draw mu_c + s u, |u| any, is nearest to c while

    s < min over j with u.(mu_j - mu_c) > 0 of |mu_j - mu_c|^2 / (2 u.(mu_j - mu_c))

so one set of draws u serves all models, and accuracy never rises with sigma: the true order is that
of -sigma, to the 1 / DRAWS that accuracies are counted in. The domain of a task shows in its class
centres (w @ shifts): that is what a spider can learn from. The extractor is a model of the zoo,
as wide as the widest, with log sigma = 0 everywhere.

What a metric or a probe makes of so many rows is not known. The last tasks are held out in the
manifest. 2,000 models of 16 to 48 dimensions on 12 tasks of 600 rows are 0.95 GB in 24,000 files:
50 seconds of one core, and as long as the disk needs for that many files (four minutes on a machine
that did other work). The weighted tau of the constant order is .81 then; `--general 0.2 --special
0.8` make it .74. The same seed gives the same bytes.
"""

import sys
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import tyro
from jaxtyping import Float64, Int32
from scipy.stats import weightedtau
from tqdm import tqdm

from spider_jax.errors import InputError
from spider_jax.storage.files import atomic_folder, write_text
from spider_jax.zoo.store import FeatureStore

EXTRACTOR = "extractor"
SPREAD = 0.5  # of the rows of a class, in every latent dimension
SHIFT = 6.0  # length of the shift of a domain; class centres are N(0, 1) in every dimension
DRAWS = 20_000  # an accuracy is counted in so many
MIXING = 0.5  # of the Dirichlet distribution of a task over domains: below 1, few domains a task


class Truth(NamedTuple):
    """What is known of a zoo with K domains and a latent space of L dimensions.

    Attributes:
        centres: of the classes.
        place: of a task among the domains.
        shifts: of the domains.
        sigma: noise of a model on a task.
        accuracy: of the best rule.
    """

    centres: Float64[np.ndarray, "T C L"]
    place: Float64[np.ndarray, "T K"]
    shifts: Float64[np.ndarray, "K L"]
    sigma: Float64[np.ndarray, "M T"]
    accuracy: Float64[np.ndarray, "M T"]


def make_truth(
    *,
    models: int,
    tasks: int,
    classes: int,
    latent: int = 16,
    domains: int = 4,
    general: float = 0.3,
    special: float = 0.6,
    seed: int = 0,
) -> Truth:
    """Everything but the rows; model 0 is the extractor.

    Args:
        models: how many, with the extractor.
        tasks: how many.
        classes: of every task.
        latent: dimensions of the latent space.
        domains: how many.
        general: deviation of a model's log noise.
        special: deviation of its log noise in one domain.
        seed: of all draws.
    """
    rng = np.random.default_rng([seed, 0])
    centres = rng.normal(size=(tasks, classes, latent))
    place = rng.dirichlet(np.full(domains, MIXING), tasks)
    directions = rng.normal(size=(domains, latent))
    shifts = SHIFT * directions / np.linalg.norm(directions, axis=1, keepdims=True)
    log_sigma = rng.normal(0, general, (models, 1)) + rng.normal(0, special, (models, domains)) @ (
        place.T
    )
    log_sigma[0] = 0.0
    sigma = np.exp(log_sigma)
    deviation = np.hypot(SPREAD, sigma)
    draws = [np.random.default_rng([seed, 1, t]) for t in range(tasks)]
    accuracy = [best_accuracy(c, s, r) for c, s, r in zip(centres, deviation.T, draws, strict=True)]
    return Truth(centres, place, shifts, sigma, np.stack(accuracy, axis=1))


def best_accuracy(
    centres: Float64[np.ndarray, "C L"],
    deviation: Float64[np.ndarray, " M"],
    rng: np.random.Generator,
) -> Float64[np.ndarray, " M"]:
    """Accuracy of the nearest centre for isotropic Gaussians around the centres.

    Args:
        centres: of the classes.
        deviation: of the Gaussians, one for each model.
        rng: draws the directions that all models share.
    """
    classes, latent = centres.shape
    reach = []
    for c in range(classes):
        others = np.delete(centres, c, axis=0) - centres[c]
        along = rng.normal(size=(-(-DRAWS // classes), latent)) @ others.T
        half = np.broadcast_to((others**2).sum(1) / 2, along.shape)
        limit = np.divide(half, along, out=np.full(along.shape, np.inf), where=along > 0)
        reach.append(limit.min(1))
    limits = np.sort(np.concatenate(reach))
    return 1 - np.searchsorted(limits, deviation, side="right") / len(limits)


def constant_order(accuracy: Float64[np.ndarray, "M T"]) -> Float64[np.ndarray, " T"]:
    """Weighted tau of the mean accuracy on the other tasks: how little the task matters.

    Args:
        accuracy: of every model on every task.
    """
    others = (accuracy.sum(1, keepdims=True) - accuracy) / max(1, accuracy.shape[1] - 1)
    pairs = zip(accuracy.T, others.T, strict=True)
    return np.array([weightedtau(truth, guess).statistic for truth, guess in pairs])


def write_zoo(
    out: Path,
    truth: Truth,
    *,
    rows: int,
    widths: tuple[int, int] = (16, 48),
    held_out: int = 3,
    seed: int = 0,
    show_progress: bool = False,
) -> None:
    """Write the zoo, all or nothing.

    Args:
        out: a new folder.
        truth: what is known.
        rows: of every task.
        widths: of the narrowest and the widest model.
        held_out: the last so many tasks are not to train on.
        seed: of the rows and of the models' noise.
        show_progress: a bar on stderr.

    Raises:
        InputError: a folder stands there, or sizes that cannot be.
    """
    T, C, L = truth.centres.shape
    if out.exists():
        raise InputError(f"{out} exists: choose another name")
    if not L <= widths[0] <= widths[1]:
        raise InputError(f"widths must be at least latent ({L}) and ascend, got {widths}")
    if rows < 2 * C or held_out >= T:
        raise InputError(f"rows must be at least 2 * classes ({2 * C}), held_out below tasks ({T})")
    models = [EXTRACTOR, *(f"model{m:05d}" for m in range(1, len(truth.sigma)))]
    tasks = [f"task{t:02d}" for t in range(T)]
    latent = [_rows(truth, t, rows, np.random.default_rng([seed, 2, t])) for t in range(T)]
    with atomic_folder(out) as folder:
        for task, (labels, _) in zip(tasks, latent, strict=True):
            FeatureStore.write_labels(folder, task, labels)
        for m in tqdm(range(len(models)), "models", disable=not show_progress):
            rng = np.random.default_rng([seed, 3, m])
            width = widths[1] if m == 0 else int(rng.integers(widths[0], widths[1] + 1))
            basis = np.linalg.qr(rng.normal(size=(width, L)))[0]
            for t, task in enumerate(tasks):
                noise = truth.sigma[m, t] * rng.normal(size=(rows, width))
                features = (latent[t][1] @ basis.T + noise).astype(np.float16)
                FeatureStore.write_features(folder, models[m], task, features)
        lines = [
            f"{model},{task},{truth.accuracy[m, t]:.6f}"
            for m, model in enumerate(models)
            for t, task in enumerate(tasks)
        ]
        write_text(folder / "accuracies.csv", "\n".join(["model,task,accuracy", *lines, ""]))
        entries = {
            task: {
                "kind": "classification",
                "held_out": t >= T - held_out,
                "domains": [round(float(share), 6) for share in truth.place[t]],
            }
            for t, task in enumerate(tasks)
        }
        FeatureStore.write_manifest(folder, extractor=EXTRACTOR, tasks=entries)


def _rows(
    truth: Truth, t: int, rows: int, rng: np.random.Generator
) -> tuple[Int32[np.ndarray, " N"], Float64[np.ndarray, "N L"]]:
    """Labels [N], every class as often as the others, and the rows in latent space [N, L]."""
    classes, latent = truth.centres[t].shape
    labels = rng.permutation(np.arange(rows) % classes).astype(np.int32)
    shift = truth.place[t] @ truth.shifts
    return labels, truth.centres[t][labels] + shift + SPREAD * rng.normal(size=(rows, latent))


def main(
    out: Annotated[Path, tyro.conf.Positional],
    models: int = 2000,
    tasks: int = 12,
    classes: int = 30,
    rows: int = 600,
    latent: int = 16,
    domains: int = 4,
    general: float = 0.3,
    special: float = 0.6,
    widths: tuple[int, int] = (16, 48),
    held_out: int = 3,
    seed: int = 0,
) -> None:
    """Write a synthetic zoo.

    Args:
        out: a new folder.
        models: how many, with the extractor.
        tasks: how many, with those held out.
        classes: of every task.
        rows: of every task.
        latent: dimensions of what models see.
        domains: that tasks lie between.
        general: deviation of a model's log noise.
        special: deviation of its log noise in one domain.
        widths: of the narrowest and the widest model.
        held_out: the last so many tasks are not to train on.
        seed: of all draws.
    """
    if min(models, tasks, classes, domains, latent) < 2:
        raise InputError("models, tasks, classes, domains and latent must be at least 2")
    truth = make_truth(
        models=models,
        tasks=tasks,
        classes=classes,
        latent=latent,
        domains=domains,
        general=general,
        special=special,
        seed=seed,
    )
    write_zoo(
        out, truth, rows=rows, widths=widths, held_out=held_out, seed=seed, show_progress=True
    )
    tau = constant_order(truth.accuracy)
    print(
        f"{models} models on {tasks} tasks in {out}; accuracies {truth.accuracy.min():.2f} to "
        f"{truth.accuracy.max():.2f}; weighted tau of the constant order: mean {tau.mean():.3f}, "
        f"on the tasks held out {tau[tasks - held_out :].mean():.3f}"
    )


if __name__ == "__main__":
    try:
        tyro.cli(main)
    except InputError as error:
        sys.exit(f"make_synthetic: {error}")
