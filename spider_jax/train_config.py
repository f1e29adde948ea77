"""How a spider is trained: every setting, its default and its range."""

import math
from dataclasses import dataclass, field

from spider_jax.aggregate import AGGREGATES
from spider_jax.errors import InputError
from spider_jax.scaling import KINDS
from spider_jax.tasks import TaskConfig
from spider_jax.teachers import TEACHERS


@dataclass(frozen=True)
class TrainConfig:
    """How a spider is trained; the defaults suit a zoo of tens of models and of source datasets.

    seed: of everything. width: d. members: of the ensemble. teachers, aggregate: whose scores give
    the target order. tasks: how meta-tasks are sampled. scaling, components, spread: see
    `fit_scaling`. held_out: source datasets each member leaves out. steps, batch (tasks),
    learning_rate, weight_decay: of AdamW with warm-up and cosine. dropout: of the attention output.
    token_dropout: share of a task's classes left out of a step. token_noise: standard deviation of
    a shift of all tokens of a task, in units of the tokens. memory: weight of the remembered
    training tasks' order in a score, 0 for none. evaluations: how often held-out tasks are looked
    at.
    """

    seed: int = 0
    width: int = 128
    members: int = 4
    teachers: tuple[str, ...] = ("logme", "knn", "ridge")
    aggregate: str = "mean_z"
    tasks: TaskConfig = field(default_factory=TaskConfig)
    scaling: str = "standardize"
    components: int = 32
    spread: bool = False
    held_out: int = 3
    steps: int = 100
    batch: int = 32
    learning_rate: float = 3e-4
    weight_decay: float = 0.1
    dropout: float = 0.0
    token_dropout: float = 0.5
    token_noise: float = 1.0
    memory: float = 8.0
    evaluations: int = 5

    def __post_init__(self) -> None:
        for name in ("width", "members", "steps", "batch", "evaluations", "components"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("dropout", "token_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(f"{name} must be in [0, 1), got {getattr(self, name)}")
        for name in ("seed", "held_out", "weight_decay", "token_noise", "memory"):
            if not 0 <= getattr(self, name) < math.inf:
                raise InputError(f"{name} must be at least 0, got {getattr(self, name)}")
        if not 0 < self.learning_rate < math.inf:
            raise InputError(f"learning_rate must be positive, got {self.learning_rate}")
        if self.scaling not in KINDS:
            raise InputError(f"scaling must be one of {KINDS}, got {self.scaling!r}")
        if self.aggregate not in AGGREGATES:
            raise InputError(
                f"aggregate must be one of {tuple(AGGREGATES)}, got {self.aggregate!r}"
            )
        unknown = [name for name in self.teachers if name not in TEACHERS]
        if unknown or not self.teachers:
            raise InputError(f"teachers must be some of {tuple(TEACHERS)}, got {self.teachers}")
