"""Conditions on facts: against an evaluation of our own, and what cannot be read."""

import math
import string
from collections.abc import Callable
from contextlib import AbstractContextManager
from operator import eq, ge, gt, le, lt, ne
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from spider_jax.errors import InputError
from spider_jax.facts.conditions import FALSE, TRUE, UNKNOWN, decide
from spider_jax.facts.fact_table import FactTable
from spider_jax.facts.verdict import judge
from spider_jax.facts.where import LONGEST, read_condition

Refused = Callable[..., AbstractContextManager[None]]
Facts = list[dict[str, Any]]  # of every model; None where not known
NUMBERS, TEXTS = ("params", "top 1"), ("licence", "family", "trained_on")
OPERATORS = {"<": lt, "<=": le, ">": gt, ">=": ge, "==": eq, "!=": ne}
WORDS = ("mit", "apache-2.0", "ViT", "imagenet-1k", "cc by 4.0", "7B")


def table_of(facts: Facts) -> FactTable:
    numbers = {
        name: np.array([math.nan if m[name] is None else float(m[name]) for m in facts])
        for name in NUMBERS
    }
    texts = {name: tuple(tuple(m[name] or ()) for m in facts) for name in TEXTS}
    return FactTable(tuple(f"m{i}" for i in range(len(facts))), numbers, texts)


# ---- an evaluation of our own, model by model ------------------------------------------------


def evaluate(tree: Any, model: dict[str, Any]) -> bool | None:
    """Python's own logic, with None for unknown."""
    match tree:
        case ("not", part):
            found = evaluate(part, model)
            return None if found is None else not found
        case ("and", left, right):
            both = evaluate(left, model), evaluate(right, model)
            return False if False in both else (None if None in both else True)
        case ("or", left, right):
            both = evaluate(left, model), evaluate(right, model)
            return True if True in both else (None if None in both else False)
        case ("known", fact):
            return model[fact] is not None
        case (_, fact, *_) if model[fact] is None:
            return None
        case ("number", fact, operator, value):
            return bool(OPERATORS[operator](model[fact], value))
        case ("numbers", fact, values):
            return model[fact] in values
        case ("text", fact, operator, value):
            equal = value.lower() in [entry.lower() for entry in model[fact]]
            return equal if operator == "==" else not equal
        case ("texts", fact, values):
            return bool({v.lower() for v in values} & {entry.lower() for entry in model[fact]})
        case ("part", fact, value):
            return any(value.lower() in entry.lower() for entry in model[fact])
    raise AssertionError(tree)


def written(tree: Any, draw: Any) -> str:
    """The tree in the language, spelt in one of many ways."""

    def word(name: str) -> str:
        return name if name.replace("_", "").isalnum() else f"`{name}`"

    def number(value: float) -> str:
        millions = f"{value / 1e6:.6f}M"
        spellings = [repr(value), f"{value:e}", *([f"{int(value):_}"] if value >= 0 else [])]
        return str(draw(st.sampled_from([*spellings, millions])))

    def text(value: str) -> str:
        spelt = draw(st.sampled_from([value, value.upper(), value.lower()]))
        return f'"{spelt}"' if " " in value or draw(st.booleans()) else spelt

    def cased(keyword: str) -> str:
        return str(draw(st.sampled_from([keyword, keyword.upper()])))

    match tree:
        case ("not", part):
            return f"{cased('not')} ({written(part, draw)})"
        case ("and" | "or" as name, left, right):
            return f"({written(left, draw)}) {cased(name)} ({written(right, draw)})"
        case ("known", fact):
            return f"known({word(fact)})"
        case ("number", fact, operator, value):
            mirrored = {"<": ">", ">": "<", "<=": ">=", ">=": "<="}
            if draw(st.booleans()):
                return f"{number(value)} {mirrored.get(operator, operator)} {word(fact)}"
            return f"{word(fact)}{operator}{number(value)}"
        case ("numbers", fact, values):
            return f"{word(fact)} {cased('in')} ({', '.join(map(number, values))})"
        case ("text", fact, operator, value):
            return f"{word(fact)} {operator} {text(value)}"
        case ("texts", fact, values):
            return f"{word(fact)} in({','.join(map(text, values))})"
        case ("part", fact, value):
            return f"{word(fact)} {draw(st.sampled_from(['~', 'contains']))} {text(value)}"
    raise AssertionError(tree)


whole = st.integers(0, 12).map(lambda n: float(n * 500_000))
entries = st.lists(st.sampled_from(WORDS), min_size=1, max_size=3, unique=True)
models = st.fixed_dictionaries(
    {name: st.none() | whole for name in NUMBERS} | {name: st.none() | entries for name in TEXTS}
)
operators = st.sampled_from(["<", "<=", ">", ">=", "==", "!="])
leaves = st.one_of(
    st.tuples(st.just("known"), st.sampled_from(NUMBERS + TEXTS)),
    st.tuples(st.just("number"), st.sampled_from(NUMBERS), operators, whole),
    st.tuples(st.just("numbers"), st.sampled_from(NUMBERS), st.lists(whole, min_size=1)),
    st.tuples(
        st.just("text"),
        st.sampled_from(TEXTS),
        st.sampled_from(["==", "!="]),
        st.sampled_from(WORDS),
    ),
    st.tuples(st.just("texts"), st.sampled_from(TEXTS), entries),
    st.tuples(st.just("part"), st.sampled_from(TEXTS), st.sampled_from(["a", "mit", "-", "v"])),
)
trees = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.tuples(st.just("not"), inner),
        st.tuples(st.just("and"), inner, inner),
        st.tuples(st.just("or"), inner, inner),
    ),
    max_leaves=6,
)


@settings(max_examples=120)
@given(st.lists(models, min_size=1, max_size=6), trees, st.data())
def test_a_condition_is_what_python_says(facts: Facts, tree: Any, data: st.DataObject) -> None:
    anyone = {"params": 1.0, "top 1": 1.0} | {name: ["x"] for name in TEXTS}
    everyone = [*facts, anyone]  # so that no fact is unknown of all
    expected = [{False: FALSE, None: UNKNOWN, True: TRUE}[evaluate(tree, m)] for m in everyone]
    text = written(tree, data.draw)
    assert decide(read_condition(text), table_of(everyone)).tolist() == expected, text


def test_and_binds_before_or_and_not_before_both() -> None:
    facts = table_of([dict.fromkeys(NUMBERS, 1.0) | {n: ["mit"] for n in TEXTS}])
    for text, expected in (
        ("params=1 or params=2 and params=3", TRUE),
        ("(params=1 or params=2) and params=3", FALSE),
        ("not params=2 and params=1", TRUE),
        ("not not params=1", TRUE),
        ("licence not in (mit) or licence not contains apache", TRUE),
        ("0 < params <= 1", TRUE),
        ("0.5 < params < 1", FALSE),
        ("PARAMETERS ≤ 1 and License = MIT", TRUE),
        ("'top 1' >= 1 and model ~ M0", TRUE),
    ):
        assert decide(read_condition(text), facts).tolist() == [expected], text


# ---- what cannot be read -----------------------------------------------------------------------

GOOD = ("params <= 50M", "licence in (mit, apache-2.0)", "not family = vit", "known(params)")
FACTS = table_of([dict.fromkeys(NUMBERS, 1.0) | {n: ["mit"] for n in TEXTS}])


def malformed() -> list[str]:
    """Kinds of what cannot be read, in many places of many expressions."""
    found = ["", "   ", "\n", "(", ")", "()", "and", "not", "in", "params", "50M", "params params"]
    found += [f"params {end}" for end in ("<", "<=", "=", "!", "=<", "=>", "<>", "~", "in", "in (")]
    for good in GOOD:
        found += [f"{good} {more}" for more in ("and", "or", "not", ")", "(", ",", "xor params=1")]
        found += [f"{before} {good}" for before in ("and", "or", ")", "(", ",", "=", "!", "7")]
        found += [f"{good}{more}" for more in ('"', "'", "`", " && params=1", " || params=1", "!")]
        found += [f"= {good}", f"{good} {good}", f"({good}", f"{good}))"]
        found += [f"unheard {sign} 1 and {good}" for sign in ("=", "<", "!=")]
        found += [f"{'(' * n}{good}{')' * n}" for n in (60, 100_000)]
        found += [f"{'not ' * n}{good}" for n in (60, 2_000)]
        found.append(" and ".join([good] * 5_000))
    for sign in ("=", "<", "!="):
        found += [f"params {sign} {bad}" for bad in ("mit", "1..2", "1e", "--1", "1,2", "in")]
    found += [f"licence {sign} 5" for sign in ("<", "<=", ">", ">=")]
    found += [f"params {end}" for end in ("~ 5", "contains 5", "in (1, mit)", "in ()", "in 5")]
    found += [f"licence {end}" for end in ("in (mit apache)", "in (mit,)", "in mit, bsd", "= a b")]
    found += ["1 < 2", "1 < params < ", "1 <", "1 in params", "known", "known(", "known()"]
    found += [f"params <= 50M {sign}" for sign in string.punctuation]
    found += ["params <= 5\x00", "\x1b[31mparams = 1", "params = 1 \u202e", "a" * (LONGEST + 1)]
    found += ["__import__('os').system('true')", "params.__class__ = 1", "lambda: 1", "[1]", "{}"]
    return found


def said_of(text: str) -> str | None:
    """The error of an expression; None where it is a condition on every model."""
    try:
        found = judge(text, FACTS)
    except InputError as error:
        return str(error)
    return None if len(found.passed) == len(FACTS.models) else "it is not decided"


def test_what_cannot_be_read_is_one_clear_line() -> None:
    expressions = malformed()
    assert len(expressions) >= 200
    for text in expressions:
        line = said_of(text)
        assert line is not None, text[:100]
        assert line.startswith("where"), (text[:100], line)
        assert line.isprintable(), (text[:100], line)
        assert len(line) < 1000


@settings(max_examples=200)
@given(st.text(st.sampled_from("pa ()<=!~,\"'`5Mnotinr"), max_size=30) | st.text(max_size=30))
def test_any_text_is_a_condition_or_one_line(text: str) -> None:
    line = said_of(text)
    assert line is None or (line.startswith("where") and line.isprintable())


def test_an_error_names_the_place_and_what_exists(refused: Refused) -> None:
    with refused("character 5", "parms", "did you mean params?", "licence"):
        judge("not parms <= 5", FACTS)
    with refused("character 11", "params is a number", "'mit'"):
        judge("params <= mit", FACTS)
    with refused("licence is text", "<="):
        judge("licence <= mit", FACTS)
    with refused("quoted", "'b'"):
        judge("licence = a b", FACTS)
    with refused("no facts of the models are known", "--facts"):
        judge("params = 1", FactTable(("a",)))
