"""What to do next: one line on stderr after a command, where a person reads it."""

import sys
from collections.abc import Sequence

from spider_jax.cli.output import DONE, SKIPPED, note

PAGE = "--json > result.json, then `spider-jax report result.json --out page.html`, makes a page"
RANK = "rank the models for a task: `spider-jax rank SPIDER ZOO TASK`"
NEXT_STEPS = {
    "demo": "your own models and data: `spider-jax extract --help`",
    "compare": PAGE,
    "explain": PAGE,
    "inspect": "learn from the zoo: `spider-jax train ZOO --out SPIDER`; score one task: "
    "`spider-jax score ZOO TASK`",
    "score": f"train the best few for some epochs: `spider-jax select ZOO TASK`; {PAGE}",
    "train": RANK,
    "rank": f"look at the best few with --rerank auto, or try them; {PAGE}",
    "add": RANK,
    "remove": RANK,
    "rename": RANK,
    "index build": "find the best of all: `spider-jax index top-k INDEX ZOO TASK`",
    "index append": "check it: `spider-jax index verify INDEX`",
    "index remove": "check it: `spider-jax index verify INDEX`",
    "index verify": "find the best of all: `spider-jax index top-k INDEX ZOO TASK`",
    "index top-k": PAGE,
    "records check": "learn a prior: `spider-jax records fit FOLDER --out PRIOR`",
    "records import": "check them: `spider-jax records check FOLDER`",
    "records add": "learn the prior anew: `spider-jax records fit FOLDER --out PRIOR`",
    "records fit": 'rank models for a task: `spider-jax rank PRIOR --describe "..."`',
    "next": "run what stands first and give its result with --results; --state keeps the search",
    "report": "open it in a browser; it prints, and needs no network",
    "extract": "see what is there: `spider-jax inspect ZOO`",
    "select": f"use the winner, or give it more epochs with --budget; {PAGE}",
    "tune": PAGE,
    "combine": f"the ensemble of --out: `spider_jax.ensemble.Ensemble.load(DIR)`; {PAGE}",
}


def say_next(arguments: Sequence[str], code: object) -> None:
    """One line after a command that is done, on a terminal; silent for programs and with -q.

    Args:
        arguments: of the command line.
        code: what the command returned.
    """
    if code not in (DONE, SKIPPED) or not sys.stderr.isatty():
        return
    if {"-q", "--quiet", "--messages.quiet", "--json"} & set(arguments):
        return
    step = NEXT_STEPS.get(" ".join(arguments[:2])) or NEXT_STEPS.get(" ".join(arguments[:1]))
    if step is not None:
        note(f"next: {step}")
