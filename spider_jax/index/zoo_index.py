"""A zoo of up to millions of models on disk, folded once; the best k for a task by one stream."""

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jax.sharding import Mesh
from numpy.typing import ArrayLike, NDArray

from spider_jax.belief.belief import Belief
from spider_jax.belief.evidence import EvidenceModel
from spider_jax.belief.factors import Factors
from spider_jax.belief.state import BeliefState
from spider_jax.errors import InputError
from spider_jax.index import files
from spider_jax.index.build import append_blocks, build_index, make_folder, models_to_append
from spider_jax.index.files import Block, IndexDescription
from spider_jax.index.first_pass import linear_top_k
from spider_jax.index.names import alive_names, guessed_rows, names_of, rows_of
from spider_jax.index.resident import Resident, to_devices
from spider_jax.index.search import Found, Reader, TaskBlock, stream_scores, stream_top_k
from spider_jax.ranking.ranking import Ranking, note_of_guesses
from spider_jax.runtime.progress import row_bar
from spider_jax.runtime.single_precision import single_precision
from spider_jax.spider.folding import Shared, check_precision
from spider_jax.spider.scoring import remembered
from spider_jax.spider.spider import Spider
from spider_jax.spider.task_memory import MemoryWeights
from spider_jax.storage.files import checked_names
from spider_jax.tasks.padding import class_buckets, pad_tokens
from spider_jax.tasks.scaling import Scaling, apply_scaling
from spider_jax.tasks.tokens import TaskTokens, checked_tokens

FIRST_PASS = "found by a linear first pass, checked but not proven: the exact search is sure"


@dataclass(frozen=True, eq=False)
class ZooIndex:
    """The folded rows of many models on disk, ready to search; whole without its spider.

    Attributes:
        folder: where.
        about: what it is.
        blocks: in model order.
        scaling: of all models.
        shared: of all models.
        memory_weights: how its spider's memory weighs training tasks, None without a memory.
        evidence: how its spider reads evidence, without its factors; None where it knows of none.
        resident: its rows in the memory of devices, see `to_device`; None where they are on disk.
    """

    folder: Path
    about: IndexDescription
    blocks: tuple[Block, ...]
    scaling: Scaling
    shared: Shared
    memory_weights: MemoryWeights | None
    evidence: EvidenceModel | None = None
    resident: Resident | None = None

    def __len__(self) -> int:
        return sum(block.rows - len(block.removed) for block in self.blocks)

    @staticmethod
    @single_precision
    def build(
        spider: Spider,
        folder: str | Path,
        *,
        precision: str | None = None,
        show_progress: bool = False,
    ) -> "ZooIndex":
        """Fold all models of a spider into an index; run again after a crash, it resumes.

        Args:
            spider: whose models are indexed.
            folder: new, empty, or one in which building this same index was interrupted.
            precision: of the keys and of the products, see `fold_checkpoint`; default: the
                spider's.
            show_progress: a bar on stderr.

        Returns:
            The opened index.

        Raises:
            InputError: the folder holds something else, or another process writes there.
        """
        folder = Path(folder)
        check_precision(precision or spider.description.precision)
        make_folder(folder)
        with files.writing(folder):
            build_index(spider, folder, precision or spider.description.precision, show_progress)
        return ZooIndex.open(folder)

    @staticmethod
    @single_precision
    def open(folder: str | Path) -> "ZooIndex":
        """Open an index: headers, sizes and index.json are checked, no row is read.

        Raises:
            InputError: no index, an unfinished one, a newer format, or a file that does not fit.
        """
        folder = Path(folder)
        about, blocks = files.read_index(folder)
        arrays = files.read_shared(folder)
        try:
            scaling = Scaling(arrays["mean"], arrays["matrix"], about.spread)
            if arrays["project"].shape[1] != scaling.width:
                raise InputError(f"{folder / files.INDEX}: spread does not fit what was built")
            arrays["value"] = np.ascontiguousarray(arrays["value"].swapaxes(1, 2))  # from the left
            shared = Shared(**{name: arrays[name] for name in Shared._fields})  # type: ignore[arg-type]
        except KeyError as error:
            raise InputError(f"{folder / files.SHARED} lacks {error}: copy it again") from None
        evidence = None
        if about.rank is not None:
            none = {"loadings": np.zeros((0, about.rank)), "own": np.zeros(0)}
            own = {
                n.removeprefix("belief_"): a for n, a in arrays.items() if n.startswith("belief_")
            }
            evidence = BeliefState.of(none | own, about.metrics).evidence
        return ZooIndex(folder, about, blocks, scaling, shared, MemoryWeights.of(arrays), evidence)

    @single_precision
    def append(
        self, spider: Spider, models: Sequence[str] | None = None, *, show_progress: bool = False
    ) -> "ZooIndex":
        """Add models of a spider with the same shared weights; no other row is rewritten.

        Args:
            spider: as the index's but for its models.
            models: names; default: all that the index does not hold.
            show_progress: a bar on stderr.

        Returns:
            The index with them, which the folder holds from now on.

        Raises:
            InputError: another checkpoint, a model that is unknown or there already, damage in
                what the index holds.
        """
        with files.writing(self.folder):
            index = ZooIndex.open(self.folder)
            index._refuse_damage()
            wanted = models_to_append(self.folder, {*index.names()}, spider, models)
            append_blocks(spider, wanted, self.folder, index.about, index.blocks, show_progress)
        return ZooIndex.open(self.folder)

    @single_precision
    def to_device(self, *, mesh: Mesh | None = None, most: int | None = None) -> "ZooIndex":
        """The same index with its rows in the memory of devices: searches read nothing from disk.

        Args:
            mesh: devices that share the rows, as for `top_k_tasks`. Default: the default device.
            most: bytes that rows may take on a device. Default: most of what is free.

        Returns:
            An index with the same answers, to the bit; this one where the rows do not fit, which
            the log says. What is appended or removed later it does not see.

        Raises:
            InputError: a mesh without an axis "model".
        """
        return replace(self, resident=to_devices(self.folder, self.blocks, mesh, most))

    def remove(self, models: Sequence[str]) -> "ZooIndex":
        """Take models out; their rows stay on disk, no score of another model changes.

        Raises:
            InputError: a model that the index does not hold.
        """
        with files.writing(self.folder):
            index = ZooIndex.open(self.folder)
            wanted, places = {*checked_names(models)}, {}
            for block, names in alive_names(index.folder, index.blocks):
                here = [row for row, name in names if name in wanted]
                wanted -= {name for _, name in names}
                places[block.name] = here
            if wanted:
                raise InputError(f"{self.folder} holds no model {min(wanted)!r}")
            files.write_index(self.folder, index.about, files.without(index.blocks, places))
        return ZooIndex.open(self.folder)

    def verify(self, *, show_progress: bool = False) -> tuple[str, ...]:
        """Read everything and compare with the checksums: one line per damaged part, or none."""
        with row_bar(sum(b.rows for b in self.blocks), "verifying", show_progress) as bar:
            found = [files.part_damage(self.folder / files.SHARED)]
            for block in self.blocks:
                found.append(files.part_damage(files.block_folder(self.folder, block.name)))
                bar.update(block.rows)
        return tuple(problem for problem in found if problem)

    def names(self) -> Iterator[str]:
        """Names of all models, in model order."""
        for _, names in alive_names(self.folder, self.blocks):
            yield from (name for _, name in names)

    @single_precision
    def top_k(
        self,
        tokens: TaskTokens | ArrayLike,
        k: int,
        *,
        task: str | None = None,
        among: Collection[str] | None = None,
        mesh: Mesh | None = None,
        first_pass: bool = False,
        show_progress: bool = False,
    ) -> Ranking:
        """The best k models for one task: `top_k_tasks` of it alone."""
        names = None if task is None else [task]
        options: dict[str, Any] = {"among": among, "mesh": mesh, "show_progress": show_progress}
        options["first_pass"] = first_pass
        return self.top_k_tasks([tokens], k, tasks=names, **options)[0]

    @single_precision
    def top_k_tasks(
        self,
        tokens: Sequence[TaskTokens | ArrayLike],
        k: int,
        *,
        tasks: Sequence[str] | None = None,
        among: Collection[str] | None = None,
        mesh: Mesh | None = None,
        first_pass: bool = False,
        show_progress: bool = False,
    ) -> list[Ranking]:
        """The best k models for several tasks, all of them served by one pass over the index.

        Args:
            tokens: `task_tokens` of T tasks, or arrays of raw class centres [C_t, D] alone, for a
                worse order.
            k: models wanted; an index of fewer gives all it has.
            tasks: names of the tasks, for the reports.
            among: names of the models that count, as those that pass a condition; only blocks that
                hold one are read. Default: all.
            mesh: devices that share the rows, dealt over its axis "model"; where these belong to
                several processes, all of them call this, each reads its own rows only, and all get
                the same answer. Default: the default device.
            first_pass: place all models by a linear fit first and score exactly those that may be
                among the best, see `index.first_pass`: several times as fast in large indexes,
                checked but not proven to find the same models.
            show_progress: a bar on stderr.

        Returns:
            T rankings of min(k, models that count), best first; equal scores keep model order.

        Raises:
            InputError: k < 1, tokens that do not fit, a mesh without an axis "model", or a first
                pass with a mesh.
        """
        if first_pass and mesh is not None:
            raise InputError("first_pass must be False with a mesh: it runs on one device")
        if k < 1:
            raise InputError(f"k must be at least 1, got {k}")
        if len(tokens) == 0:
            raise InputError("tokens of at least one task are needed, got none")
        if tasks is not None and len(tasks) != len(tokens):
            raise InputError(f"tasks must name all {len(tokens)} tasks, got {len(tasks)} names")
        about = self.about.extractor
        given = [checked_tokens(t, about, f"tokens {i}") for i, t in enumerate(tokens)]
        allowed = None if among is None else rows_of(self.folder, self.blocks, among)
        able = len(self) if allowed is None else int(allowed.sum())
        if able == 0:
            raise InputError(
                f"{self.folder} holds no model{'' if among is None else ' that counts'}"
            )
        most = min(k, able)
        buckets = [[i] for i in range(len(given))]
        found = self._by_first_pass(given, most, allowed) if first_pass else []
        passed = bool(found)
        if not passed:
            buckets = list(class_buckets(given).values())
            asked = [self._task_block([given[i] for i in where]) for where in buckets]
            here = self.folder, self.blocks, self.shared
            on, read = self._where(mesh)
            with row_bar(sum(b.rows for b in self.blocks), "scoring", show_progress) as bar:
                found = stream_top_k(*here, asked, most, on, bar, allowed, read)
        order = np.argsort(np.concatenate(buckets))
        scores, rows = (np.concatenate(part)[order] for part in zip(*found, strict=True))
        names, guessed = names_of(self.folder, self.blocks, rows), guessed_rows(self.blocks)
        called: Sequence[str | None] = tasks or [None] * len(given)
        return [
            self._ranking(
                [names[int(row)] for row in best],
                values,
                task,
                [names[int(row)] for row in best if int(row) in guessed],
                able,
                (FIRST_PASS,) if passed else (),
            )
            for best, values, task in zip(rows, scores, called, strict=True)
        ]

    @single_precision
    def belief(
        self,
        tokens: TaskTokens | ArrayLike,
        *,
        task: str | None = None,
        show_progress: bool = False,
    ) -> Belief:
        """What is known of every model on a task: `Spider.belief`, streamed from the disk.

        Args:
            tokens: as for `top_k`.
            task: its name, for the report.
            show_progress: a bar on stderr.

        Returns:
            A posterior over all models that were not removed, in model order. In memory are the
            names, the scores and r + 1 numbers a model.

        Raises:
            InputError: tokens that do not fit, an empty index, or one of a spider that has not
                learned how sure it is.
        """
        process = None if self.memory_weights is None else self.memory_weights.process
        if self.evidence is None or process is None:
            raise InputError(
                f"{self.folder} does not know how sure it is: build it anew of a spider of today"
            )
        if len(self) == 0:
            raise InputError(f"{self.folder} holds no model")
        given = checked_tokens(tokens, self.about.extractor)
        with row_bar(sum(b.rows for b in self.blocks), "scoring", show_progress) as bar:
            block, (on, read) = self._task_block([given]), self._where(None)
            read = None if on else read  # of one device only
            scores = stream_scores(self.folder, self.blocks, self.shared, block, bar, read)
        alive = np.concatenate([one.alive() for one in self.blocks])
        errors = np.concatenate([files.read_errors(self.folder, one) for one in self.blocks])[alive]
        state = BeliefState(
            Factors(errors[:, :-1].astype(np.float64), errors[:, -1].astype(np.float64)),
            self.evidence,
        )
        known = process.known(given)
        return state.begin(tuple(self.names()), scores[alive].astype(np.float64), *known, task)

    def _where(self, mesh: Mesh | None) -> tuple[Mesh | None, Reader | None]:
        """The devices of a search, and what gives the rows that lie there already."""
        if self.resident is None or mesh not in (None, self.resident.mesh):
            return mesh, None
        return self.resident.mesh, self.resident.read

    def _ranking(
        self,
        names: Sequence[str],
        scores: NDArray[np.float32],
        task: str | None,
        guessed: Sequence[str],
        able: int,
        more: tuple[str, ...] = (),
    ) -> Ranking:
        resolution = math.nan if self.about.resolution is None else self.about.resolution
        cut = (
            f"the best {len(names)} of {able} models: the last of these may not be separated "
            "from the next"
        )
        notes = [cut] if len(names) < able else []
        notes += [note_of_guesses(guessed)] if guessed else []
        return Ranking(tuple(names), scores, resolution, task, notes=(*notes, *more))

    def _by_first_pass(
        self, given: Sequence[TaskTokens], k: int, allowed: NDArray[np.bool_] | None
    ) -> list[Found]:
        """The best of every task; empty where the exact search of all costs no more."""
        found: list[Found] = []
        for task in given:
            block = self._task_block([task])
            best = linear_top_k(self.folder, self.blocks, self.shared, block, k, allowed)
            if best is None:
                return []
            found.append(best)
        return found

    def _task_block(self, tokens: Sequence[TaskTokens]) -> TaskBlock:
        """Tasks of one class bucket."""
        padded = pad_tokens(tokens)
        scaled = np.asarray(apply_scaling(self.scaling, padded.centres, padded.mask))
        memory = remembered(self.memory_weights, scaled, padded)
        return TaskBlock(scaled, padded.mask, memory)

    def _refuse_damage(self) -> None:
        problem = next(files.damage(self.folder, self.blocks), None)
        if problem:
            raise InputError(f"{problem}: copy the index again or build it anew")
