"""Modules of the package, imported from the source tree where only jax and torch are installed.

A package's face imports all that is behind it, and with it what training and reading zoos need.
Here packages are empty but for where they lie, so that a module brings what it imports itself.
Where jaxtyping is missing, its types are anything: they say what an array is and change nothing.
"""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import jax

ROOT = Path(__file__).parents[2]


class _Anything:
    """Stands for every type of jaxtyping."""

    def __class_getitem__(cls, of: object) -> Any:
        return Any


def _type(name: str) -> Any:
    if name.startswith("_"):  # what a module may have: its file, its spec
        raise AttributeError(name)
    return jax.Array if name == "Array" else _Anything


def without_faces() -> None:
    """From here on `import spider_jax.x.y` runs y and what y imports, and no face."""
    sys.path.insert(0, str(ROOT))
    if importlib.util.find_spec("jaxtyping") is None:
        types = ModuleType("jaxtyping")
        types.__dict__["__getattr__"] = _type
        sys.modules["jaxtyping"] = types
    for face in (ROOT / "spider_jax").rglob("__init__.py"):
        name = ".".join(face.parent.relative_to(ROOT).parts)
        if name not in sys.modules:
            package = ModuleType(name)
            package.__path__ = [str(face.parent)]
            sys.modules[name] = package
