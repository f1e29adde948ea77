"""A zoo on disk: labels, features of every model on every task, read through NumPy memmaps.

zoo/
  manifest.json                     optional: extractor, models {name: ...}, tasks {name: ...}
  labels/<task>.npy                 int [N] | float [N] or [N, K] | bool [N, K]
  features/<model>/<task>.npy       float16/32 [N, D_m], row i belongs to label i
  probabilities/<model>/<task>.npy  optional [N, Z]: the source head's softmax
  splits/<task>.npy                 optional int8 [N]: 0 train, 1 validation, 2 test
  accuracies.csv                    optional: model,task,accuracy[,standard_error]
"""

import hashlib
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spider_jax.errors import InputError
from spider_jax.storage.files import name_to_component, write_json
from spider_jax.storage.npy import (
    UNREADABLE,
    Header,
    check_finite,
    check_rows_sum_to_one,
    read_header,
    write_array,
)
from spider_jax.zoo.files import (
    check_every_class,
    check_labels,
    check_matrix,
    kind_of,
    list_names,
    read_accuracies,
    read_labels,
    read_manifest,
    read_split,
    refuse_link_out,
    write_feature_file,
)


class Skipped(NamedTuple):
    """Something of the zoo that cannot be used, and why; the rest goes on without it."""

    model: str | None
    task: str | None
    message: str

    def __str__(self) -> str:
        where = " on ".join(name for name in (self.model, self.task) if name)
        return f"{where}: {self.message}" if where else self.message


class FeatureStore:
    """A folder of labels and features; headers are checked on opening, data is read when used.

    A broken file takes out one model on one task (or one task): it is listed in `problems`, and
    everything else goes on.

    Args:
        folder: the zoo.

    Raises:
        InputError: no such folder, no labels in it, or a manifest that cannot be read.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        if not (self.folder / "labels").is_dir():
            raise InputError(f"{folder} is not a zoo: it needs labels/<task>.npy and features/")
        self._root = self.folder.resolve()
        self.problems: list[Skipped] = []
        self.manifest = read_manifest(self._inside("manifest.json"))
        self._checked: set[tuple[str, str, str]] = set()
        self._labels: dict[str, Header] = {}
        for task, path in self._listed("labels", ".npy"):
            self._add_task(task, path)
        self._features = self._open_matrices("features")
        self._probabilities = self._open_matrices("probabilities")

    # ---- names -------------------------------------------------------------------------------

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the tasks whose label file is sound."""
        return tuple(sorted(self._labels))

    @property
    def models(self) -> tuple[str, ...]:
        """Names of the models with features on at least one task."""
        return tuple(sorted({model for model, _ in self._features}))

    @property
    def extractor(self) -> str | None:
        """Name of the general extractor, from the manifest."""
        name = self.manifest.get("extractor")
        return name if isinstance(name, str) else None

    @property
    def standardized(self) -> bool:
        """Whether the manifest says that the features were standardised before they were stored."""
        return bool(self.manifest.get("standardized", False))

    def model_info(self, model: str) -> Mapping[str, Any]:
        """What the manifest says of a model ({} if nothing)."""
        info: Mapping[str, Any] = self.manifest.get("models", {}).get(model, {})
        return info

    def task_info(self, task: str) -> Mapping[str, Any]:
        """What the manifest says of a task ({} if nothing)."""
        info: Mapping[str, Any] = self.manifest.get("tasks", {}).get(task, {})
        return info

    def width(self, model: str) -> int:
        """Feature width of a model."""
        for (name, _), header in self._features.items():
            if name == model:
                return header.shape[1]
        raise InputError(self._unknown("model", model, self.models))

    def models_of(self, task: str) -> tuple[str, ...]:
        """Names of the models that have features on a task."""
        self._need_task(task)
        return tuple(m for m in self.models if (m, task) in self._features)

    def nbytes(self, model: str, task: str) -> int:
        """Size of a feature file's data in bytes (0 if there is none)."""
        header = self._features.get((model, task))
        return header.bytes if header else 0

    # ---- data --------------------------------------------------------------------------------

    def kind(self, task: str) -> str:
        """ "classification", "regression" or "multi-label"; the manifest wins over the dtype."""
        return kind_of(task, self._need_task(task), self.task_info(task).get("kind"))

    def labels(self, task: str) -> NDArray[Any]:
        """Labels of a task, every row; class labels are re-encoded to 0..C-1 in sorted order.

        Returns:
            int32 [N] classes, float32 [N] or [N, K] targets, or bool [N, K] multi-labels.

        Raises:
            InputError: unknown task, a value that is no label, or a class without a row.
        """
        kind, names = self.kind(task), self.task_info(task).get("classes")
        return read_labels(self._path("labels", task), task, kind, names)

    def split(self, task: str) -> NDArray[np.int8] | None:
        """0 train, 1 validation, 2 test for every row; None where the zoo has no split."""
        rows = self._need_task(task).shape[0]
        return read_split(refuse_link_out(self._root, self._path("splits", task)), rows)

    def training_rows(self, task: str) -> NDArray[np.int64]:
        """The rows that metrics, tokens and teachers may read: split 0, or all without a split."""
        split = self.split(task)
        if split is None:
            return np.arange(self._need_task(task).shape[0])
        return np.flatnonzero(split == 0)

    def training_labels(self, task: str) -> NDArray[Any]:
        """Labels of the training rows.

        Raises:
            InputError: a task of fewer than two classes, or a class without a training row.
        """
        labels = self.labels(task)
        chosen = labels[self.training_rows(task)]
        if self.kind(task) == "classification":
            check_every_class(task, labels, chosen)
        return chosen

    def features(self, model: str, task: str) -> NDArray[Any]:
        """Features of a model on a task, float16 or float32 [N, D_m], as a read-only memmap.

        The first use scans the file once for NaN and infinities.

        Raises:
            InputError: no such file, or values that are not finite.
        """
        return self._matrix("features", self._features, model, task)

    def training_features(self, model: str, task: str) -> NDArray[np.float32]:
        """The training rows of `features`, float32 [N, D_m] in memory."""
        rows, features = self.training_rows(task), self.features(model, task)
        chosen = features if len(rows) == len(features) else features[rows]
        return np.asarray(chosen, np.float32)

    def probabilities(self, model: str, task: str) -> NDArray[Any]:
        """The source head's softmax, [N, Z], as a read-only memmap.

        Raises:
            InputError: no such file, values that are not finite, or rows that do not sum to 1.
        """
        return self._matrix("probabilities", self._probabilities, model, task)

    def has_probabilities(self, model: str, task: str) -> bool:
        """Whether the zoo holds the model's source probabilities on the task."""
        return (model, task) in self._probabilities

    @cached_property
    def accuracies(self) -> Mapping[tuple[str, str], float]:
        """True accuracy by (model, task), from accuracies.csv ({} where there is none).

        Raises:
            InputError: no CSV, a row without the columns, or an accuracy that is no number.
        """
        return read_accuracies(self._inside("accuracies.csv"))

    def fingerprint(self) -> str:
        """SHA-256 over names, shapes, dtypes and labels: which zoo this is, features unread."""
        digest = hashlib.sha256(repr(self.extractor).encode())
        for (model, task), header in sorted(self._features.items()):
            digest.update(repr((model, task, header.shape, header.dtype.str)).encode())
        for task, labels in sorted(self._labels.items()):
            digest.update(repr((task, labels.shape, labels.dtype.str)).encode())
            digest.update(np.load(self._path("labels", task), allow_pickle=False).tobytes())
        return digest.hexdigest()

    # ---- opening -----------------------------------------------------------------------------

    def _inside(self, name: str) -> Path:
        return refuse_link_out(self._root, self.folder / name)

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
            self._labels[task] = header

    def _open_matrices(self, folder: str) -> dict[tuple[str, str], Header]:
        """Headers of all sound <folder>/<model>/<task>.npy."""
        opened: dict[tuple[str, str], Header] = {}
        for model, path in self._listed(folder, ""):
            width: int | None = None
            for task, file in self._listed(f"{folder}/{path.name}", ".npy"):
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
        labels = self._labels.get(task)
        if labels is None:
            raise InputError(f"labels/{name_to_component(task)}.npy is missing or broken")
        check_matrix(path, header, labels.shape[0], width)
        return header

    # ---- reading -----------------------------------------------------------------------------

    def _path(self, folder: str, *names: str) -> Path:
        return self.folder.joinpath(folder, *map(name_to_component, names)).with_name(
            name_to_component(names[-1]) + ".npy"
        )

    def _need_task(self, task: str) -> Header:
        if task not in self._labels:
            for problem in self.problems:
                if problem.model is None and problem.task == task:
                    raise InputError(str(problem))
            raise InputError(self._unknown("task", task, self.tasks))
        return self._labels[task]

    def _unknown(self, what: str, name: str, known: tuple[str, ...]) -> str:
        shown = ", ".join(known[:12]) + (", ..." if len(known) > 12 else "")
        return f"unknown {what} {name!r}: {self.folder} has {shown or 'none'}"

    def _matrix(
        self, folder: str, opened: dict[tuple[str, str], Header], model: str, task: str
    ) -> NDArray[Any]:
        if (model, task) not in opened:
            self._need_task(task)
            for problem in self.problems:
                if (problem.model, problem.task) == (model, task):
                    raise InputError(str(problem))
            raise InputError(f"no {folder} of {model!r} on {task!r} in {self.folder}")
        path = self._path(folder, model, task)
        try:
            matrix: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
        except UNREADABLE as error:  # it was whole when the zoo was opened
            reason = " ".join(str(error).split())
            raise InputError(f"{path} changed since the zoo was opened: {reason}") from None
        if (folder, model, task) not in self._checked:
            check_finite(matrix, f"{folder} of {model!r} on {task!r}")
            if folder == "probabilities":
                check_rows_sum_to_one(matrix, f"{folder} of {model!r} on {task!r}")
            self._checked.add((folder, model, task))
        return matrix

    # ---- writing -----------------------------------------------------------------------------

    @staticmethod
    def write_labels(folder: str | Path, task: str, labels: NDArray[Any]) -> None:
        """Write the labels of a task, all or nothing.

        Raises:
            InputError: a name that cannot stand on disk, or an array of Python objects.
        """
        write_array(Path(folder) / "labels", task, labels)

    @staticmethod
    def write_features(folder: str | Path, model: str, task: str, features: NDArray[Any]) -> None:
        """Write the features of a model on a task, all or nothing.

        Raises:
            InputError: a name that cannot stand on disk, or a dtype other than float16/float32.
        """
        write_feature_file(Path(folder) / "features", model, task, features)

    @staticmethod
    def write_manifest(folder: str | Path, **content: Any) -> None:
        """Write manifest.json (extractor, models, tasks, ...), all or nothing."""
        write_json(Path(folder) / "manifest.json", "zoo", content)
