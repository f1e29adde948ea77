"""What metrics share: checked inputs, one pass of statistics, eigenvectors, folds, fits.

Use this where you write a metric of your own. `check_features` and `check_labels` refuse what no
metric can score, with one line that names the argument, the rule and the value. `Statistics` reads
the features once, in blocks, and serves every metric that needs only their sums: Gram matrices,
spectra, principal coordinates. It holds min(N, D)^2 numbers (N D while it reads, if N <= D). All is
computed in float64 on the host.

>>> import numpy as np
>>> from spider_jax.metrics.shared import Statistics, check_features, check_labels
>>> features = check_features([[0.0, 2.0], [0.0, 4.0], [0.0, 6.0]])
>>> given = Statistics(features, check_labels([7, 9, 9], len(features)))
>>> given.total.tolist(), given.moments.mean.tolist(), given.centred_spectrum.s.tolist()
([1.0, 2.0], [0.0, 4.0], [0.0, 8.0])
>>> given.coordinates(1).shape
(3, 1)
"""

from spider_jax.metrics.shared.discriminant import Discriminant, fit_discriminant, posterior
from spider_jax.metrics.shared.eigen import leading_eigenpairs
from spider_jax.metrics.shared.folds import stratified_folds
from spider_jax.metrics.shared.inputs import (
    check_features,
    check_labels,
    check_probabilities,
    check_targets,
    one_hot,
    stratified_rows,
)
from spider_jax.metrics.shared.statistics import Moments, Side, Spectrum, Statistics

__all__ = [
    "Discriminant",
    "Moments",
    "Side",
    "Spectrum",
    "Statistics",
    "check_features",
    "check_labels",
    "check_probabilities",
    "check_targets",
    "fit_discriminant",
    "leading_eigenpairs",
    "one_hot",
    "posterior",
    "stratified_folds",
    "stratified_rows",
]
