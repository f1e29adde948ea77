"""Training-free transferability metrics: how promising a model's features are for a task.

A metric needs the features of a model on the task, so it costs one forward pass per model; a spider
needs no pass at all. Each metric is a function, `logme(features, labels)`, and larger is better in
all. `METRICS` is the table of those that a zoo can feed, and `spider_jax.score_zoo(zoo, task,
metrics)` or `spider-jax score ZOO TASK` scores the whole zoo. One pass over a model's features
serves all metrics; features are memmaps, read in blocks, and need not fit in memory. Scores are
kept by the content of features and labels, so that a second run computes only what is missing. A
model or a metric that fails is listed, and the rest goes on.

| metric | reads | range | in one line |
|---|---|---|---|
| `logme` | features | real | log evidence of a Bayesian linear model; any kind of labels |
| `knn` | features | [0, 1] | leave-one-out accuracy of 5 neighbours |
| `h_score`, `h_score_shrunk` | features | [0, C - 1] | variance that the classes explain |
| `n_leep` | features | (-inf, 0] | LEEP on a Gaussian mixture |
| `parc` | features | [-1, 1] | distances of features against distances of labels |
| `gbc` | features | [-C (C - 1), 0] | Bhattacharyya overlap of the classes |
| `transrate` | features | [0, inf) | coding rate of all rows, less that of the classes |
| `sfda` | features | (0, 1] | posterior of a regularised discriminant, on harder rows |
| `lfc` | features | [-1, 1] | correlation of inner products with equal labels |
| `pactran_gauss` | features | real | PAC-Bayes bound of a linear classifier |
| `ncti` | features | [-1, 2] | nearness to neural collapse, relative to the zoo it is in |
| `nce`, `leep` | source probabilities | (-inf, 0] | how source classes predict the target's |
| `pactran_dirichlet`, `pactran_gamma` | source probabilities | real | the same, as evidence |
| `otce` | source and target features | (-inf, 0] | optimal transport; a function only |
| `zood` | features and domains | real | LogME and density on a domain that is left out |
| `ridge`, `linear_probe` | features | [0, 1] | probes: ceilings, not proxies |

`DEFAULT_METRICS` are those that are worth their cost. Every docstring gives the formula, the cost,
what happens where N < D, and where the number departs from which published code: public LogME
favours wide models where N < D (`compat="published"` gives that number), GBC breaks its own bound,
LEEP is NaN for a source class that is never predicted.

When not to trust them: most values do not compare between tasks, only between models on one task.
Where there are fewer rows than columns some are not better than an order that ignores the task. On
23 real models and 14 tasks of about 320 rows (mean weighted tau; noise ceiling .885, linear probe
.859) LogME .785, PARC .747, kNN .743 and NCTI .736 beat the constant order (.603); N-LEEP .697, GBC
.596, PACTran-Gauss .556 and LFC .550 tie with it; shrunk H-Score .447, TransRate .424, SFDA .385
and plain H-Score .203 are worse. NCTI of a model depends on which other models are in the zoo.

>>> import numpy as np
>>> from spider_jax.metrics import METRICS, h_score_shrunk, knn
>>> labels = np.repeat([0, 1, 2], 20)
>>> rng = np.random.default_rng(0)
>>> noise = rng.normal(size=(60, 8))
>>> features = noise + 4 * np.eye(8)[labels]
>>> knn(features, labels), knn(noise, labels) < 0.6
(1.0, True)
>>> h_score_shrunk(features, labels) > h_score_shrunk(noise, labels)
True
>>> METRICS["knn"].needs, METRICS["leep"].needs
('features', 'probabilities')
"""

from spider_jax.metrics.methods.gbc import gbc
from spider_jax.metrics.methods.h_score import h_score, h_score_shrunk
from spider_jax.metrics.methods.knn import knn
from spider_jax.metrics.methods.leep import leep
from spider_jax.metrics.methods.lfc import lfc
from spider_jax.metrics.methods.linear_probe import linear_probe
from spider_jax.metrics.methods.logme import LogMEFit, fit_logme, logme
from spider_jax.metrics.methods.n_leep import n_leep
from spider_jax.metrics.methods.nce import nce
from spider_jax.metrics.methods.ncti import NctiParts, combine_ncti, ncti_parts
from spider_jax.metrics.methods.otce import otce
from spider_jax.metrics.methods.pactran import pactran_dirichlet, pactran_gamma, pactran_gauss
from spider_jax.metrics.methods.parc import parc
from spider_jax.metrics.methods.ridge import ridge
from spider_jax.metrics.methods.sfda import sfda
from spider_jax.metrics.methods.transrate import transrate
from spider_jax.metrics.methods.zood import ShiftScore, fit_zood, zood
from spider_jax.metrics.table import DEFAULT_METRICS, METRICS, Metric

__all__ = [
    "DEFAULT_METRICS",
    "METRICS",
    "LogMEFit",
    "Metric",
    "NctiParts",
    "ShiftScore",
    "combine_ncti",
    "fit_logme",
    "fit_zood",
    "gbc",
    "h_score",
    "h_score_shrunk",
    "knn",
    "leep",
    "lfc",
    "linear_probe",
    "logme",
    "n_leep",
    "nce",
    "ncti_parts",
    "otce",
    "pactran_dirichlet",
    "pactran_gamma",
    "pactran_gauss",
    "parc",
    "ridge",
    "sfda",
    "transrate",
    "zood",
]
