"""Results go out here: terminal, Markdown, CSV, JSON, HTML, frames, plots. Knows no spider, no zoo.

Every result of the package (a `Ranking`, the scores of `score_zoo`, a selection, a tuning, an
inspection, a comparison, the demo) is a `Result`, so all of them have the same ways out:

- `print(result)` or `result.to_text()`: tables and sentences for a terminal, then what was skipped;
- `result.to_markdown()`: the same, for a page;
- `result.to_csv(path)`: the table with exact names and all digits;
- `result.to_json(path)`: rows, sentences and what was skipped under a header with format and
  version; `result.to_content()` is the same as a dictionary; `Ranking.from_json(path)` (and that of
  Rankings, ScoreTable, Comparison, Selection and Tuning) reads it back;
- `result.to_html()`: one self-contained page with pictures; `write_report` makes one of many
  results, and `spider-jax report` one of their JSON files; its map of tasks and models is one of
  tokens where these are at hand (`maps`, `--spider`, `--zoo`), else one of scores, and says so;
- `result.to_frame()`: a data frame of pandas or polars; in a notebook the result is a table;
- `result.plot()`: a picture by matplotlib, where the kind has one; `plots` has them for arrays.

Names of models and tasks are data. A terminal and Markdown get them escaped, so that no name can
move the cursor, open a link or break a table; CSV and JSON hold them as they are. What this package
writes itself is marked as `Own` and is not escaped: `interval(0.6, 0.75)` is `[0.600, 0.750]` on a
page too. Mark nothing as `Own` that holds a word of a user.

A result of your own says what it is called, its columns and its rows; all else is there:

>>> from dataclasses import dataclass
>>> from spider_jax.report import Result, interval
>>> @dataclass(frozen=True)
... class Regrets(Result):
...     models: dict[str, float]
...     kind = "regrets"
...     columns = ("model", "regret", "95 % interval")
...     def to_rows(self):
...         return [(m, r, interval(r - 0.1, r + 0.1)) for m, r in self.models.items()]
>>> print(Regrets({"vgg": 0.25, "<vit>": 0.5}))
model  regret  95 % interval
vgg     0.250  [0.150, 0.350]
<vit>   0.500  [0.400, 0.600]
>>> print(Regrets({"<vit>": 0.5}).to_markdown())
| model | regret | 95 % interval |
| --- | ---: | --- |
| &#60;vit&#62; | 0.500 | [0.400, 0.600] |
"""

from spider_jax.report.escape import Own, escape_markdown, escape_terminal, interval
from spider_jax.report.html import write_report, write_report_of_files
from spider_jax.report.page import Notes, Section, Table, page_markdown, page_text
from spider_jax.report.result import Result, json_rows
from spider_jax.report.tables import to_csv, to_markdown, to_text

__all__ = [
    "Notes",
    "Own",
    "Result",
    "Section",
    "Table",
    "escape_markdown",
    "escape_terminal",
    "interval",
    "json_rows",
    "page_markdown",
    "page_text",
    "to_csv",
    "to_markdown",
    "to_text",
    "write_report",
    "write_report_of_files",
]
