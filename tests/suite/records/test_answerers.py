"""Who gave the answers of a trial, as the answers name them."""

from __future__ import annotations

import pyarrow as pa

from engines.identity import ServerIdentity
from suite.records.answerers import AnsweredBy, answerers, change_remark, version_text


def turns(*rows: tuple[str | None, str | None, str | None]) -> pa.Table:
    names = ("answered_model", "system_fingerprint", "answered_server")
    columns = {name: [row[place] for row in rows] for place, name in enumerate(names)}
    return pa.table(columns, schema=pa.schema([(name, pa.string()) for name in names]))


def test_the_commonest_comes_first_and_turns_without_an_answer_are_not_counted() -> None:
    table = turns(("a", "f", "s"), ("b", None, "s"), ("b", None, "s"), (None, None, "s"))
    found = answerers(table)
    assert [(each.model, each.num_turns) for each in found] == [("b", 2), ("a", 1)]


def test_one_and_the_same_needs_no_remark_and_others_are_named() -> None:
    one = AnsweredBy(model="a", system_fingerprint="f1", server=None, num_turns=9)
    assert change_remark([]) is None and change_remark([one]) is None
    other = one.model_copy(update={"system_fingerprint": "f2", "num_turns": 1})
    said = change_remark([one, other])
    assert said is not None
    assert "(9 turns model a, fingerprint f1; 1 turn model a, fingerprint f2)" in said


def test_the_version_is_what_pages_tell_and_what_answers_name_beyond_that() -> None:
    identity = ServerIdentity(software="vLLM", version="0.32.0", server_header="uvicorn")
    answer = AnsweredBy(model="m", system_fingerprint="fp", server="uvicorn", num_turns=1)
    assert version_text(identity, [answer], "m") == "vLLM 0.32.0; Server: uvicorn; fingerprint fp"
    gateway = answer.model_copy(update={"server": "LiteLLM 1.80", "model": "other"})
    assert version_text(None, [gateway], "m") == (
        "answers from LiteLLM 1.80; model other; fingerprint fp"
    )
    assert version_text(None, [], "m") is None
