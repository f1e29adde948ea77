"""What is known of every model's performance on a task: one posterior, and what follows from it.

A `Belief` is a Gaussian posterior over the models' standings on a task. `Spider.belief` begins one
from the task's tokens alone: a Gaussian process over tasks gives the mean, which far from all known
tasks is the constant order, and a variance that grows with the distance (`task_process`); the
covariance over models is of few factors (`factors`). All numbers are learned by leaving whole
source datasets out (`learn_process`). Evidence is linear, with its own learned noise
(`evidence`): `belief.look` takes in metrics of models that are looked at, `belief.observe` true
results; conditioning is exact (`gaussian`). What follows (`decision`): the probability to be the
best, the expected loss of a choice, which model to look at next, and a `Ranking`; and what each
source of evidence moved (`explanation`).
"""

from spider_jax.belief.belief import Belief
from spider_jax.belief.evidence import EvidenceModel, MetricNoise, Spread, learn_metric_noise
from spider_jax.belief.explanation import Explanation, Stage, explain
from spider_jax.belief.factors import Factors, fit_factors
from spider_jax.belief.gaussian import Observation, Posterior, Standings
from spider_jax.belief.learn_process import HeldOutTasks, learn_hyper
from spider_jax.belief.looks import Next
from spider_jax.belief.task_process import TaskProcess

__all__ = [
    "Belief",
    "EvidenceModel",
    "Explanation",
    "Factors",
    "HeldOutTasks",
    "MetricNoise",
    "Next",
    "Observation",
    "Posterior",
    "Spread",
    "Stage",
    "Standings",
    "TaskProcess",
    "explain",
    "fit_factors",
    "learn_hyper",
    "learn_metric_noise",
]
