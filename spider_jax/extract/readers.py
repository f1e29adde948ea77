"""The tables of readers: the word READER of a spec, and the function that reads it.

A reader is imported when it is used. A new reader is one new file and one line here.
"""

import importlib
from collections.abc import Callable, Mapping
from typing import Any

from spider_jax.extract.data.dataset import Dataset
from spider_jax.extract.models.encoder import Encoder
from spider_jax.extract.spec import Spec, parse_spec

MODEL_READERS = {
    "torch": "models.torch_module:read_torch",
    "timm": "models.torch_zoos:read_timm",
    "torchvision": "models.torch_zoos:read_torchvision",
    "hf": "models.hf:read_hf",
    "onnx": "models.onnx_graph:read_onnx",
    "static": "models.static:read_static",
}
DATA_READERS = {
    "folder": "data.folder:read_folder",
    "arrays": "data.arrays:read_arrays",
    "tfds": "data.tfds:read_tfds",
    "csv": "data.tables:read_csv",
    "parquet": "data.tables:read_parquet",
    "hf": "data.hf:read_hf",
}
FEATURES = "features"  # a file of features instead of a model


def model_spec(text: str) -> Spec:
    """Read [NAME=]READER:WHAT[?options] of a model, or features:FILE.

    Args:
        text: as the user wrote it.

    Returns:
        The spec.

    Raises:
        InputError: another form.
    """
    return parse_spec(text, (*MODEL_READERS, FEATURES), "model")


def open_model(spec: Spec) -> Encoder:
    """The model that a spec names.

    Args:
        spec: of a model, not of a file of features.

    Returns:
        The model, ready to run.

    Raises:
        InputError: it cannot be had; one line says why.
    """
    encoder: Encoder = _reader(MODEL_READERS, spec)(spec)
    return encoder


def open_data(text: str) -> Dataset:
    """The data that a spec names.

    Args:
        text: [NAME=]READER:WHAT[?options].

    Returns:
        The data.

    Raises:
        InputError: they cannot be had; one line says why.
    """
    spec = parse_spec(text, DATA_READERS, "data")
    data: Dataset = _reader(DATA_READERS, spec)(spec)
    return data


def _reader(table: Mapping[str, str], spec: Spec) -> Callable[[Spec], Any]:
    module, _, name = table[spec.reader].partition(":")
    reader: Callable[[Spec], Any] = getattr(
        importlib.import_module(f"spider_jax.extract.{module}"), name
    )
    return reader
