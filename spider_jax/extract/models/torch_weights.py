"""Weights of torch models: read from files without unpickling objects, and their hash."""

import hashlib
from pathlib import Path

from spider_jax.errors import InputError, one_line
from spider_jax.extract.models.foreign_classes import Module, Tensor
from spider_jax.runtime.optional import need

COMPILED = "_orig_mod."  # what torch.compile writes before a name


def load_weights(model: Module, path: Path) -> None:
    """Put the weights of a file into a torch module; every name must fit.

    Args:
        model: the module.
        path: .safetensors, or what torch.save wrote of a state_dict, which torch's restricted
            loader reads (weights_only=True).

    Raises:
        InputError: no such file, one that holds more than tensors, or other names or shapes.
    """
    if not path.is_file():
        raise InputError(f"weights {path}: no such file")
    state = _safetensors(path) if path.suffix == ".safetensors" else _torch_file(path)
    try:
        model.load_state_dict(fitting_names(state, {*model.state_dict()}), strict=True)
    except (RuntimeError, TypeError, AttributeError) as error:
        raise InputError(f"weights {path} do not fit the model: {one_line(error)}") from None


def _safetensors(path: Path) -> dict[str, Tensor]:
    load = need("safetensors.torch", "safetensors", "reading .safetensors").load_file
    try:
        return load(path, device="cpu")
    except Exception as error:  # the package's own kinds
        raise InputError(f"weights {path} cannot be read: {one_line(error)}") from None


def _torch_file(path: Path) -> dict[str, Tensor]:
    torch = need("torch", "torch", "reading torch weights")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # pickle.UnpicklingError, RuntimeError, EOFError, ...
        raise InputError(
            f"weights {path} are no plain tensors, and nothing else is unpickled: {one_line(error)}"
        ) from None
    if isinstance(state, dict):
        for key in ("state_dict", "model"):
            if isinstance(state.get(key), dict):
                state = state[key]
    if not isinstance(state, dict) or not all(torch.is_tensor(v) for v in state.values()):
        raise InputError(f"weights {path} must hold a state_dict of tensors")
    return state


def unwrapped(model: Module) -> Module:
    """The module inside torch.compile and DataParallel, which rename every tensor.

    Args:
        model: any module.

    Returns:
        The module that was wrapped, or the same.
    """
    torch = need("torch", "torch", "a torch model")
    while True:
        if hasattr(model, "_orig_mod"):
            model = model._orig_mod
        elif isinstance(model, torch.nn.DataParallel | torch.nn.parallel.DistributedDataParallel):
            model = model.module
        else:
            return model


def fitting_names(state: dict[str, Tensor], wanted: set[str]) -> dict[str, Tensor]:
    """The tensors under the names of a model that was saved inside a wrapper.

    torch.compile writes `_orig_mod.` wherever it wraps; DataParallel writes `module.`, Lightning
    `model.` or another word before every name. A shared first word is taken off where the names
    fit without it.

    Args:
        state: tensors by name.
        wanted: the names of the model.

    Returns:
        The same tensors.
    """
    plain = {name.replace(COMPILED, ""): name for name in wanted}
    best = state = {name.replace(COMPILED, ""): tensor for name, tensor in state.items()}
    while len({name.partition(".")[0] for name in state}) == 1 and "" not in state:
        state = {name.partition(".")[2]: tensor for name, tensor in state.items()}
        if len(plain.keys() & state) > len(plain.keys() & best):
            best = state
    return {plain.get(name, name): tensor for name, tensor in best.items()}


def weights_hash(model: Module) -> str:
    """SHA-256 over names, dtypes, shapes and bytes of a module's state, in order of names.

    Args:
        model: the module.

    Returns:
        The digest in hexadecimal.
    """
    torch = need("torch", "torch", "a torch model")
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        if not torch.is_tensor(tensor):
            continue
        digest.update(repr((name, str(tensor.dtype), tuple(tensor.shape))).encode())
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(flat.view(torch.uint8).numpy().data if flat.numel() else b"")
    return digest.hexdigest()
