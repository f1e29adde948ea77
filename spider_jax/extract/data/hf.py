"""`hf:NAME:split`: Hugging Face datasets, or a folder of them; no code of a dataset is run.

Options:
    config: the dataset's configuration.
    image, text, label: names of columns, by default the one of that name, else the first of that
        kind.
    pair, words: names of columns as for csv:, a second text, or the words of sentences whose labels
        are lists.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from spider_jax.errors import InputError, one_line
from spider_jax.extract.data.content import Content
from spider_jax.extract.data.dataset import (
    NO_LABELS,
    BrokenItemError,
    Dataset,
    Labelling,
    drop_unused,
    pair_of,
    text_of,
)
from spider_jax.extract.data.items import Item
from spider_jax.extract.data.label_values import labels_of
from spider_jax.extract.data.tables import column_of
from spider_jax.extract.data.words import word_dataset
from spider_jax.extract.network import hub_offline_if_unreachable
from spider_jax.extract.spec import Spec
from spider_jax.runtime.optional import need

OPTIONS = ("config", "image", "text", "pair", "words", "label")
STRINGS = ("string", "large_string")
NO_TEXT = ("id", "idx", "guid", "uid", "split", "label_text")  # columns of words that are no texts


def read_hf(spec: Spec) -> Dataset:
    """A split of a dataset; trust_remote_code is never set.

    Args:
        spec: hf:NAME:split with the options above.

    Returns:
        The data.

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
    features = table.features
    where_from = f"hf:{name.rstrip('/').rpartition('/')[2]}:{split}"
    if "words" in spec.options:
        return _words(spec, table, features, where_from, datasets)
    image = _column(spec, "image", features, lambda f: isinstance(f, datasets.Image))
    label = _column(spec, "label", features, lambda f: isinstance(f, datasets.ClassLabel))
    words = {n: f for n, f in features.items() if n != label and n not in NO_TEXT}
    words = features if "text" in spec.options else words
    text = _column(spec, "text", words, lambda f: getattr(f, "dtype", None) in STRINGS)
    key = image if image is not None and "text" not in spec.options else text
    if key is None:
        columns = ", ".join(features)
        raise InputError(f"data {spec} has neither pictures nor texts: it has {columns}")
    labels, classes, kind = NO_LABELS
    if label is not None:
        values = table.select_columns(label)[:][label]
        labels, classes, kind = _labels(spec, label, features[label], values, datasets)
    pictures = key == image
    pair = _column(spec, "pair", features, lambda f: False) if "pair" in spec.options else None
    if pair is not None and pictures:
        raise InputError(f"data {spec}: pair={pair} needs a first text: name it with ?text=")
    raw = table.cast_column(key, datasets.Image(decode=False)) if pictures else table

    def where(row: int) -> str:
        return f"{spec} (row {row})"

    def item(row: int) -> Item:
        if pair is not None:
            return pair_of(table[row][key], table[row][pair], where(row))
        if not pictures:
            return text_of(table[row][key], where(row))
        found: Item | None = table[row][key]
        if found is None:
            raise BrokenItemError(f"{where(row)} has no picture")
        return found

    return Dataset(
        name=spec.name or f"{name.rstrip('/').rpartition('/')[2]}:{split}",
        source=where_from,
        modality="image" if pictures else "text" if pair is None else "pair",
        rows=table.num_rows,
        item=item,
        where=where,
        labels=labels,
        kind=kind,
        classes=classes,
        fingerprint=None,
        content=Content(table.num_rows, lambda row: _contents(raw[row], key, pair)),
    )


def _words(
    spec: Spec, table: Any, features: Mapping[str, Any], source: str, datasets: ModuleType
) -> Dataset:
    """The words of sentences, with the names of their labels where the dataset has them."""
    words = _column(spec, "words", features, lambda f: False)
    label = _column(spec, "label", features, lambda f: False)
    named = [words] if label is None else [words, label]
    columns = table.select_columns(named)[:]
    tags = None if label is None else columns[label]
    names = None if label is None else getattr(features[label], "feature", None)
    names = getattr(names, "names", None)
    if tags is not None and names is not None:
        bad = [row for row, t in enumerate(tags) if not all(0 <= tag < len(names) for tag in t)]
        if bad:
            raise InputError(f"data {spec}: row {bad[0]} has a word without a label in {label!r}")
        tags = [[names[tag] for tag in sentence] for sentence in tags]
    return word_dataset(
        spec.name or source.removeprefix("hf:"),
        source,
        columns[words],
        tags,
        None,
        f"data {spec}",
        lambda row: f"row {row}",
    )


def _contents(row: Mapping[str, object], key: str, pair: str | None) -> bytes | str:
    return _content(row[key]) if pair is None else f"{row[key]}\0{row[pair]}"


def _content(value: object) -> bytes | str:
    """The bytes of a picture, which is {bytes, path} before it is decoded, or the text."""
    if not isinstance(value, Mapping):
        return str(value)
    found = value.get("bytes")
    return found if isinstance(found, bytes) else Path(str(value.get("path"))).read_bytes()


def _column(
    spec: Spec, option: str, features: Mapping[str, object], fits: Callable[[object], bool]
) -> str | None:
    """The column that an option names, else the one of its own name, else the first that fits."""
    wanted = spec.options.get(option)
    if wanted is None:
        called = column_of(list(features), None, option)
        if called is not None and (option == "label" or fits(features[called])):
            return called
        return next((name for name, f in features.items() if fits(f)), None)
    if wanted not in features:
        columns = ", ".join(features)
        raise InputError(f"data {spec}: {option} must be one of {columns}, got {wanted!r}")
    return wanted


def _labels(
    spec: Spec, label: str, feature: object, values: Sequence[object], datasets: ModuleType
) -> Labelling:
    if not isinstance(feature, datasets.ClassLabel):
        return labels_of(values, None, f"data {spec}: {label}")
    if None in values:
        raise InputError(f"data {spec}: row {values.index(None)} has no label")
    labels, classes = drop_unused(np.array(values), feature.names, f"data {spec}")
    return Labelling(labels, classes, "classification")
