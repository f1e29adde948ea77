"""`folder:PATH`: pictures in one sub-folder for each class.

Pictures without sub-folders have no labels. There are no options.
"""

from pathlib import Path

from spider_jax.errors import InputError
from spider_jax.extract.data.dataset import Dataset, classes_of_names, data_fingerprint
from spider_jax.extract.data.images import SUFFIXES, open_image
from spider_jax.extract.spec import Spec


def read_folder(spec: Spec) -> Dataset:
    """Pictures below a folder in sorted order; the name of a sub-folder is the class.

    Args:
        spec: folder:PATH.

    Returns:
        The data.

    Raises:
        InputError: no such folder, no pictures in it, or a class without any.
    """
    spec.known(())
    root = Path(spec.what)
    if not root.is_dir():
        raise InputError(f"{root} is not a folder of pictures")
    folders = sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
    files = [file for folder in folders for file in _pictures_of(folder)] or _pictures(root)
    if not files:
        raise InputError(f"{root} has no pictures ({', '.join(SUFFIXES)}), nor folders of them")
    names = [f.relative_to(root).parts[0] for f in files] if folders else None
    labels, classes = classes_of_names(names) if names else (None, None)
    sizes = [(f.relative_to(root).as_posix(), f.stat().st_size) for f in files]
    return Dataset(
        name=spec.name or root.resolve().name,
        source=f"folder:{root.resolve().name}",
        modality="image",
        rows=len(files),
        item=lambda row: open_image(files[row], f"{files[row]} (row {row})"),
        where=lambda row: f"{files[row]} (row {row})",
        labels=labels,
        kind="classification",
        classes=classes,
        fingerprint=data_fingerprint(sizes),
    )


def _pictures_of(folder: Path) -> list[Path]:
    found = _pictures(folder, deep=True)
    if not found:
        raise InputError(f"class {folder.name!r} has no pictures: fill or remove {folder}")
    return found


def _pictures(folder: Path, deep: bool = False) -> list[Path]:
    """Picture files in the order of their paths, hidden ones left out."""
    found = folder.rglob("*") if deep else folder.iterdir()
    return sorted(
        path
        for path in found
        if path.suffix.lower() in SUFFIXES
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and path.is_file()
    )
