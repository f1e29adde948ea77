"""Files that make a zoo, a spider, an index or records: no table is written in their place."""

import os
from pathlib import Path

from spider_jax.errors import InputError

# What shows that a folder is one of ours, and what belongs to it there.
ZOO_FOLDERS = ("labels", "features", "probabilities", "splits", "groups", "domains", ".extract")
FOLDERS: dict[str, tuple[str, ...]] = {
    "labels": ("manifest.json", "accuracies.csv", *ZOO_FOLDERS, "records"),
    "spider.json": ("spider.json", "checksums.json", "arrays"),
    "index.json": ("index.json", "building.json", "shared", "blocks", ".lock"),
    "prior.json": ("prior.json", "checksums.json", "arrays"),
    "values.csv": ("values.csv", "models.csv", "tasks.csv", "curves.csv"),
    "run.json": ("run.json", "metrics.jsonl", "checkpoints", "checksums", "set_aside"),
}


def refuse_own_file(path: Path) -> None:
    """Refuse to write a table over, or in the place of, a file of a zoo, a spider or an index.

    Args:
        path: where a table will be written.

    Raises:
        InputError: it belongs to one of these.
    """
    below = Path(os.path.realpath(path))
    for folder in below.parents:
        name = below.relative_to(folder).parts[0]
        for mark, names in FOLDERS.items():
            if name in names and (folder / mark).exists():
                raise InputError(
                    f"{path} is or would be a file of {folder}, which reads it: choose another name"
                )
