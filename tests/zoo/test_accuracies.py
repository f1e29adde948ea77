"""accuracies.csv: what is unknown, what is refused with its line, and names nobody has."""

from pathlib import Path
from typing import Any

import pytest

from spider_jax.zoo.inspection import inspect_zoo
from spider_jax.zoo.store import FeatureStore
from support.command_line import DONE, SKIPPED, Command

GOOD = "model,task,accuracy\nwide,apples,0.5\n"


def zoo_with(folder: Path, lines: str) -> FeatureStore:
    (folder / "accuracies.csv").write_text(GOOD + lines)
    return FeatureStore(folder)


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        ("narrow,apples,\n", {}),
        ("narrow,apples,  \n", {}),
        ("narrow,apples,0\nnarrow,birds,1\n", {"apples": 0.0, "birds": 1.0}),
        ("narrow,apples,.25\nnarrow,apples,0.25\n", {"apples": 0.25}),
        ("\nnarrow,apples,1e-1\n\n", {"apples": 0.1}),
    ],
    ids=["blank", "spaces", "ends", "twice the same", "empty lines"],
)
def test_what_is_known(small_zoo: Path, lines: str, found: dict[str, float]) -> None:
    wanted = {("narrow", task): value for task, value in found.items()}
    assert zoo_with(small_zoo, lines).accuracies == {("wide", "apples"): 0.5} | wanted


@pytest.mark.parametrize(
    ("lines", "rule"),
    [
        ("narrow,apples,76.3\n", "line 3: accuracy of 'narrow' on 'apples' must be in [0, 1], got"),
        ("narrow,apples,76.3\n", "in percent?"),
        ("narrow,apples,-0.1\n", "line 3"),
        ("narrow,apples,76.3\nnarrow,birds,50\nnarrow,cars,x\n", "(2 more lines are at fault)"),
        ("wide,apples,0.7\n", "line 3: 'wide' on 'apples' stands there twice, as 0.5 (line 2) and"),
        ("narrow,apples,76%\n", "line 3: accuracy of 'narrow' on 'apples' must be a number"),
        ('narrow,apples,"0,7"\n', "must be a number"),
        ("narrow,apples,inf\n", "must be a number"),
        ("past,elsewhere,42\n", "line 3"),
    ],
)
def test_what_is_refused(small_zoo: Path, lines: str, rule: str, refused: Any) -> None:
    zoo = zoo_with(small_zoo, lines)
    with refused("accuracies.csv", rule):
        _ = zoo.accuracies


@pytest.mark.parametrize(
    ("measure", "value", "good"),
    [
        ("matthews", "-0.5", True),
        ("matthews", "-1.5", False),
        ("r2", "-7", True),
        ("r2", "1.5", False),
        ("rmse", "-40", True),
        ("RMSE", "40", False),  # larger is better
        ("log-loss", "0.3", False),
        ("MCC", "-0.5", True),
        ("ndcg", "42", True),
        ("accuracy", "-0.5", False),
    ],
)
def test_a_range_is_that_of_the_measure(
    small_zoo: Path, measure: str, value: str, good: bool, refused: Any
) -> None:
    FeatureStore.write_manifest(small_zoo, extractor="psi", tasks={"birds": {"measure": measure}})
    zoo = zoo_with(small_zoo, f"narrow,birds,{value}\n")
    if good:
        assert zoo.accuracies["narrow", "birds"] == float(value)
    else:
        with refused("line 3", "must be in"):
            _ = zoo.accuracies


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("Wide,apples,0.5", "line 3: unknown model 'Wide', did you mean 'wide'?"),
        ("wide ,apples,0.5", "line 3: unknown model 'wide ', did you mean 'wide'?"),
        ("vgg,apples,0.5", "line 3: unknown model 'vgg': no model of the zoo has that name"),
        ("wide,pears,0.5", "line 3: unknown task 'pears'"),
        (
            "a,apples,0.5\nb,apples,0.5",
            "'a': no model of the zoo has that name (and 1 more)",
        ),
    ],
)
def test_unknown_names_are_kept_and_said(
    small_zoo: Path, line: str, said: str, command: Command
) -> None:
    zoo = zoo_with(small_zoo, line + "\n")
    model, task, _ = line.split("\n")[0].split(",")
    assert (model, task) in zoo.accuracies
    (problem,) = inspect_zoo(zoo).skipped
    assert said in problem
    found = command("score", small_zoo, "apples", "--metrics", "knn", "--no-cache")
    assert found.code == SKIPPED
    assert found.err.count(said) == 1


def test_names_of_the_manifest_are_known(small_zoo: Path, command: Command) -> None:
    facts = {"vgg": {"params": 1}}
    FeatureStore.write_manifest(small_zoo, extractor="psi", models=facts, tasks={"pears": {}})
    zoo_with(small_zoo, "vgg,pears,0.5\n")
    assert command("inspect", small_zoo).code == DONE
