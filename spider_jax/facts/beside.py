"""What stands beside the models of a result: chosen facts, and who knows the task's data."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float64

from spider_jax.facts.contamination import trained_on_task
from spider_jax.facts.fact_table import MODEL, FactTable, Texts
from spider_jax.facts.quantities import short_quantity

TRAINED = "trained on it"
NAMED = 5  # models that a sentence names


@dataclass(frozen=True, eq=False)
class Beside:
    """Cells beside the models of a result.

    Attributes:
        facts: of the models.
        show: the facts that are shown, as the table calls them.
        trained: models that say they were trained on the task's data, and what they say.
    """

    facts: FactTable = field(default_factory=lambda: FactTable(()))
    show: tuple[str, ...] = ()
    trained: Mapping[str, str] = field(default_factory=dict)

    @staticmethod
    def of(
        facts: FactTable,
        *,
        show: Sequence[str] = (),
        task: str | None = None,
        task_facts: Mapping[str, object] | None = None,
    ) -> "Beside":
        """Choose what is shown, and look who knows the task.

        Args:
            facts: of the models.
            show: names of facts.
            task: name of the task, or a description.
            task_facts: of the task.

        Raises:
            InputError: a fact that no model has.
        """
        names = tuple(dict.fromkeys(facts.find(name, "show") for name in show))
        return Beside(facts, names, trained_on_task(facts, task, task_facts))

    @staticmethod
    def read(entries: Mapping[str, Mapping[str, Any]], trained: Mapping[str, Any]) -> "Beside":
        """The inverse of `content`: the facts that were shown.

        Args:
            entries: by model, what the JSON says of it.
            trained: models that know the task's data, and what they say.
        """
        facts = [entry.get("facts", {}) for entry in entries.values()]
        show = tuple(dict.fromkeys(name for one in facts for name in one))
        numbers: dict[str, Float64[np.ndarray, " M"]] = {}
        texts: dict[str, Texts] = {}
        for name in show:
            cells = [one.get(name) for one in facts]
            known = [cell for cell in cells if cell is not None]
            if known and all(isinstance(cell, int | float) for cell in known):
                numbers[name] = np.array([math.nan if c is None else c for c in cells], np.float64)
            elif name != MODEL:
                texts[name] = tuple(() if cell is None else (str(cell),) for cell in cells)
        table = FactTable(tuple(entries), numbers, texts, "the JSON of a ranking")
        return Beside(table, show, {str(name): str(said) for name, said in trained.items()})

    def __bool__(self) -> bool:
        return bool(self.show or self.trained)

    def only(self, models: Iterable[str]) -> "Beside":
        """The same for some models alone: whether any other knows the task is not said.

        Args:
            models: names.
        """
        trained = {name: self.trained[name] for name in models if name in self.trained}
        return replace(self, trained=trained)

    def columns(self, own: Sequence[str]) -> tuple[str, ...]:
        """Headings of `cells`.

        Args:
            own: of the result; a fact of that name is called otherwise.
        """
        taken = {*own, "task", TRAINED}
        facts = (f"{name} (fact)" if name in taken else name for name in self.show)
        return (*facts, *([TRAINED] if self.trained else []))

    def cells(self, model: str) -> tuple[object, ...]:
        """The facts of a model, exact, and "yes" where it knows the task.

        Args:
            model: its name.
        """
        mark = ("yes" if model in self.trained else "-",) if self.trained else ()
        return (*self._values(model), *mark)

    def shown_cells(self, model: str) -> tuple[object, ...]:
        """`cells` for a reader: 25.6M for 25557032.

        Args:
            model: its name.
        """
        return tuple(
            short_quantity(cell) if isinstance(cell, int | float) else cell
            for cell in self.cells(model)
        )

    def content(self, model: str) -> dict[str, Any]:
        """What a JSON says of a model.

        Args:
            model: its name.
        """
        facts = dict(zip(self.show, self._values(model), strict=True))
        return {
            **({"facts": facts} if self.show else {}),
            **({"trained_on_task": self.trained.get(model)} if self.trained else {}),
        }

    def notes(self, models: Iterable[str] | None = None) -> tuple[str, ...]:
        """The sentence on models that know the task's data; none where there are none.

        Args:
            models: those of the result; default: all.
        """
        shown = list(self.trained if models is None else filter(self.trained.__contains__, models))
        if not shown:
            return ()
        named = ", ".join(f"{m} ({self.trained[m][:60]})" for m in shown[:NAMED])
        more = f" and {len(shown) - NAMED} more" if len(shown) > NAMED else ""
        return (
            f"trained on this task's data by what they say, so a result on it says little of new "
            f"data: {named}{more}",
        )

    def _values(self, model: str) -> tuple[object, ...]:
        at = self._places.get(model)
        return tuple(None if at is None else self.facts.value(fact, at) for fact in self.show)

    @cached_property
    def _places(self) -> dict[str, int]:
        return {name: i for i, name in enumerate(self.facts.models)}


NOTHING = Beside()
