"""`spider-jax combine`: several of the best models together, and whether one is as good."""

from pathlib import Path
from typing import Annotated, Literal

from spider_jax.cli.output import Flat, Messages, Output, Task, Zoo, note


def combine(
    zoo: Zoo,
    task: Task,
    models: tuple[str, ...] = ("auto:3",),
    method: Literal["auto", "average", "concatenate", "select"] = "auto",
    budget: int | None = None,
    out: Path | None = None,
    seed: int = 0,
    cache: bool = True,
    output: Annotated[Output, Flat] = Output(),
    messages: Annotated[Messages, Flat] = Messages(),
) -> int:
    """Combine the models of a zoo that are good together; say what each adds, and its cost.

    Args:
        zoo: folder of the zoo.
        task: name of the task.
        models: names of candidates, or "auto:K": at most K members out of the 3 K best by LogME.
        method: average predictions, concatenate features, select among them, or auto: the better
            of the first two, on rows left out.
        budget: forward passes of a row at most, one a member.
        out: folder for the ensemble, which predicts from its members' features.
        seed: of the folds, and of a split where the zoo has none.
        cache: keep what members predict in the user's cache: an interrupted run goes on.
        output: how data is written.
        messages: what goes to stderr.
    """
    show = messages.start()
    from spider_jax.ensemble.combine import combine_zoo
    from spider_jax.ensemble.saved import refuse_foreign
    from spider_jax.zoo.store import FeatureStore

    if out is not None:
        refuse_foreign(out)  # before the work, not after it
    store = FeatureStore(zoo)
    found = combine_zoo(
        store,
        task,
        models=models,
        method=method,
        budget=budget,
        seed=seed,
        cache=cache,
        show_progress=show,
    )
    if out is not None:
        found.ensemble.save(out)
        note(f"written: {out}")
    return output.write(found)
