"""Several of the best models together: the average of their predictions, or one head on all.

Choosing one model throws the others away. With features on disk, combining costs no forward pass to
try; to use, one pass per member and row. `combine_zoo(zoo, task)` or `spider-jax combine ZOO TASK`
gives every candidate a calibrated linear head, adds the member that helps most given those chosen
(not who is second alone), and says what each adds and when one model is as good. Everything is
decided on rows that the heads have not seen; test rows are read once.

| method | what it does |
|---|---|
| `average` | mean of calibrated predictions of one head per member |
| `concatenate` | one head on all members' features side by side |
| `select` | the same on the columns that a spike-and-slab linear model keeps |

When not to trust it: heads are linear on frozen features; a fine-tuned ensemble may behave
otherwise. With few rows the standard error of a gain is large, and one model is chosen. On 18 real
text tasks three members beat the best single model, which nobody knows beforehand, by .019 [.010,
.029] of accuracy; on 14 vision tasks they tie with it (-.000 [-.013, .012]) and beat the best by
LogME (+.023 [.005, .044]). `select` is worse than one model on both (-.12 vision, -.08 text):
dense, correlated features are not sparse.

>>> import numpy as np
>>> from spider_jax.ensemble import Ensemble, JointHead
>>> head = JointHead(("a",), (np.eye(2),), np.zeros(2), 0.1)
>>> Ensemble("classification", (head,), {}).predict({"a": np.eye(2)}).argmax(1).tolist()
[0, 1]
"""

from spider_jax.ensemble.combination import Combination
from spider_jax.ensemble.combine import combine_zoo
from spider_jax.ensemble.feature_selection import SelectedFeatures, select_features
from spider_jax.ensemble.linear_head import FittedHead, Head, fit_head
from spider_jax.ensemble.members import Step, fewest_as_good, forward_choice
from spider_jax.ensemble.saved import Ensemble, JointHead

__all__ = [
    "Combination",
    "Ensemble",
    "FittedHead",
    "Head",
    "JointHead",
    "SelectedFeatures",
    "Step",
    "combine_zoo",
    "fewest_as_good",
    "fit_head",
    "forward_choice",
    "select_features",
]
