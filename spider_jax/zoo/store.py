"""A zoo on disk: labels, features of every model on every task, read through NumPy memmaps.

zoo/
  manifest.json                     optional: extractor, models {name: ...}, tasks {name: ...}
  labels/<task>.npy                 int [N] | float [N] or [N, K] | bool [N, K]
  features/<model>/<task>.npy       float16/32 [N, D_m], row i belongs to label i
  probabilities/<model>/<task>.npy  optional [N, Z]: the source head's softmax
  splits/<task>.npy                 optional int8 [N]: 0 train, 1 validation, 2 test
  domains/<task>.npy                optional int [N]: where a row comes from
  accuracies.csv                    optional: model,task,accuracy[,standard_error]
"""

import contextlib
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, Int, Int8, Int64, Shaped

from spider_jax.errors import InputError
from spider_jax.facts.columns import table_of_entries
from spider_jax.facts.fact_table import FactTable
from spider_jax.storage.files import write_json
from spider_jax.storage.npy import write_array
from spider_jax.storage.opening import refuse_links
from spider_jax.zoo.accuracies import range_of, read_accuracies, unknown_names
from spider_jax.zoo.files import (
    Labels,
    check_classes,
    kind_of,
    read_domains,
    read_labels,
    read_manifest,
    read_split,
    refuse_link_out,
    unseen_last,
    write_feature_file,
)
from spider_jax.zoo.opened import OpenedFiles, Skipped

__all__ = ["FeatureStore", "Skipped"]


class FeatureStore:
    """A zoo: a folder of labels and features.

    Opening it reads the headers of its files, not their data. A broken file takes out one model on
    one task, or one task; it is listed in `problems`, and everything else goes on.

    Attributes:
        folder: of the zoo.
        problems: what cannot be used, and why.
        manifest: content of manifest.json, {} where there is none.
    """

    def __init__(self, folder: str | Path) -> None:
        """Open a zoo.

        Args:
            folder: of the zoo.

        Raises:
            InputError: no such folder, no labels in it, or a manifest that cannot be read.
        """
        self.folder = Path(folder)
        if not (self.folder / "labels").is_dir():
            raise InputError(f"{folder} is not a zoo: it needs labels/<task>.npy and features/")
        manifest = refuse_link_out(self.folder.resolve(), self.folder / "manifest.json")
        self.manifest = read_manifest(manifest)
        self._files = OpenedFiles(self.folder)
        self.problems = self._files.problems
        self._features = self._files.matrices["features"]

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the tasks whose label file is sound."""
        return tuple(sorted(self._files.labels))

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
        """The facts of a model in the manifest, {} where there are none.

        Args:
            model: its name.
        """
        info: Mapping[str, Any] = self.manifest.get("models", {}).get(model, {})
        return info

    @cached_property
    def facts(self) -> FactTable:
        """The manifest's facts of its models by the names of `spider_jax.facts`."""
        return table_of_entries(self.manifest.get("models", {}), str(self.folder / "manifest.json"))

    @cached_property
    def training_facts(self) -> FactTable:
        """Of `facts`, what models were trained on."""
        return table_of_entries(self.manifest.get("models", {}), "the zoo", training=True)

    def task_info(self, task: str) -> Mapping[str, Any]:
        """The facts of a task in the manifest, {} where there are none.

        Args:
            task: its name.
        """
        info: Mapping[str, Any] = self.manifest.get("tasks", {}).get(task, {})
        return info

    def width(self, model: str) -> int:
        """D, the number of columns of a model's features.

        Args:
            model: its name.

        Raises:
            InputError: the zoo has no such model.
        """
        for (name, _), header in self._features.items():
            if name == model:
                return header.shape[1]
        raise InputError(self._files.unknown("model", model, self.models))

    def models_of(self, task: str) -> tuple[str, ...]:
        """Names of the models that have features on a task.

        Args:
            task: its name.

        Raises:
            InputError: the zoo has no such task.
        """
        self._files.task(task)
        return tuple(m for m in self.models if (m, task) in self._features)

    def nbytes(self, model: str, task: str) -> int:
        """Size of the data of a feature file in bytes, 0 where there is no file.

        Args:
            model: its name.
            task: its name.
        """
        header = self._features.get((model, task))
        return header.bytes if header else 0

    def problems_on(self, *tasks: str) -> list[Skipped]:
        """What cannot be used and concerns these tasks: of their own, or of the zoo as a whole.

        Args:
            tasks: their names.
        """
        return [p for p in self.problems if p.task is None or p.task in tasks]

    def kind(self, task: str) -> str:
        """ "classification", "regression" or "multi-label"; the manifest wins over the dtype.

        Args:
            task: its name.

        Raises:
            InputError: the zoo has no such task, or the manifest declares another kind.
        """
        return kind_of(task, self._files.task(task), self.task_info(task).get("kind"))

    def labels(self, task: str) -> Labels:
        """Labels of a task, every row; class labels are re-encoded to 0..C-1 in sorted order.

        Classes without a training row come last, so that the training rows have 0..C-1.

        Args:
            task: its name.

        Returns:
            int32 [N] classes, float32 [N] or [N, K] targets, or bool [N, K] multi-labels.

        Raises:
            InputError: unknown task, a value that is no label, or a class without a row.
        """
        kind, names = self.kind(task), self.task_info(task).get("classes")
        labels = read_labels(self._files.path("labels", task), task, kind, names)
        split = self.split(task) if kind == "classification" else None
        return labels if split is None else unseen_last(labels, np.flatnonzero(split == 0))[0]

    def split(self, task: str) -> Int8[np.ndarray, " N"] | None:
        """The split of a task.

        Args:
            task: its name.

        Returns:
            0 train, 1 validation, 2 test for every row; None where the zoo has no split.

        Raises:
            InputError: unknown task, or a file that is no split of its rows.
        """
        rows = self._files.task(task).shape[0]
        return read_split(self._files.inside(self._files.path("splits", task)), rows)

    def domains(self, task: str) -> Int64[np.ndarray, " N"] | None:
        """The domain of every row of a task, where it comes from; None where the zoo has none.

        Args:
            task: its name.

        Raises:
            InputError: unknown task, or a file that is not one int per row.
        """
        rows = self._files.task(task).shape[0]
        return read_domains(self._files.inside(self._files.path("domains", task)), rows)

    def training_rows(self, task: str) -> Int[np.ndarray, " n"]:
        """The rows that metrics, tokens and teachers may read: split 0, or all without a split.

        Args:
            task: its name.

        Returns:
            Row numbers in ascending order.

        Raises:
            InputError: unknown task, or a file that is no split of its rows.
        """
        split = self.split(task)
        if split is None:
            return np.arange(self._files.task(task).shape[0])
        return np.flatnonzero(split == 0)

    def training_labels(self, task: str) -> Labels:
        """Labels of the training rows.

        Args:
            task: its name.

        Returns:
            As `labels`.

        Raises:
            InputError: fewer than two classes have a training row.
        """
        labels = self.labels(task)
        chosen = labels[self.training_rows(task)]
        if self.kind(task) == "classification":
            check_classes(task, labels, chosen)
        return chosen

    def features(self, model: str, task: str) -> Float[np.ndarray, "N D"]:
        """Features of a model on a task, every row.

        The first use reads the file once to look for NaN and infinities.

        Args:
            model: its name.
            task: its name.

        Returns:
            float16 or float32 [N, D], a read-only memmap. D is the model's own width.

        Raises:
            InputError: no such file, or values that are not finite.
        """
        return self._files.matrix("features", model, task)

    def training_features(self, model: str, task: str) -> Float32[np.ndarray, "n D"]:
        """Features of the training rows, in memory.

        Args:
            model: its name.
            task: its name.

        Returns:
            float32 [n, D], in the order of `training_rows`.

        Raises:
            InputError: as `features`.
        """
        rows, features = self.training_rows(task), self.features(model, task)
        chosen = features if len(rows) == len(features) else features[rows]
        return np.asarray(chosen, np.float32)

    def probabilities(self, model: str, task: str) -> Float[np.ndarray, "N Z"]:
        """The source head's softmax on a task, every row.

        Args:
            model: its name.
            task: its name.

        Returns:
            float16 or float32 [N, Z], a read-only memmap.

        Raises:
            InputError: no such file, values that are not finite, or rows that do not sum to 1.
        """
        return self._files.matrix("probabilities", model, task)

    def has_probabilities(self, model: str, task: str) -> bool:
        """Whether the zoo holds source probabilities of a model on a task.

        Args:
            model: its name.
            task: its name.
        """
        return (model, task) in self._files.matrices["probabilities"]

    @cached_property
    def accuracies(self) -> Mapping[tuple[str, str], float]:
        """True accuracies by (model, task) from accuracies.csv, {} where there is no file.

        Names that the zoo does not have are kept and become problems.

        Raises:
            InputError: no CSV, a row without the columns, a pair with two accuracies, or one that
                is no number or out of the range of the task's measure.
        """
        path = self._files.inside(self.folder / "accuracies.csv")
        found = read_accuracies(path, self._range_of)
        for line in unknown_names(path, found, self._known_models(), self._known_tasks()):
            self.problems.append(Skipped(None, None, line))
        return {pair: value for pair, (value, _) in found.items()}

    def _range_of(self, task: str) -> tuple[float, float]:
        kind = None
        if task in self._files.labels:
            with contextlib.suppress(InputError):  # of a task that cannot be used
                kind = self.kind(task)
        return range_of(kind, self.task_info(task).get("measure"))

    def _known_models(self) -> set[str]:
        """Also those that only the manifest or a problem names."""
        broken = {problem.model for problem in self.problems if problem.model}
        return {*self.models, *self.manifest.get("models", {}), *broken}

    def _known_tasks(self) -> set[str]:
        broken = {problem.task for problem in self.problems if problem.task}
        return {*self.tasks, *self.manifest.get("tasks", {}), *broken}

    def fingerprint(self) -> str:
        """SHA-256 of names, shapes, dtypes and labels: tells zoos apart, reads no features."""
        return self._files.fingerprint(self.extractor)

    # ---- writing -----------------------------------------------------------------------------

    @staticmethod
    def write_labels(folder: str | Path, task: str, labels: Shaped[np.ndarray, "..."]) -> None:
        """Write the labels of a task, all or nothing.

        Args:
            folder: of the zoo, made where it does not exist.
            task: its name.
            labels: int [N] classes, float [N] or [N, K] targets, or bool [N, K] multi-labels.

        Raises:
            InputError: a name that cannot stand on disk, an array of Python objects, or a link.
        """
        refuse_links(Path(folder), Path(folder) / "labels")
        write_array(Path(folder) / "labels", task, labels)

    @staticmethod
    def write_features(
        folder: str | Path, model: str, task: str, features: Shaped[np.ndarray, "..."]
    ) -> None:
        """Write the features of a model on a task, all or nothing.

        Args:
            folder: of the zoo, made where it does not exist.
            model: its name.
            task: its name.
            features: float16 or float32 [N, D]; row i belongs to label i.

        Raises:
            InputError: a name that cannot stand on disk, a dtype other than float16/float32, or a
                link in the way.
        """
        write_feature_file(Path(folder), model, task, features)

    @staticmethod
    def write_manifest(folder: str | Path, **content: object) -> None:
        """Write manifest.json, all or nothing.

        Args:
            folder: of the zoo, made where it does not exist.
            content: extractor (a name), models and tasks (facts by name), standardized, and
                whatever else is to be kept; all must fit JSON.
        """
        write_json(Path(folder) / "manifest.json", "zoo", content)
