"""What lies on disk: names, atomic writes, versioned JSON, .npy files, run folders, a score cache.

Every file of this package is written by the functions of this sub-package, so the same rules hold
for zoos, spiders, indexes, rankings and selections:

- **A name is one path component.** `name_to_component` quotes the name of a model or a task, with
  slashes and a leading dot, so that no name leaves its folder. Two names of one folder must not
  differ only in case, because some disks cannot hold both.
- **All or nothing.** `atomic_file` and `atomic_folder` write beside the target and rename the
  result when it is complete. A process that is killed leaves the old content, and at most a hidden
  temporary file or folder beside it. To replace a folder takes two renames; a process that is
  killed between them leaves the old folder under a hidden name that ends in ".replaced".
- **Every JSON says what it is**: a format, a version, and the versions of the packages that wrote
  it. `read_json` refuses another format and a newer version, and reads older versions.
- **Arrays are plain .npy files** and never unpickled. `read_header` checks that a file is whole
  without reading its data.
- **A cache is keyed by content.** `ScoreCache` keeps values under the SHA-256 of what they depend
  on (`fingerprint`), in $XDG_CACHE_HOME/spider_jax or ~/.cache/spider_jax. It may be removed at any
  time. A damaged or unwritable cache costs time, not the run.
- **A run folder lets a training go on.** `RunFolder` keeps the last two checkpoints with checksums
  and refuses a training of something else. A checkpoint that is damaged costs the steps since the
  one before it.

Checksums find damage, not forgery: nothing here is signed.

>>> import tempfile
>>> from pathlib import Path
>>> from spider_jax.storage import name_to_component, read_json, write_json
>>> with tempfile.TemporaryDirectory() as folder:
...     path = Path(folder) / f"{name_to_component('org/model')}.json"
...     write_json(path, "note", {"accuracy": 0.75})
...     found = read_json(path, "note")
>>> path.name, found["format"], found["accuracy"]
('org%2Fmodel.json', 'spider_jax/note', 0.75)
"""

from spider_jax.storage.cache import ScoreCache, cache_key, default_folder, fingerprint
from spider_jax.storage.files import (
    atomic_file,
    atomic_folder,
    component_to_name,
    damaged_file,
    digests,
    name_to_component,
    read_json,
    versioned,
    write_json,
    write_text,
)
from spider_jax.storage.npy import Header, read_header, write_array
from spider_jax.storage.run_folder import RunFolder, Saved, remove_checkpoints

__all__ = [
    "Header",
    "RunFolder",
    "Saved",
    "ScoreCache",
    "atomic_file",
    "atomic_folder",
    "cache_key",
    "component_to_name",
    "damaged_file",
    "default_folder",
    "digests",
    "fingerprint",
    "name_to_component",
    "read_header",
    "read_json",
    "remove_checkpoints",
    "versioned",
    "write_array",
    "write_json",
    "write_text",
]
