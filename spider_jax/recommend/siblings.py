"""Tasks that are one task in other clothes: they are held out together, or nothing is held out.

Language variants, versions and tasks on the same base data are siblings: a result on one says what
the other will be. Numbers that are learned with one of them at hand promise too much.
"""

import re
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Int

SAME = ("base_task", "dataset", "base_dataset", "base")  # columns whose equal entries say so
FROM = ("adapted_from", "derived_from")  # columns that name another task
NO_NAME = re.compile(r"v?\d+(\.\d+)*|[a-z]{1,2}|hard|lite|mini|small|large|full|test|val|dev|train")


def sibling_groups(
    tasks: Sequence[str], facts: Mapping[str, Sequence[str]]
) -> Int[np.ndarray, " T"]:
    """The group of every task, from 0.

    Tasks are of one group if they have the same entry in a column of SAME, if one names the other
    in a column of FROM, or if their names are the same but for versions, numbers, languages and
    sizes.

    Args:
        tasks: names.
        facts: column -> one text per task.

    Returns:
        Groups, numbered by first appearance.

    >>> sibling_groups(["mlqa-de", "mlqa-fr", "xnli"], {}).tolist()
    [0, 0, 1]
    """
    parent: dict[str, str] = {}

    def root(key: str) -> str:
        while parent.setdefault(key, key) != key:
            parent[key] = parent[parent[key]]
            key = parent[key]
        return key

    for i, name in enumerate(tasks):
        keys = [f"name:{plain_name(name)}"]
        keys += [f"{column}:{facts[column][i]}" for column in SAME if facts.get(column, "")]
        others = (facts[column][i].split("|") for column in FROM if column in facts)
        keys += [f"task:{other.strip()}" for named in others for other in named]
        for key in keys:
            if not key.endswith(":"):
                parent[root(key)] = root(f"task:{name}")
    roots = [root(f"task:{name}") for name in tasks]
    _, first, group = np.unique(roots, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[group]


def plain_name(name: str) -> str:
    """The name without versions, numbers, languages and sizes; whole where nothing else is left.

    Args:
        name: of a task.

    >>> plain_name("ImageNet v2"), plain_name("CIFAR-10")
    ('imagenet', 'cifar')
    """
    words = re.findall(r"[^\W\d_]+\d*|\d[\d.]*", name.casefold())
    kept = [word for word in words if not NO_NAME.fullmatch(word)]
    return " ".join(kept or words)
