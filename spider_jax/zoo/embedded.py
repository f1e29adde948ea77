"""The zoo that ships with the package."""

from importlib.resources import as_file, files

from spider_jax.zoo.store import FeatureStore


def embedded_zoo() -> FeatureStore:
    """The zoo that ships with the package: 21 real vision models on 14 real tasks, compressed."""
    with as_file(files("spider_jax") / "zoo" / "embedded_data") as folder:
        return FeatureStore(folder)
