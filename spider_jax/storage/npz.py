"""Archives of arrays, from a file that may be anything."""

import zipfile
import zlib
from pathlib import Path

import numpy as np
from jaxtyping import Shaped

from spider_jax.errors import InputError, one_line
from spider_jax.runtime.memory import machine_memory
from spider_jax.storage.npy import UNREADABLE
from spider_jax.storage.opening import open_regular

BROKEN = (
    *UNREADABLE,
    AttributeError,
    NotImplementedError,
    RuntimeError,
    TypeError,
    zipfile.BadZipFile,
    zlib.error,
)


def read_npz(
    path: Path, otherwise: str = "not a readable .npz file"
) -> dict[str, Shaped[np.ndarray, "..."]]:
    """The arrays of an .npz file; no pickle is opened.

    Args:
        path: of the file.
        otherwise: what a broken one is.

    Returns:
        Arrays of any shape by name.

    Raises:
        InputError: missing, no regular file, no archive of arrays, Python objects, or arrays that
            would take more than half of the memory.
    """
    try:
        with open_regular(path) as file:
            if not zipfile.is_zipfile(file):  # NumPy would take it for a pickle
                raise ValueError("it is no zip archive")
            _refuse_more_than_memory(path, zipfile.ZipFile(file))
            file.seek(0)
            with np.load(file, allow_pickle=False) as held:
                return {name: held[name] for name in held.files}
    except InputError:
        raise
    except BROKEN as error:
        raise InputError(f"{path} is {otherwise}: {one_line(error)}") from None


def _refuse_more_than_memory(path: Path, archive: zipfile.ZipFile) -> None:
    """Arrays may take half of the memory: a few packed megabytes can be gigabytes of zeros."""
    needed = sum(member.file_size for member in archive.infolist())
    if needed > (most := machine_memory() // 2):
        raise InputError(
            f"{path} must take at most {most / 1e9:.1f} GB unpacked, half of the memory, got "
            f"{needed / 1e9:.1f}: save its arrays as .npy files, which are read from disk"
        )
