"""`spider-jax select`: which model gets the epochs, by training heads on features."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypedDict

from tyro.conf import arg

from spider_jax.cli.facts import FactOptions
from spider_jax.cli.output import Flat, Messages, Output, Task, Zoo, note

if TYPE_CHECKING:
    from spider_jax.facts.fact_table import FactTable
    from spider_jax.facts.verdict import Verdict
    from spider_jax.selection.two_phases import Selection


class SelectOptions(TypedDict, total=False):
    """Fields of SelectConfig and its HeadConfig: only those that were given."""

    budget: Annotated[int, arg(help_behavior_hint="(default: 16)")]
    """Epochs in all, over all models; only where models fail may it take more."""
    policy: Annotated[str, arg(help_behavior_hint="(default: noise-aware)")]
    """noise-aware, successive-halving, brute-force, trend-filter or trend-filter-0.02."""
    recall: Annotated[str, arg(help_behavior_hint="(default: logme)")]
    """A metric, "prior" (past results alone), or the folder of a spider or of `records fit`."""
    describe: Annotated[str, arg(help_behavior_hint="(default: )")]
    """The task, in words, where recall is by records; without any, its name."""
    measure: Annotated[str, arg(help_behavior_hint="(default: )")]
    """Without any, the task's own: accuracy, balanced_accuracy, macro_f1, matthews, log_loss, auc;
    rmse, r2, spearman or pearson."""
    epochs: Annotated[int, arg(help_behavior_hint="(default: 5)")]
    """Of a full training."""
    representatives: Annotated[bool, arg(help_behavior_hint="(default: False)")]
    """Run the metric on one model of every cluster only."""
    hidden: Annotated[int, arg(help_behavior_hint="(default: 0)")]
    """Units of a hidden layer; 0 for a linear head."""
    batch: Annotated[int, arg(help_behavior_hint="(default: 64)")]
    """Rows a step."""
    learning_rate: Annotated[float, arg(help_behavior_hint="(default: 0.003)")]
    """Of AdamW."""
    seed: Annotated[int, arg(help_behavior_hint="(default: 0)")]
    """Of heads, order of rows, and a split where the zoo has none."""
    least_steps: Annotated[int, arg(help_behavior_hint="(default: 32)")]
    """Of an epoch: few rows are gone over again."""


def select(
    zoo: Zoo,
    task: Task,
    settings: Annotated[SelectOptions, Flat],
    config: Path | None = None,
    repository: Path | None = None,
    run: Path | None = None,
    about: Annotated[FactOptions, Flat] = FactOptions(),
    output: Annotated[Output, Flat] = Output(),
    messages: Annotated[Messages, Flat] = Messages(),
) -> int:
    """Select a model by training heads for a few epochs; run it again, it goes on.

    Args:
        zoo: folder of the zoo.
        task: name of the task.
        settings: What is given here goes before the page of --config, and that before the defaults.
        config: a TOML page of settings, see configs/select/.
        repository: JSON of past results and curves, for what accuracies.csv does not know; this
            run's are added to it.
        run: folder for the state; default: in the user's cache.
        about: facts of the models.
        output: how data is written.
        messages: what goes to stderr.
    """
    show = messages.start()
    from dataclasses import replace

    from spider_jax.metrics.table import METRICS
    from spider_jax.recommend.saved_prior import is_prior, load_prior
    from spider_jax.records.performance import PastResults
    from spider_jax.selection.run import SelectConfig, run_name
    from spider_jax.selection.two_phases import select_models
    from spider_jax.selection.zoo_recall import PRIOR, RECORDS, SPIDER
    from spider_jax.spider.spider import Spider
    from spider_jax.storage.cache import default_folder
    from spider_jax.storage.locks import locked_folder
    from spider_jax.storage.toml_page import read_page, with_options
    from spider_jax.zoo.store import FeatureStore

    about.check()
    store = FeatureStore(zoo)
    models = store.models_of(task)
    facts = about.table(models, store)
    verdict = about.verdict(facts)
    among = None if verdict is None else frozenset(verdict.names)
    asked = read_page(config, SelectConfig) if config else SelectConfig()
    asked = with_options(asked, settings)
    spider, records = None, None
    folder = Path(asked.recall)
    if asked.recall in (PRIOR, *METRICS) or not folder.exists():
        pass  # whatever folders of that name may be here
    elif is_prior(folder):
        records, asked = load_prior(folder), replace(asked, recall=RECORDS)
    else:
        spider, asked = Spider.load(folder), replace(asked, recall=SPIDER)
    past = PastResults.from_accuracies(store.accuracies)
    known = None
    if repository is not None and repository.exists():
        known = PastResults.load(repository)
    elif repository is not None and show:
        note(f"{repository} does not exist: it begins with this run")
    usual = default_folder("selections") / run_name(store, task, asked, spider, records, among)
    found = select_models(
        store,
        task,
        asked,
        run=run or usual,
        spider=spider,
        records=records,
        past=past if known is None else known.updated(past),
        among=among,
        show_progress=show,
    )
    if repository is not None:
        with locked_folder(repository.absolute().parent):  # others may have added to it meanwhile
            known = PastResults.load(repository) if repository.exists() else None
            none = PastResults.from_accuracies({})
            found.add_to(none if known is None else known).save(repository)
    if about.asked:
        found = _with_facts(found, about, facts, store.task_info(task), verdict)
    return output.write(found, beside=store.problems_on(task))


def _with_facts(
    found: "Selection",
    about: FactOptions,
    facts: "FactTable",
    task_facts: Any,
    verdict: "Verdict | None",
) -> "Selection":
    """A selection with the facts that are asked for."""
    from dataclasses import replace

    from spider_jax.facts.beside import Beside
    from spider_jax.facts.front import pareto

    beside = Beside.of(facts, show=about.shown, task=found.task, task_facts=task_facts)
    said = [] if verdict is None else [verdict.note()]
    if about.pareto is not None:
        said += pareto(found.ranking(), facts, about.pareto).notes()
    said += [f"facts: {note}" for note in facts.notes]
    return replace(found, beside=beside, notes=(*found.notes, *said))
