"""A tuned student on features, on disk: tuned.json and params.npz, never unpickled."""

import io
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Num, Shaped

from spider_jax.errors import InputError
from spider_jax.heads.targets import Targets
from spider_jax.storage.files import atomic_folder, read_json, refuse_foreign_folder, write_json
from spider_jax.storage.npz import read_npz
from spider_jax.tuning.students import Params, Student, adapted, features_on

DESCRIPTION, PARAMS = "tuned.json", "params.npz"
BROKEN = (AttributeError, KeyError, TypeError, ValueError)


class TunedStudent(NamedTuple):
    """A student on the features of a model, with its head: what is deployed.

    Attributes:
        student: of `feature_student`.
        head: W [D, K] and b [K].
        targets: how outputs become predictions; its values are empty.
        about: of what model and task it is, how it was tuned and how good it was.
    """

    student: Student
    head: Params
    targets: Targets
    about: dict[str, Any]

    def predict(self, features: Num[np.ndarray, "N D"]) -> Shaped[np.ndarray, "N ..."]:
        """What the student says of some rows.

        Args:
            features: of the model that the student stands on, also a memmap.

        Returns:
            Classes [N] (0..C-1 in sorted order of the labels), labels or numbers [N, K].

        Raises:
            InputError: another width.
        """
        D = len(self.student.frozen["mean"])
        if features.ndim != 2 or features.shape[1] != D:
            raise InputError(f"features must be [N, {D}], got {features.shape}")
        rows = np.arange(len(features))
        given = features_on(self.student, self.student.params, features, rows)
        return self.targets.predictions(given @ self.head["W"] + self.head["b"])

    def save(self, folder: Path) -> None:
        """Write it, all or nothing; a tuned student that stands there is replaced.

        Args:
            folder: for tuned.json and params.npz.

        Raises:
            InputError: something else stands there.
        """
        refuse_foreign(folder)
        groups = {
            "student": self.student.params,
            "frozen": self.student.frozen,
            "head": self.head,
            "targets": {"shift": self.targets.shift, "unit": self.targets.unit},
        }
        arrays: dict[str, Any] = {
            f"{group}/{name}": np.asarray(value)
            for group, values in groups.items()
            for name, value in values.items()
        }
        written = io.BytesIO()
        np.savez(written, **arrays)
        with atomic_folder(folder) as fresh:
            (fresh / PARAMS).write_bytes(written.getvalue())
            write_json(
                fresh / DESCRIPTION, "tuned-student", {"kind": self.targets.kind, **self.about}
            )

    @staticmethod
    def load(folder: Path) -> "TunedStudent":
        """Read what `save` wrote.

        Args:
            folder: of the student.

        Returns:
            The student; it predicts as before, to the bit on the same kind of device.

        Raises:
            InputError: it is missing, damaged, or of a newer version.
        """
        content = read_json(Path(folder) / DESCRIPTION, "tuned-student")
        path = Path(folder) / PARAMS
        arrays = read_npz(path, "no whole student")
        try:
            parts = {p: _under(arrays, f"{p}/") for p in ("student", "frozen", "head", "targets")}
            shift, unit = parts["targets"]["shift"], parts["targets"]["unit"]
            kind = str(content["kind"])
        except BROKEN as error:
            raise InputError(
                f"{path} is no whole student: {' '.join(str(error).split())}"
            ) from None
        targets = Targets(kind, np.zeros((0, len(shift)), np.float32), shift, unit)
        student = Student(adapted, parts["student"], parts["frozen"])
        header = ("format", "version", "created_with", "kind")
        about = {name: value for name, value in content.items() if name not in header}
        return TunedStudent(student, parts["head"], targets, about)


def refuse_foreign(folder: Path) -> None:
    """Refuse a folder that holds something else; asked before the work, not after it.

    Args:
        folder: for a tuned student.

    Raises:
        InputError: a file, or a folder with other files in it.
    """
    ours = {DESCRIPTION, PARAMS}
    refuse_foreign_folder(
        folder, "tuned student", lambda names: DESCRIPTION in names and names <= ours
    )


def _under(arrays: dict[str, Any], prefix: str) -> dict[str, Any]:
    return {name.removeprefix(prefix): a for name, a in arrays.items() if name.startswith(prefix)}
