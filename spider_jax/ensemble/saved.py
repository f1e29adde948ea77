"""An ensemble on disk, and what it predicts from its members' features."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float64, Num

from spider_jax.ensemble.calibration import Columns, predictions_of
from spider_jax.errors import InputError
from spider_jax.storage.cache import fingerprint
from spider_jax.storage.files import (
    atomic_folder,
    read_json,
    refuse_foreign_folder,
    write_json,
)
from spider_jax.storage.npz import read_npz

DESCRIPTION, WEIGHTS = "ensemble.json", "weights.npz"
KINDS = ("classification", "regression", "multi-label")
BROKEN = (AttributeError, KeyError, TypeError, ValueError)


class JointHead(NamedTuple):
    """One head on the features of one member, or of several side by side.

    Attributes:
        members: their names.
        weights: of every member, on its raw features; 0 for features that are not kept.
        bias: one per class, label or target.
        temperature: of its predictions.
    """

    members: tuple[str, ...]
    weights: tuple[Float64[np.ndarray, "D C"], ...]
    bias: Float64[np.ndarray, " C"]
    temperature: float


@dataclass(frozen=True)
class Ensemble:
    """Several models as one: the mean of the calibrated predictions of its heads.

    Attributes:
        kind: of the task.
        heads: at least one.
        about: of what task it is, how it was made and how good it was.
    """

    kind: str
    heads: tuple[JointHead, ...]
    about: Mapping[str, Any]

    @property
    def members(self) -> tuple[str, ...]:
        """The models whose features it needs: one forward pass each."""
        return tuple(dict.fromkeys(name for head in self.heads for name in head.members))

    def predict(self, features: Mapping[str, Num[np.ndarray, "N D"]]) -> Columns:
        """What the ensemble says of some rows.

        Args:
            features: of every member by name, as extracted, the same rows in all.

        Returns:
            Probabilities of classes (in the order of the zoo's labels, 0..C-1) or labels, or
            numbers.

        Raises:
            InputError: a member without features, another width, other rows, or values that are
                not finite.
        """
        given = self._checked(features)
        found = [
            predictions_of(
                self.kind,
                sum((given[m] @ W for m, W in zip(h.members, h.weights, strict=True)), h.bias),
                h.temperature,
            )
            for h in self.heads
        ]
        return np.asarray(np.mean(found, axis=0))

    def _checked(
        self, features: Mapping[str, Num[np.ndarray, "N D"]]
    ) -> dict[str, Float64[np.ndarray, "N D"]]:
        missing = [name for name in self.members if name not in features]
        if missing:
            raise InputError(f"features of {missing[0]!r} are missing: the ensemble needs them")
        widths = {m: len(W) for h in self.heads for m, W in zip(h.members, h.weights, strict=True)}
        given = {name: np.asarray(features[name]) for name in self.members}
        rows = len(given[self.members[0]])
        for name, F in given.items():
            if F.ndim != 2 or F.shape != (rows, widths[name]):
                raise InputError(
                    f"features of {name!r} must be [{rows}, {widths[name]}], got {F.shape}"
                )
            if not np.isfinite(F).all():
                raise InputError(f"features of {name!r} must be finite, got NaN or infinity")
        return {name: F.astype(np.float64) for name, F in given.items()}

    def save(self, folder: str | Path) -> None:
        """Write it, all or nothing; an ensemble that stands there is replaced.

        Args:
            folder: for ensemble.json and weights.npz.

        Raises:
            InputError: something else stands there.
        """
        refuse_foreign(Path(folder))
        arrays: dict[str, Any] = {}
        heads = []
        for number, head in enumerate(self.heads):
            arrays[f"{number}/bias"] = head.bias
            arrays |= {f"{number}/{i}": W for i, W in enumerate(head.weights)}
            heads.append({"members": list(head.members), "temperature": head.temperature})
        written = io.BytesIO()
        np.savez(written, **arrays)
        digest = _digest(arrays)
        content = {**self.about, "kind": self.kind, "heads": heads, "weights": digest}
        with atomic_folder(Path(folder)) as fresh:
            (fresh / WEIGHTS).write_bytes(written.getvalue())
            write_json(fresh / DESCRIPTION, "ensemble", content)

    @staticmethod
    def load(folder: str | Path) -> "Ensemble":
        """Read what `save` wrote.

        Args:
            folder: of the ensemble.

        Returns:
            The ensemble; it predicts as before.

        Raises:
            InputError: it is missing, damaged, or of a newer version.
        """
        content = read_json(Path(folder) / DESCRIPTION, "ensemble")
        path = Path(folder) / WEIGHTS
        arrays = read_npz(path, "no whole ensemble")
        try:
            if content["weights"] != _digest(arrays):
                raise ValueError("it is not what ensemble.json was written with")
            if content["kind"] not in KINDS:
                raise ValueError(f"kind must be one of {', '.join(KINDS)}")
            heads = tuple(_head(i, one, arrays) for i, one in enumerate(content["heads"]))
            if not heads:
                raise ValueError("it has no heads")
        except BROKEN as error:
            why = " ".join(str(error).split())
            raise InputError(f"{path} is no whole ensemble: {why:.300}") from None
        own = ("format", "version", "created_with", "kind", "heads", "weights")
        about = {name: value for name, value in content.items() if name not in own}
        return Ensemble(str(content["kind"]), heads, about)


def _head(number: int, one: Mapping[str, Any], arrays: Mapping[str, Any]) -> JointHead:
    members, temperature = tuple(map(str, one["members"])), float(one["temperature"])
    weights = tuple(arrays[f"{number}/{i}"] for i in range(len(members)))
    bias = arrays[f"{number}/bias"]
    shapes = {W.shape[1:] for W in weights}
    if shapes != {bias.shape} or bias.ndim != 1 or not temperature > 0:
        raise ValueError(f"head {number} does not fit its weights")
    return JointHead(members, weights, bias, temperature)


def _digest(arrays: Mapping[str, Any]) -> str:
    return fingerprint(arrays[name] for name in sorted(arrays))


def refuse_foreign(folder: Path) -> None:
    """Refuse a folder that holds something else; asked before the work, not after it.

    Args:
        folder: for an ensemble.

    Raises:
        InputError: a file, or a folder with other files in it.
    """
    ours = {DESCRIPTION, WEIGHTS}
    refuse_foreign_folder(folder, "ensemble", lambda names: DESCRIPTION in names and names <= ours)


def side_by_side(
    members: Sequence[str],
    widths: Sequence[int],
    weights: Float64[np.ndarray, "D C"],
    bias: Float64[np.ndarray, " C"],
    temperature: float,
) -> JointHead:
    """A head on concatenated features, parted by member.

    Args:
        members: names, in the order of concatenation.
        widths: of each.
        weights: one row per concatenated column.
        bias: one per class, label or target.
        temperature: of its predictions.
    """
    parts = np.split(weights, np.cumsum(widths)[:-1])
    return JointHead(tuple(members), tuple(parts), bias, temperature)
