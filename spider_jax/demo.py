"""The demo: the embedded zoo of real models, from features on disk to ranked, compared tables."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, ClassVar, TypeVar

import numpy as np

from spider_jax.evaluation.baselines import (
    Method,
    baseline_methods,
    kernel_method,
    metric_methods,
    ridge_method,
    truth_of,
)
from spider_jax.evaluation.comparison import Comparison
from spider_jax.ranking.ranking import Ranking
from spider_jax.report.page import Section, Table, page_markdown, page_text
from spider_jax.report.result import Result
from spider_jax.spider.spider import Spider
from spider_jax.storage.files import atomic_folder, name_to_component, write_text
from spider_jax.tasks.sampling import TaskConfig
from spider_jax.tasks.tokens import zoo_tokens
from spider_jax.training.config import TrainConfig
from spider_jax.training.train_spider import fit
from spider_jax.training.training_set import source_datasets, training_set
from spider_jax.zoo.embedded import embedded_zoo

# The embedded features are standardised and rotated already.
CONFIG = TrainConfig(tasks=TaskConfig(count=300), scaling="raw", spread=False, epochs=10)
Found = TypeVar("Found")
METRICS = ("logme", "knn", "h_score_shrunk", "ridge")
NOTES = (
    "truth: linear probe on the models' full frozen features, not fine-tuning",
    "probe: a classifier on the same (compressed) features, a ceiling and not a competitor",
    "tie: the paired 95 % bootstrap interval over tasks holds 0",
)


@dataclass(frozen=True)
class Demo(Result):
    """What the demo found; its table is that of the comparison.

    Attributes:
        spider: the one that was trained.
        rankings: by held-out task.
        comparison: the spider beside the other methods.
        seconds: by phase.
        kind: the format in the header of the JSON.
    """

    kind: ClassVar[str] = "demo"
    spider: Spider
    rankings: dict[str, Ranking]
    comparison: Comparison
    seconds: dict[str, float]

    @property
    def columns(self) -> tuple[str, ...]:
        """Headings of the comparison."""
        return self.comparison.columns

    def to_rows(self) -> list[tuple[object, ...]]:
        """One row per method of the comparison."""
        return self.comparison.to_rows()

    def statements(self) -> tuple[str, ...]:
        """The notes of the comparison."""
        return self.comparison.notes

    def page(self, top: int | None = 5) -> tuple[Section, ...]:
        """The rankings, the comparison and the seconds.

        Args:
            top: only so many of the best models of a ranking.

        Returns:
            Their sections.
        """
        rankings = [s for ranking in self.rankings.values() for s in ranking.page(top)]
        return (*rankings, *self.comparison.page(), self._times())

    def data(self) -> dict[str, Any]:
        """What every result has, the rankings and the seconds."""
        rankings = {task: ranking.data() for task, ranking in self.rankings.items()}
        return super().data() | {"rankings": rankings, "seconds": self.seconds}

    def to_text(self, top: int = 5) -> str:
        """For a terminal.

        Args:
            top: only so many of the best models of a ranking.

        Returns:
            Lines without control characters, no newline at the end.
        """
        return page_text(self.page(top))

    def to_markdown(self) -> str:
        """A summary page: the comparison first, then the whole rankings under their headings."""
        (compared,) = self.comparison.page()
        rankings = [
            section._replace(heading=task)
            for task, ranking in self.rankings.items()
            for section in ranking.page()
        ]
        page = (compared._replace(heading="Comparison"), *rankings, self._times())
        title = "# spider_jax demo: held-out tasks of the embedded zoo"
        return f"{title}\n\n{page_markdown(page)}\n"

    def _times(self) -> Section:
        return Section((Table(("phase", "seconds"), list(self.seconds.items())),), heading="Time")

    def save(self, folder: Path) -> None:
        """Write spider/, rankings/<task>.csv and .json, and summary.md into a folder.

        Args:
            folder: made where it does not exist; what it holds under these names is replaced.
        """
        self.spider.save(folder / "spider")
        with atomic_folder(folder / "rankings") as rankings:
            for task, ranking in self.rankings.items():
                name = name_to_component(task)
                ranking.to_csv(rankings / f"{name}.csv")
                ranking.to_json(rankings / f"{name}.json")
        write_text(folder / "summary.md", self.to_markdown())


def run_demo(*, show_progress: bool = False) -> Demo:
    """Train on the embedded zoo's source tasks and rank its models for each held-out task.

    Args:
        show_progress: a bar per phase on stderr.

    Returns:
        A Demo.
    """
    seconds: dict[str, float] = {}

    def timed(phase: str, work: Callable[[], Found]) -> Found:
        start = perf_counter()
        result = work()
        seconds[phase] = perf_counter() - start
        return result

    zoo = timed("open the zoo", embedded_zoo)
    sources = source_datasets(zoo)
    tasks = tuple(task for task in zoo.tasks if task not in sources)
    given = timed(
        f"teachers: {len(CONFIG.teachers)} metrics of every model on {CONFIG.tasks.count} tasks",
        lambda: training_set(zoo, CONFIG, sources, show_progress=show_progress),
    )
    spider = timed(
        "training", lambda: fit(zoo, CONFIG, sources, given, show_progress=show_progress)
    )
    rankings = timed(
        f"ranking {len(tasks)} tasks",
        lambda: {task: spider.rank_task(zoo, task) for task in tasks},
    )
    asked = [zoo_tokens(zoo, task) for task in tasks]
    methods = {
        "spider (k = 0)": Method(np.asarray(spider.scores(asked), np.float64)[None], "extractor"),
        "task ridge": Method(ridge_method(zoo, sources, tasks, given)[None], "extractor"),
        "task kernel": Method(kernel_method(zoo, sources, tasks, given)[None], "extractor"),
        **baseline_methods(zoo, tasks, spider.models),
    }
    methods |= timed(
        "comparison: metrics that run every model",
        lambda: metric_methods(zoo, tasks, spider.models, METRICS, show_progress=show_progress),
    )
    comparison = Comparison(
        tasks,
        spider.models,
        truth_of(zoo, tasks, spider.models),
        methods,
        (f"{len(tasks)} held-out tasks only: wide intervals", *NOTES),
    )
    return Demo(spider, rankings, comparison, seconds)
