"""Settings of a tuning, and the runs that they ask for."""

from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

from spider_jax.errors import InputError
from spider_jax.tuning.loss import METHODS


@dataclass(frozen=True)
class TuneConfig:
    """How students are tuned; every combination of the first three is run with every seed.

    learning_rates: of the student; its head learns head_rate times as fast. weights: of the penalty
    (lambda), () for the method's own. temperatures: of the teachers' weights; standardised: LogME
    first. seeds: how many, from `seed`: of first heads and order of rows. epochs, batch: of
    training. momentum, weight_decay: of SGD with Nesterov momentum. decay_at: share of the epochs
    after which the rate is a tenth. together: runs at once; 0 for as many as memory allows.
    checkpoint_every: epochs.
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
        if min(self.seed, self.together, self.weight_decay, self.head_rate, *self.weights) < 0:
            raise InputError(
                "seed, together, weight_decay, head_rate and weights must be >= 0, got "
                f"{self.seed}, {self.together}, {self.weight_decay}, {self.head_rate}, "
                f"{self.weights}"
            )


class Hyperparameters(NamedTuple):
    """The hyper-parameters of some runs; temperature: None where there is one teacher or none."""

    learning_rate: float
    weight: float
    temperature: float | None


def choices(method: str, config: TuneConfig) -> list[Hyperparameters]:
    """Every combination that makes a difference to the method."""
    wanted = METHODS[method]
    weights = (config.weights or wanted.weights) if wanted.penalty else (0.0,)
    heat = config.temperatures if wanted.guide == "predictions" else (None,)
    return [Hyperparameters(*one) for one in product(config.learning_rates, weights, heat)]
