"""The search on functions whose crossing is known."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, log2

from hypothesis import given
from hypothesis import strategies as st

from suite.sweep.crossing import Answer, Crossing, Search, find_all


def told(holds: Callable[[int], bool]) -> Callable[[int], Answer]:
    return lambda place: Answer.HOLDS if holds(place) else Answer.FAILS


def search(
    answer: Callable[[int], Answer], start: int, low: int, high: int, stride: int
) -> tuple[Crossing, list[int]]:
    asked = []
    run = Search(start, low=low, high=high, stride=stride)
    while run.place is not None:
        asked.append(run.place)
        run.tell(answer(run.place))
    return run.crossing, asked


BOUNDS = st.tuples(st.integers(-50, 50), st.integers(-50, 50), st.integers(-50, 50)).map(sorted)


@given(BOUNDS, st.integers(-60, 60), st.integers(1, 30))
def test_a_falling_curves_crossing_is_found(bounds: list[int], last: int, stride: int) -> None:
    low, start, high = bounds
    found, asked = search(told(lambda place: place <= last), start, low, high, stride)
    if last < low:
        assert found == Crossing(holds=None, fails=low)
    elif last >= high:
        assert found == Crossing(holds=high, fails=None)
    else:
        assert found == Crossing(holds=last, fails=last + 1)
    assert len(asked) == len(set(asked)) and all(low <= place <= high for place in asked)
    way = abs(min(max(last, low), high) - start)
    assert len(asked) <= 3 + ceil(way / stride) + ceil(log2(stride + 1))


@given(BOUNDS, st.sets(st.integers(-50, 50)), st.integers(1, 30))
def test_of_a_curve_that_goes_up_and_down_a_crossing_that_is_there_is_given(
    bounds: list[int], where_it_holds: set[int], stride: int
) -> None:
    low, start, high = bounds
    found, asked = search(told(lambda place: place in where_it_holds), start, low, high, stride)
    assert found.holds is None or found.holds in where_it_holds
    assert found.fails is None or found.fails not in where_it_holds
    if found.holds is None or found.fails is None:
        assert (low if found.holds is None else high) in asked
    else:
        assert found.fails == found.holds + 1


@given(BOUNDS, st.integers(-60, 60), st.integers(1, 12), st.integers(1, 30))
def test_around_what_is_unsure_the_nearest_known_places_are_found(
    bounds: list[int], last: int, num_unsure: int, stride: int
) -> None:
    low, start, high = bounds

    def answer(place: int) -> Answer:
        if last < place <= last + num_unsure:
            return Answer.UNSURE
        return Answer.HOLDS if place <= last else Answer.FAILS

    found, asked = search(answer, start, low, high, stride)
    assert len(asked) == len(set(asked)) and all(low <= place <= high for place in asked)
    assert found.holds == (None if last < low else min(last, high))
    if found.holds is not None:
        fails = last + num_unsure + 1
        assert found.fails == (fails if fails <= high else None)


def test_a_search_can_be_looked_at_while_it_goes_on() -> None:
    run = Search(0, low=-20, high=20, stride=4)
    assert run.crossing == Crossing(holds=None, fails=None)
    run.tell(Answer.HOLDS)
    run.tell(Answer.UNSURE)
    run.tell(Answer.FAILS)
    assert run.crossing == Crossing(holds=0, fails=8) and run.place == 2


def test_several_searches_go_on_together_and_one_that_can_not_be_told_ends() -> None:
    crossings = {"a": 4, "b": -7}
    rounds = []

    def ask(questions):  # type: ignore[no-untyped-def]
        rounds.append([key for key, _ in questions])
        return [
            None if key == "c" else told(lambda place, key=key: place <= crossings[key])(place)
            for key, place in questions
        ]

    searches = {key: Search(0, low=-20, high=20, stride=4) for key in "abc"}
    assert find_all(searches, ask) == {
        "a": Crossing(holds=4, fails=5),
        "b": Crossing(holds=-7, fails=-6),
        "c": None,
    }
    assert rounds[0] == ["a", "b", "c"] and "c" not in rounds[1]
