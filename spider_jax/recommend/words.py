"""How alike two tasks are in what is written of them: cosines of TF-IDF words, a column at a time.

Every column of facts (type, language, description, ...) is a field of its own, and so are the name
and all words together; which fields matter is learned (`task_kernel`). Words that most tasks have
say little. A field that a task leaves empty is as like any other as fields are on the mean.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64

ALL, NAME = ":all words", ":name"  # beside columns, which may be called name
MOST_FIELDS = 24
WORD = re.compile(r"[^\W_]+")


def words_of(text: str) -> list[str]:
    """The words of a text, in lower case.

    >>> words_of("Legal_sentences, 12 classes")
    ['legal', 'sentences', '12', 'classes']
    """
    return WORD.findall(text.casefold())


@dataclass(frozen=True, eq=False)
class Field:
    """One field of all tasks.

    Attributes:
        name: its column.
        vectorizer: words to weights.
        rows: weights of the tasks, of unit length.
        there: whether a task has words in it.
        usual: mean cosine of two tasks that have.
    """

    name: str
    vectorizer: Any
    rows: Any
    there: Bool[np.ndarray, " T"]
    usual: float

    def cosines(self, texts: Sequence[str]) -> Float64[np.ndarray, "a T"]:
        """Cosine of texts with every task; the usual one where either is empty."""
        if len(texts) == 0:
            return np.zeros((0, len(self.there)))
        given = self.vectorizer.transform(texts)
        found = np.asarray((given @ self.rows.T).toarray(), np.float64)
        there = np.diff(given.indptr) > 0
        return np.where(there[:, None] & self.there[None], found, self.usual)


@dataclass(frozen=True, eq=False)
class TaskWords:
    """The fields of T tasks.

    Attributes:
        fields: those in which tasks differ.
        tasks: names.
        facts: column -> one text per task.
    """

    fields: tuple[Field, ...]
    tasks: tuple[str, ...]
    facts: Mapping[str, Sequence[str]]

    @staticmethod
    def of(tasks: Sequence[str], facts: Mapping[str, Sequence[str]]) -> "TaskWords":
        """Read the fields.

        Args:
            tasks: names.
            facts: column -> one text per task.
        """
        columns = {ALL: _all_words(tasks, facts), NAME: list(tasks)}
        columns |= {name: list(texts) for name, texts in facts.items() if len(set(texts)) > 1}
        kept = list(columns.items())[:MOST_FIELDS]
        found = (_field(name, texts) for name, texts in kept)
        return TaskWords(tuple(f for f in found if f is not None), tuple(tasks), facts)

    def of_tasks(self, places: Sequence[int]) -> Float64[np.ndarray, "F a T"]:
        """Similarity of some of the tasks with all, in every field."""
        every = {**self.facts, NAME: self.tasks, ALL: _all_words(self.tasks, self.facts)}
        found = [f.cosines([every[f.name][i] for i in places]) for f in self.fields]
        return np.array(found).reshape(len(self.fields), len(places), len(self.tasks))

    def of_description(
        self, text: str = "", facts: Mapping[str, str] | None = None
    ) -> Float64[np.ndarray, "F T"]:
        """Similarity of a task that is described, in every field.

        Args:
            text: what it is, in words. A known entry of a field that occurs in it fills that field.
            facts: column -> text, as tables of tasks have them.
        """
        given = dict(facts or {})
        said = set(words_of(text))
        for name, texts in self.facts.items():
            if name not in given:
                entries = {t for t in texts if t and set(words_of(t)) <= said and words_of(t)}
                given[name] = " ".join(sorted(entries))
        if text and "description" in self.facts and not given.get("description"):
            given["description"] = text
        given |= {ALL: " ".join([text, *given.values()]), NAME: text}
        found = [f.cosines([given.get(f.name, "")])[0] for f in self.fields]
        return np.array(found).reshape(len(self.fields), len(self.tasks))


def _all_words(tasks: Sequence[str], facts: Mapping[str, Sequence[str]]) -> list[str]:
    return [
        " ".join([name, *(texts[i] for texts in facts.values())]) for i, name in enumerate(tasks)
    ]


def _field(name: str, texts: Sequence[str]) -> Field | None:
    from sklearn.feature_extraction.text import TfidfVectorizer  # slow to import

    vectorizer = TfidfVectorizer(analyzer=words_of, sublinear_tf=True)
    try:
        rows = vectorizer.fit_transform(texts).tocsr()
    except ValueError:  # no word in any
        return None
    there = np.diff(rows.indptr) > 0
    total = np.asarray(rows[there].sum(0)).ravel()
    n = int(there.sum())
    usual = float((total @ total - n) / max(n * (n - 1), 1))  # |sum|^2 is all cosines together
    return Field(name, vectorizer, rows, there, usual)
