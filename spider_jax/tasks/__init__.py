"""A task as tokens: what a spider reads of it, and the meta-tasks that it learns from.

`task_tokens` makes the tokens of a task from the general extractor's features and the labels:
the class centres, and how each feature spreads over all rows and within classes. `zoo_tokens` does
the same for a task of a zoo. They are all that a spider reads of a task: kilobytes, whatever the
number of rows. A spider accepts bare class centres as well, for a worse order.

`sample_tasks` draws the meta-tasks of a training: classes of one to three source datasets, then
rows of each. `TaskConfig` says how many and of what size. `Scaling` brings raw tokens to the scale
that the network was trained with; it is part of the spider and applied inside it.

>>> import numpy as np
>>> from spider_jax.tasks import task_tokens
>>> features = np.array([[0.0, 1.0], [2.0, 1.0], [5.0, 5.0], [7.0, 5.0]])
>>> tokens = task_tokens(features, [7, 7, 9, 9], extractor="psi")
>>> tokens.centres.tolist()
[[1.0, 1.0], [6.0, 5.0]]
>>> tokens.deviations[1].tolist()  # within classes
[1.0, 0.0]
"""

from spider_jax.tasks.sampling import MetaTask, TaskConfig, sample_tasks, whole_tasks
from spider_jax.tasks.scaling import Scaling, fit_scaling
from spider_jax.tasks.tokens import (
    TaskTokens,
    task_centres,
    task_deviations,
    task_tokens,
    zoo_tokens,
)

__all__ = [
    "MetaTask",
    "Scaling",
    "TaskConfig",
    "TaskTokens",
    "fit_scaling",
    "sample_tasks",
    "task_centres",
    "task_deviations",
    "task_tokens",
    "whole_tasks",
    "zoo_tokens",
]
