"""Fields of a dataclass from a JSON: their types and no others."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spider_jax.storage.json_fields import json_fields


@dataclass
class Kinds:
    """One field of every kind that a description has."""

    word: str
    whole: int
    number: float
    truth: bool
    maybe: int | None
    words: tuple[str, ...]
    sizes: Mapping[str, int]
    rest: Mapping[str, Any]


SOUND = Kinds("psi", 6, 0.5, True, None, ("a", "b"), {"a": 1}, {"x": [None]})
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=1), inner),
    max_leaves=4,
)
FITS = {
    "word": lambda v: type(v) is str,
    "whole": lambda v: type(v) is int,
    "number": lambda v: type(v) in (int, float),
    "truth": lambda v: type(v) is bool,
    "maybe": lambda v: v is None or type(v) is int,
    "words": lambda v: type(v) is list and all(type(one) is str for one in v),
    "sizes": lambda v: type(v) is dict and all(type(one) is int for one in v.values()),
    "rest": lambda v: type(v) is dict,
}


@given(st.sampled_from(sorted(FITS)), VALUES)
def test_a_field_has_its_type_or_is_refused(name: str, value: object) -> None:
    content = asdict(SOUND) | {name: value, "more": 1}
    if FITS[name](value):
        assert set(json_fields(Kinds, content)) == set(asdict(SOUND))
    else:
        with pytest.raises(TypeError, match=f"^{name} must be"):
            json_fields(Kinds, content)


def test_a_sound_one_comes_back() -> None:
    content = asdict(SOUND)
    assert Kinds(**json_fields(Kinds, content | {"words": ["a", "b"]})) == SOUND
    del content["word"]
    with pytest.raises(KeyError, match="word"):
        json_fields(Kinds, content)
