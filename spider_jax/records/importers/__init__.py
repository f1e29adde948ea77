"""Results of other programs as records: one module a format, none of which runs anything.

- `wide`: a table of models x tasks, or of tasks x models, as a spreadsheet exports it;
- `mteb`: the public results repository of mteb, or a part of it;
- `lm-eval`: result files of lm-evaluation-harness;
- `model-card`: evaluation results in the front matter of Hugging Face model cards (needs PyYAML);
- `timm`: the result tables of timm, with its tables of costs;
- `folder`: records folders.

A broken file or value is left out and named in `problems`; the rest goes on. What can be decided in
several ways (which revision, which metric, which split) is stated in the importer's docstring and,
where it left something out, in the problems.

>>> from spider_jax.records.importers import KINDS
>>> KINDS
('wide', 'mteb', 'lm-eval', 'model-card', 'timm', 'folder')
"""

from spider_jax.records.importers.gathered import Gathered, ImportOptions
from spider_jax.records.importers.kinds import IMPORTERS, KINDS, import_content

__all__ = ["IMPORTERS", "KINDS", "Gathered", "ImportOptions", "import_content"]
