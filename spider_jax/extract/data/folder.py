"""`folder:PATH`: pictures in one sub-folder for each class.

Pictures without sub-folders have no labels. There are no options.
"""

import logging
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from spider_jax.errors import InputError
from spider_jax.extract.data.content import Content
from spider_jax.extract.data.dataset import Dataset, classes_of_names
from spider_jax.extract.data.images import SUFFIXES, open_image
from spider_jax.extract.spec import Spec

log = logging.getLogger("spider_jax")

# What archives, file managers and network drives leave beside the pictures.
LEFTOVERS = (
    *("__macosx", "@eadir", "#recycle", "$recycle.bin", "lost+found", "__pycache__"),
    *("thumbnails", "thumbs.db", "desktop.ini"),
)
SPLITS = (
    r"(train|training|val|valid|validation|dev|eval|evaluation|test|testing|holdout|unlabell?ed)"
)
SPLIT = re.compile(SPLITS + r"([\W_]*(set|split|data|images|imgs))?[\W_]*\d*", re.IGNORECASE)
SHOWN = 6  # names in a message


def read_folder(spec: Spec) -> Dataset:
    """Pictures below a folder in sorted order; the name of a sub-folder is the class.

    Files that are no pictures, and what archives and file managers leave, are left out; the log
    counts them.

    Args:
        spec: folder:PATH.

    Returns:
        The data.

    Raises:
        InputError: no such folder, no pictures in it, a class without any, or sub-folders that are
            splits of the data and no classes.
    """
    spec.known(())
    root = Path(spec.what)
    if not root.is_dir():
        raise InputError(f"{root} is not a folder of pictures")
    passed: Counter[str] = Counter()
    folders, files = _walk(root, passed, deep=False)
    _refuse_splits(root, folders)
    found = [file for folder in folders for file in _pictures_of(folder, passed)]
    if found and files:
        passed["pictures beside the class folders"] += len(files)
    elif not found:
        folders, found = [], files
    if not found:
        raise InputError(f"{root} has no pictures ({', '.join(SUFFIXES)}), nor folders of them")
    _say_passed(root, passed)
    names = [_nfc(f.relative_to(root).parts[0]) for f in found] if folders else None
    labels, classes = classes_of_names(names) if names else (None, None)
    return Dataset(
        name=spec.name or root.resolve().name,
        source=f"folder:{root.resolve().name}",
        modality="image",
        rows=len(found),
        item=lambda row: open_image(found[row], f"{found[row]} (row {row})"),
        where=lambda row: f"{found[row]} (row {row})",
        labels=labels,
        kind="classification",
        classes=classes,
        fingerprint=None,
        content=Content(len(found), lambda row: found[row].read_bytes()),
    )


def _nfc(name: str) -> str:
    """One form for a name with accents, whatever the file system makes of it."""
    return unicodedata.normalize("NFC", name)


def _order(path: Path) -> tuple[tuple[str, ...], Path]:
    return tuple(map(_nfc, path.parts)), path


def _walk(folder: Path, passed: Counter[str], *, deep: bool) -> tuple[list[Path], list[Path]]:
    """The sub-folders and the pictures of a folder, or all pictures below it, in order of paths.

    A link to a folder is followed as a class, not below one; what is no picture is counted in
    `passed`.
    """
    folders: list[Path] = []
    files: list[Path] = []
    waiting = [folder]
    while waiting:
        for path in waiting.pop().iterdir():
            if why := _leftover(path):
                passed[why] += 1
            elif path.is_dir():
                if deep and path.is_symlink():
                    passed["links to folders below a class"] += 1
                else:
                    (waiting if deep else folders).append(path)
            elif path.suffix.lower() in SUFFIXES and path.is_file():
                files.append(path)
            else:
                passed[_what_it_is(path)] += 1
    return sorted(folders, key=_order), sorted(files, key=_order)


def _leftover(path: Path) -> str:
    """What a name says of a file or folder that nobody means to be read; "" of any other."""
    name = path.name.lower()
    if name.startswith("._") or name in LEFTOVERS:
        return "leftovers of archives and file managers"
    return "hidden" if name.startswith(".") else ""


def _what_it_is(path: Path) -> str:
    if path.is_symlink() and not path.exists():
        return "links to nothing"
    if not path.is_file():
        return "no regular files"
    return path.suffix.lower() or "without a suffix"


def _refuse_splits(root: Path, folders: Sequence[Path]) -> None:
    """Refuse folders that are train, val and test, and a folder above the one that is meant."""
    splits = [f for f in folders if SPLIT.fullmatch(f.name)]
    inside = [f for f in splits if any(p.is_dir() and not _leftover(p) for p in f.iterdir())]
    if splits and (len(splits) == len(folders) or len(inside) > 1):
        names = ", ".join(f.name for f in splits)
        first = next((f for f in splits if f.name.lower().startswith("train")), splits[0])
        raise InputError(
            f"{root} holds the splits {names}, which are no classes: name one of them, "
            f"folder:{first}"
        )
    if len(folders) == 1:
        within = [p for p in folders[0].iterdir() if p.is_dir() and not _leftover(p)]
        if len(within) > 1:
            names = ", ".join(sorted(p.name for p in within)[:SHOWN])
            raise InputError(
                f"{root} holds one folder only, {folders[0].name}, with the folders {names}: if "
                f"these are the classes, name folder:{folders[0]}"
            )


def _pictures_of(folder: Path, passed: Counter[str]) -> list[Path]:
    here: Counter[str] = Counter()
    _, found = _walk(folder, here, deep=True)
    if not found:
        has = f", it has {_counted(here)}" if here else ""
        raise InputError(f"class {folder.name!r} has no pictures{has}: fill or remove {folder}")
    passed.update(here)
    return found


def _say_passed(root: Path, passed: Counter[str]) -> None:
    if passed:
        log.warning("%s: %d entries left out: %s", root, passed.total(), _counted(passed))


def _counted(passed: Counter[str]) -> str:
    return ", ".join(f"{count} {what}" for what, count in sorted(passed.items()))
