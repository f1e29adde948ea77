"""Heads in training on disk: one .npz a model, never unpickled, written all or nothing."""

import io
import zipfile
from pathlib import Path
from typing import Any

import jax
import numpy as np

from spider_jax.errors import InputError
from spider_jax.heads.training import HeadConfig, HeadState, Params, optimizer
from spider_jax.storage.files import atomic_file, name_to_component

UNREADABLE = (OSError, KeyError, ValueError, zipfile.BadZipFile, EOFError)


def head_path(folder: Path, model: str) -> Path:
    """Where a model's head lies in the folder of a run.

    Args:
        folder: of the run.
        model: name.

    Returns:
        The path of an .npz file in FOLDER/heads.
    """
    return folder / "heads" / f"{name_to_component(model)}.npz"


def save_head(path: Path, state: HeadState) -> None:
    """Write a head with its optimiser, best checkpoint and scores, all or nothing.

    Args:
        path: of `head_path`.
        state: of the head.
    """
    arrays: dict[str, Any] = {"mean": state.mean, "scale": state.scale}
    arrays |= {f"params/{name}": np.asarray(value) for name, value in state.params.items()}
    arrays |= {f"best/{name}": np.asarray(value) for name, value in state.best.items()}
    leaves = jax.tree.leaves(state.optimizer)
    arrays |= {f"optimizer/{i}": np.asarray(leaf) for i, leaf in enumerate(leaves)}
    arrays["validation"] = np.array(state.validation, np.float64)
    arrays["standard_error"] = np.array(state.standard_error, np.float64)
    written = io.BytesIO()
    np.savez(written, **arrays)
    with atomic_file(path) as file:
        file.write(written.getvalue())


def load_head(path: Path, config: HeadConfig) -> HeadState:
    """Read what `save_head` wrote.

    Args:
        path: of `head_path`.
        config: that the head was trained with.

    Returns:
        The head as it was.

    Raises:
        InputError: it is missing or damaged.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as held:
            arrays = {name: held[name] for name in held.files}
        params, best = (_under(arrays, part) for part in ("params/", "best/"))
        start = optimizer(config).init(params)  # its shape only
        shape = jax.tree.structure(start)
        leaves = [arrays[f"optimizer/{i}"] for i in range(len(jax.tree.leaves(start)))]
        return HeadState(
            params,
            jax.tree.unflatten(shape, leaves),
            arrays["mean"],
            arrays["scale"],
            best,
            tuple(arrays["validation"].tolist()),
            tuple(arrays["standard_error"].tolist()),
        )
    except UNREADABLE as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path} is no whole head: {reason}") from None


def _under(arrays: dict[str, np.ndarray], prefix: str) -> Params:
    found = {name.removeprefix(prefix): a for name, a in arrays.items() if name.startswith(prefix)}
    return dict(sorted(found.items()))
