"""A training on disk while it runs: checkpoints to go on from, and its figures as they come.

run/
  run.json         what is trained: another configuration or zoo is refused
  metrics.jsonl    a line of figures an evaluation, for plots
  checkpoints/     the last two states and the best weights so far, written by orbax; gone when done
  checksums/       SHA-256 of every file of a checkpoint
  set_aside/       checkpoints that could not be read, with their checksums; gone when done

A checkpoint is written while the training goes on, and renamed when it is whole. A checkpoint that
cannot be read costs the steps since the one before it. It may be damaged, or its disk may only be
out of reach for a moment, so it is kept. Checksums find the damage first, because orbax reports it
in tracebacks from its threads. Only a checkpoint without checksums, which a process that was killed
between the two leaves behind, is left to orbax.
"""

import json
import logging
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Shaped

from spider_jax.errors import InputError
from spider_jax.storage.files import (
    damaged_file,
    digests,
    read_json,
    refuse_foreign_folder,
    write_json,
    write_text,
)
from spider_jax.storage.orbax import quiet, silence_threads, written
from spider_jax.storage.private import make_private, refuse_foreign_writers

if TYPE_CHECKING:
    import orbax.checkpoint as ocp

log = logging.getLogger("spider_jax")

DESCRIPTION, METRICS = "run.json", "metrics.jsonl"
CHECKPOINTS, CHECKSUMS, SET_ASIDE = "checkpoints", "checksums", "set_aside"
KEPT = 2


class Saved(NamedTuple):
    """What a checkpoint held.

    Attributes:
        arrays: by name, in memory.
        progress: plain JSON values by name.
    """

    arrays: dict[str, Shaped[np.ndarray, "..."]]
    progress: dict[str, Any]


class RunFolder:
    """The folder of a training. Several processes share it; process 0 writes the files.

    Args:
        folder: a new one, or that of the same training, interrupted.
        identity: plain JSON values that say what is trained.

    Raises:
        InputError: the folder holds something else, or the training of something else; or others
            may write to it.
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any]) -> None:
        self.folder = Path(folder)
        self._put_back: Callable[[], None] = lambda: None
        self._manager: ocp.CheckpointManager | None = None
        self._unsigned: int | None = None  # a step whose checksums are still to be written
        given = json.loads(json.dumps(identity))
        refuse_foreign_folder(self.folder, "training run", _is_run)
        if is_writer():
            make_private(self.folder)
        else:
            refuse_foreign_writers(self.folder)
        if (self.folder / DESCRIPTION).exists():
            self._refuse_other(given)
        elif is_writer():
            write_json(self.folder / DESCRIPTION, "training-run", {"identity": given})

    def restore(self) -> Saved | None:
        """The newest checkpoint that can be read, or None; newer ones are logged and set aside."""
        manager = self._open()
        for step in sorted(manager.all_steps(), reverse=True):
            try:
                self._check(step)
                with quiet():
                    return _read(manager, step)
            except Exception as error:  # orbax has no one error for damage
                about = step, self._aside(step), _first_line(error)
                log.warning("the checkpoint of step %d cannot be read, kept in %s: %s", *about)
                self._set_aside(step)
        return None

    def _set_aside(self, step: int) -> None:
        """Move a checkpoint and its checksums to where orbax does not look, in all processes."""
        from jax.experimental.multihost_utils import sync_global_devices

        if is_writer():
            aside = self._aside(step)
            shutil.rmtree(aside, ignore_errors=True)  # of the same step in an earlier process
            aside.mkdir(parents=True)
            self._step(step).replace(aside / "checkpoint")
            if self._checksums(step).exists():
                self._checksums(step).replace(aside / "checksums.json")
        sync_global_devices(f"set aside {step}")
        with quiet():
            self._open().reload()

    def _check(self, step: int) -> None:
        checksums = self._checksums(step)
        if checksums.exists():
            wanted = read_json(checksums, "checksums").get("files")
            problem = damaged_file(self._step(step), wanted)
            if problem:
                raise InputError(problem)

    def save(
        self,
        step: int,
        arrays: Mapping[str, Shaped[Array | np.ndarray, "..."]],
        progress: Mapping[str, object],
    ) -> None:
        """Write a checkpoint while the training goes on.

        Args:
            step: its number; larger than those before it.
            arrays: by name; they may be changed after the return.
            progress: plain JSON values by name.
        """
        import orbax.checkpoint as ocp

        parts = ocp.args.Composite(
            arrays=ocp.args.StandardSave(dict(arrays)), progress=ocp.args.JsonSave(dict(progress))
        )
        self.wait()
        with written(self.folder / CHECKPOINTS):
            self._open().save(step, args=parts, force=True)
        self._unsigned = step

    def wait(self) -> None:
        """Wait until what was saved is on disk, then write its checksums."""
        if self._unsigned is None:
            return
        with written(self.folder / CHECKPOINTS):
            self._open().wait_until_finished()
        if is_writer():
            content = {"files": digests(self._step(self._unsigned))}
            write_json(self._checksums(self._unsigned), "checksums", content)
            for path in (self.folder / CHECKSUMS).glob("*.json"):
                if not self._step(int(path.stem)).exists():
                    path.unlink()
        self._unsigned = None

    def log(self, history: list[dict[str, Any]]) -> None:
        """Write metrics.jsonl anew.

        Args:
            history: all figures so far, plain JSON values by name; each becomes a line.
        """
        if is_writer():
            lines = [json.dumps(entry) + "\n" for entry in history]
            write_text(self.folder / METRICS, "".join(lines))

    def close(self) -> None:
        """Wait for what is being written, and end orbax's threads."""
        self.wait()
        if self._manager is not None:
            with quiet():
                self._manager.close()
            self._manager = None
            self._put_back()

    def _step(self, step: int) -> Path:
        return self.folder / CHECKPOINTS / str(step)

    def _checksums(self, step: int) -> Path:
        return self.folder / CHECKSUMS / f"{step}.json"

    def _aside(self, step: int) -> Path:
        return self.folder / SET_ASIDE / str(step)

    def _open(self) -> "ocp.CheckpointManager":
        import orbax.checkpoint as ocp

        if self._manager is None:
            options = ocp.CheckpointManagerOptions(
                max_to_keep=KEPT, cleanup_tmp_directories=True, enable_async_checkpointing=True
            )
            parts = {
                "arrays": ocp.StandardCheckpointHandler(),
                "progress": ocp.JsonCheckpointHandler(),
            }
            self._put_back = silence_threads()
            with quiet():
                self._manager = ocp.CheckpointManager(
                    (self.folder / CHECKPOINTS).absolute(), options=options, item_handlers=parts
                )
        return self._manager

    def _refuse_other(self, given: dict[str, Any]) -> None:
        found = read_json(self.folder / DESCRIPTION, "training-run").get("identity")
        if found == given:
            return
        known = _flat(found if isinstance(found, dict) else {})
        wanted = _flat(given)
        name = next(n for n in {**wanted, **known} if known.get(n) != wanted.get(n))
        raise InputError(
            f"{self.folder} holds another training ({name} is {known.get(name)!r} there, "
            f"{wanted.get(name)!r} here): remove it, or choose another folder"
        )


def remove_checkpoints(folder: Path) -> None:
    """Remove checkpoints and their checksums once the result is on disk; the figures stay.

    Args:
        folder: of the run.
    """
    for name in (CHECKPOINTS, CHECKSUMS, SET_ASIDE):
        shutil.rmtree(folder / name, ignore_errors=True)


def is_writer() -> bool:
    """Whether this process writes what several processes share."""
    return jax.process_index() == 0


def _is_run(names: set[str]) -> bool:
    """Hidden files are those that a killed process was writing."""
    return DESCRIPTION in names or all(name.startswith(".") for name in names)


def _read(manager: "ocp.CheckpointManager", step: int) -> Saved:
    """Everything as NumPy arrays, whatever devices it was saved from."""
    import orbax.checkpoint as ocp

    shapes = manager.item_metadata(step)["arrays"]
    wanted = {name: np.zeros(a.shape, a.dtype) for name, a in shapes.items()}
    parts = ocp.args.Composite(
        arrays=ocp.args.StandardRestore(wanted), progress=ocp.args.JsonRestore()
    )
    found = manager.restore(step, args=parts)
    arrays = {name: np.asarray(array) for name, array in found["arrays"].items()}
    return Saved(arrays, found["progress"])


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    out: dict[str, Any] = {}
    for name, value in values.items():
        nested = isinstance(value, Mapping)
        out |= _flat(value, f"{prefix}{name}.") if nested else {prefix + name: value}
    return out


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__
