"""Readers of data, one file each: labelled pictures or texts in order.

A user names data by a spec, [NAME=]READER:WHAT[?option=value&...]. The options of every reader:

- `folder:PATH`, pictures in a sub-folder for each class: none.
- `arrays:FILE.npz` or `.npy`: images, texts, labels (names of arrays), kind.
- `csv:FILE`, `parquet:FILE`: text, label (names of columns), kind.
- `tfds:NAME[/config]:split`: data_dir, version, and image, text, label (names of features).
- `hf:NAME:split`: config, and image, text, label (names of columns).

kind is classification, regression or multi-label; by default whole numbers and words are classes,
floats are a regression, and whole numbers in rows are multi-label. Words stay words: "007", "1e3",
"inf" and identifiers beyond 64 bits name classes. A row without a label is refused, and so is -1
beside other classes, which marks one. CSV files may be UTF-8 or UTF-16, with commas, semicolons,
tabs or bars; errors count lines as an editor does.

Every reader gives a `Dataset`. It opens the data and reads the labels; an item is read when a model
needs it, in threads. A broken item names its file and row; an empty text is one. Data of your own,
for `spider_jax.extract.export.export`, are a `Dataset` too:

>>> from spider_jax.extract.data import Content, Dataset, classes_of_names
>>> texts = ["red sky", "green leaf", "red leaf"]
>>> labels, classes = classes_of_names(["warm", "cold", "warm"])
>>> data = Dataset(
...     name="words",
...     source="made here",
...     modality="text",
...     rows=3,
...     item=lambda row: texts[row],
...     where=lambda row: f"texts (row {row})",
...     labels=labels,
...     kind="classification",
...     classes=classes,
...     fingerprint=None,
...     content=Content(3, lambda row: texts[row]),
... )
>>> data.item(1), data.labels.tolist(), data.classes
('green leaf', [1, 0, 1], ('cold', 'warm'))

`content` tells these data from others by SHA-256 of their items; a `fingerprint` of your own may
stand for it.

Pictures are turned as their EXIF says and converted to RGB: those of more than 8 bits, and floats,
by the range that they fill; see-through ones are laid on white. `Preprocessing` then resizes the
shorter side, crops the centre and normalises, as torchvision does to 2e-6. Pictures beyond Pillow's
limit of pixels, and lines of pixels, are refused.
"""

from spider_jax.extract.data.content import Content
from spider_jax.extract.data.dataset import (
    NO_LABELS,
    BrokenItemError,
    Dataset,
    Labelling,
    Modality,
    check_rows,
    classes_of_names,
    data_fingerprint,
    drop_unused,
    kind_of_labels,
    no_items,
)
from spider_jax.extract.data.images import Preprocessing, open_image, preprocessing_of, to_rgb
from spider_jax.extract.data.items import Item, Picture
from spider_jax.tasks.clusters import k_means, quantile_bins

__all__ = [
    "NO_LABELS",
    "BrokenItemError",
    "Content",
    "Dataset",
    "Item",
    "Labelling",
    "Modality",
    "Picture",
    "Preprocessing",
    "check_rows",
    "classes_of_names",
    "data_fingerprint",
    "drop_unused",
    "k_means",
    "kind_of_labels",
    "no_items",
    "open_image",
    "preprocessing_of",
    "quantile_bins",
    "to_rgb",
]
