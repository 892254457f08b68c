"""The table of trials: what an address asks for is what it shows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from large_sweeps import large_spec

from podium.sweep.trial import Trial, TrialState
from podium_board.table import PER_PAGE, Query, select

SPEC = large_spec()


def trial(number: int, state: str = "complete", value: float | None = 0.5, **parameters: object) -> Trial:
    values = {1: (value,)}
    return Trial(number=number, parameters=parameters, seed=0, state=TrialState(state), values=values, reason="why")


@pytest.mark.parametrize(
    ("asked", "query"),
    [
        ({}, Query()),
        ({"state": "failed", "text": " a b ", "sort": "-value", "page": "3"}, Query("failed", "a b", "-value", 3)),
        ({"state": "nonsense", "sort": "nonsense", "page": "-1"}, Query()),
        ({"page": "0"}, Query()),
        ({"page": "9" * 5000}, Query(page=int("9" * 30))),
        ({"sort": "-optimizer.learning_rate"}, Query(sort="-optimizer.learning_rate")),
    ],
)
def test_what_makes_no_sense_in_an_address_is_left_out(asked, query):
    assert Query.of(asked, SPEC) == query


def test_state_and_text_choose():
    trials = [trial(0, kind="adam"), trial(1, "failed", kind="sgd"), trial(2, kind="sgd")]
    chosen = [each.number for each in select(trials, Query("complete", "kind=SGD")).trials]
    assert chosen == [2]
    assert select(trials, Query(text="why 1")).trials == [trials[1]]


def test_values_are_sorted_as_the_heading_says_and_trials_without_one_come_last_whichever_way():
    assert SPEC.search.objectives[0].direction == "maximize"
    trials = [trial(0, value=0.1), trial(1, value=0.9), trial(2, value=None), trial(3, value=0.5)]
    assert [each.number for each in select(trials, Query(sort="value")).trials] == [0, 3, 1, 2]
    assert [each.number for each in select(trials, Query(sort="-value")).trials] == [1, 3, 0, 2]


def test_parameters_of_several_kinds_are_sorted():
    trials = [trial(0, x="b"), trial(1, x=2), trial(2), trial(3, x=1.5), trial(4, x=True), trial(5, x=(1, 2))]
    query = Query(sort="network.depth")
    assert len(select(trials, query).trials) == 6
    named = [trial(each.number, **{"network.depth": each.parameters.get("x")}) for each in trials]
    assert [each.number for each in select(named, query).trials][:2] == [3, 1]
    assert select(named, query).trials[-1].number == 2


@given(st.integers(0, 3 * PER_PAGE + 7), st.sampled_from(["number", "-number", "value", "-value", "state", "rung"]))
def test_the_pages_together_hold_each_trial_once(count, sort):
    trials = [trial(number, value=number % 7 / 7) for number in range(count)]
    first = select(trials, Query(sort=sort))
    pages = [select(trials, Query(sort=sort, page=page)) for page in range(1, first.pages + 1)]
    assert sorted(each.number for page in pages for each in page.trials) == list(range(count))
    assert all(page.matching == count and len(page.trials) <= PER_PAGE for page in pages)


def test_a_page_beyond_the_last_is_the_last():
    assert select([trial(0)], Query(page=99)).number == 1
