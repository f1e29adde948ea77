"""Packages that only some readers need, imported where they are used."""

import importlib
from types import ModuleType

from spider_jax.errors import InputError, one_line

# The extra of spider_jax that installs a package, with what else its reader needs.
EXTRAS = {
    **dict.fromkeys(("torch", "safetensors", "pillow", "pyarrow"), "extract"),
    **{"timm": "timm", "torchvision": "torchvision", "transformers": "transformers"},
    **{"datasets": "datasets", "onnx": "onnx", "onnxruntime": "onnx", "PyYAML": "records"},
    "matplotlib": "plots",
}


def need(module: str, package: str, why: str) -> ModuleType:
    """A module of an optional package.

    Args:
        module: what to import.
        package: what to install.
        why: what it is needed for.

    Returns:
        The module.

    Raises:
        InputError: it cannot be imported.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError:
        extra = f', or "spider_jax[{EXTRAS[package]}]"' if package in EXTRAS else ""
        raise InputError(f"{why} needs {package}: pip install {package}{extra}") from None
    except Exception as error:  # compiled parts that do not load
        raise InputError(f"{why}: {package} cannot be imported: {one_line(error)}") from None
