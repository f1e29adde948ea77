"""A search: asked, heard, kept in a file."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from spider_jax.recommend.search import RunSearch

ROUNDS = (("ada", 61.0), ("cy", 70.5), ("bob", 66.0))


@pytest.fixture
def search(plain_prior):
    return RunSearch(plain_prior, describe="birds")


def heard(search, sign=1.0):
    for model, value in ROUNDS:
        search = search.tell(model, sign * value)
    return search


def test_it_asks_until_all_have_run(search):
    asked = []
    while runs := search.ask():
        asked.append(runs[0].model)
        before = search
        search = search.tell(runs[0].model, 60.0 + len(asked))
        assert runs[0].model not in before.results
    assert sorted(asked) == sorted(search.prior.models)
    assert search.done
    assert search.best == asked[-1]
    assert search.spent == 4


def test_nothing_has_run_at_first(search):
    assert search.best is None
    assert not search.done
    assert search.spent == 0
    assert search.expected_loss > 0


def test_a_failure_is_not_asked_again(search):
    first = search.ask()[0].model
    search = search.tell_failure(first, "out of memory")
    assert first not in [run.model for run in search.ask(9)]
    assert len(search.ask(9)) == 3
    assert search.spent == 1
    again = search.tell(first, 3.0)  # with more memory
    assert not again.failed
    assert again.spent == 1


def test_results_that_contradict_are_refused(search, refused):
    search = search.tell("ada", 61.0)
    assert search.tell("ada", 61.0).results == search.results
    with refused("'ada'", "61", "62"):
        search.tell("ada", 62.0)
    with refused("'eve'", "knows 4"):
        search.tell("eve", 1.0)
    with refused("'eve'"):
        search.tell_failure("eve", "")
    with refused("'bob'", "nan", "failure"):
        search.tell("bob", math.nan)
    for bad in (0.0, -1.0, math.inf):
        with refused("standard_error", "'bob'", bad):
            search.tell("bob", 1.0, standard_error=bad)
    with refused("at least one"):
        search.ask(0)


def test_bad_options_are_refused(plain_prior, refused):
    for options, words in (
        ({"costs": {"ada": 0.0}}, ("cost", "ada")),
        ({"costs": {"ada": math.nan}}, ("cost", "ada")),
        ({"budget": math.nan}, ("budget",)),
        ({"enough": math.nan}, ("enough",)),
        ({"like": ("nowhere",)}, ("nowhere",)),
        ({"failed": {"eve": ""}}, ("eve",)),
        ({"results": {"eve": (1.0, math.nan)}}, ("eve",)),
    ):
        with refused(*words):
            RunSearch(plain_prior, **options)


def test_smaller_is_the_mirror_image(plain_prior):
    up = heard(RunSearch(plain_prior, describe="birds"))
    down = heard(RunSearch(plain_prior, describe="birds", direction="smaller"), -1.0)
    assert up.belief.mean.tolist() == down.belief.mean.tolist()
    assert up.belief.sd.tolist() == down.belief.sd.tolist()
    assert up.best == down.best == "cy"
    assert up.ask(3) == down.ask(3)
    assert (up.expected_loss, up.done) == (down.expected_loss, down.done)


def test_it_is_done_when_little_is_lost(search):
    search = heard(search)
    assert search.expected_loss > 0
    just = RunSearch(search.prior, describe="birds", results=search.results)
    for enough in (1.001, 0.999):
        found = RunSearch(
            just.prior,
            describe="birds",
            results=just.results,
            enough=enough * just.expected_loss,
        )
        assert found.done == (enough > 1)


def test_what_is_spent_is_what_was_asked(plain_prior):
    costs = {"ada": 1.0, "bob": 4.0, "elsewhere": 100.0}
    search = RunSearch(plain_prior, costs=costs, budget=7.0)
    spent = 0.0
    while runs := search.ask():
        spent += runs[0].cost
        search = search.tell(runs[0].model, 1.0 + spent)
        assert search.spent == spent
    assert spent <= 7.0
    assert search.done


def test_the_state_on_disk(plain_prior, tmp_path):
    search = RunSearch(
        plain_prior,
        describe="птицы",
        facts={"type": "x"},
        like=("bird songs",),
        direction="smaller",
        goal="order",
        costs={"ada": 2.0},
        budget=9.0,
        enough=0.2,
    )
    search = heard(search).tell("dan", 0.1 + 0.2, standard_error=0.5).tell_failure("cy", "why not")
    search.save(tmp_path / "state.json")
    found = RunSearch.load(tmp_path / "state.json", plain_prior)
    assert found.to_content() == search.to_content()
    assert found.belief.mean.tobytes() == search.belief.mean.tobytes()
    assert found.ask(3) == search.ask(3)
    assert RunSearch(plain_prior).budget == math.inf
    RunSearch(plain_prior).save(tmp_path / "state.json")
    assert RunSearch.load(tmp_path / "state.json", plain_prior).budget == math.inf


def test_the_direction_is_that_of_similar_tasks(plain_prior, prior, refused):
    assert not RunSearch(plain_prior).smaller
    errors = replace(plain_prior, larger_is_better=np.zeros(5, bool))
    down = RunSearch(errors).tell("ada", 0.5).tell("cy", 0.25)
    assert down.smaller
    assert down.best == "cy"
    assert RunSearch(errors, direction="larger").tell("ada", 0.5).tell("cy", 0.25).best == "ada"
    mixed = RunSearch(prior)  # half of its tasks have smaller results better
    assert mixed.ask()
    with refused("--direction larger", "%"):
        mixed.tell(prior.models[0], 1.0)
    assert replace(mixed, direction="smaller").tell(prior.models[0], 1.0).smaller


def test_a_first_state_says_smaller(plain_prior, tmp_path):
    path = tmp_path / "state.json"
    heard(RunSearch(plain_prior)).save(path)
    old = json.loads(path.read_text())
    del old["direction"]
    for smaller in (True, False):
        path.write_text(json.dumps(old | {"smaller": smaller}))
        assert RunSearch.load(path, plain_prior).smaller is smaller


@pytest.mark.parametrize(
    "damage",
    [
        {"results": {"ada": [None, None]}},
        {"results": {"ada": [1.0]}},
        {"results": {"ada": 1.0}},
        {"results": {"ada": [10**400, None]}},
        {"results": {"ada": [math.nan, None]}},
        {"results": {"ada": [1.0, -1.0]}},
        {"results": {"eve": [1.0, None]}},
        {"results": []},
        {"failed": {"eve": "x"}},
        {"direction": "down"},
        {"direction": ["smaller"]},
        {"goal": ["best"]},
        {"facts": None},
        {"like": 3},
        {"costs": {"ada": -1}},
        {"budget": "much"},
        {"enough": None},
        {"describe": None, "like": ["nowhere"]},
        {"version": 99},
        {"format": "spider_jax/other"},
    ],
    ids=str,
)
def test_a_damaged_state_is_one_line(search, tmp_path, refused, damage):
    path = tmp_path / "state.json"
    search.save(path)
    path.write_text(json.dumps(json.loads(path.read_text()) | damage))
    with refused():
        RunSearch.load(path, search.prior)


def test_a_state_that_is_cut_off(search, tmp_path, refused):
    path = tmp_path / "state.json"
    search.save(path)
    path.write_text(path.read_text()[:40])
    with refused("state.json", "JSON"):
        RunSearch.load(path, search.prior)
    with refused("nothing.json", "missing"):
        RunSearch.load(tmp_path / "nothing.json", search.prior)


def test_huge_text_and_none(plain_prior):
    long = RunSearch(plain_prior, describe="birds " * 100_000).belief
    none = RunSearch(plain_prior).belief
    assert np.isfinite([long.mean, none.mean]).all()
