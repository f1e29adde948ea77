"""Rank a whole zoo of pre-trained models for a task without running the zoo.

Data flows one way; a sub-package imports only from those below it:

- `cli`, `demo`: the command line; the embedded zoo from disk to tables.
- `evaluation`: honest comparison, whole datasets held out, every baseline beside it.
- `choose`, `selection`, `tuning`, `onboarding`, `index`: what is done with a spider or a zoo.
- `training`, `heads`, `extract`: how a spider is trained; heads on frozen features; models and data
  into a zoo.
- `spider`, `recommend`: the ranker from features, and the one from results.
- `belief`: the posterior over models: process over tasks, evidence, what follows from it.
- `tasks`, `records`: a task as tokens; past results with holes.
- `zoo`: a zoo on disk: opened, checked, inspected, split, scored.
- `facts`: what models cost, their licence, their data; conditions, the Pareto front.
- `metrics`, `ranking`: one file a metric; losses, agreement measures, the `Ranking`.
- `report`, `storage`, `runtime`, `errors`: results as tables and pages; files; threads, devices,
  processes; the one error for bad input.

>>> import spider_jax
>>> spider_jax.weighted_tau([0.9, 0.8, 0.7], [3.0, 2.0, 1.0])
1.0
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from spider_jax.cli import interrupt

if interrupt.is_command_line():  # what a command imports takes a second, in which Ctrl-C may come
    interrupt.leave_at_once()

if TYPE_CHECKING:
    from spider_jax.choose.compared import compare
    from spider_jax.errors import InputError
    from spider_jax.extract.target_task import TargetTask, task_from
    from spider_jax.facts.short_list import Ranking
    from spider_jax.index.zoo_index import ZooIndex
    from spider_jax.metrics.methods.h_score import h_score_shrunk
    from spider_jax.metrics.methods.knn import knn
    from spider_jax.metrics.methods.leep import leep
    from spider_jax.metrics.methods.linear_probe import linear_probe
    from spider_jax.metrics.methods.logme import logme
    from spider_jax.metrics.methods.nce import nce
    from spider_jax.metrics.methods.ridge import ridge
    from spider_jax.metrics.table import METRICS
    from spider_jax.ranking.losses import plackett_luce_loss
    from spider_jax.ranking.measures import weighted_tau
    from spider_jax.spider.spider import Spider
    from spider_jax.tasks.sampling import TaskConfig
    from spider_jax.tasks.tokens import TaskTokens, task_deviations, task_tokens
    from spider_jax.training.config import TrainConfig
    from spider_jax.training.train_spider import train
    from spider_jax.zoo.scores import score_zoo
    from spider_jax.zoo.store import FeatureStore

__all__ = [
    "METRICS",
    "FeatureStore",
    "InputError",
    "Ranking",
    "Spider",
    "TargetTask",
    "TaskConfig",
    "TaskTokens",
    "TrainConfig",
    "ZooIndex",
    "compare",
    "h_score_shrunk",
    "knn",
    "leep",
    "linear_probe",
    "logme",
    "nce",
    "plackett_luce_loss",
    "ridge",
    "score_zoo",
    "task_deviations",
    "task_from",
    "task_tokens",
    "train",
    "weighted_tau",
]

_HOMES = {
    "METRICS": "metrics.table",
    "FeatureStore": "zoo.store",
    "InputError": "errors",
    "Ranking": "facts.short_list",  # with it a ranking with facts is read back as one
    "Spider": "spider.spider",
    "TargetTask": "extract.target_task",
    "TaskConfig": "tasks.sampling",
    "TaskTokens": "tasks.tokens",
    "TrainConfig": "training.config",
    "ZooIndex": "index.zoo_index",
    "compare": "choose.compared",
    "h_score_shrunk": "metrics.methods.h_score",
    "knn": "metrics.methods.knn",
    "leep": "metrics.methods.leep",
    "linear_probe": "metrics.methods.linear_probe",
    "logme": "metrics.methods.logme",
    "nce": "metrics.methods.nce",
    "plackett_luce_loss": "ranking.losses",
    "ridge": "metrics.methods.ridge",
    "score_zoo": "zoo.scores",
    "task_deviations": "tasks.tokens",
    "task_from": "extract.target_task",
    "task_tokens": "tasks.tokens",
    "train": "training.train_spider",
    "weighted_tau": "ranking.measures",
}
_PACKAGES = (
    "belief", "choose", "cli", "demo", "ensemble", "errors", "evaluation", "extract", "facts",
    "heads", "index", "metrics", "onboarding", "ranking", "recommend", "records", "report",
    "runtime", "selection", "spider", "storage", "tasks", "training", "tuning", "zoo",
)  # fmt: skip


def __getattr__(name: str) -> Any:
    """A name is imported when it is first asked for: a short command needs few of them."""
    if name in _HOMES:
        found = getattr(import_module(f"spider_jax.{_HOMES[name]}"), name)
    elif name in _PACKAGES:
        found = import_module(f"spider_jax.{name}")
    else:
        raise AttributeError(f"module 'spider_jax' has no attribute {name!r}")
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES, *_PACKAGES})
