"""Small heads on frozen features, and the measures of their predictions.

A head is a linear layer, or one hidden layer with ReLU, on the features of one model; the model
itself is never run or changed. That is the cheapest training that says something about
fine-tuning: `spider_jax.selection` trains heads to choose a model.

- `init_head` makes a fresh head. Columns are scaled by mean and deviation of the training rows.
- `train_epoch` trains heads of one width side by side for one epoch of AdamW. Each of them learns
  as it would alone, up to rounding. Features are read by blocks of rows and need not fit in memory.
- `outputs_on` and `Targets.predictions` give predictions; TASK_MEASURES says how good they are.
- `HeadTrainer` does all of that for the models of a zoo. Every epoch is on disk when it returns,
  and a model that fails does not stop the others.

An epoch costs one read of the training rows and 6 N D K operations (K outputs). The weights of a
head depend on the seed and the model's name alone, so that the same call gives the same head.

Larger is better in every measure: `rmse` and `log_loss` are negative. A task's entry in the
manifest may name its measure (`"measure": "matthews"`); the default is accuracy, and rmse for a
regression.

A head says how much of a task can be read from frozen features. Fine-tuning may order models
otherwise, above all where the task is unlike what the models were trained on.

>>> import numpy as np
>>> from spider_jax.heads import HeadConfig, TASK_MEASURES
>>> from spider_jax.heads import init_head, make_targets, outputs_on, train_epoch
>>> labels = np.arange(60) % 3
>>> noise = np.random.default_rng(0).normal(size=(60, 3))
>>> features = (np.eye(3)[labels] + 0.1 * noise).astype(np.float32)
>>> train, validation = np.arange(40), np.arange(40, 60)
>>> targets = make_targets("classification", labels, train)
>>> config = HeadConfig(batch=8, learning_rate=0.05)
>>> head = init_head("resnet", config, features, train, outputs=3)
>>> for epoch in range(3):
...     (head,) = train_epoch([head], [features], targets, train, config, epoch)
>>> (outputs,) = outputs_on([head.params], [head], [features], validation)
>>> TASK_MEASURES["accuracy"].score(labels[validation], targets.predictions(outputs))
1.0
"""

from spider_jax.heads.files import load_head, save_head
from spider_jax.heads.measures import TASK_MEASURES, TaskMeasure, measure_name, standard_error
from spider_jax.heads.targets import Targets, make_targets
from spider_jax.heads.trainer import HeadTrainer, Trained
from spider_jax.heads.training import HeadConfig, HeadState, init_head, outputs_on, train_epoch

__all__ = [
    "TASK_MEASURES",
    "HeadConfig",
    "HeadState",
    "HeadTrainer",
    "Targets",
    "TaskMeasure",
    "Trained",
    "init_head",
    "load_head",
    "make_targets",
    "measure_name",
    "outputs_on",
    "save_head",
    "standard_error",
    "train_epoch",
]
