"""`spider-jax select`: which model gets the epochs, by training heads on features."""

import sys
from pathlib import Path
from typing import Annotated

from spider_jax.cli.output import DONE, SKIPPED, Flat, Messages, Output, Task, Zoo


def select(
    zoo: Zoo,
    task: Task,
    budget: int = 16,
    policy: str = "noise-aware",
    recall: str = "logme",
    epochs: int = 5,
    representatives: bool = False,
    hidden: int = 0,
    batch: int = 64,
    learning_rate: float = 3e-3,
    seed: int = 0,
    repository: Path | None = None,
    run: Path | None = None,
    output: Annotated[Output, Flat] = Output(),
    messages: Annotated[Messages, Flat] = Messages(),
) -> int:
    """Select a model by training heads for a few epochs; run it again, it goes on.

    Args:
        zoo: folder of the zoo.
        task: name of the task.
        budget: epochs in all, over all models; only where models fail may it take more.
        policy: noise-aware, successive-halving, brute-force, trend-filter or trend-filter-0.02.
        recall: a metric, "prior" (past results alone), or the folder of a spider.
        epochs: of a full training.
        representatives: run the metric on one model of every cluster only.
        hidden: units of a hidden layer; 0 for a linear head.
        batch: rows a step.
        learning_rate: of AdamW.
        seed: of heads, order of rows, and a split where the zoo has none.
        repository: JSON of past results and curves, for what accuracies.csv does not know; this
            run's are added to it.
        run: folder for the state; default: in the user's cache.
    """
    show = messages.start()
    from spider_jax.heads.training import HeadConfig
    from spider_jax.metrics.table import METRICS
    from spider_jax.records.performance import PastResults
    from spider_jax.selection.run import SelectConfig, run_name
    from spider_jax.selection.two_phases import select_models
    from spider_jax.selection.zoo_recall import PRIOR, SPIDER
    from spider_jax.spider.spider import Spider
    from spider_jax.storage.cache import default_folder
    from spider_jax.zoo.store import FeatureStore

    store = FeatureStore(zoo)
    named = recall in (PRIOR, *METRICS)  # whatever folders of that name may be here
    spider = Spider.load(recall) if not named and Path(recall).exists() else None
    config = SelectConfig(
        budget,
        epochs,
        policy,
        recall if spider is None else SPIDER,
        representatives,
        head=HeadConfig(hidden, batch, learning_rate, seed=seed),
    )
    past = PastResults.from_accuracies(store.accuracies)
    known = None
    if repository is not None and repository.exists():
        known = PastResults.load(repository)
    elif repository is not None and show:
        print(f"spider-jax: {repository} does not exist: it begins with this run", file=sys.stderr)
    found = select_models(
        store,
        task,
        config,
        run=run or default_folder("selections") / run_name(store, task, config, spider),
        spider=spider,
        past=past if known is None else known.updated(past),
        show_progress=show,
    )
    if repository is not None:
        none = PastResults.from_accuracies({})
        found.add_to(none if known is None else known).save(repository)
    output.write(
        "selected-models",
        found.COLUMNS,
        found.rows(),
        found.to_text(),
        task=task,
        measure=found.measure,
        winner=found.selector.winner,
        test=found.test,
        test_standard_error=found.test_error,
        epochs_spent=found.selector.spent,
        notes=found.statements(),
    )
    for problem in found.problems:
        print(f"spider-jax: skipped: {problem}", file=sys.stderr)
    failed = [e for e in found.selector.entries.values() if e.fate == "failed"]
    for entry in failed:
        print(f"spider-jax: skipped: {entry.model} on {task}: {entry.reason}", file=sys.stderr)
    return SKIPPED if found.problems or failed else DONE
