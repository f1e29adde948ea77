"""`csv:FILE` and `parquet:FILE`: texts and labels in columns.

Options:
    text, label: names of columns, "text" and "label" by default.
    pair: name of a second column of texts; an item is the two texts of a row.
    words: name of a column of sentences whose words have a label each, as lists or with blanks
        between them; the label column has as many. An item is a word.
    kind: classification, regression or multi-label.

A CSV file is UTF-8 or UTF-16, its first line names the columns, and a comma, semicolon, tab or bar
stands between its cells. A file without a text column gives its labels, for features that lie
beside them (`--model NAME=features:FILE`).
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from spider_jax.errors import InputError, one_line
from spider_jax.extract.data.content import Content
from spider_jax.extract.data.csv_rows import DELIMITERS, CsvFile, is_number, open_csv, with_point
from spider_jax.extract.data.dataset import (
    NO_LABELS,
    Dataset,
    Modality,
    no_items,
    pair_of,
    text_of,
)
from spider_jax.extract.data.items import Item
from spider_jax.extract.data.label_values import labels_of
from spider_jax.extract.data.words import word_dataset
from spider_jax.extract.spec import Spec
from spider_jax.runtime.optional import need

log = logging.getLogger("spider_jax")

OPTIONS = ("text", "pair", "words", "label", "kind")
KEYS = ("text", "label")
ASKED = ("pair", "words")  # columns that are only read where an option names them
Columns = Mapping[str, Sequence[object]]  # by "text", "pair", "words" and "label"


def read_csv(spec: Spec) -> Dataset:
    """The text and label columns of a CSV file.

    Args:
        spec: csv:FILE with the options above.

    Returns:
        The data.

    Raises:
        InputError: unreadable, without these columns, or with a record of another length.
    """
    path = _file(spec)
    file = open_csv(path, [spec.options.get(key, key) for key in (*KEYS, *ASKED)])
    names = _names(spec, path, file.header)
    records = list(file.records())
    if not records:
        raise InputError(f"{path} must have a header line and rows")
    if file.delimiter != ",":
        log.info("%s: a %s stands between its cells", path, DELIMITERS[file.delimiter])
    lines = [line for line, _ in records]
    places = {key: file.header.index(name) for key, name in names.items()}
    columns = {key: [cells[at] for _, cells in records] for key, at in places.items()}
    if "label" in columns:
        columns["label"] = _with_points(columns["label"], file)
    return _dataset(spec, path, columns, len(records), lambda row: f"line {lines[row]}")


def _with_points(values: list[str], file: CsvFile) -> list[str]:
    """Labels that all are numbers, with decimal points."""
    numbers = all(is_number(value, file.delimiter) for value in values)
    return [with_point(value, file.delimiter) for value in values] if numbers else values


def read_parquet(spec: Spec) -> Dataset:
    """The text and label columns of a Parquet file.

    Args:
        spec: parquet:FILE with the options above.

    Returns:
        The data.

    Raises:
        InputError: unreadable, without these columns, or with labels missing.
    """
    path = _file(spec)
    parquet = need("pyarrow.parquet", "pyarrow", f"data {spec}")
    try:
        with parquet.ParquetFile(path) as file:
            header = file.schema_arrow.names
            names = _names(spec, path, header)
            table = file.read(columns=list(names.values()))
    except InputError:
        raise
    except Exception as error:  # pyarrow's own kinds
        raise InputError(f"{path} is not a readable .parquet file: {one_line(error)}") from None
    columns = {key: table.column(name).to_pylist() for key, name in names.items()}
    return _dataset(spec, path, columns, table.num_rows, lambda row: f"row {row}")


def _file(spec: Spec) -> Path:
    spec.known(OPTIONS)
    path = Path(spec.what)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    return path


def _names(spec: Spec, path: Path, header: Sequence[str]) -> dict[str, str]:
    """The names of the columns that are read, by "text", "label", "pair" and "words"."""
    asked = [key for key in ASKED if key in spec.options]
    if len(asked) > 1 or ("words" in asked and "text" in spec.options):
        raise InputError(f"{path}: words are items of their own: give ?words= without text or pair")
    keys = [key for key in (*KEYS, *asked) if key != "text" or "words" not in asked]
    found = {key: column_of(header, spec.options.get(key), key) for key in keys}
    shown = ", ".join(map(repr, header))
    for key, name in found.items():
        if name is None and key in spec.options:
            raise InputError(f"{path} has no column {spec.options[key]!r}: it has {shown}")
        if name is not None and header.count(name) > 1:
            raise InputError(
                f"{path} has {header.count(name)} columns {name!r}: rename all but one"
            )
    names = {key: name for key, name in found.items() if name is not None}
    if "pair" in names and "text" not in names:
        raise InputError(
            f"{path} has no first text for the pair with {names['pair']!r}: name its column with "
            f"?text=, it has {shown}"
        )
    if not names:
        raise InputError(
            f"{path} has neither a text nor a label column: its first line must name the columns, "
            f"it has {shown}; name them with ?text= and ?label="
        )
    return names


def column_of(header: Sequence[str], wanted: str | None, usual: str) -> str | None:
    """The column that is named, else the one that is called as usual in any case, or in the plural.

    Args:
        header: names of all columns.
        wanted: the name that the user gave, or None.
        usual: "text" or "label".

    Returns:
        Its name as it stands in the header, or None.
    """
    if wanted is not None:
        return wanted if wanted in header else None
    fits = (usual, *(n for n in header if n.strip().casefold() in (usual, usual + "s")))
    return next((name for name in fits if name in header), None)


def _dataset(
    spec: Spec, path: Path, columns: Columns, rows: int, row_name: Callable[[int], str]
) -> Dataset:
    texts, pairs, values = (columns.get(key) for key in ("text", "pair", "label"))
    name, source, file = spec.name or path.stem, f"{spec.reader}:{path.name}", str(path)
    if "words" in columns:
        sentences = columns["words"]
        return word_dataset(
            name, source, sentences, values, spec.options.get("kind"), file, row_name
        )
    labels, classes, kind = NO_LABELS
    if values is not None:
        labels, classes, kind = labels_of(values, spec.options.get("kind"), str(path), row_name)

    def where(row: int) -> str:
        return f"{path} ({row_name(row)})"

    def item(row: int) -> Item:
        if texts is None:
            return no_items(path)(row)
        if pairs is None:
            return text_of(texts[row], where(row))
        return pair_of(texts[row], pairs[row], where(row))

    def content(row: int) -> str:
        assert texts is not None
        return str(texts[row]) if pairs is None else f"{texts[row]}\0{pairs[row]}"

    modality: Modality = "none" if texts is None else "text" if pairs is None else "pair"
    return Dataset(
        name=name,
        source=source,
        modality=modality,
        rows=rows,
        item=item,
        where=where,
        labels=labels,
        kind=kind,
        classes=classes,
        fingerprint=None,
        content=None if texts is None else Content(rows, content),
    )
