"""The zoo that ships with the package, in two parts."""

from importlib.resources import as_file, files
from typing import Literal

from spider_jax.errors import InputError
from spider_jax.zoo.store import FeatureStore

FOLDERS = {"vision": "", "text": "text"}  # below embedded_data


def embedded_zoo(name: Literal["vision", "text"] = "vision") -> FeatureStore:
    """A zoo that ships with the package: real models on real tasks, 21 x 14 vision or 17 x 12 text.

    It holds at most 200 rows a task, and features as float16 that were reduced by PCA to at most 64
    columns (the extractor's: 128). Its accuracies are of linear probes on all rows and all columns.
    PROVENANCE.md in its folder names where models and data are from, and their licences.

    Args:
        name: of the part.

    Returns:
        The zoo.

    Raises:
        InputError: no part of that name.
    """
    if name not in FOLDERS:
        raise InputError(f"name must be one of {tuple(FOLDERS)}, got {name!r}")
    with as_file(files("spider_jax") / "zoo" / "embedded_data") as folder:
        return FeatureStore(folder / FOLDERS[name])
