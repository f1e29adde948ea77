"""The settings of a training: their defaults, their ranges, and how they are read."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

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
# Far beyond what anybody trains: a slip of the hand ends in one line, not in a full memory.
AT_MOST = {
    "seed": 2**32 - 1,
    "width": 1 << 14,
    "members": 1 << 10,
    "epochs": 1 << 20,
    "batch": 1 << 20,
    "accumulate": 1 << 20,
    "components": 1 << 20,
    "own_components": 1 << 14,
    "model_shards": 1 << 16,
    "k_max": 1 << 12,
    "held_out": 1 << 20,
    "patience": 1 << 30,
    "checkpoint_every": 1 << 30,
}
BELOW_1 = ("dropout", "token_dropout")
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
    """How a spider is trained. The defaults suit a zoo of tens of models and of source datasets.

    Attributes:
        seed: seed of every random draw. Train with several to see how much chance decides.
        width: d, numbers in a model's token. Less (64) saves time with thousands of models; the
            published spider has 1,024.
        members: spiders in the ensemble, whose mean score ranks the models. More make a ranking
            steadier; time and memory grow with them.
        teachers: names in TEACHERS: metrics that order the models of every meta-task. One cheap
            teacher ("knn") saves most of the time of a large zoo.
        aggregate: name in AGGREGATES: how the teachers' metrics become one score. "copeland" is the
            published one.
        targets: what is learned: "teachers", or "accuracies" for the zoo's true ones, of which
            every model needs one on every source dataset. A meta-task then has all classes of one
            source dataset.
        calibration: how far the teachers' targets move to the true accuracies that the zoo knows,
            see `target_orders`; 0 leaves them as they are. Choose 0 where the accuracies were
            measured in another way than the models will be used.
        tasks: how meta-tasks are sampled, see TaskConfig. Fewer or smaller tasks save the teachers'
            time; a table [tasks] on a page.
        scaling: how the extractor's features are scaled, see `fit_scaling`: "raw", "standardize" or
            "pca". Choose "raw" where they are standardised already.
        components: principal components that "pca" keeps; other scalings do not read it.
        spread: whether a token also carries its distance from the mean of the task's tokens, which
            doubles its width. Try it where tasks differ in how far apart their classes lie.
        held_out: source datasets that each member leaves out of its training, half of them at most.
            Their tasks choose the epoch and give the resolution of a ranking. With 0 the last epoch
            counts and the resolution is not known.
        epochs: passes over the meta-tasks; the one with the best held-out tau counts. More where
            that tau still rises in the last one.
        batch: tasks in a step. More keep more devices busy.
        accumulate: parts of a batch, whose gradients are summed. More where a batch does not fit
            into the memory of a device.
        loss: name in LOSSES: how scores are compared with a target order.
        optimizer: "adamw", with warm-up and a cosine schedule, or "sgd", plain and at one rate.
        learning_rate: the largest step size, of all members. Less where the training diverges.
        learning_rates: one learning rate for each member, in place of `learning_rate`; empty for
            none. Compares rates in one training.
        weight_decay: of AdamW: what a step takes off a matrix, as a share of it, times the learning
            rate. More where the spider overfits few source datasets.
        dropout: share of the attention's output that a step sets to 0, in [0, 1).
        token_dropout: share of a task's classes that a step leaves out, in [0, 1). More where the
            spider overfits few source datasets.
        token_noise: standard deviation of a random shift of all tokens of a task, in units of the
            scaled tokens, whose mean square is 1. More where the spider overfits few source
            datasets.
        memory: deviation of the part of a score that comes from the remembered training tasks, see
            `spider.task_memory`; 0 for no memory. More lets the memory decide more of the order.
        k_max: most models of a task that a step reads with their own features, 0 for none. Give a
            few (5) for a spider that re-ranks by attention; the training then reads the features of
            all models and takes longer.
        own_components: principal components of a model's own features that are projected; read
            where `k_max` is above 0.
        clip: longest gradient; a longer one is shortened to it. 0 for any length.
        patience: epochs without a better held-out tau before the training stops early, 0 for never.
        parallel: "mesh" for all devices of all processes, or "pmap" for those of one process, see
            `training.parallel`. Does not change the result beyond rounding.
        model_shards: devices that the rows of the model tokens are split over; must divide the
            number of devices. More where the tokens do not fit on one. Does not change the result
            beyond rounding.
        checkpoint_every: steps that an interruption may cost at most, where a run folder is kept.
            Does not change the result.

    Raises:
        InputError: a value out of its range; the message names the field, the rule and the value.
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
        self._check_ranges()
        self._check_learning_rates()
        for name, known in ONE_OF.items():
            if getattr(self, name) not in known:
                raise InputError(f"{name} must be one of {known}, got {getattr(self, name)!r}")
        if not self.teachers:
            raise InputError(f"teachers must name at least one of {tuple(TEACHERS)}, got ()")
        for name in self.teachers:
            if name not in TEACHERS:
                raise InputError(f"teachers must be some of {tuple(TEACHERS)}, got {name!r}")

    def _check_ranges(self) -> None:
        for name in AT_LEAST_1:
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name, most in AT_MOST.items():
            if getattr(self, name) > most:
                raise InputError(f"{name} must be at most {most}, got {getattr(self, name)}")
        for name in BELOW_1:
            if not 0 <= getattr(self, name) < 1:
                raise InputError(f"{name} must be in [0, 1), got {getattr(self, name)}")
        for name in AT_LEAST_0:
            if not 0 <= getattr(self, name) < math.inf:
                raise InputError(f"{name} must be at least 0 and finite, got {getattr(self, name)}")

    def _check_learning_rates(self) -> None:
        if not 0 < self.learning_rate < math.inf:
            raise InputError(f"learning_rate must be positive and finite, got {self.learning_rate}")
        for i, rate in enumerate(self.learning_rates):
            if not 0 < rate < math.inf:
                raise InputError(
                    f"learning_rates, entry {i} must be positive and finite, got {rate}"
                )
        if self.learning_rates and len(self.learning_rates) != self.members:
            raise InputError(
                f"learning_rates must be one a member ({self.members}), "
                f"got {len(self.learning_rates)}"
            )


def load_config(path: str | Path) -> TrainConfig:
    """Read a TrainConfig from a TOML file; keys that are not given keep their default.

    Args:
        path: the file, one key a field; its table [tasks] holds the fields of TaskConfig.

    Returns:
        The configuration.

    Raises:
        InputError: no TOML file, an unknown key (the nearest is named), a value of another type or
            out of range.
    """
    return read_page(path, TrainConfig)


def read_config(content: Mapping[str, object]) -> TrainConfig:
    """Read the configuration that a spider's JSON holds; fields that it lacks keep their default.

    Args:
        content: plain values by field, as `dataclasses.asdict` gives them.

    Returns:
        The configuration.

    Raises:
        InputError: an unknown key, a value of another type or out of range.
    """
    plain = json.loads(json.dumps(content))  # lists, as a page has them
    return settings_from(plain, TrainConfig, "spider.json")
