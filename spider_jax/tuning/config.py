"""Settings of a tuning, and the runs that they ask for."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import NamedTuple

from spider_jax.errors import InputError
from spider_jax.tuning.loss import METHODS


@dataclass(frozen=True)
class TuneConfig:
    """How students are tuned: every combination of the first three settings, with every seed.

    Attributes:
        learning_rates: of the student; its head learns head_rate times as fast.
        weights: of the penalty (lambda); () for the method's own.
        temperatures: of the softmax that makes teachers' weights of their LogME.
        standardised: standardise LogME over the teachers before the softmax.
        seeds: how many, counted from `seed`.
        seed: the first one: of initial heads, of the order of rows, and of a split where the zoo
            has none.
        epochs: of every run.
        batch: rows a step.
        momentum: of SGD with Nesterov momentum, in [0, 1].
        weight_decay: of SGD.
        head_rate: how many times as fast as the student its head learns.
        decay_at: share of the epochs after which the learning rate is a tenth, in [0, 1].
        together: runs trained side by side; 0 for as many as memory allows.
        checkpoint_every: epochs that an interruption may cost where checkpoints are kept.
    """

    learning_rates: tuple[float, ...] = (0.003, 0.01, 0.03, 0.1)
    weights: tuple[float, ...] = ()
    temperatures: tuple[float, ...] = (1.0,)
    standardised: bool = True
    seeds: int = 3
    seed: int = 0
    epochs: int = 40
    batch: int = 48
    momentum: float = 0.9
    weight_decay: float = 5e-4
    head_rate: float = 10.0
    decay_at: float = 2 / 3
    together: int = 0
    checkpoint_every: int = 10

    def __post_init__(self) -> None:
        for name in ("seeds", "epochs", "batch", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be >= 1, got {getattr(self, name)}")
        for name in ("learning_rates", "temperatures"):
            values = getattr(self, name)
            if not values or min(values) <= 0:
                raise InputError(f"{name} must be > 0, at least one, got {values}")
        for name in ("momentum", "decay_at"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name} must lie in [0, 1], got {getattr(self, name)}")
        for name in ("seed", "together", "weight_decay", "head_rate"):
            if getattr(self, name) < 0:
                raise InputError(f"{name} must be >= 0, got {getattr(self, name)}")
        if min(self.weights, default=0) < 0:
            raise InputError(f"weights must be >= 0, got {self.weights}")


@dataclass(frozen=True)
class TuneZooConfig:
    """What to tune on a zoo, and how: what a page of `spider-jax tune` holds.

    Attributes:
        teachers: names of models, or "auto:K" for the K best.
        methods: names in METHODS, each once.
        hidden: units of the student's own layer, see `feature_student`.
        training: how students are tuned.
    """

    teachers: tuple[str, ...] = ("auto:3",)
    methods: tuple[str, ...] = ("b-tuning", "fine-tuning")
    hidden: int = 64
    training: TuneConfig = field(default_factory=TuneConfig)

    def __post_init__(self) -> None:
        check_methods(self.methods)
        if self.hidden < 1:
            raise InputError(f"hidden must be >= 1, got {self.hidden}")


def check_methods(methods: Sequence[str]) -> None:
    """Refuse methods that are not in METHODS, none at all, and one that is named twice.

    Args:
        methods: names.

    Raises:
        InputError: as said.
    """
    for method in methods:
        if method not in METHODS:
            raise InputError(f"methods must be some of {', '.join(METHODS)}, got {method!r}")
    if not methods or len(set(methods)) < len(methods):
        raise InputError(f"methods must be at least one, each once, got {list(methods)}")


class Hyperparameters(NamedTuple):
    """The hyper-parameters of some runs.

    Attributes:
        learning_rate: of the student.
        weight: of the penalty (lambda).
        temperature: of the teachers' weights; None where the method has none.
    """

    learning_rate: float
    weight: float
    temperature: float | None


def choices(method: str, config: TuneConfig) -> list[Hyperparameters]:
    """Every combination of hyper-parameters that makes a difference to the method.

    Args:
        method: name in METHODS.
        config: settings.

    Returns:
        The combinations, learning rates outermost.
    """
    wanted = METHODS[method]
    weights = (config.weights or wanted.weights) if wanted.penalty else (0.0,)
    heat = config.temperatures if wanted.guide == "predictions" else (None,)
    return [Hyperparameters(*one) for one in product(config.learning_rates, weights, heat)]
