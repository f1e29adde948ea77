"""`inspect` and `score`: what a zoo holds, and every metric of every model."""

from typing import Annotated

from spider_jax.cli.output import Flat, Messages, Output, Task, Zoo


def inspect(
    zoo: Zoo,
    check: bool = False,
    output: Annotated[Output, Flat] = Output(),
    messages: Annotated[Messages, Flat] = Messages(),
) -> int:
    """Show the models, widths, tasks and sizes of a zoo, and what is missing or broken.

    Args:
        zoo: folder of the zoo.
        check: also read every value (finds NaN; takes as long as reading the zoo).
        output: how data is written.
        messages: what goes to stderr.
    """
    show = messages.start()
    from spider_jax.zoo.inspection import inspect_zoo
    from spider_jax.zoo.store import FeatureStore

    return output.write(inspect_zoo(FeatureStore(zoo), check=check, show_progress=show))


COPIES_BYTES = 1 << 26  # of a larger task, `inspect --check` looks for near-copies


def score(
    zoo: Zoo,
    task: Task,
    metrics: tuple[str, ...] = (),
    cache: bool = True,
    output: Annotated[Output, Flat] = Output(),
    messages: Annotated[Messages, Flat] = Messages(),
) -> int:
    """Score every model of a zoo on a task with training-free metrics.

    Args:
        zoo: folder of the zoo.
        task: name of the task.
        metrics: names of metrics, or "all"; default: those that are worth their cost.
        cache: keep scores in the user's cache and take from there what was computed before.
        output: how data is written.
        messages: what goes to stderr.
    """
    show = messages.start()
    from spider_jax.metrics.table import DEFAULT_METRICS, METRICS
    from spider_jax.zoo.copies import warn_of_copies
    from spider_jax.zoo.scores import score_zoo
    from spider_jax.zoo.store import FeatureStore

    store = FeatureStore(zoo)
    chosen = tuple(METRICS) if metrics == ("all",) else metrics or DEFAULT_METRICS
    table = score_zoo(store, task, chosen, cache=cache, show_progress=show)
    warn_of_copies(store, task, most=COPIES_BYTES)
    table = table.with_accuracies(store.accuracies)  # whose faults are problems of the zoo
    return output.write(table, beside=store.problems_on(task))
