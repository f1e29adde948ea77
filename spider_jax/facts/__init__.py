"""Facts of models: what each costs, its licence, what it was trained on; conditions and costs.

`read_facts` reads a CSV (timm's results, a leaderboard, your own), a zoo's manifest, a records
folder or a prior. Known by name, whatever a table calls them: params, flops, seconds, memory,
input_size, licence, family, trained_on; other columns keep their names. `extract` measures seconds
an example, on its machine, and the bytes of the parameters: a value that is stated counts before
these. What is not known stays unknown: it is never 0, and a model of which a condition is not known
is left out and named.

`shortlist` gives a ranking the facts: the models that pass a condition, columns of facts, the
Pareto front of expected performance against a cost, and marks on models that say they were trained
on the task's data. The language of conditions is described in `facts.where`.

>>> import numpy as np
>>> from spider_jax.facts import FactTable, judge
>>> facts = FactTable(
...     ("lite", "vit", "own"),
...     {"params": np.array([5.3e6, 86e6, np.nan])},
...     {"licence": (("Apache-2.0",), ("MIT",), ("MIT",))},
... )
>>> judge("params <= 50M and licence in (mit, apache-2.0)", facts).note()
'where params <= 50M and licence in (mit, apache-2.0): 1 of 3 models pass, 1 do not, 1 unknown
and left out (params or licence is not known): own'
"""

from spider_jax.facts.beside import Beside
from spider_jax.facts.columns import table_of_columns, table_of_entries
from spider_jax.facts.contamination import trained_on_task
from spider_jax.facts.fact_table import FactTable
from spider_jax.facts.front import Front, pareto
from spider_jax.facts.short_list import ShortList, shortlist
from spider_jax.facts.sources import read_facts
from spider_jax.facts.verdict import Verdict, judge

__all__ = [
    "Beside",
    "FactTable",
    "Front",
    "ShortList",
    "Verdict",
    "judge",
    "pareto",
    "read_facts",
    "shortlist",
    "table_of_columns",
    "table_of_entries",
    "trained_on_task",
]
