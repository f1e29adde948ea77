"""The files of an opened zoo: which of them are sound, where they lie, and what they hold."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from spider_jax.errors import InputError
from spider_jax.storage.files import name_to_component
from spider_jax.storage.npy import (
    UNREADABLE,
    Header,
    check_finite,
    check_rows_sum_to_one,
    read_header,
)
from spider_jax.zoo.files import check_labels, check_matrix, list_names, refuse_link_out


class Skipped(NamedTuple):
    """Something of a zoo that cannot be used; the rest goes on without it.

    Attributes:
        model: its name, or None where a whole task is skipped.
        task: its name, or None where a whole model is skipped.
        message: why, in one line.
    """

    model: str | None
    task: str | None
    message: str

    def __str__(self) -> str:
        where = " on ".join(name for name in (self.model, self.task) if name)
        return f"{where}: {self.message}" if where else self.message


class OpenedFiles:
    """The sound files of a zoo. Opening them reads their headers, not their data.

    Attributes:
        folder: of the zoo.
        problems: files that cannot be used, and why.
        labels: headers by task.
        matrices: "features" and "probabilities" -> headers by (model, task).
    """

    def __init__(self, folder: Path) -> None:
        """Read the headers.

        Args:
            folder: of the zoo.
        """
        self.folder = folder
        self.problems: list[Skipped] = []
        self._root = folder.resolve()
        self._checked: set[tuple[str, str, str]] = set()
        self.labels: dict[str, Header] = {}
        for task, path in self._listed("labels", ".npy"):
            self._add_task(task, path)
        self.matrices = {name: self._open(name) for name in ("features", "probabilities")}

    def inside(self, path: Path) -> Path:
        """Refuse a path that leads out of the zoo through a symbolic link.

        Args:
            path: below the folder.

        Returns:
            `path`.

        Raises:
            InputError: it leads out.
        """
        return refuse_link_out(self._root, path)

    def path(self, folder: str, *names: str) -> Path:
        """The path of an .npy file.

        Args:
            folder: labels, splits, domains, features or probabilities.
            names: of a task, or of a model and a task.
        """
        return self.folder.joinpath(folder, *map(name_to_component, names)).with_name(
            name_to_component(names[-1]) + ".npy"
        )

    def task(self, task: str) -> Header:
        """The header of the labels of a task.

        Args:
            task: its name.

        Raises:
            InputError: the zoo has no such task, or its labels are broken.
        """
        if task not in self.labels:
            self._raise_problem(None, task)
            raise InputError(self.unknown("task", task, tuple(sorted(self.labels))))
        return self.labels[task]

    def unknown(self, what: str, name: str, known: tuple[str, ...]) -> str:
        """The message for a name that the zoo does not have.

        Args:
            what: "model" or "task".
            name: the unknown name.
            known: names that it has.
        """
        shown = ", ".join(known[:12]) + (", ..." if len(known) > 12 else "")
        return f"unknown {what} {name!r}: {self.folder} has {shown or 'none'}"

    def matrix(self, folder: str, model: str, task: str) -> Float[np.ndarray, "N D"]:
        """The data of a feature or probability file, which the first use checks.

        Args:
            folder: features or probabilities.
            model: its name.
            task: its name.

        Returns:
            A read-only memmap.

        Raises:
            InputError: no such file, or values that are not allowed.
        """
        if (model, task) not in self.matrices[folder]:
            self.task(task)
            self._raise_problem(model, task)
            raise InputError(f"no {folder} of {model!r} on {task!r} in {self.folder}")
        path = self.path(folder, model, task)
        try:
            matrix: NDArray[np.floating] = np.load(path, mmap_mode="r", allow_pickle=False)
        except UNREADABLE as error:  # the header was sound when the zoo was opened
            reason = " ".join(str(error).split())
            raise InputError(f"{path} changed since the zoo was opened: {reason}") from None
        if (folder, model, task) not in self._checked:
            check_finite(matrix, f"{folder} of {model!r} on {task!r}")
            if folder == "probabilities":
                check_rows_sum_to_one(matrix, f"{folder} of {model!r} on {task!r}")
            self._checked.add((folder, model, task))
        return matrix

    def fingerprint(self, extractor: str | None) -> str:
        """SHA-256 of names, shapes, dtypes and labels.

        Args:
            extractor: name of the general extractor, if any.
        """
        digest = hashlib.sha256(repr(extractor).encode())
        for (model, task), header in sorted(self.matrices["features"].items()):
            digest.update(repr((model, task, header.shape, header.dtype.str)).encode())
        for task, labels in sorted(self.labels.items()):
            digest.update(repr((task, labels.shape, labels.dtype.str)).encode())
            digest.update(np.load(self.path("labels", task), allow_pickle=False).tobytes())
        return digest.hexdigest()

    def _raise_problem(self, model: str | None, task: str) -> None:
        for problem in self.problems:
            if (problem.model, problem.task) == (model, task):
                raise InputError(str(problem))

    def _listed(self, folder: str, suffix: str) -> Iterator[tuple[str, Path]]:
        """(name, path) of a folder's entries; badly named ones and links out are problems."""
        for entry in list_names(self._root, self.folder / folder, suffix):
            if isinstance(entry, InputError):
                self.problems.append(Skipped(None, None, str(entry)))
            else:
                yield entry

    def _add_task(self, task: str, path: Path) -> None:
        try:
            header = read_header(path)
            check_labels(path, header)
        except InputError as error:
            self.problems.append(Skipped(None, task, str(error)))
        else:
            self.labels[task] = header

    def _open(self, folder: str) -> dict[tuple[str, str], Header]:
        """Headers of all sound <folder>/<model>/<task>.npy."""
        opened: dict[tuple[str, str], Header] = {}
        for model, path in self._listed(folder, ""):
            width: int | None = None  # of a model's features; its probabilities may differ in width
            files = list(self._listed(f"{folder}/{path.name}", ".npy"))
            if not files and (path.is_dir() or path.is_symlink() or path.suffix == ".npy"):
                why = f"{path} holds no <task>.npy: a model needs a folder of such files"
                self.problems.append(Skipped(model, None, why))
            for task, file in files:
                try:
                    header = self._check_matrix(task, file, None if folder != "features" else width)
                except InputError as error:
                    self.problems.append(Skipped(model, task, str(error)))
                else:
                    width = header.shape[1]
                    opened[model, task] = header
        return opened

    def _check_matrix(self, task: str, path: Path, width: int | None) -> Header:
        header = read_header(path)
        labels = self.labels.get(task)
        if labels is None:
            raise InputError(f"labels/{name_to_component(task)}.npy is missing or broken")
        check_matrix(path, header, labels.shape[0], width)
        return header
