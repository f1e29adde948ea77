"""Honest comparison of rankings: whole datasets held out, every method beside the baselines.

A `Comparison` holds scores [R, T, M] of methods (R runs or seeds, T tasks, M models) and the true
accuracies [T, M]. Its table gives the weighted Kendall tau with a bootstrap interval over tasks,
the accuracy lost by taking the first model, and the paired difference to the constant order; one
whose interval holds 0 is called a tie.

`baseline_methods` gives the orders that never look at the target: the constant order (the mean of
the other tasks' orders), parameter counts and source accuracies where they are known, and random
orders. `metric_methods` runs training-free metrics on every model: what a ranking without a run has
to be measured against.

A table without the constant order says nothing: on many zoos it is as good as published methods.

>>> import numpy as np
>>> from spider_jax.evaluation import Comparison, Method
>>> truth = np.array([[0.9, 0.8, 0.7], [0.6, 0.7, 0.5]])
>>> constant = Method(np.array([[[3.0, 2.0, 1.0]] * 2]), "nothing")
>>> comparison = Comparison(("cars", "birds"), ("a", "b", "c"), truth, {"constant order": constant})
>>> [round(float(tau), 2) for tau in comparison.taus("constant order")]  # 1: in the right order
[1.0, 0.18]
"""

from spider_jax.evaluation.baselines import (
    Method,
    baseline_methods,
    kernel_method,
    metric_methods,
    ridge_method,
    truth_of,
)
from spider_jax.evaluation.comparison import Comparison

__all__ = [
    "Comparison",
    "Method",
    "baseline_methods",
    "kernel_method",
    "metric_methods",
    "ridge_method",
    "truth_of",
]
