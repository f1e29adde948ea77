"""Features of the candidates on the data, in a zoo: what is there already is not made again.

Beside the zoo's own files lies compared.json: by model what it was made of, with size and time of
every file. A model whose files are as they were is not even opened.
"""

import importlib.util
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from spider_jax.choose.candidates import Candidate
from spider_jax.errors import InputError
from spider_jax.extract.data.dataset import Dataset, data_fingerprint
from spider_jax.extract.export.record import HEADER, is_recorded, refuse_others
from spider_jax.extract.export.run import Extraction, Settings, failures
from spider_jax.extract.extract_features import as_in_zoo, export_model
from spider_jax.extract.readers import open_data
from spider_jax.extract.spec import SUFFIXES, Spec
from spider_jax.storage.cache import default_folder
from spider_jax.storage.files import name_to_component, read_json, write_json
from spider_jax.storage.locks import locked_folder
from spider_jax.storage.private import make_private
from spider_jax.zoo.files import read_manifest

FILE, KIND = "compared.json", "compared-models"
DATA = ("arrays", "csv", "parquet")  # readers of files, which need no word before the path


def open_labelled(given: str | Path) -> Dataset:
    """The data that a user names.

    Args:
        given: [NAME=]READER:WHAT as for `extract`, or the path of a folder of pictures with a
            sub-folder a class, of a table of texts, or of arrays.

    Returns:
        The data, with labels.

    Raises:
        InputError: they cannot be had, or have no labels or one class only.
    """
    path = Path(given)
    fits = [r for r in SUFFIXES.get(path.suffix.lower(), ()) if r in DATA]
    if path.is_dir():
        data = open_data(f"folder:{path}")
    elif path.is_file() and fits:
        data = open_data(f"{fits[0]}:{path}")
    else:
        data = open_data(str(given))
    if data.labels is None:
        raise InputError(
            f"{data.source} has no labels, by which models are compared: `rank SPIDER --data` does "
            "without"
        )
    if data.kind == "classification" and len(np.unique(data.labels)) < 2:
        raise InputError(f"{data.source} has one class only, by which no two models differ")
    return data


class Features:
    """A zoo of one task, as it is filled.

    Attributes:
        zoo: its folder.
        data: of the task.
        result: what was done, and the problems.
    """

    def __init__(self, data: Dataset, out: str | Path | None, settings: Settings) -> None:
        """Open a zoo for the data, or begin one.

        Args:
            data: with labels.
            out: its folder; None for one in the user's cache, found again by what the data hold.
            settings: how features are exported.
        """
        self._own = out is None
        self.zoo = default_folder("compare") / _key(data) if out is None else Path(out)
        if self.zoo.exists() and not self.zoo.is_dir():
            raise InputError(f"{out} is a file, the zoo is a folder: choose another name")
        if self._own:
            make_private(self.zoo.parent)
            make_private(self.zoo)
        self.result = Extraction()
        self.data = as_in_zoo(self.zoo, data, self.result)
        self._settings = settings

    def there(self, one: Candidate) -> bool:
        """Whether the features of a model are there, made of what it is now.

        Args:
            one: the model; of a callable it is not known before it ran.
        """
        if one.call is not None:
            return False
        known = self._known().get(one.name)
        if not isinstance(known, dict) or known.get("source") != _said(one.spec):
            return False
        return _as_they_were(known.get("files")) and is_recorded(
            self.zoo, self.data.name, self.data, one.name
        )

    def make(self, one: Candidate) -> bool:
        """Export the features of a model, where they are not there.

        Args:
            one: the model.

        Returns:
            Whether they are there now; if not, the problems say why.

        Raises:
            InputError: too many items cannot be read, whatever the model.
        """
        if self.there(one):
            self.result.there.append((one.name, self.data.name))
            return True
        datasets = {self.data.name: self.data}
        done = len(self.result.written) + len(self.result.there)
        with failures(self.result, one.name, self.data.name):
            encoder = one.open(self.data)
            if self._own and (encoder is None or self._is_another(encoder.name, encoder.facts)):
                self._forget(one.name)
            export_model(self.zoo, one.spec, encoder, datasets, self._settings, self.result)
        if not datasets:
            raise InputError(f"{self.data.source} cannot be read: {self.result.problems[-1]}")
        self.data = datasets[self.data.name]
        if len(self.result.written) + len(self.result.there) == done:
            return False
        self._remember(one)
        return True

    # ---- what was made of what -------------------------------------------------------------------

    def _known(self) -> Mapping[str, Any]:
        path = self.zoo / FILE
        if not path.exists():
            return {}
        found = read_json(path, KIND).get("models")
        if not isinstance(found, dict):
            raise InputError(f"{path} is damaged: remove it")
        return found

    def _remember(self, one: Candidate) -> None:
        entry = {"source": _said(one.spec), "files": [_stamp(path) for path in _files(one.spec)]}
        with locked_folder(self.zoo):
            models = dict(self._known()) | {one.name: entry}
            write_json(self.zoo / FILE, KIND, {"models": models})

    def _is_another(self, name: str, facts: Mapping[str, object]) -> bool:
        try:
            refuse_others(self.zoo, self.data.name, self.data, name, facts)
        except InputError:
            return True
        return False

    def _forget(self, model: str) -> None:
        """Make room in the cache for another model of this name."""
        with locked_folder(self.zoo):
            manifest = dict(read_manifest(self.zoo / "manifest.json"))
            if model not in manifest.get("models", {}):
                return
            others = {m: e for m, e in manifest["models"].items() if m != model}
            kept = {k: v for k, v in manifest.items() if k not in HEADER}
            write_json(self.zoo / "manifest.json", "zoo", kept | {"models": others})
            for kind in ("features", "probabilities"):
                file = f"{name_to_component(self.data.name)}.npy"
                (self.zoo / kind / name_to_component(model) / file).unlink(missing_ok=True)


def _key(data: Dataset) -> str:
    """What tells these data from others, as the name of a folder."""
    whole = [data.kind, data.classes, sorted(data.identity().items()), data.labels]
    return f"{name_to_component(data.name)[:80]}-{data_fingerprint(whole)[:16]}"


def _said(spec: Spec) -> str:
    return f"{spec}?{'&'.join(f'{k}={v}' for k, v in sorted(spec.options.items()))}"


def _files(spec: Spec) -> list[Path]:
    """The files on this machine that a spec names, as far as they are known without running it."""
    named = [spec.what.partition("#")[0], *spec.options.values()]
    found = [path for path in map(Path, named) if path.exists()]
    return sorted({*_inside(found), *_external(spec), *_module(spec)})


def _inside(paths: list[Path]) -> Iterator[Path]:
    for path in paths:
        yield from (p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]


def _external(spec: Spec) -> list[Path]:
    """Files of tensors beside an ONNX graph."""
    if spec.reader != "onnx":
        return []
    from spider_jax.extract.models.onnx_graph import external_files
    from spider_jax.runtime.optional import need

    path = Path(spec.what.partition("#")[0])
    onnx = need("onnx", "onnx", f"model {spec}")
    return external_files(onnx.load(str(path), load_external_data=False), path)


def _module(spec: Spec) -> list[Path]:
    """The file of the module whose factory makes a torch model."""
    if spec.reader != "torch":
        return []
    found = importlib.util.find_spec(spec.what.partition(":")[0])
    origin = None if found is None or not found.has_location else found.origin
    return [] if origin is None else [Path(origin)]


def _as_they_were(files: object) -> bool:
    """Whether files have the size and time that were kept of them."""
    if not isinstance(files, list):
        return False
    named = [f[0] for f in files if isinstance(f, list) and f and isinstance(f[0], str)]
    return files == [_stamp(Path(name)) for name in named]


def _stamp(path: Path) -> list[str | int]:
    """Path, size and time of change; of a file that is gone the path alone."""
    try:
        found = os.stat(path)
    except OSError:
        return [str(path)]
    return [str(path.resolve()), found.st_size, found.st_mtime_ns]
