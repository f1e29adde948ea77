"""How much a comparison may run: so many models, or so long."""

import re
from time import perf_counter

from spider_jax.errors import InputError

FEWEST = 2  # models that are run whatever the budget: one alone is compared with nothing
UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


class Budget:
    """What may be run, and what of it is left.

    A model that was begun is finished: the last one may go beyond the time.

    Attributes:
        said: as it was given; None for no limit.
        models: so many at most.
        seconds: no model is begun after so many.
    """

    def __init__(self, given: int | str | None) -> None:
        """Read a budget; its time begins now.

        Args:
            given: a number of models, or a time as "90s", "10m" or "1.5h"; None for no limit.

        Raises:
            InputError: neither, or fewer than two models.
        """
        self.said = None if given is None else str(given).strip()
        self.models: int | None = None
        self.seconds: float | None = None
        self._begun = perf_counter()
        if self.said is None:
            return
        time = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)\s*([smh])", self.said)
        if time is not None:
            self.seconds = float(time[1]) * UNITS[time[2]]
        elif re.fullmatch(r"\d{1,9}", self.said) and int(self.said) >= FEWEST:
            self.models = int(self.said)
        if not (self.models or self.seconds):
            raise InputError(
                f"budget must be a number of models, at least {FEWEST}, or a time as 90s, 10m or "
                f"1.5h, got {self.said!r}"
            )

    def left(self, run: int) -> bool:
        """Whether one more model may be begun.

        Args:
            run: so many were run.
        """
        if run < FEWEST:
            return True
        if self.models is not None:
            return run < self.models
        return self.seconds is None or perf_counter() - self._begun < self.seconds
