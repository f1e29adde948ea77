"""`--where`, `--show`, `--pareto` and `--facts`: what `rank`, `top-k`, `next`, `select` share."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from spider_jax.errors import InputError

if TYPE_CHECKING:
    from spider_jax.facts.fact_table import FactTable
    from spider_jax.facts.verdict import Verdict
    from spider_jax.ranking.ranking import Ranking
    from spider_jax.recommend.records_prior import RecordsPrior
    from spider_jax.zoo.store import FeatureStore


@dataclass(frozen=True)
class FactOptions:
    """Facts of the models: what they cost, their licence.

    Attributes:
        where: Only models that fulfil this, as in "params <= 50e6 and licence in (mit,
            apache-2.0)"; how many do not, or may not, is said. See help(spider_jax.facts.where).
        show: Facts that become columns, as in params,licence.
        pareto: A fact that is a cost: who is best for what it costs.
        facts: CSV of facts with a column model, or the folder of a zoo, records or a prior; before
            what is known already. What it says of training data counts too.
        unknown: Whether a model stays where --where cannot be decided.
    """

    where: str | None = None
    show: tuple[str, ...] = ()
    pareto: str | None = None
    facts: tuple[Path, ...] = ()
    unknown: Literal["drop", "keep"] = "drop"

    def check(self) -> None:
        """Refuse what cannot be read, before the work and not after it.

        Raises:
            InputError: no condition, or a file without facts.
        """
        from spider_jax.facts.where import read_condition

        if self.where is not None:
            read_condition(self.where)
        elif self.unknown == "keep":
            raise InputError("--unknown keep says what --where does not drop: give --where as well")
        for path in self.facts:
            if not path.exists():
                raise InputError(f"--facts {path} is missing")

    @property
    def asked(self) -> bool:
        """Whether facts are asked for."""
        given = self.where is not None or self.pareto is not None
        return given or bool(self.show or self.facts)

    @property
    def shown(self) -> tuple[str, ...]:
        """The facts of --show, one by one."""
        names = (name.strip() for text in self.show for name in text.split(","))
        return tuple(name for name in names if name)

    def table(
        self, models: Sequence[str], source: "FeatureStore | RecordsPrior | None"
    ) -> "FactTable":
        """The facts of models: of the files of --facts, then what is known already.

        Args:
            models: names.
            source: a zoo or a prior; where nothing is asked for, what it says of training is all.
        """
        from spider_jax.facts.fact_table import FactTable
        from spider_jax.facts.sources import read_facts

        if not self.asked:
            return FactTable(tuple(models)) if source is None else source.training_facts
        known = [] if source is None else [source.facts]
        files = (read_facts(path, models) for path in self.facts)
        return FactTable.joined(models, [*files, *known])

    def verdict(self, table: "FactTable") -> "Verdict | None":
        """Who fulfils --where; None without it.

        Args:
            table: facts of the models.

        Raises:
            InputError: nobody does.
        """
        from spider_jax.facts.verdict import judge

        if self.where is None:
            return None
        found = judge(self.where, table, keep_unknown=self.unknown == "keep")
        found.refuse_none()
        return found

    def shortlist(
        self,
        ranking: "Ranking",
        facts: "FactTable",
        task_facts: Any = None,
        verdict: "Verdict | None" = None,
    ) -> "Ranking":
        """A ranking with what is asked for, and marks on models that know its task.

        Args:
            ranking: all models.
            facts: of these models, as `table` gives them.
            task_facts: of the task.
            verdict: of all models, where only those that fulfil --where were ranked.
        """
        from spider_jax.facts.short_list import shortlist

        return shortlist(
            ranking,
            facts,
            where=self.where or "",
            show=self.shown,
            cost=self.pareto or "",
            keep_unknown=self.unknown == "keep",
            task_facts=task_facts,
            verdict=verdict,
        )
