"""The chat endpoint, over plain HTTP and with the `openai` client library."""

import asyncio

import openai
import pytest

from tests.engines.serving.scripted_engine import EOS, ScriptedEngine
from tests.engines.serving.served import scripted, served

PATH = "/v1/chat/completions"
HI = [{"role": "user", "content": "hi"}]
HI_TOKENS = list(b"<user>hi")


def ask(body, *, engine=ScriptedEngine):
    async def main():
        async with served(engine) as server:
            return *await server.post(PATH, body), server.engine

    return asyncio.run(main())


def stream(body):
    async def main():
        async with served() as server:
            return await server.events(PATH, body)

    return asyncio.run(main())


def with_client(use, *, engine=ScriptedEngine, **settings):
    """Runs `use(client)` with an `openai` client that talks to a served app."""

    async def main():
        async with (
            served(engine, **settings) as server,
            openai.AsyncOpenAI(
                base_url=server.base_url, api_key=settings.get("api_key", "none"), max_retries=0
            ) as client,
        ):
            return await use(client)

    return asyncio.run(main())


def test_messages_go_through_the_chat_template():
    messages = [
        {"role": "developer", "content": "be brief"},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
    ]
    status, reply, engine = ask({"messages": messages})
    assert status == 200
    assert bytes(engine.submitted[0].prompt_token_ids) == b"<system>be brief<user>ab"
    assert reply["object"] == "chat.completion"
    assert reply["choices"][0]["message"] == {
        "role": "assistant",
        "content": "<system>be brief<user>ab",
    }
    assert reply["choices"][0]["finish_reason"] == "stop"


def test_a_chat_answer_may_use_all_the_context_that_is_left():
    _, _, engine = ask({"messages": HI})
    assert engine.submitted[0].sampling.max_tokens == 4096 - len(HI_TOKENS)


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_both_names_limit_the_answer(name):
    _, reply, _ = ask({"messages": HI, name: 3})
    assert reply["usage"]["completion_tokens"] == 3


def test_a_stream_opens_with_the_role_and_the_prompt_but_no_token():
    events = stream({"messages": HI, "return_token_ids": True})
    assert events[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert "token_ids" not in events[0]["choices"][0]
    assert events[0]["prompt_token_ids"] == HI_TOKENS
    token_ids = [t for event in events[1:-1] for t in event["choices"][0]["token_ids"]]
    assert token_ids == [*HI_TOKENS, EOS]


def test_the_openai_client_gets_a_whole_chat_answer():
    async def use(client):
        return await client.chat.completions.create(
            model="bytes", messages=HI, user="u", metadata={"a": "b"}, seed=3, temperature=0
        )

    reply = with_client(use, engine=scripted(num_cached_tokens=2))
    assert reply.choices[0].message.content == "<user>hi"
    assert reply.choices[0].finish_reason == "stop"
    assert reply.usage.completion_tokens == len(HI_TOKENS) + 1
    assert reply.usage.prompt_tokens_details.cached_tokens == 2


def test_the_openai_client_streams_a_chat_answer():
    async def use(client):
        chunks = await client.chat.completions.create(
            model="bytes", messages=HI, stream=True, stream_options={"include_usage": True}
        )
        return [chunk async for chunk in chunks]

    chunks = with_client(use)
    assert chunks[0].choices[0].delta.role == "assistant"
    text = "".join(chunk.choices[0].delta.content for chunk in chunks[:-1])
    assert text == "<user>hi"
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].choices == []
    assert chunks[-1].usage.total_tokens == 2 * len(HI_TOKENS) + 1


def test_the_openai_client_gets_completions_streamed_and_whole():
    async def use(client):
        body = {"model": "bytes", "prompt": "naïve", "max_tokens": 40, "stop": ["zz"]}
        whole = await client.completions.create(**body)
        chunks = await client.completions.create(**body, stream=True)
        return whole.choices[0].text, "".join([c.choices[0].text async for c in chunks])

    assert with_client(use) == ("naïve", "naïve")


def test_the_openai_client_lists_the_model():
    async def use(client):
        one = await client.models.retrieve("bytes")
        return [m.id async for m in client.models.list()], one.id, one.max_model_len

    assert with_client(use) == (["bytes"], "bytes", 4096)


def test_the_openai_client_raises_its_own_errors():
    async def use(client):
        with pytest.raises(openai.BadRequestError, match="tools is not supported") as bad:
            await client.chat.completions.create(
                model="bytes",
                messages=HI,
                tools=[{"type": "function", "function": {"name": "f", "parameters": {}}}],
            )
        with pytest.raises(openai.NotFoundError, match="'gpt-4' is not served here; use 'bytes'"):
            await client.chat.completions.create(model="gpt-4", messages=HI)
        return bad.value.param

    assert with_client(use) == "tools"


def test_the_openai_client_is_let_in_with_the_right_key_only():
    async def use(client):
        reply = await client.chat.completions.create(model="bytes", messages=HI)
        with pytest.raises(openai.AuthenticationError, match="API key is missing or wrong"):
            await client.with_options(api_key="other").chat.completions.create(
                model="bytes", messages=HI
            )
        return reply.choices[0].message.content

    assert with_client(use, api_key="secret") == "<user>hi"
