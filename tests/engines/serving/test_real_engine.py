"""The server over the real step loop, in its real thread, on a device that remembers tokens."""

import asyncio
import time

import pytest

from engines.core.engine import Engine
from engines.embedded.settings import FastSwitchSettings
from engines.serving.admission import ServedModel
from engines.serving.app import create_app
from engines.serving.engine_thread import EngineThread
from tests.engines.core.memory_device import VOCAB, MemoryDevice, undisturbed
from tests.engines.serving.scripted_engine import ByteTokenizer
from tests.engines.serving.served import Client, samples, serving

PATH = "/v1/completions"


class NumberDetokenizer:
    """A token's text is its number, so that an answer's text tells its tokens."""

    def push(self, token_ids):
        return "".join(f"{token_id} " for token_id in token_ids)

    def finish(self):
        return ""


MODEL = ServedModel(
    name="bytes",
    tokenizer=ByteTokenizer(),
    make_detokenizer=NumberDetokenizer,
    max_context_tokens=128,
    vocab_size=VOCAB,
)


def real_engine(**callbacks):
    """Room for four requests of 64 tokens on the device."""
    settings = FastSwitchSettings(
        kv_tokens=256, swap_tokens=2560, block_size=8, max_batch_tokens=64, max_num_seqs=16
    )
    core = settings.core()
    device = MemoryDevice(
        block_size=core.block_size,
        num_device_blocks=core.num_device_blocks,
        num_host_blocks=core.num_host_blocks,
    )
    return EngineThread(Engine(core, device, clock=time.monotonic), **callbacks)


def against_real_engine(use):
    async def main():
        async with serving(create_app(MODEL, real_engine)) as client:
            return await use(client)

    return asyncio.run(main())


async def scrape(client: Client):
    async with client.http.get(client.url("/metrics")) as response:
        return samples(await response.text())


def body(index, **fields):
    prompt = [(index * 37 + i) % 200 + 1 for i in range(20)]
    return {"prompt": prompt, "max_tokens": 40, "ignore_eos": True, **fields}


def test_thirty_two_streams_over_a_small_pool_each_get_the_tokens_of_an_undisturbed_run():
    bodies = [body(i, priority=i % 5, return_token_ids=True) for i in range(32)]

    async def use(client):
        replies = await asyncio.gather(*(client.events(PATH, b) for b in bodies))
        return replies, await scrape(client)

    replies, shown = against_real_engine(use)
    for asked, events in zip(bodies, replies, strict=True):
        choices = [event["choices"][0] for event in events[:-1]]
        tokens = [token_id for choice in choices for token_id in choice["token_ids"]]
        assert tokens == undisturbed(asked["prompt"], 40)
        assert "".join(choice["text"] for choice in choices) == "".join(f"{t} " for t in tokens)
        assert choices[-1]["finish_reason"] == "length"
    assert shown[("vllm:num_preemptions_total",)] > 0
    assert shown[("fsbench:swap_in_blocks_total",)] > 0
    assert shown[("vllm:prompt_tokens_total",)] == 32 * 20
    assert shown[("vllm:generation_tokens_total",)] == 32 * 40
    assert shown[("vllm:request_success_total", "length")] == 32
    assert shown[("fsbench:finished_requests_total",)] == 32


def test_a_turn_that_shares_its_conversation_reuses_what_the_last_one_computed():
    async def use(client):
        first = body(1, conversation_id="c", return_token_ids=True)
        _, reply = await client.post(PATH, first)
        history = first["prompt"] + reply["choices"][0]["token_ids"]
        second = {"prompt": [*history, 9, 9], "max_tokens": 5, "conversation_id": "c"}
        _, reply = await client.post(PATH, {**second, "return_token_ids": True})
        return second["prompt"], reply

    prompt, reply = against_real_engine(use)
    assert reply["usage"]["prompt_tokens_details"]["cached_tokens"] > 40
    assert reply["choices"][0]["token_ids"] == undisturbed(prompt, 5)


def test_a_turn_ended_by_a_stop_string_leaves_its_history_to_the_next():
    prompt = [5] * 20
    tokens = undisturbed(prompt, 30)

    async def use(client):
        stopping = {"prompt": prompt, "max_tokens": 100, "stop": f"{tokens[10]} "}
        await client.post(PATH, {**stopping, "conversation_id": "c"})
        second = {"prompt": [*prompt, *tokens[:10], 7], "max_tokens": 3, "conversation_id": "c"}
        _, reply = await client.post(PATH, second)
        return reply, await scrape(client)

    reply, shown = against_real_engine(use)
    assert reply["usage"]["prompt_tokens_details"]["cached_tokens"] == 30
    assert shown[("fsbench:aborted_requests_total",)] == 0


@pytest.mark.parametrize("is_streaming", [True, False])
def test_a_client_that_leaves_gives_its_blocks_back(is_streaming):
    async def use(client):
        asked = {"prompt": [5], "max_tokens": 127, "stop": ["no such text"]}
        for _ in range(20):
            task = asyncio.create_task(
                client.events(PATH, asked) if is_streaming else client.post(PATH, asked)
            )
            await asyncio.sleep(0.003)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await client.post(PATH, asked)
        return await scrape(client)

    shown = against_real_engine(use)
    assert shown[("vllm:num_requests_running",)] == 0
    assert shown[("fsbench:used_device_blocks",)] == 0


def test_a_stop_string_ends_the_request_in_the_engine_and_leaves_no_block():
    tokens = undisturbed([5], 30)
    stop = f"{tokens[10]} "

    async def use(client):
        _, reply = await client.post(PATH, {"prompt": [5], "max_tokens": 100, "stop": stop})
        await client.post(PATH, {"prompt": [5], "max_tokens": 1})
        return reply, await scrape(client)

    reply, shown = against_real_engine(use)
    assert reply["choices"][0]["text"] == "".join(f"{t} " for t in tokens[:10])
    assert shown[("vllm:request_success_total", "stop")] == 1
    assert shown[("fsbench:used_device_blocks",)] == 0
