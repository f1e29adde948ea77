"""Every kind of task by every command: what the table of README.md says is what the commands do."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spider_jax.heads.measures import DEFAULTS
from spider_jax.training.training_set import training_set
from spider_jax.zoo.store import FeatureStore
from support.command_line import DONE, Command, one_line
from support.small_training import CONFIG

ROWS = 40
BASE = np.random.default_rng(0).normal(size=(ROWS, 4)).astype(np.float32)
LABELS: dict[str, Any] = {
    "classes": BASE[:, :3].argmax(1),
    "two classes": (BASE[:, 0] > 0).astype(np.int64),
    "labels (several a row)": BASE[:, :3] > 0.3,
    "a target": BASE[:, 0],
    "several targets": BASE[:, :2],
}
KINDS = dict(
    zip(LABELS, ("classification",) * 2 + ("multi-label",) + ("regression",) * 2, strict=True)
)
NONE = "no labels"
MODELS = {"psi": (6, 0.5), "middle": (8, 0.1), "wide": (12, 3.0)}  # width and noise
COMMANDS = ("extract", "score", "rank", "rank --rerank", "train", "select", "tune", "compare")
LEARNS = "a spider learns from classes"
# What is not done, and words of the one line that says so; everything else is done.
NOT = {(kind, "train"): (LEARNS, KINDS[kind]) for kind in list(LABELS)[2:]} | {
    (NONE, "extract"): ("no labels, which a zoo needs", "rank SPIDER --data"),
    (NONE, "rank --rerank"): ("--data", "without --rerank"),
    (NONE, "compare"): ("has no labels", "rank SPIDER --data"),
    **{(NONE, name): ("unknown task", "no labels") for name in ("score", "select", "tune")},
    (NONE, "train"): ("unknown task", "no labels"),
}


def readme_table() -> str:
    """As it stands in README.md."""
    lines = [f"| task has | {' | '.join(f'`{name}`' for name in COMMANDS)} |"]
    lines.append("|---" * (len(COMMANDS) + 1) + "|")
    for kind in (*LABELS, NONE):
        cells = ("no" if (kind, name) in NOT else "yes" for name in COMMANDS)
        lines.append(f"| {kind} | {' | '.join(cells)} |")
    return "\n".join(lines)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of labels, features and texts without labels; a zoo of one task for every kind."""
    folder, rng = tmp_path_factory.mktemp("kinds"), np.random.default_rng(1)
    for kind, labels in LABELS.items():
        np.save(folder / f"{kind}.npy", labels)
    for model, (width, noise) in MODELS.items():
        seen = BASE @ rng.normal(size=(4, width)) + noise * rng.normal(size=(ROWS, width))
        np.save(folder / f"{model}.npy", seen.astype(np.float32))
    (folder / "words").mkdir()
    (folder / "words" / "vocab.txt").write_text("\n".join("abcdefgh"))
    np.save(folder / "words" / "psi.npy", rng.normal(size=(8, 6)).astype(np.float32))
    (folder / "texts.csv").write_text(
        "text\n" + "\n".join(["a b", "c d", "e f", "g h", "a d", "b h"])
    )
    for kind in LABELS:
        zoo = folder / "zoos" / kind
        FeatureStore.write_labels(zoo, kind, LABELS[kind])
        for model in MODELS:
            FeatureStore.write_features(zoo, model, kind, np.load(folder / f"{model}.npy"))
        FeatureStore.write_manifest(zoo, extractor="psi", tasks={kind: {"kind": KINDS[kind]}})
    return folder


def arguments(made: Path, spider: Path, kind: str, name: str, out: Path) -> tuple[object, ...]:
    """A command on a task of this kind; without labels on texts, or a task that is not there."""
    zoo = made / "zoos" / (kind if kind in LABELS else "classes")
    where = (zoo, kind)
    data = f"arrays:{made}/{kind}.npy" if kind in LABELS else f"csv:{made}/texts.csv"
    models = [f"{model}=features:{made}/{model}.npy" for model in MODELS]
    if kind == NONE:
        models = [f"{model}=static:{made}/words/psi.npy" for model in ("psi", "phi")]
    one = models[:1] if kind == NONE else models
    few = ("--epochs", 2, "--seed", 0)
    ranks = ("rank", spider, *where)
    if kind == NONE:
        ranks = ("rank", spider, "--data", data, "--extractor", models[0], "--clusters", 3)
    return {
        "extract": (
            "extract",
            "--model",
            *one,
            "--data",
            data,
            "--out",
            out,
        ),
        "score": ("score", *where),
        "rank": ranks,
        "rank --rerank": (*ranks, "--rerank", 2),
        "train": ("train", zoo, "--hold-out", kind, "--out", out),
        "select": ("select", *where, "--budget", 4, *few),
        "tune": (
            *("tune", *where, "--student", "psi", "--out", out, "--seeds", 1, *few),
            *("--learning-rates", 0.01, "--methods", "fine-tuning", "--hidden", 4),
        ),
        "compare": ("compare", "--model", *models, "--data", data),
    }[name]


CELLS = [(kind, name) for kind in (*LABELS, NONE) for name in COMMANDS]


@pytest.mark.parametrize(("kind", "name"), CELLS)
def test_a_cell(
    made: Path, saved: Path, tmp_path: Path, command: Command, kind: str, name: str
) -> None:
    if name == "train" and (kind, name) not in NOT:
        given = training_set(FeatureStore(made / "zoos" / kind), CONFIG, (kind,), cache=False)
        assert np.isfinite(given.targets).all()  # all of a training that hangs on the kind
        assert given.targets.std(1).min() > 0
        return
    found = command(*arguments(made, saved, kind, name, tmp_path / "out"), "-q")
    if (kind, name) in NOT:
        one_line(found, *NOT[kind, name])
        return
    assert found.code == DONE, found.err
    if name == "extract":
        assert FeatureStore(tmp_path / "out").kind(kind) == KINDS[kind]
    elif name in ("select", "tune"):
        assert DEFAULTS[KINDS[kind]] in found.out


def test_the_readme_says_the_same() -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    assert readme_table() in readme
