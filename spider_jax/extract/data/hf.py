"""`hf:NAME:split`: Hugging Face datasets, or a folder of them; no code of a dataset is run.

Options: config; image, text, label: names of columns (default: the first of that kind).
"""

from typing import Any

import numpy as np

from spider_jax.errors import InputError, one_line
from spider_jax.extract.data.dataset import Dataset, data_fingerprint, drop_unused
from spider_jax.extract.data.tables import labels_of
from spider_jax.extract.network import hub_offline_if_unreachable
from spider_jax.extract.optional import need
from spider_jax.extract.spec import Spec

OPTIONS = ("config", "image", "text", "label")


def read_hf(spec: Spec) -> Dataset:
    """A split of a dataset; trust_remote_code is never set.

    Raises:
        InputError: it cannot be had, or has neither pictures nor texts.
    """
    spec.known(OPTIONS)
    name, colon, split = spec.what.rpartition(":")
    if not colon or not name or not split:
        raise InputError(f"data {spec} must be hf:NAME:split, as hf:cifar10:train")
    hub_offline_if_unreachable()
    datasets = need("datasets", "datasets", f"data {spec}")
    try:
        table = datasets.load_dataset(name, spec.options.get("config"), split=split)
    except Exception as error:  # of every kind
        raise InputError(f"data {spec} cannot be loaded: {one_line(error)}") from None
    image = _column(spec, "image", table, lambda f: isinstance(f, datasets.Image))
    text = _column(spec, "text", table, lambda f: getattr(f, "dtype", None) == "string")
    label = _column(spec, "label", table, lambda f: isinstance(f, datasets.ClassLabel))
    key = image if image is not None and "text" not in spec.options else text
    if key is None:
        columns = ", ".join(table.column_names)
        raise InputError(f"data {spec} has neither pictures nor texts: it has {columns}")
    labels, classes, kind = _labels(spec, table, label, datasets)
    parts = [name, split, table.num_rows, key, labels if labels is not None else None]
    return Dataset(
        name=spec.name or f"{name.rstrip('/').rpartition('/')[2]}:{split}",
        source=f"hf:{name.rstrip('/').rpartition('/')[2]}:{split}",
        modality="image" if key == image else "text",
        rows=table.num_rows,
        item=lambda row: table[row][key],
        where=lambda row: f"{spec} (row {row})",
        labels=labels,
        kind=kind,
        classes=classes,
        fingerprint=data_fingerprint(parts),
    )


def _column(spec: Spec, option: str, table: Any, fits: Any) -> str | None:
    wanted = spec.options.get(option)
    if wanted is None:
        return next((name for name, f in table.features.items() if fits(f)), None)
    if wanted not in table.features:
        columns = ", ".join(table.column_names)
        raise InputError(f"data {spec}: {option} must be one of {columns}, got {wanted!r}")
    return wanted


def _labels(spec: Spec, table: Any, label: str | None, datasets: Any) -> Any:
    if label is None:
        return None, None, "classification"
    values = table.select_columns(label)[:][label]
    feature = table.features[label]
    if not isinstance(feature, datasets.ClassLabel):
        return labels_of(values, None, f"data {spec}: {label}")
    labels, classes = drop_unused(np.array(values), feature.names, f"data {spec}")
    return labels, classes, "classification"
