"""`tfds:NAME[/config]:split`: TFDS datasets in array_record, read without TensorFlow.

Options:
    data_dir: the folder of prepared datasets, by default $TFDS_DATA_DIR or ~/tensorflow_datasets.
    version: by default the newest in that folder.
    image, text, label: names of features, by default the first of that kind.

The JSON files of a prepared dataset name classes of features, and TFDS imports whatever they name.
So only classes of TFDS itself are accepted.
"""

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol, runtime_checkable

import numpy as np

from spider_jax.errors import InputError, one_line
from spider_jax.extract.data.content import Content
from spider_jax.extract.data.dataset import (
    NO_LABELS,
    Dataset,
    Labelling,
    drop_unused,
    kind_of_labels,
    text_of,
)
from spider_jax.extract.data.images import open_image
from spider_jax.extract.data.items import Item
from spider_jax.extract.network import reachable
from spider_jax.extract.spec import Spec
from spider_jax.runtime.optional import need

OPTIONS = ("data_dir", "version", "image", "text", "label")
FEATURES = "tensorflow_datasets.core.features."
DOWNLOADS = ("storage.googleapis.com", 443)  # where TFDS looks first
CLASS_KEYS = ("pythonClassName", "python_class_name", "type")  # by which TFDS imports code
NEEDS = "tensorflow-datasets"


@runtime_checkable
class _Feature(Protocol):
    """What every feature of a TFDS dataset has."""

    @property
    def shape(self) -> tuple[int | None, ...] | None: ...

    @property
    def np_dtype(self) -> object: ...


_Features = Mapping[str, _Feature]


def read_tfds(spec: Spec) -> Dataset:
    """A split of a prepared dataset; one that is not on disk is downloaded where there is network.

    Args:
        spec: tfds:NAME[/config]:split with the options above.

    Returns:
        The data.

    Raises:
        InputError: unknown name or split, no network, a format that needs TensorFlow, or features
            without pictures or texts.
    """
    spec.known(OPTIONS)
    name, colon, split = spec.what.partition(":")
    if not colon or not split or not all(p.isidentifier() for p in name.split("/")[:1]):
        raise InputError(f"data {spec} must be tfds:NAME[/config]:split, as tfds:mnist:train")
    folder = _prepared(spec, name)
    check_prepared(folder)
    try:
        return _dataset(spec, name, split, folder)
    except InputError:
        raise
    except Exception as error:  # TFDS raises of every kind
        raise InputError(f"data {spec} cannot be opened: {one_line(error)}") from None


# ---- the folder ------------------------------------------------------------------------------


def _prepared(spec: Spec, name: str) -> Path:
    """Folder of the newest, or the wanted, version."""
    home = (
        spec.options.get("data_dir") or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    )
    root = Path(home).expanduser().absolute()
    found = _newest(root, name, spec.options.get("version"))
    if found is None:
        _download(spec, name, root)
        found = _newest(root, name, spec.options.get("version"))
    if found is None:
        raise InputError(f"data {spec}: {root / name} has no prepared version")
    return found


def _newest(root: Path, name: str, version: str | None) -> Path | None:
    if ".." in name.split("/"):
        raise InputError(f"tfds:{name} must name a dataset, not a folder above")
    folders = [path.parent for path in (root / name).glob("*/dataset_info.json")]
    fitting = [f for f in folders if version in (None, f.name)]
    return max(
        fitting, key=lambda f: [int(n) for n in f.name.split(".") if n.isdecimal()], default=None
    )


def _download(spec: Spec, name: str, root: Path) -> None:
    """Prepare a dataset that TFDS knows, after a look whether there is network at all."""
    tfds = need("tensorflow_datasets", NEEDS, f"data {spec}")
    try:
        builder = tfds.builder(name, data_dir=str(root), file_format="array_record")
    except Exception as error:
        raise InputError(
            f"data {spec} is neither prepared in {root} nor known to TFDS: {one_line(error)}"
        ) from None
    if not reachable(DOWNLOADS):
        raise InputError(
            f"data {spec} is not prepared in {root} and there is no network to download it: "
            "prepare it elsewhere with file_format='array_record' and copy the folder"
        )
    try:
        builder.download_and_prepare()
    except Exception as error:
        raise InputError(f"data {spec} cannot be prepared: {one_line(error)}") from None


def check_prepared(folder: Path) -> None:
    """Refuse what needs TensorFlow, features whose code is not TFDS's own, and data elsewhere.

    Args:
        folder: of a version of a prepared dataset.

    Raises:
        InputError: one of these; the message says what to do.
    """
    info = _json(folder / "dataset_info.json")
    formats = {info.get("fileFormat", "tfrecord"), *_words(info.get("alternativeFileFormats"))}
    if "array_record" not in formats:
        raise InputError(
            f"{folder} is in {' and '.join(sorted(map(str, formats)))}, which needs TensorFlow: "
            "prepare it again with tfds.builder(NAME, file_format='array_record')"
            ".download_and_prepare() and name that folder with ?data_dir="
        )
    for name in _class_names(_json(folder / "features.json")):
        if not name.startswith(FEATURES):
            raise InputError(
                f"{folder / 'features.json'} names code to import, {name[:80]!r}: "
                "only features of TFDS itself are read"
            )
    for split in info.get("splits") or ():
        template = split.get("filepathTemplate") if isinstance(split, dict) else None
        if "/" in str(template) or os.sep in str(template):
            raise InputError(f"{folder} has data outside it: {str(template)[:80]!r}")


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} cannot be read: {one_line(error)}") from None
    if not isinstance(content, dict):
        raise InputError(f"{path} must hold a JSON object")
    return content


def _words(value: object) -> list[str]:
    return [str(word) for word in value] if isinstance(value, list) else []


def _class_names(content: object) -> Iterator[str]:
    """Every word, at any depth, under a key by which TFDS imports code."""
    if isinstance(content, dict):
        for key, value in content.items():
            if key in CLASS_KEYS and isinstance(value, str):
                yield value
            else:
                yield from _class_names(value)
    elif isinstance(content, list):
        for value in content:
            yield from _class_names(value)


# ---- the items -------------------------------------------------------------------------------


def _dataset(spec: Spec, name: str, split: str, folder: Path) -> Dataset:
    tfds = need("tensorflow_datasets", NEEDS, f"data {spec}")
    builder = tfds.builder_from_directory(str(folder), file_format="array_record")
    features = dict(builder.info.features.items())
    key, picture = _item_key(spec, features, tfds)
    label = _named(spec, "label", features, lambda f: _is_label(f, tfds))
    skip = tfds.decode.SkipDecoding()
    skipped = {k: skip for k, f in features.items() if isinstance(f, tfds.features.Image)}
    source = builder.as_data_source(split, decoders=skipped)
    if len(source) == 0:
        raise InputError(f"data {spec}: split {split!r} has no rows")
    labels, classes, kind = _labels(spec, source, label, features, tfds)
    task = spec.name or f"{name}:{split}"

    def where(row: int) -> str:
        return f"{folder} {split} (row {row})"

    def item(row: int) -> Item:
        value = source[row][key]
        if not picture:
            return text_of(value, where(row))
        return open_image(value, where(row)) if isinstance(value, bytes) else np.asarray(value)

    return Dataset(
        name=task,
        source=str(spec),
        modality="image" if picture else "text",
        rows=len(source),
        item=item,
        where=where,
        labels=labels,
        kind=kind,
        classes=classes,
        fingerprint=None,
        content=Content(len(source), lambda row: source[row][key]),
    )


def _item_key(spec: Spec, features: _Features, tfds: ModuleType) -> tuple[str, bool]:
    """The feature that is an item, and whether it is a picture."""

    def is_picture(feature: _Feature) -> bool:
        array = len(feature.shape or ()) == 3 and feature.np_dtype == np.uint8
        return isinstance(feature, tfds.features.Image) or array

    def is_text(feature: _Feature) -> bool:
        return isinstance(feature, tfds.features.Text)

    plain = {k: f for k, f in features.items() if not _is_nested(f, tfds)}
    image = _named(spec, "image", plain, is_picture) if "text" not in spec.options else None
    text = _named(spec, "text", plain, is_text) if image is None else None
    found = image or text
    if found is None:
        raise InputError(
            f"data {spec} has neither pictures nor texts: it has {', '.join(features)}"
        )
    return found, image is not None


def _is_nested(feature: _Feature, tfds: ModuleType) -> bool:
    return isinstance(feature, tfds.features.FeaturesDict | tfds.features.Sequence)


def _is_label(feature: _Feature, tfds: ModuleType) -> bool:
    return isinstance(feature, tfds.features.ClassLabel)


def _named(
    spec: Spec, option: str, features: _Features, fits: Callable[[_Feature], bool]
) -> str | None:
    """The feature that an option names, else the first that fits."""
    wanted = spec.options.get(option)
    if wanted is None:
        return next((key for key, feature in features.items() if fits(feature)), None)
    if wanted not in features:
        raise InputError(
            f"data {spec}: {option} must be one of {', '.join(features)}, got {wanted!r}"
        )
    return wanted


def _labels(
    spec: Spec,
    source: Sequence[Mapping[str, object]],
    label: str | None,
    features: _Features,
    tfds: ModuleType,
) -> Labelling:
    """The labels of all rows; pictures are not decoded for it."""
    if label is None:
        return NO_LABELS
    values = np.array([source[row][label] for row in range(len(source))])
    feature = features[label]
    if not isinstance(feature, tfds.features.ClassLabel):
        return Labelling(values, None, kind_of_labels(values, None, f"data {spec}: {label}"))
    labels, classes = drop_unused(values, feature.names, f"data {spec}")
    return Labelling(labels, classes, "classification")
