from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from engines.serving.stop_strings import StopStrings

letters = st.text(alphabet="ab", max_size=30)
stop_lists = st.lists(st.text(alphabet="ab", min_size=1, max_size=5), max_size=4)


def naive(text: str, stops: list[str]) -> tuple[str, bool]:
    """Looks at every beginning of the text, one character at a time."""
    for end in range(len(text) + 1):
        starts = [end - len(stop) for stop in stops if text[:end].endswith(stop)]
        if starts:
            return text[: min(starts)], True
    return text, False


def cut(text: str, at: list[int]) -> list[str]:
    bounds = sorted({0, len(text), *(index for index in at if index <= len(text))})
    return [text[a:b] for a, b in pairwise(bounds)]


@given(letters, stop_lists, st.lists(st.integers(0, 30)))
def test_any_chunking_gives_what_a_character_by_character_search_gives(text, stops, at):
    cutter = StopStrings(stops)
    shown = ""
    for piece in cut(text, at):
        shown += cutter.push(piece)
        if cutter.is_stopped:
            break
    else:
        shown += cutter.flush()
    assert (shown, cutter.is_stopped) == naive(text, stops)


@given(letters, stop_lists)
def test_no_part_of_a_stop_string_is_shown_and_no_more_is_held_back_than_needed(text, stops):
    cutter = StopStrings(stops)
    shown, seen = "", ""
    for letter in text:
        shown += cutter.push(letter)
        seen += letter
        if cutter.is_stopped:
            break
        held = seen[len(shown) :]
        assert seen.startswith(shown)
        possible = [n for stop in stops for n in range(len(stop)) if seen.endswith(stop[:n])]
        longest = max(possible, default=0)
        assert len(held) == longest


def test_the_longest_of_the_stop_strings_that_end_together_counts():
    cutter = StopStrings(["cd", "bcd"])
    assert cutter.push("abcde") == "a"
    assert cutter.is_stopped


def test_without_stop_strings_nothing_is_held_back():
    cutter = StopStrings([])
    assert cutter.push("abc") == "abc"
    assert cutter.flush() == ""
