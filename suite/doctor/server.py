"""Examines a server: a few short streamed requests, each of which tells one thing.

Whatever the server does, the examination ends: each request has a time limit, and so has the whole.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from engines.api import Endpoint
from engines.attachment import counter_page
from engines.counter_names import COUNTER_NAMES, recognised
from engines.identity import ServerIdentity, identify, server_of
from engines.openai import OpenAISettings, find_endpoint
from engines.secrets import shown_url
from engines.separation import Server
from engines.server_metrics import samples_on
from suite.doctor.asking import Api, Asker, Heard
from suite.doctor.findings import Examined, Finding, Outcome
from suite.doctor.reading import (
    Asked,
    cache_findings,
    count_findings,
    field_finding,
    length_findings,
    stream_findings,
)
from suite.doctor.workload_entry import workload_entry
from suite.driver.turn_record import server_of as software_of
from suite.driver.words import WORDS
from suite.records.answerers import AnsweredBy

ALL_TIMEOUT_S = 120.0  # of all requests together
SHORT, LONG = 8, 40  # words of a prompt, to tell what each word counts and what is added
NUM_TOKENS = 32  # of the answer whose stream is looked at
FEW_TOKENS = 4
FIRST_ID = 256  # beyond the special tokens of most tokenizers, as vLLM's own benchmarks begin
CACHED_WORDS = 96  # of the prompt that is asked twice: some blocks of a prefix cache
SHORT_ANSWER = "Reply with the single word OK and nothing else."  # models that can, end early

Say = Callable[[str], None]


def examine_server(
    name: str, settings: OpenAISettings, *, timeout_s: float, say: Say = lambda _: None
) -> Examined:
    """Returns what was found out. Raises EngineError, EngineInputError where it can not be asked at
    all: nobody listens, a key is missing, the model is not named."""
    endpoint = replace(find_endpoint(name, settings), takes_priority=True)
    server = server_of(endpoint)
    say(f"{shown_url(endpoint.base_url)} serves {endpoint.model}")
    identity = identify(server, endpoint.model, is_thorough=True)
    examination = _Examination(name, settings, endpoint, timeout_s, say)
    asyncio.run(examination.ask_all())
    examination.findings += _counter_findings(settings, server)
    return examination.examined(identity)


class _BrokenOffError(Exception):
    """No further question makes sense. One line."""


class _Examination:
    def __init__(
        self, name: str, settings: OpenAISettings, endpoint: Endpoint, timeout_s: float, say: Say
    ) -> None:
        self._name, self._settings, self._endpoint = name, settings, endpoint
        self._timeout_s, self._say = timeout_s, say
        self._until = time.monotonic() + ALL_TIMEOUT_S
        self._num_requests = 0
        self._why_broken_off: str | None = None
        self._asked = Asked()
        self.findings: list[Finding] = []

    async def ask_all(self) -> None:
        try:
            with Asker.opened(self._endpoint, timeout_s=self._timeout_s) as self._asker:
                await self._ask_apis()
                await self._ask_lengths()
                await self._ask_fields()
                await self._ask_cache()
        except _BrokenOffError as error:
            self._why_broken_off = str(error)

    def examined(self, identity: ServerIdentity) -> Examined:
        settings, asked = self._settings, self._asked
        entry, comments, others = workload_entry(settings, self._endpoint, self.findings, identity)
        return Examined(
            name=self._name,
            base_url=shown_url(self._endpoint.base_url),
            model=self._endpoint.model,
            identity=identity,
            answered=None if asked.first is None else _answerer(asked.first),
            findings=tuple(self.findings),
            entry=entry,
            comments=comments,
            others=others,
            num_requests=self._num_requests,
            why_broken_off=self._why_broken_off,
        )

    async def _ask(self, about: str, prompt: str | list[int], **asked: Any) -> Heard:
        """Raises _BrokenOffError once the time is over, or nothing is answered any more."""
        if time.monotonic() > self._until:
            raise _BrokenOffError(f"not all was asked within {ALL_TIMEOUT_S:g} s")
        self._say(f"asking: {about}")
        self._num_requests += 1
        heard = await self._asker.ask(prompt, **asked)
        if heard.is_timeout:
            raise _BrokenOffError(f"{about}: {heard.failure}, so no more was asked")
        return heard

    async def _ask_apis(self) -> None:
        """Asks both endpoints for a stream as a run would; the first that answers serves the other
        questions, the one of the settings before the other."""
        wanted = self._settings.api
        apis: tuple[Api, Api] = ("chat", "completions")
        for api in sorted(apis, key=lambda each: each != wanted):
            heard = await self._ask(
                f"api: {api}", _words(SHORT), num_tokens=NUM_TOKENS, api=api, ignore_eos=None
            )
            outcome: Outcome = "yes" if heard.is_good else "no"
            text = "gives a whole streamed answer" if heard.is_good else _why_not(heard)
            self.findings.append(Finding(what=f"api: {api}", outcome=outcome, text=text))
            if heard.is_good:
                self._asked.by_api[api] = heard
        first = self._asked.first
        if first is None:
            raise _BrokenOffError("neither endpoint gave a streamed answer, so no more was asked")
        self.findings += stream_findings(first)

    async def _ask_lengths(self) -> None:
        """Asks longer prompts, to tell what a word counts and what the chat template adds."""
        for api in self._asked.by_api:
            self._asked.longer[api] = await self._ask(
                f"{api} with {LONG} words",
                _words(LONG),
                num_tokens=FEW_TOKENS,
                api=api,
                ignore_eos=None,
            )
        self.findings += count_findings(self._asked, short=SHORT, long=LONG)

    async def _ask_fields(self) -> None:
        api = self._asked.api
        plain = await self._ask(
            "a short answer", SHORT_ANSWER, num_tokens=NUM_TOKENS, api=api, ignore_eos=None
        )
        for field, value in (("ignore_eos", True), ("min_tokens", NUM_TOKENS)):
            given = {"ignore_eos": None, field: value}
            heard = await self._ask(field, SHORT_ANSWER, num_tokens=NUM_TOKENS, api=api, **given)
            self.findings += length_findings(field, plain, heard, num_asked=NUM_TOKENS)
        heard = await self._ask(
            "priority", _words(SHORT), num_tokens=FEW_TOKENS, api=api, ignore_eos=None, priority=1
        )
        self.findings.append(field_finding("priority", heard, "whether it acts on it"))
        if "completions" in self._asked.by_api:
            await self._ask_token_ids()

    async def _ask_token_ids(self) -> None:
        ids = list(range(FIRST_ID, FIRST_ID + SHORT))
        heard = await self._ask(
            "token ids as prompt", ids, num_tokens=FEW_TOKENS, api="completions", ignore_eos=None
        )
        told = heard.answer.num_prompt_tokens
        if not heard.is_good:
            found = Finding(what="token ids", outcome="no", text=heard.failure or "")
        elif told is not None and told != len(ids):
            text = f"a prompt of {len(ids)} ids is counted as {told} tokens"
            found = Finding(what="token ids", outcome="unknown", text=text)
        else:
            text = f"a prompt of {len(ids)} ids is taken as it is"
            found = Finding(what="token ids", outcome="yes", text=text)
        self.findings.append(found)
        if heard.is_good:
            has_ids = heard.answer.has_token_ids and bool(heard.answer.token_ids)
            text = "each chunk tells its ids" if has_ids else "the answer's ids are not told"
            outcome: Outcome = "yes" if has_ids else "ignored"
            self.findings.append(Finding(what="return_token_ids", outcome=outcome, text=text))

    async def _ask_cache(self) -> None:
        """Asks one prompt twice, then under a salt: only who separates by it computes it anew."""
        prompt = f"{time.monotonic_ns()} {_words(CACHED_WORDS)}"
        api, heard = self._asked.api, []
        for about, salt in (("a prompt", None), ("it again", None), ("it with cache_salt", "s1")):
            heard.append(
                await self._ask(
                    about,
                    prompt,
                    num_tokens=FEW_TOKENS,
                    api=api,
                    ignore_eos=None,
                    cache_salt=salt,
                )
            )
        self.findings += cache_findings(*heard)


def _why_not(heard: Heard) -> str:
    return f"{heard.failure}" + (f"; {heard.advice}" if heard.advice else "")


def _words(num: int) -> str:
    return " ".join(WORDS[number % len(WORDS)] for number in range(num))


def _answerer(heard: Heard) -> str | None:
    found = AnsweredBy(
        model=heard.answer.model,
        system_fingerprint=heard.answer.system_fingerprint,
        server=software_of(heard.response),
        num_turns=1,
    )
    return found.text or None


def _counter_findings(settings: OpenAISettings, server: Server) -> list[Finding]:
    """Looks at the counter page that is named, else at the usual place."""
    url = server.root_url("/metrics")
    if settings.metrics_url is not None:
        server, url = counter_page(server, settings.metrics_url)
    what = "counter page"
    try:
        reply = server.look(url)
    except OSError as error:
        return [Finding(what=what, outcome="no", text=f"{url} gives no answer ({error})")]
    if reply.status != 200:
        text = f"{url} answers {reply.status} {reply.reason}".strip()
        return [Finding(what=what, outcome="no", text=text)]
    try:
        samples = samples_on(reply.body.decode(errors="replace"))
    except ValueError:
        samples = {}
    found = recognised(samples.keys())
    if not found:
        known = ", ".join(COUNTER_NAMES)
        text = f"{url} has {len(samples)} samples, none with a name of {known}"
        return [Finding(what=what, outcome="no", text=text)]
    fields = list(dict.fromkeys(field for each in found.values() for field in each))
    text = f"{url} has {' and '.join(found)}'s names: {', '.join(fields)}"
    return [Finding(what=what, outcome="yes", text=text)]
