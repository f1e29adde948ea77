"""A small language for conditions on facts, read into `conditions`; nothing is ever evaluated.

    params <= 50M and licence in (mit, apache-2.0)
    not (family = vgg or trained_on ~ imagenet) and known(flops)
    1M < params <= 50M and licence not in ("cc-by-nc-4.0") and `Average score` >= 3

condition   any or any or ...          any      all and all and ...
all         not all | (condition) | known(fact) | comparison
comparison  fact < <= > >= = == != value       value < fact [< value]
            fact [not] in (value, ...)         fact [not] ~ value      fact [not] contains value

A fact is a word, or any text between backquotes. A value is a number (50e6, 50M, 7B, 1_000), a bare
word (mit, apache-2.0) or a quoted text. Texts are compared without regard to case.
"""

import re
from typing import NamedTuple, NoReturn

from spider_jax.errors import InputError
from spider_jax.facts.conditions import (
    AllOf,
    Among,
    AnyOf,
    Compare,
    Condition,
    Contains,
    Known,
    Not,
    Word,
)
from spider_jax.facts.quantities import read_quantity

LONGEST, DEEPEST = 10_000, 50  # characters, and brackets or nots within one another
EXAMPLE = '"params <= 50e6 and licence in (mit, apache-2.0)"'
TOKEN = re.compile(
    r"""(?P<space>\s+)
    | (?P<operator><=|>=|==|!=|<|>|=|≤|≥|≠)
    | (?P<mark>[(),~])
    | (?P<quoted>"[^"]*"|'[^']*')
    | (?P<name>`[^`]*`)
    | (?P<word>[^\s()<>=!~,"'`≤≥≠]+)""",
    re.VERBOSE,
)
SPELT = {"=": "==", "≤": "<=", "≥": ">=", "≠": "!="}
MIRRORED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}
ORDERED = ("<", "<=", ">", ">=")
KEYWORDS = ("and", "or", "not", "in", "contains")


class Token(NamedTuple):
    """A sign or a word.

    Attributes:
        kind: operator, mark, quoted, name, word, keyword or end.
        text: without quotes; a keyword in small letters.
        at: its first character, from 0.
    """

    kind: str
    text: str
    at: int


def read_condition(text: str) -> Condition:
    """Read a condition.

    Args:
        text: see the module.

    Raises:
        InputError: it is none; the line says where and what is expected.

    >>> read_condition("licence = MIT").operator
    '=='
    """
    if len(text) > LONGEST:
        raise InputError(
            f"where has {len(text)} characters, at most {LONGEST} are read: shorten it"
        )
    if not text.strip():
        raise InputError(f"where is empty: give a condition such as {EXAMPLE}")
    return _Reader(text).whole()


class _Reader:
    """Reads tokens from the left, by descent into brackets."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = self._tokens()
        self.at = 0
        self.depth = 0

    def _tokens(self) -> list[Token]:
        found, at = list[Token](), 0
        while at < len(self.text):
            match = TOKEN.match(self.text, at)
            if match is None:
                self._fail(at, *self._unreadable(at))
            kind, text = str(match.lastgroup), match.group()
            if kind == "word" and text.casefold() in KEYWORDS:
                kind, text = "keyword", text.casefold()
            elif kind in ("quoted", "name"):
                text = text[1:-1]
            if kind != "space":
                found.append(Token(kind, SPELT.get(text, text) if kind == "operator" else text, at))
            at = match.end()
        return [*found, Token("end", "", len(self.text))]

    def _unreadable(self, at: int) -> tuple[str, str]:
        sign = self.text[at]
        if sign in "\"'`":
            return f"the {sign} at its end", "the end: close the quote"
        return "not or !=", repr(sign)

    # ---- grammar -----------------------------------------------------------------------------

    def whole(self) -> Condition:
        found = self._any()
        if self._now.kind != "end":
            self._fail_here("and, or, or the end" + self._hint())
        return found

    def _hint(self) -> str:
        """A text of several words needs quotes."""
        plain = self._now.kind in ("word", "quoted") and self.tokens[self.at - 1].kind == "word"
        return " (a text of several words is quoted)" if plain else ""

    def _any(self) -> Condition:
        parts = [self._all()]
        while self._take("keyword", "or"):
            parts.append(self._all())
        return parts[0] if len(parts) == 1 else AnyOf(tuple(parts))

    def _all(self) -> Condition:
        parts = [self._one()]
        while self._take("keyword", "and"):
            parts.append(self._one())
        return parts[0] if len(parts) == 1 else AllOf(tuple(parts))

    def _one(self) -> Condition:
        start = self._now.at
        self.depth += 1
        if self.depth > DEEPEST:
            self._fail(start, f"at most {DEEPEST} brackets and nots within one another", "one more")
        if self._take("keyword", "not"):
            found: Condition = Not(self._one())
        elif self._take("mark", "("):
            found = self._any()
            self._need("mark", ")", "a closing bracket, and or or")
        else:
            found = self._comparison()
        self.depth -= 1
        return found

    def _comparison(self) -> Condition:
        first = self._now
        if first.kind not in ("word", "name", "quoted"):
            self._fail_here("a fact, not or a bracket")
        self.at += 1
        if first.kind == "word" and first.text.casefold() == "known" and self._take("mark", "("):
            fact = self._fact()
            self._need("mark", ")", "a closing bracket")
            return Known(fact)
        if first.kind == "word" and read_quantity(first.text) is not None:
            return self._from_value(first)
        fact = self._word(first)
        if self._now.kind == "operator":
            return Compare(fact, self._operator(), self._value())
        is_not = self._take("keyword", "not")
        if self._take("keyword", "in"):
            found: Condition = Among(fact, self._values())
        elif self._take("mark", "~") or self._take("keyword", "contains"):
            found = Contains(fact, self._value())
        else:
            self._fail_here(
                f"in, ~ or contains after {first.text[:40]!r} not"
                if is_not
                else f"a comparison (<=, =, !=, in, ~) after {first.text[:40]!r}"
            )
        return Not(found) if is_not else found

    def _from_value(self, first: Token) -> Condition:
        """1M < params, or 1M < params <= 50M."""
        if self._now.kind != "operator":
            self._fail_here(f"a comparison after {first.text[:40]!r}")
        operator = self._operator()
        fact = self._fact()
        left = Compare(fact, MIRRORED[operator], self._word(first))
        if operator not in ORDERED or self._now.kind != "operator":
            return left
        return AllOf((left, Compare(fact, self._operator(), self._value())))

    # ---- parts -------------------------------------------------------------------------------

    def _operator(self) -> str:
        self.at += 1
        return self.tokens[self.at - 1].text

    def _fact(self) -> Word:
        if self._now.kind not in ("word", "name", "quoted"):
            self._fail_here("the name of a fact")
        self.at += 1
        return self._word(self.tokens[self.at - 1])

    def _value(self) -> Word:
        if self._now.kind not in ("word", "quoted"):
            self._fail_here("a value: a number, a word or a quoted text")
        self.at += 1
        return self._word(self.tokens[self.at - 1])

    def _values(self) -> tuple[Word, ...]:
        self._need("mark", "(", "a bracket and values, as in (mit, apache-2.0)")
        found = [self._value()]
        while self._take("mark", ","):
            found.append(self._value())
        self._need("mark", ")", "a comma or a closing bracket" + self._hint())
        return tuple(found)

    def _word(self, token: Token) -> Word:
        return Word(token.text, f"where, character {token.at + 1}")

    # ---- tokens ------------------------------------------------------------------------------

    @property
    def _now(self) -> Token:
        return self.tokens[self.at]

    def _take(self, kind: str, text: str) -> bool:
        taken = self._now.kind == kind and self._now.text == text
        self.at += taken
        return taken

    def _need(self, kind: str, text: str, expected: str) -> None:
        if not self._take(kind, text):
            self._fail_here(expected)

    def _fail_here(self, expected: str) -> NoReturn:
        token = self._now
        self._fail(token.at, expected, "the end" if token.kind == "end" else repr(token.text[:40]))

    def _fail(self, at: int, expected: str, got: str) -> NoReturn:
        before = "..." if at > 40 else ""
        after = "..." if at + 40 < len(self.text) else ""
        shown = f"{before}{self.text[max(0, at - 40) : at + 40]}{after}"
        raise InputError(f"where, character {at + 1}: expected {expected}, got {got}, in {shown!r}")
