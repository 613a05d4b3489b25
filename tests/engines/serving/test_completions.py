"""The completions endpoint, asked over a socket the way clients ask."""

import asyncio

import pytest

from engines.core.sampling_params import SamplingParams
from tests.engines.serving.scripted_engine import EOS, ScriptedEngine
from tests.engines.serving.served import scripted, served

PATH = "/v1/completions"


def ask(body, *, path=PATH, engine=ScriptedEngine, **options):
    async def main():
        async with served(engine) as server:
            status, reply = await server.post(path, body, **options)
            return status, reply, server.engine

    return asyncio.run(main())


def stream(body, *, path=PATH, engine=ScriptedEngine):
    async def main():
        async with served(engine) as server:
            return await server.events(path, body), server.engine

    return asyncio.run(main())


def test_a_text_prompt_is_answered_with_text_and_usage():
    status, reply, _ = ask({"model": "bytes", "prompt": "héllo", "max_tokens": 50})
    assert status == 200
    assert reply["object"] == "text_completion"
    assert reply["choices"] == [
        {"index": 0, "text": "héllo", "logprobs": None, "finish_reason": "stop"}
    ]
    assert reply["usage"] == {
        "prompt_tokens": 6,
        "completion_tokens": 7,  # six bytes and the end of the sequence
        "total_tokens": 13,
        "prompt_tokens_details": {"cached_tokens": 0},
    }


def test_a_token_id_prompt_reaches_the_engine_unchanged():
    _, _, engine = ask({"prompt": [104, 105, 200]})
    assert engine.submitted[0].prompt_token_ids == [104, 105, 200]


@pytest.mark.parametrize("prompt", [["hi"], [[104, 105]]])
def test_a_list_of_one_prompt_is_that_prompt(prompt):
    status, _, engine = ask({"prompt": prompt})
    assert status == 200
    assert engine.submitted[0].prompt_token_ids == [104, 105]


def test_an_answer_has_sixteen_tokens_unless_told_otherwise():
    _, reply, _ = ask({"prompt": "x" * 40})
    assert reply["usage"]["completion_tokens"] == 16
    assert reply["choices"][0]["finish_reason"] == "length"


def test_every_sampling_field_reaches_the_engine():
    body = {
        "prompt": "hi",
        "max_tokens": 7,
        "min_tokens": 3,
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 5,
        "seed": 11,
        "ignore_eos": True,
        "priority": -2,
        "conversation_id": "c-1",
    }
    _, _, engine = ask(body)
    request = engine.submitted[0]
    assert request.sampling == SamplingParams(
        max_tokens=7,
        min_tokens=3,
        temperature=0.5,
        top_k=5,
        top_p=0.9,
        seed=11,
        ignore_eos=True,
        eos_token_ids=frozenset({EOS}),
    )
    assert (request.priority, request.conversation_id) == (-2, "c-1")


def test_a_null_field_counts_as_absent_and_temperature_is_one_by_default():
    status, _, engine = ask({"prompt": "hi", "temperature": None, "stop": None, "logprobs": None})
    assert status == 200
    assert engine.submitted[0].sampling.temperature == 1.0


def test_requests_without_a_seed_get_different_ones():
    async def main():
        async with served() as server:
            for _ in range(2):
                await server.post(PATH, {"prompt": "hi"})
            return [request.sampling.seed for request in server.engine.submitted]

    first, second = asyncio.run(main())
    assert first != second


def test_the_conversation_id_may_come_as_a_header():
    _, _, engine = ask({"prompt": "hi"}, headers={"X-Conversation-Id": "c-9"})
    assert engine.submitted[0].conversation_id == "c-9"


def test_two_different_conversation_ids_are_refused():
    status, reply, _ = ask(
        {"prompt": "hi", "conversation_id": "a"}, headers={"X-Conversation-Id": "b"}
    )
    assert status == 400
    assert "'a'" in reply["error"]["message"] and "'b'" in reply["error"]["message"]


def test_reused_prompt_tokens_stand_in_the_usage():
    _, reply, _ = ask({"prompt": "hello"}, engine=scripted(num_cached_tokens=4))
    assert reply["usage"]["prompt_tokens_details"] == {"cached_tokens": 4}


def test_each_step_of_a_stream_is_one_chunk_and_done_comes_last():
    events, engine = stream({"prompt": "abc", "max_tokens": 50})
    assert [e["choices"][0]["text"] for e in events[:-1]] == ["a", "b", "c", ""]
    assert [e["choices"][0]["finish_reason"] for e in events[:-1]] == [None, None, None, "stop"]
    assert events[-1] == "[DONE]"
    assert {e["id"] for e in events[:-1]} == {engine.submitted[0].request_id}


def test_a_chunk_without_a_whole_character_still_carries_its_token():
    events, _ = stream({"prompt": "é", "max_tokens": 50, "return_token_ids": True})
    choices = [e["choices"][0] for e in events[:-1]]
    assert [(c["text"], c["token_ids"]) for c in choices] == [
        ("", [0xC3]),
        ("é", [0xA9]),
        ("", [EOS]),
    ]


def test_several_tokens_of_one_step_come_in_one_chunk():
    events, _ = stream(
        {"prompt": "abcdef", "max_tokens": 6, "return_token_ids": True},
        engine=scripted(tokens_per_step=4),
    )
    assert [e["choices"][0]["token_ids"] for e in events[:-1]] == [[97, 98, 99, 100], [101, 102]]
    assert "".join(e["choices"][0]["text"] for e in events[:-1]) == "abcdef"


def test_prompt_token_ids_come_with_the_first_chunk_only():
    events, _ = stream({"prompt": "ab", "return_token_ids": True})
    assert events[0]["choices"][0]["prompt_token_ids"] == [97, 98]
    assert all("prompt_token_ids" not in e["choices"][0] for e in events[1:-1])


def test_token_ids_are_left_out_unless_asked_for():
    events, _ = stream({"prompt": "ab"})
    assert all("token_ids" not in event["choices"][0] for event in events[:-1])


def test_a_whole_answer_carries_its_token_ids_when_asked():
    _, reply, _ = ask({"prompt": "ab", "return_token_ids": True})
    choice = reply["choices"][0]
    assert (choice["prompt_token_ids"], choice["token_ids"]) == ([97, 98], [97, 98, EOS])


def test_usage_closes_a_stream_that_asked_for_it():
    events, _ = stream({"prompt": "ab", "stream_options": {"include_usage": True}})
    assert events[-2]["choices"] == []
    assert events[-2]["usage"]["completion_tokens"] == 3
    assert all("usage" not in event for event in events[:-2])


def test_continuous_usage_counts_the_tokens_so_far_in_every_chunk():
    events, _ = stream({"prompt": "ab", "stream_options": {"continuous_usage_stats": True}})
    assert [event["usage"]["completion_tokens"] for event in events[:-1]] == [1, 2, 3]


@pytest.mark.parametrize("tokens_per_step", [1, 3, 100])
def test_a_stop_string_ends_the_answer_before_itself(tokens_per_step):
    body = {"prompt": "one two three", "max_tokens": 50, "stop": [" th", "zzz"]}
    events, _ = stream(
        {**body, "return_token_ids": True}, engine=scripted(tokens_per_step=tokens_per_step)
    )
    chunks = [event["choices"][0] for event in events[:-1]]
    assert "".join(chunk["text"] for chunk in chunks) == "one two"
    assert chunks[-1]["finish_reason"] == "stop"
    assert sum(len(chunk["token_ids"]) for chunk in chunks) == len("one two th")


def test_a_stop_string_ends_the_request_in_the_engine_and_does_not_abort_it():
    async def main():
        async with served(scripted(step_limit=6)) as server:
            body = {"prompt": "abcdef" * 20, "max_tokens": 100, "stop": "cd"}
            _, reply = await server.post(PATH, body)
            engine = server.engine
            has_ended = await asyncio.to_thread(engine.wait_for, lambda: bool(engine.ended))
            return reply, has_ended, engine

    reply, has_ended, engine = asyncio.run(main())
    assert reply["choices"][0]["text"] == "ab"
    assert reply["choices"][0]["finish_reason"] == "stop"
    assert reply["usage"]["completion_tokens"] == 4
    assert has_ended and engine.ended == [engine.submitted[0].request_id]
    assert engine.aborted == []


def test_text_held_back_for_a_stop_string_is_shown_when_the_answer_ends_without_it():
    _, reply, _ = ask({"prompt": "abc", "max_tokens": 3, "stop": ["cde"]})
    assert reply["choices"][0]["text"] == "abc"


def test_a_stop_string_within_the_minimum_length_does_not_count():
    body = {"prompt": "abcabcabc", "max_tokens": 9, "min_tokens": 5, "stop": "bc"}
    _, reply, _ = ask(body)
    assert reply["choices"][0]["text"] == "abcabca"
    assert reply["choices"][0]["finish_reason"] == "stop"


def test_half_a_character_at_the_end_of_an_answer_is_shown_as_such():
    _, reply, _ = ask({"prompt": "né", "max_tokens": 2})
    assert reply["choices"][0]["text"] == "n\ufffd"


def test_a_request_that_ran_to_its_end_is_not_aborted():
    _, _, engine = ask({"prompt": "abc"})
    assert engine.aborted == []


def test_a_connection_serves_one_stream_after_the_other():
    async def main():
        async with served() as server:
            ports = set()
            for _ in range(3):
                async with server.http.post(
                    server.url(PATH), json={"prompt": "ab", "stream": True}
                ) as response:
                    ports.add(response.connection.transport.get_extra_info("sockname"))
                    assert (await response.text()).endswith("data: [DONE]\n\n")
            return ports

    assert len(asyncio.run(main())) == 1


def test_thirty_two_streams_at_once_each_get_their_own_answer():
    async def main():
        async with served(scripted(step_s=0.002)) as server:
            prompts = [f"prompt number {i} " * (1 + i % 4) for i in range(32)]
            replies = await asyncio.gather(
                *(server.events(PATH, {"prompt": p, "max_tokens": 200}) for p in prompts)
            )
            texts = ["".join(e["choices"][0]["text"] for e in r[:-1]) for r in replies]
            return prompts, texts, max(server.engine.batch_sizes)

    prompts, texts, largest_batch = asyncio.run(main())
    assert texts == prompts
    assert largest_batch > 1
