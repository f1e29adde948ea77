"""Programs that were compiled once: kept in the user's own cache for the next process.

Compiling takes most of a short command. JAX keeps what it compiled in a folder where one is set;
this sets one where the user has not: private, one folder a kind of processor, its oldest entries
removed when it grows. An entry is found by the program, its options and the versions of JAX and
XLA, so that what is loaded is what would have been compiled.
"""

import hashlib
import logging
import os
import platform
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

import jax

from spider_jax.errors import InputError
from spider_jax.storage.cache import default_folder
from spider_jax.storage.private import make_private

log = logging.getLogger("spider_jax")

LARGEST = 1 << 29  # bytes of a folder, before its oldest entries are removed
LEAST_SECONDS = 0.05  # of compilation; reading an entry takes a tenth of that
HALF_WRITTEN = "Error (reading|writing) persistent compilation cache entry"


def keep_compiled_programs(folder: Path | None = None) -> Path | None:
    """Have JAX keep what it compiles, where it does not do so yet; before the first program.

    Args:
        folder: default: `compiled` in the user's cache, see `default_folder`.

    Returns:
        The folder that is used from now on; None where JAX had one already, where the user has
        switched its cache off, or where the folder cannot be trusted or written (the log says so).
    """
    settings: Any = jax.config  # its attributes are made when it is imported
    if settings.jax_compilation_cache_dir or not settings.jax_enable_compilation_cache:
        return None
    mine = (folder or default_folder("compiled")) / _processor()
    try:
        make_private(mine.parent)
        make_private(mine)
        _remove_oldest(mine)
    except (OSError, InputError) as error:
        log.warning("compiled programs are not kept: %s", " ".join(str(error).split()))
        return None
    jax.config.update("jax_compilation_cache_dir", str(mine))
    if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
        jax.config.update("jax_persistent_cache_min_compile_time_secs", LEAST_SECONDS)
    # What cannot be read is compiled anew, which is all that there is to say.
    warnings.filterwarnings("ignore", message=HALF_WRITTEN)
    return mine


def _processor() -> str:
    """A name of this kind of processor: a home may be shared by machines of several kinds."""
    try:
        about = Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines()
    except OSError:
        about = [platform.processor()]
    kinds = [line for line in about if line.startswith(("model name", "flags", "Features", "CPU"))]
    return hashlib.sha256("\n".join([platform.machine(), *kinds]).encode()).hexdigest()[:16]


def _remove_oldest(folder: Path) -> None:
    """Remove the oldest entries of a folder that holds more than LARGEST bytes, and empty ones."""
    entries = []
    for path in folder.iterdir():
        with suppress(FileNotFoundError):  # another process tidies up as well
            found = path.lstat()
            entries.append((found.st_mtime, found.st_size, path))
    held = sum(size for _, size, _ in entries)
    for _, size, path in sorted(entries):
        if size == 0 or held > LARGEST:
            path.unlink(missing_ok=True)
            held -= size
