"""A prior that several commands read."""

from pathlib import Path

import numpy as np
import pytest

from support.command_line import Command
from support.small_zoo import SMALL_MODELS


@pytest.fixture
def prior(command: Command, tmp_path: Path) -> Path:
    """From results of the small zoo's models on three other tasks."""
    rng = np.random.default_rng(0)
    rows = [f"{m},{t},{rng.random():.3f}" for m in SMALL_MODELS for t in ("plums", "owls", "figs")]
    (tmp_path / "records").mkdir()
    (tmp_path / "records" / "values.csv").write_text("\n".join(["model,task,value", *rows, ""]))
    fitted = command("records", "fit", tmp_path / "records", "--out", tmp_path / "prior")
    assert fitted.code == 0, fitted.err
    return tmp_path / "prior"
