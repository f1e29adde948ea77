"""The zoo that ships with the package."""

from importlib.resources import as_file, files

from spider_jax.zoo.store import FeatureStore


def embedded_zoo() -> FeatureStore:
    """The zoo that ships with the package: 21 real vision models on 14 real tasks.

    It holds at most 200 rows a task, and features as float16 that were reduced by PCA to at most 64
    columns (the extractor's: 128). Its accuracies are of linear probes on all rows and all columns.
    embedded_data/PROVENANCE.md names where models and data are from, and their licences.

    Returns:
        The zoo.
    """
    with as_file(files("spider_jax") / "zoo" / "embedded_data") as folder:
        return FeatureStore(folder)
