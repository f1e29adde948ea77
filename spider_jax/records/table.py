"""Results of many models on many tasks, most of them not known: `Records`."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from dataclasses import replace as changed
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from spider_jax.errors import InputError
from spider_jax.records.content import Content
from spider_jax.records.frames import content_of_frame
from spider_jax.records.joining import join, refuse_conflict, without_pairs
from spider_jax.records.performance import PastResults
from spider_jax.records.reading import read_records
from spider_jax.records.rows import Row, content_of_rows
from spider_jax.records.writing import write_records
from spider_jax.storage.files import checked_names

MOST_CELLS = 200_000_000  # of a dense matrix: 1.6 GB


@dataclass(frozen=True, eq=False)
class Records(Content):
    """Results of models on tasks, with facts of both; a pair without a result has no record.

    Its fields, shapes included, are those of `Content`: models, tasks; model, task, value and
    stderr of every record; model_facts, task_facts; set_aside, notes, problems.
    """

    # ---- reading and writing -----------------------------------------------------------------

    @staticmethod
    def read(*folders: Path | str) -> "Records":
        """Read records folders, zoos, or files with results; see `spider_jax.records`.

        A result of a task with one model is set aside: `problems` names the task, `write` and
        `with_records` keep the result.

        Args:
            folders: the first that has a result or a fact wins.

        Returns:
            One table.

        Raises:
            InputError: a fault; one line names the first few with file and line, and their number.
        """
        return _records(read_records(folders))

    def write(self, folder: Path | str) -> None:
        """Write a records folder; files that are there are replaced, all or none of them.

        A file keeps its form (.csv, .csv.gz or .parquet); a new one is .csv.

        Args:
            folder: a records folder or a new one; of a zoo, its records/.

        Raises:
            InputError: a folder with something else in it.
        """
        write_records(self, Path(folder))

    @staticmethod
    def from_rows(rows: Iterable[Row]) -> "Records":
        """Records of single results.

        Args:
            rows: (model, task, value) or (model, task, value, stderr); a value that is NaN only
                names its model and its task.

        Returns:
            Models and tasks in order of first appearance.

        Raises:
            InputError: an empty name, an infinite value, a negative stderr, or a pair with two
                values.

        >>> Records.from_rows([("vgg", "pets", 0.5), ("vit", "pets", 0.75)]).models
        ('vgg', 'vit')
        """
        return _records(content_of_rows(rows))

    @staticmethod
    def from_frame(frame: Any) -> "Records":
        """Records of a data frame of pandas or polars.

        Args:
            frame: long, with columns model, task, value and maybe stderr; or wide, with one row
                per model and one column per task: the models are the column "model", or the index,
                or the first column. None and NaN are holes.

        Returns:
            The records.

        Raises:
            InputError: a value that is no number, or as in `from_rows`.
        """
        return _records(content_of_frame(frame))

    # ---- joining -----------------------------------------------------------------------------

    def merged(self, other: "Records") -> "Records":
        """Both tables in one.

        Args:
            other: what it has and this one has not is added: results, facts, models and tasks.

        Returns:
            A new table, models and tasks of this one first. A note says how many results differ.

        Raises:
            InputError: a task that is given in two measures, or in percent here and in fractions
                there.
        """
        return join(self.whole(), other.whole())

    def with_records(self, rows: Iterable[Row], *, replace: bool = False) -> "Records":
        """The table with more results.

        Args:
            rows: as in `from_rows`.
            replace: whether a new value takes the place of a known one.

        Returns:
            A new table; models and tasks that are new come last.

        Raises:
            InputError: as in `from_rows` and `merged`, or a known result with another value and
                not `replace`.
        """
        new, mine = content_of_rows(rows), self.whole()
        if replace:
            mine = without_pairs(mine, new)
        else:
            refuse_conflict(mine, new)
        return join(mine, new)

    # ---- parts -------------------------------------------------------------------------------

    def without_tasks(self, tasks: Iterable[str]) -> "Records":
        """The table without tasks and their facts.

        Args:
            tasks: their names; those that the table does not have are ignored.

        Returns:
            A new table with all its models.
        """
        out = set(_names(tasks))
        return self._of_tasks(lambda name: name not in out)

    def only_tasks(self, tasks: Iterable[str]) -> "Records":
        """The table of some tasks.

        Args:
            tasks: their names; those that the table does not have are ignored.

        Returns:
            A new table with all its models; the tasks keep their order.
        """
        kept = set(_names(tasks))
        return self._of_tasks(lambda name: name in kept)

    def for_models(self, models: Sequence[str]) -> "Records":
        """The table of some models.

        Args:
            models: their names; one that the table does not have becomes a model without record.

        Returns:
            A new table with all its tasks, models in the order given.
        """
        names = tuple(_names(models))
        mine = {name: i for i, name in enumerate(self.models)}
        back = np.full(len(self.models) + 1, -1, np.int32)
        for new, name in enumerate(names):
            back[mine.get(name, len(self.models))] = new
        kept = np.flatnonzero(back[self.model] >= 0)
        chosen = self.at(kept)
        facts = {
            column: tuple(texts[mine[n]] if n in mine else "" for n in names)
            for column, texts in self.model_facts.items()
        }
        return changed(
            chosen,
            models=names,
            model=back[chosen.model],
            model_facts=facts,
            set_aside=tuple(row for row in self.set_aside if row[0] in set(names)),
        )

    # ---- other forms -------------------------------------------------------------------------

    def matrix(self) -> Float64[np.ndarray, "M T"]:
        """All results as a dense matrix, NaN where there is none.

        Raises:
            InputError: more than 200 million cells.
        """
        M, T = len(self.models), len(self.tasks)
        if M * T > MOST_CELLS:
            raise InputError(
                f"a dense matrix of {M} models x {T} tasks is too large: take some models or tasks"
            )
        table = np.full((M, T), np.nan)
        table[self.model, self.task] = self.value
        return table

    def to_past_results(self) -> PastResults:
        """The results as a dense table where larger is better: others change their sign.

        Raises:
            InputError: more than 200 million cells.
        """
        table = self.matrix()
        table[:, ~self.larger_is_better] *= -1
        M, T = table.shape
        return PastResults(
            self.models, self.tasks, table, np.full((M, T, 0), np.nan), np.zeros(T, np.int64)
        )

    def _of_tasks(self, is_kept: Callable[[str], bool]) -> "Records":
        kept = np.array([is_kept(name) for name in self.tasks], bool)
        place = (np.cumsum(kept) - 1).astype(np.int32)
        chosen = self.at(np.flatnonzero(kept[self.task]))
        where = np.flatnonzero(kept).tolist()
        return changed(
            chosen,
            tasks=tuple(self.tasks[i] for i in where),
            task=place[chosen.task],
            task_facts={c: tuple(t[i] for i in where) for c, t in self.task_facts.items()},
            set_aside=tuple(row for row in self.set_aside if is_kept(row[1])),
        )


def _records(content: Content) -> Records:
    return Records(**{field.name: getattr(content, field.name) for field in fields(content)})


def _names(names: Iterable[str]) -> Sequence[str]:
    return checked_names(names if isinstance(names, str) else list(names))
