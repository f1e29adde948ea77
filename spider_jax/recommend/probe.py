"""Runs that need nobody: a linear probe on a zoo's features, one by one for a search."""

import math
from collections.abc import Iterator

from spider_jax.errors import InputError
from spider_jax.metrics.table import METRICS
from spider_jax.recommend.search import RunSearch
from spider_jax.records.noise import accuracy_variance
from spider_jax.zoo.scores import score_zoo
from spider_jax.zoo.store import FeatureStore

PROBE = "linear_probe"


def probe(search: RunSearch, zoo: FeatureStore, task: str, most: int) -> Iterator[RunSearch]:
    """Run the models that a search asks for, by a probe on their features.

    A result is the probe's held-out accuracy on the task's training rows, with the standard error
    of a share. A model without usable features is a run that failed.

    Args:
        search: on the same task, with models named as in the zoo.
        zoo: features and labels.
        task: name of the zoo's task.
        most: runs at most.

    Yields:
        The search after each run; it ends where stopping loses little, where the budget is spent,
        or after the last run.

    Raises:
        InputError: an unknown task or one that no probe knows, or no model in common.
    """
    kind = zoo.kind(task)
    if kind not in METRICS[PROBE].kinds:
        raise InputError(f"task {task!r} is {kind}: the probe knows classes only; give --results")
    if not {*search.prior.models} & {*zoo.models_of(task)}:
        raise InputError(
            f"the zoo has no features on {task!r} of any model that the prior knows: name models "
            f"alike, as {search.prior.models[0]!r} in the records"
        )
    rows = len(zoo.training_rows(task))
    for _ in range(most):
        asked = [] if search.found else search.ask()
        if not asked:
            return
        search = _with_run(search, zoo, task, asked[0].model, rows)
        yield search


def _with_run(search: RunSearch, zoo: FeatureStore, task: str, model: str, rows: int) -> RunSearch:
    found = score_zoo(zoo, task, (PROBE,), models=[model])
    accuracy = dict(zip(found.models, found.column(PROBE).tolist(), strict=True)).get(model)
    if accuracy is None or not math.isfinite(accuracy):
        said = [problem.message for problem in found.problems if problem.model == model]
        return search.tell_failure(model, said[0] if said else "no features in the zoo")
    error = math.sqrt(accuracy_variance(accuracy, rows))
    return search.tell(model, accuracy, standard_error=error)
