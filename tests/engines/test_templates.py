"""Text with places to fill in: whatever is filled in stays as it is, and what is no place too."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.errors import EngineInputError
from engines.templates import PLACES, RequestFacts, fill, is_filled, places_in, prepared

NASTY = st.text(st.sampled_from("${}enV:user_idpriority \\é\n"), max_size=20)
FACTS = st.builds(
    RequestFacts,
    user_id=NASTY,
    user_class=NASTY,
    conversation_id=NASTY,
    priority=st.integers(0, 255),
)
PART = st.one_of(
    st.text(st.characters(exclude_characters="$"), max_size=5).map(lambda text: (text, text)),
    st.just(("$${", "${")),
    st.sampled_from(["user_id", "user_class", "conversation_id", "priority", "env:SECRET"]).map(
        lambda name: (f"${{{name}}}", None)
    ),
)


@given(
    parts=st.lists(PART, max_size=6), facts=FACTS, secret=NASTY.filter(lambda text: text.strip())
)
def test_each_part_of_a_text_is_filled_in_and_read_only_once(
    parts: list[tuple[str, str | None]], facts: RequestFacts, secret: str
) -> None:
    values = {f"${{{name}}}": str(getattr(facts, name)) for name in PLACES}
    values["${env:SECRET}"] = secret.strip()
    written = "".join(written for written, _ in parts)
    meant = "".join(values[text] if plain is None else plain for text, plain in parts)
    ready = prepared({"a": [written, "x"]}, {"SECRET": secret})
    found: Any = fill(ready, facts)
    if written == "${priority}":
        assert found == {"a": [facts.priority, "x"]}
    else:
        assert found == {"a": [meant, "x"]}
    assert is_filled(ready) == any(plain is None and "env" not in text for text, plain in parts)


@given(text=st.text(st.characters(exclude_characters="$")), facts=FACTS)
def test_a_text_without_places_stays_as_it_is(text: str, facts: RequestFacts) -> None:
    for plain in (text, f"{text}$", f"$1{text}", f"$${text}"):
        if "${" not in plain:
            assert fill(prepared(plain, {}), facts) == plain
            assert places_in(plain) == set()


@given(value=st.recursive(st.none() | st.booleans() | st.integers() | st.floats(), st.lists))
def test_what_is_no_text_stays_as_it_is(value: Any) -> None:
    assert repr(prepared(value, {})) == repr(value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a ${user_id", "has a ${ without its }; write $${ where a plain ${ is meant"),
        ("${usr_id}", "has ${usr_id}, which is unknown; choose one of ${user_id}, "),
        ("${usr_id}", "did you mean ${user_id}?"),
        ("${}", "has ${}, which is unknown"),
        ("${env:MY-KEY}", "has ${env:MY-KEY}, which names no environment variable"),
        ("${env:}", "write ${env:NAME} with letters, digits and _"),
    ],
)
def test_a_place_that_there_is_not_is_told(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=re.escape(says)):
        places_in({"x": [text]})


def test_a_variable_that_is_not_set_is_named() -> None:
    with pytest.raises(EngineInputError, match="the environment variable GONE is not set"):
        prepared("${env:GONE}", {})
