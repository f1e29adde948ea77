"""The models of a comparison, as a user names them: specs, files, folders of files, callables."""

import copy
import hashlib
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from spider_jax.errors import InputError
from spider_jax.extract.data.dataset import Dataset
from spider_jax.extract.data.images import Preprocessing, to_rgb
from spider_jax.extract.data.items import Item
from spider_jax.extract.export.batches import prepared_item
from spider_jax.extract.models.encoder import Encoded, Encoder
from spider_jax.extract.readers import FEATURES, model_spec, open_model
from spider_jax.extract.spec import SUFFIXES, Spec
from spider_jax.storage.files import name_to_component

Given = str | Path | Callable[..., object]
Models = Sequence[Given] | Mapping[str, Given] | str | Path
PROBES = 4  # rows whose features tell a callable from another of its name
FILES = (FEATURES, "onnx")  # readers of files, which need no word before the path


@dataclass(frozen=True)
class Candidate:
    """A model that is to be compared.

    Attributes:
        name: in the zoo.
        spec: what is read; of a callable only its name.
        call: the callable, where it is one.
    """

    name: str
    spec: Spec
    call: Callable[..., object] | None = None

    def open(self, data: Dataset) -> Encoder | None:
        """The model, ready to run; None where its features exist already.

        Args:
            data: that it will run on.

        Raises:
            InputError: it cannot be had.
        """
        if self.call is not None:
            return _encoder_of(self.name, self.call, data)
        return None if self.spec.reader == FEATURES else open_model(self.spec)


def read_candidates(models: Models) -> tuple[Candidate, ...]:
    """The models that a user names.

    Args:
        models: each [NAME=]READER:WHAT as for `extract`, the path of an ONNX file, of a file of
            features or of a folder of ONNX files, a torch.nn.Module, or a function from a list of
            items (Pillow's pictures in RGB, or texts) to features [n, D]; by name, in a row, or one
            path alone.

    Returns:
        The candidates, in order.

    Raises:
        InputError: no models, one that cannot be read, or two of one name.
    """
    if isinstance(models, str | Path):
        models = [models]
    named = models.items() if isinstance(models, Mapping) else [(None, m) for m in models]
    found = [one for name, given in named for one in _read(name, given)]
    if not found:
        raise InputError("compare needs models, got none")
    seen: dict[str, Candidate] = {}
    for one in found:
        name_to_component(one.name)
        if one.name in seen:
            raise InputError(
                f"two models are named {one.name!r} ({seen[one.name].spec} and {one.spec}): write "
                f"ANOTHER={one.spec}"
            )
        seen[one.name] = one
    return tuple(found)


def _read(name: str | None, given: Given) -> list[Candidate]:
    if isinstance(given, str | Path):
        if (folder := _folder(given)) is not None:
            if name is not None:
                raise InputError(f"{folder} is a folder of models, which {name!r} cannot name")
            return [_of_spec(Spec("onnx", str(file))) for file in _onnx_files(folder)]
        spec = _spec(given)
        return [_of_spec(spec if name is None else replace(spec, name=name))]
    if not callable(given):
        raise InputError(
            f"a model must be a spec, a path or a callable, got {type(given).__name__}"
        )
    found = name or getattr(given, "__name__", None) or type(given).__name__
    if found == "<lambda>":
        raise InputError("a lambda has no name: give the models as {name: function}")
    return [Candidate(found, Spec("function", found), given)]


def _folder(given: str | Path) -> Path | None:
    path = Path(given)
    return path if path.is_dir() else None


def _onnx_files(folder: Path) -> list[Path]:
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() == ".onnx")
    if not found:
        raise InputError(f"{folder} holds no .onnx file: name models as READER:WHAT")
    return found


def _spec(given: str | Path) -> Spec:
    """A spec, also of the bare path of a file that some reader reads."""
    path = Path(given)
    fits = [r for r in SUFFIXES.get(path.suffix.lower(), ()) if r in FILES]
    if isinstance(given, Path) or (fits and path.is_file()):
        if not fits:
            raise InputError(f"{given} is no model: a file must end in .onnx, or hold features")
        return Spec(fits[0], str(given))
    return model_spec(given)


def _of_spec(spec: Spec) -> Candidate:
    """With its name in the spec, so that it has one before it is opened."""
    name = spec.name or _default_name(spec)
    return Candidate(name, replace(spec, name=name))


def _default_name(spec: Spec) -> str:
    """As the reader would name it."""
    if spec.reader in FILES:
        return Path(spec.what.partition("#")[0]).stem
    if spec.reader == "torch":
        return spec.what.rpartition(":")[2]
    return spec.what.rstrip("/").rpartition("/")[2] if spec.reader == "hf" else spec.what


# ---- callables -----------------------------------------------------------------------------------


def _encoder_of(name: str, call: Callable[..., object], data: Dataset) -> Encoder:
    torch: Any = sys.modules.get("torch")  # who gives a module has imported it
    if torch is not None and isinstance(call, torch.nn.Module):
        from spider_jax.extract.models.torch_module import picture_encoder

        module = copy.deepcopy(call).float().eval()  # the user's own stays as it is
        return picture_encoder(Spec("torch", name), name, module, Preprocessing(), ())
    encoder = Encoder(
        name=name,
        modality=data.modality,
        prepare=to_rgb if data.modality == "image" else _as_it_is,
        encode=lambda items, _: _called(name, call, items),
        facts={},
        versions={},
    )
    facts = {"source": f"function:{name}", "weights_sha256": _behaviour(encoder, data)}
    return replace(encoder, facts=facts)


def _as_it_is(item: Item) -> Item:
    return item


def _called(name: str, call: Callable[..., object], items: Sequence[Item]) -> Encoded:
    found = np.asarray(call(list(items)))
    if found.dtype.kind not in "fiu" or found.ndim != 2:
        raise InputError(
            f"model {name!r} must give numbers [n, D] for n items, got {found.dtype} "
            f"{list(found.shape)}"
        )
    return Encoded(found.astype(np.float32), None)


def _behaviour(encoder: Encoder, data: Dataset) -> str:
    """SHA-256 of the features of a few rows: a function that was changed gives others."""
    items = [prepared_item(data, encoder.prepare, int(row)) for row in data.kept[:PROBES]]
    return hashlib.sha256(encoder.encode(items, None).features.tobytes()).hexdigest()
