"""values.parquet: the same columns as values.csv; pyarrow is imported only for it."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from spider_jax.errors import InputError, one_line
from spider_jax.runtime.optional import need
from spider_jax.storage.text_files import open_regular


def parquet_blocks(
    path: Path, size: int
) -> tuple[list[str], Iterator[tuple[Sequence[object], ...]]]:
    """The columns of a Parquet file, and its rows in blocks.

    Args:
        path: of the file.
        size: rows of a block.

    Returns:
        The names of the columns, and for every block the cells of each column.

    Raises:
        InputError: no regular or no readable file, or pyarrow is missing.
    """
    parquet = need("pyarrow.parquet", "pyarrow", f"{path}")
    with open_regular(path):  # refuses a pipe before it would be waited for
        pass
    try:
        file = parquet.ParquetFile(path)
        return list(file.schema_arrow.names), _blocks(file, path, size)
    except Exception as error:  # pyarrow's own kinds
        raise InputError(f"{path} is not a readable Parquet file: {one_line(error)}") from None


def _blocks(file: Any, path: Path, size: int) -> Iterator[tuple[Sequence[object], ...]]:
    batches = file.iter_batches(batch_size=size)
    while True:
        try:
            batch = next(batches, None)
            columns = None if batch is None else tuple(c.to_pylist() for c in batch.columns)
        except Exception as error:  # pyarrow's own kinds
            raise InputError(f"{path} is damaged: {one_line(error)}") from None
        if columns is None:
            return
        if columns and len(columns[0]):
            yield columns


def write_parquet(file: IO[bytes], columns: dict[str, Any]) -> None:
    """Write columns as Parquet.

    Args:
        file: open for writing.
        columns: by name, all of one length; texts as (positions, names).
    """
    arrow = need("pyarrow", "pyarrow", "writing .parquet")
    parquet = need("pyarrow.parquet", "pyarrow", "writing .parquet")
    arrays = {
        name: arrow.DictionaryArray.from_arrays(
            arrow.array(column[0]), arrow.array(column[1], arrow.string())
        )
        if isinstance(column, tuple)
        else arrow.array(column, from_pandas=True)
        for name, column in columns.items()
    }
    parquet.write_table(arrow.table(arrays), file)
