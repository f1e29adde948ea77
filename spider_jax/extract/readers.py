"""The tables of readers: a word of a spec to what reads it, imported when used."""

import importlib
from collections.abc import Mapping
from typing import Any

from spider_jax.extract.data.dataset import Dataset
from spider_jax.extract.models.encoder import Encoder
from spider_jax.extract.spec import Spec, parse_spec

MODEL_READERS = {
    "torch": "torch_model:read_torch",
    "timm": "torch_zoos:read_timm",
    "torchvision": "torch_zoos:read_torchvision",
    "hf": "hf_model:read_hf",
    "onnx": "onnx_model:read_onnx",
}
DATA_READERS = {
    "folder": "folder_data:read_folder",
    "arrays": "array_data:read_arrays",
    "tfds": "tfds_data:read_tfds",
    "csv": "table_data:read_csv",
    "parquet": "table_data:read_parquet",
    "hf": "hf_data:read_hf",
}
FEATURES = "features"  # a file of features instead of a model


def model_spec(text: str) -> Spec:
    """[NAME=]READER:WHAT[?options] of a model, or features:FILE.

    Raises:
        InputError: another form.
    """
    return parse_spec(text, (*MODEL_READERS, FEATURES), "model")


def open_model(spec: Spec) -> Encoder:
    """The model that a spec names.

    Raises:
        InputError: it cannot be had; one line says why.
    """
    encoder: Encoder = _reader(MODEL_READERS, spec)(spec)
    return encoder


def open_data(text: str) -> Dataset:
    """The data that a spec names.

    Raises:
        InputError: they cannot be had; one line says why.
    """
    spec = parse_spec(text, DATA_READERS, "data")
    data: Dataset = _reader(DATA_READERS, spec)(spec)
    return data


def _reader(table: Mapping[str, str], spec: Spec) -> Any:
    module, _, function = table[spec.reader].partition(":")
    return getattr(importlib.import_module(f"spider_jax.extract.{module}"), function)
