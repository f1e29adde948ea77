"""The demo: both parts of the embedded zoo, from features on disk to ranked, compared tables."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, ClassVar, Literal, NamedTuple, TypeVar

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
from spider_jax.evaluation.token_maps import known_maps, map_of_models, map_of_zoo
from spider_jax.ranking.ranking import Ranking
from spider_jax.report.page import Section, Table, page_markdown, page_text
from spider_jax.report.result import Result
from spider_jax.report.token_map import TokenMap
from spider_jax.spider.spider import Spider
from spider_jax.storage.files import atomic_folder, name_to_component, write_text
from spider_jax.tasks.sampling import TaskConfig
from spider_jax.tasks.tokens import zoo_tokens
from spider_jax.training.config import TrainConfig
from spider_jax.training.train_spider import fit
from spider_jax.training.training_set import source_datasets, training_set
from spider_jax.zoo.embedded import embedded_zoo

Found = TypeVar("Found")
Name = Literal["vision", "text"]
METRICS = ("logme", "knn", "h_score_shrunk", "ridge")
NOTES = (
    "truth: linear probe on the models' full frozen features, not fine-tuning",
    "probe: a classifier on the same (compressed) features, a ceiling and not a competitor",
    "tie: the paired 95 % bootstrap interval over tasks holds 0",
)


class Plan(NamedTuple):
    """What is done with a part of the zoo.

    Attributes:
        config: of the training.
        shown: held-out tasks whose rankings are shown; None for all. All are compared.
    """

    config: TrainConfig
    shown: tuple[str, ...] | None


def _config(count: int) -> TrainConfig:
    """The embedded features are standardised and rotated already."""
    return TrainConfig(tasks=TaskConfig(count=count), scaling="raw", spread=False, epochs=10)


PLANS: Mapping[Name, Plan] = {
    "vision": Plan(_config(300), None),
    "text": Plan(_config(100), ("code_language",)),
}


class Clock:
    """Runs work and keeps its seconds by phase.

    Attributes:
        seconds: by phase.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def __call__(self, phase: str, work: Callable[[], Found]) -> Found:
        """What the work returns.

        Args:
            phase: its name.
            work: is called once.
        """
        start = perf_counter()
        result = work()
        self.seconds[phase] = perf_counter() - start
        return result


@dataclass(frozen=True)
class Part:
    """What the demo found on one part of the zoo.

    Attributes:
        spider: trained on the part's source tasks.
        rankings: by held-out task that is shown.
        comparison: the spider beside the other methods, on all held-out tasks.
        maps: of all tasks and models by their tokens.
    """

    spider: Spider
    rankings: Mapping[str, Ranking]
    comparison: Comparison
    maps: tuple[TokenMap, ...] = ()

    def headline(self, name: str) -> Section:
        """What the part is.

        Args:
            name: of the part.
        """
        models, tasks = len(self.comparison.models), len(self.comparison.tasks)
        return Section((f"{name}: {models} models, {tasks} tasks held out from training",))

    def save(self, folder: Path) -> None:
        """Write spider/ and rankings/<task>.csv and .json.

        Args:
            folder: made where it does not exist; what it holds under these names is replaced.
        """
        self.spider.save(folder / "spider")
        with atomic_folder(folder / "rankings") as rankings:
            for task, ranking in self.rankings.items():
                name = name_to_component(task)
                ranking.to_csv(rankings / f"{name}.csv")
                ranking.to_json(rankings / f"{name}.json")


@dataclass(frozen=True)
class Demo(Result):
    """What the demo found; its table is that of the comparisons.

    Attributes:
        parts: what was found, by part of the zoo.
        seconds: by phase.
        kind: the format in the header of the JSON.
    """

    kind: ClassVar[str] = "demo"
    parts: Mapping[str, Part]
    seconds: Mapping[str, float]

    @property
    def columns(self) -> tuple[str, ...]:
        """The part, and headings of its comparison."""
        return ("zoo", *Comparison.columns)

    def to_rows(self) -> list[tuple[object, ...]]:
        """One row per part and method of its comparison."""
        return [
            (name, *row) for name, part in self.parts.items() for row in part.comparison.to_rows()
        ]

    def statements(self) -> tuple[str, ...]:
        """The notes of the comparisons, each once."""
        notes = [note for part in self.parts.values() for note in part.comparison.notes]
        return tuple(dict.fromkeys(notes))

    def page(self, top: int | None = 5) -> tuple[Section, ...]:
        """The rankings of every part, the comparisons as one table, and the seconds.

        Args:
            top: only so many of the best models of a ranking.

        Returns:
            Their sections.
        """
        sections: list[Section] = []
        for name, part in self.parts.items():
            sections.append(part.headline(name))
            sections += [s for ranking in part.rankings.values() for s in ranking.page(top)]
        return (*sections, *super().page(), self._times())

    def data(self) -> dict[str, Any]:
        """What every result has, the rankings by part and task, and the seconds."""
        rankings = {
            name: {task: ranking.data() for task, ranking in part.rankings.items()}
            for name, part in self.parts.items()
        }
        return super().data() | {"rankings": rankings, "seconds": dict(self.seconds)}

    def to_text(self, top: int = 5) -> str:
        """For a terminal.

        Args:
            top: only so many of the best models of a ranking.

        Returns:
            Lines without control characters, no newline at the end.
        """
        return page_text(self.page(top))

    def to_markdown(self) -> str:
        """A summary page: the comparisons first, then the whole rankings under their headings."""
        (compared,) = super().page()
        rankings = [
            section._replace(heading=f"{name}: {task}")
            for name, part in self.parts.items()
            for task, ranking in part.rankings.items()
            for section in ranking.page()
        ]
        page = (compared._replace(heading="Comparison"), *rankings, self._times())
        title = "# spider_jax demo: held-out tasks of the embedded zoo"
        return f"{title}\n\n{page_markdown(page)}\n"

    def _times(self) -> Section:
        return Section((Table(("phase", "seconds"), list(self.seconds.items())),), heading="Time")

    def save(self, folder: Path) -> None:
        """Write what every part writes into a folder of its name, summary.md and report.html.

        Args:
            folder: made where it does not exist; what it holds under these names is replaced.
        """
        for name, part in self.parts.items():
            part.save(folder / name_to_component(name))
        write_text(folder / "summary.md", self.to_markdown())
        self.report(folder)

    def report(self, folder: Path) -> Path:
        """Write the rankings and the comparison as one page, report.html.

        Args:
            folder: made where it does not exist.

        Returns:
            The page.
        """
        from spider_jax.report.html import write_report  # jinja2 is slow to import

        maps = [one for part in self.parts.values() for one in part.maps]
        return write_report([self], folder / "report.html", command="spider-jax demo", maps=maps)


def run_demo(*, show_progress: bool = False) -> Demo:
    """Train on the source tasks of both parts of the embedded zoo, and rank held-out tasks.

    Args:
        show_progress: a bar per phase on stderr.

    Returns:
        A Demo.
    """
    clock = Clock()
    parts: dict[str, Part] = {
        name: run_part(name, plan, clock, show_progress=show_progress)
        for name, plan in PLANS.items()
    }
    return Demo(parts, clock.seconds)


def run_part(name: Name, plan: Plan, clock: Clock, *, show_progress: bool = False) -> Part:
    """Train on the source tasks of a part of the embedded zoo, and rank its held-out tasks.

    Args:
        name: of the part.
        plan: what is done with it.
        clock: keeps the seconds.
        show_progress: a bar per phase on stderr.

    Returns:
        What was found.
    """
    config = plan.config
    zoo = clock(f"{name}: open the zoo", lambda: embedded_zoo(name))
    sources = source_datasets(zoo)
    tasks = tuple(task for task in zoo.tasks if task not in sources)
    teachers, count = len(config.teachers), config.tasks.count
    given = clock(
        f"{name}: teachers: {teachers} metrics of every model on {count} tasks",
        lambda: training_set(zoo, config, sources, show_progress=show_progress),
    )
    spider = clock(
        f"{name}: training",
        lambda: fit(zoo, config, sources, given, show_progress=show_progress),
    )
    shown = tasks if plan.shown is None else plan.shown
    rankings = clock(
        f"{name}: ranking {len(shown)} of {len(tasks)} held-out tasks",
        lambda: {task: spider.rank_task(zoo, task) for task in shown},
    )
    asked = [zoo_tokens(zoo, task) for task in tasks]
    methods = {
        "spider (k = 0)": Method(np.asarray(spider.scores(asked), np.float64)[None], "extractor"),
        "task ridge": Method(ridge_method(zoo, sources, tasks, given)[None], "extractor"),
        "task kernel": Method(kernel_method(zoo, sources, tasks, given)[None], "extractor"),
        **baseline_methods(zoo, tasks, spider.models),
    }
    methods |= clock(
        f"{name}: comparison: metrics that run every model",
        lambda: metric_methods(zoo, tasks, spider.models, METRICS, show_progress=show_progress),
    )
    notes = (f"{name}: {len(tasks)} held-out tasks only: wide intervals", *NOTES)
    truth = truth_of(zoo, tasks, spider.models)
    maps = known_maps([map_of_zoo(zoo, spider), map_of_models(spider)])
    return Part(spider, rankings, Comparison(tasks, spider.models, truth, methods, notes), maps)
