"""How a spider is trained: every setting, its default and its range."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from spider_jax.errors import InputError
from spider_jax.ranking.aggregate import AGGREGATES
from spider_jax.ranking.losses import LOSSES
from spider_jax.storage.toml_page import read_page, settings_from
from spider_jax.tasks.sampling import TaskConfig
from spider_jax.tasks.scaling import KINDS
from spider_jax.training.teachers import TEACHERS

AT_LEAST_1 = (
    "width",
    "members",
    "epochs",
    "batch",
    "accumulate",
    "components",
    "own_components",
    "model_shards",
    "checkpoint_every",
)
AT_LEAST_0 = (
    "seed",
    "held_out",
    "weight_decay",
    "token_noise",
    "memory",
    "clip",
    "patience",
    "calibration",
    "k_max",
)
ONE_OF = {
    "scaling": KINDS,
    "aggregate": tuple(AGGREGATES),
    "targets": ("teachers", "accuracies"),
    "loss": tuple(LOSSES),
    "optimizer": ("adamw", "sgd"),
    "parallel": ("mesh", "pmap"),
}


@dataclass(frozen=True)
class TrainConfig:
    """How a spider is trained; the defaults suit a zoo of tens of models and of source datasets.

    seed: of everything. width: d. members: of the ensemble. teachers, aggregate: whose scores give
    the target order. targets: "teachers", or "accuracies" for the zoo's true ones, whose tasks are
    whole source datasets. calibration: how far the teachers' targets move to the true accuracies
    that the zoo knows, see `target_orders`. tasks: how meta-tasks are sampled. scaling, components,
    spread: see `fit_scaling`. held_out: source datasets each member leaves out. epochs: how often
    as many tasks are drawn as there are; held-out tasks are looked at after each. patience: epochs
    without a better look before the training stops early, 0 for never. batch: tasks of a step,
    whose gradient is summed over `accumulate` parts. loss: one of LOSSES. optimizer: "adamw" with
    warm-up and cosine, or plain "sgd". learning_rate; learning_rates: one a member instead.
    weight_decay: of AdamW. clip: longest gradient, 0 for any. dropout: of the attention output.
    token_dropout: share of a task's classes left out of a step. token_noise: standard deviation of
    a shift of all tokens of a task, in units of the tokens. memory: weight of the remembered
    training tasks' order in a score, 0 for none. k_max: most models that a step looks at with their
    own features, 0 for none; own_components: what these are reduced to before they are projected.
    parallel: "mesh" or "pmap", see `parallel`. model_shards: devices that the rows of the model
    tokens are split over. checkpoint_every: steps that an interruption may cost where checkpoints
    are kept. None of these three changes the result.
    """

    seed: int = 0
    width: int = 128
    members: int = 4
    teachers: tuple[str, ...] = ("logme", "knn", "ridge")
    aggregate: str = "mean_z"
    targets: str = "teachers"
    calibration: float = 0.5
    tasks: TaskConfig = field(default_factory=TaskConfig)
    scaling: str = "standardize"
    components: int = 32
    spread: bool = False
    held_out: int = 3
    epochs: int = 6
    batch: int = 32
    accumulate: int = 1
    loss: str = "plackett_luce"
    optimizer: str = "adamw"
    learning_rate: float = 3e-4
    learning_rates: tuple[float, ...] = ()
    weight_decay: float = 0.1
    dropout: float = 0.0
    token_dropout: float = 0.5
    token_noise: float = 1.0
    memory: float = 16.0
    k_max: int = 0
    own_components: int = 64
    clip: float = 1.0
    patience: int = 0
    parallel: str = "mesh"
    model_shards: int = 1
    checkpoint_every: int = 100

    def __post_init__(self) -> None:
        for name in AT_LEAST_1:
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("dropout", "token_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(f"{name} must be in [0, 1), got {getattr(self, name)}")
        for name in AT_LEAST_0:
            if not 0 <= getattr(self, name) < math.inf:
                raise InputError(f"{name} must be at least 0, got {getattr(self, name)}")
        if not 0 < self.learning_rate < math.inf:
            raise InputError(f"learning_rate must be positive, got {self.learning_rate}")
        for rate in self.learning_rates:
            if not 0 < rate < math.inf:
                raise InputError(f"learning_rates must be positive, got {rate}")
        if self.learning_rates and len(self.learning_rates) != self.members:
            raise InputError(
                f"learning_rates must be one a member ({self.members}), "
                f"got {len(self.learning_rates)}"
            )
        for name, known in ONE_OF.items():
            if getattr(self, name) not in known:
                raise InputError(f"{name} must be one of {known}, got {getattr(self, name)!r}")
        unknown = [name for name in self.teachers if name not in TEACHERS]
        if unknown or not self.teachers:
            raise InputError(f"teachers must be some of {tuple(TEACHERS)}, got {self.teachers}")


def load_config(path: str | Path) -> TrainConfig:
    """Read a TrainConfig from a TOML file; keys that are not given keep their default.

    Args:
        path: the file; its table [tasks] holds the fields of TaskConfig.

    Returns:
        The configuration.

    Raises:
        InputError: no TOML file, an unknown key (the nearest is named), a value of another type or
            out of range.
    """
    return read_page(path, TrainConfig)


def read_config(content: Mapping[str, Any]) -> TrainConfig:
    """The configuration in a spider's JSON; what it does not hold is the default.

    Raises:
        InputError: a value that cannot be.
    """
    plain = json.loads(json.dumps(content))  # lists, as a page has them
    return settings_from(plain, TrainConfig, "spider.json")
