"""Whole HTTP requests, as the file wants them: headers, fields under other names, what is filled in
for each request."""

from __future__ import annotations

from collections.abc import Collection, Set
from typing import Any

import orjson

from engines.api import Endpoint
from engines.promise import in_milliseconds
from engines.request_form import formed
from engines.templates import RequestFacts, fill, is_filled
from engines.terms import Terms
from suite.driver.messages import tools_fields
from suite.driver.prompt import History
from suite.driver.refusals import advice
from suite.driver.target import Target
from workloads.plan_parts import Turn


def asks_ignore_eos(endpoint: Endpoint) -> bool:
    asks = bool(endpoint.extra_body.get("ignore_eos", endpoint.is_fsbench))
    return asks and "ignore_eos" not in endpoint.omitted


class RequestWriter:
    """Writes requests for one server of an endpoint, ready for the socket."""

    def __init__(self, endpoint: Endpoint, target: Target) -> None:
        self._endpoint = endpoint
        self.sent_fields: Set[str] = frozenset()  # of the last request; all have the same
        self._has_filled_head = is_filled(endpoint.headers)
        self._has_filled_body = is_filled(endpoint.extra_body)
        self._extra_body = endpoint.extra_body
        path = "/chat/completions" if endpoint.api == "chat" else "/completions"
        self._request_line = f"POST {target.request_path}{path}{target.query} HTTP/1.1\r\n"
        self._own_headers = _own_headers(endpoint, target)
        nobody = RequestFacts(user_id="", user_class="", conversation_id="", priority=None)
        self._head = self._whole_head(nobody)
        if not self._has_filled_body:
            self._extra_body = fill(endpoint.extra_body, nobody)

    def write(self, history: History, turn: Turn, facts: RequestFacts, terms: Terms) -> bytes:
        fields = {**tools_fields(history.tools), **self._fields(turn, facts, terms)}
        body = formed(fields, self._endpoint.renamed, self._endpoint.omitted)
        content = orjson.dumps(body)
        field = self._endpoint.renamed.get(history.field, history.field)
        self.sent_fields = self._own_names(fields) | {history.field}
        if field not in body:  # else the file's own words stand there
            content = b'{"%b":%b,%b' % (field.encode(), history.json(), content[1:])
        head = self._whole_head(facts) if self._has_filled_head else self._head
        return b"%b%d\r\n\r\n%b" % (head, len(content), content)

    def _own_names(self, fields: Collection[str]) -> Set[str]:
        """Returns the fields that are sent under the names that fsbench gives them."""
        others = {*self._endpoint.omitted, *self._endpoint.renamed}
        return {name for name in fields if name not in others}

    def advice_on(self, words: str, *, status: int) -> str | None:
        """Returns which key of the workload file to change where a refusal names one of ours."""
        return advice(words, status=status, api=self._endpoint.api, sent=self.sent_fields)

    def _whole_head(self, facts: RequestFacts) -> bytes:
        """Returns all of the head up to the content's length."""
        given: dict[str, str] = fill(self._endpoint.headers, facts)
        taken = {name.lower() for name in given}
        own = {name: text for name, text in self._own_headers.items() if name.lower() not in taken}
        lines = "".join(f"{name}: {_sendable(text)}\r\n" for name, text in (own | given).items())
        return f"{self._request_line}{lines}Content-Length: ".encode("latin-1")

    def _fields(self, turn: Turn, facts: RequestFacts, terms: Terms) -> dict[str, Any]:
        """Returns the fields of a request's body but for the history, by their usual names."""
        endpoint = self._endpoint
        body: dict[str, Any] = {
            "model": endpoint.model,
            "max_tokens": turn.num_output_tokens,
            "temperature": 0,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if endpoint.is_fsbench:
            body |= {"conversation_id": facts.conversation_id, "ignore_eos": True}
            if endpoint.takes_terms:
                body |= _body_terms(terms)
        if endpoint.is_fsbench or endpoint.prompt_form == "token_ids":
            body["return_token_ids"] = True
        if facts.priority is not None and endpoint.takes_priority:
            body["priority"] = facts.priority
        body |= fill(self._extra_body, facts) if self._has_filled_body else self._extra_body
        if endpoint.names_conversation:
            xargs = {**body.get("vllm_xargs", {}), "conversation_id": facts.conversation_id}
            if endpoint.takes_terms:
                xargs |= _flat_terms(terms)
            body["vllm_xargs"] = xargs
        return body


def _own_headers(endpoint: Endpoint, target: Target) -> dict[str, str]:
    found = {
        "Host": target.host_header,
        "Content-Type": "application/json",
        "Accept": "text/event-stream",
        "User-Agent": "fsbench",
    }
    if endpoint.api_key:
        found["Authorization"] = f"Bearer {endpoint.api_key}"
    if target.proxy_authorization:
        found["Proxy-Authorization"] = target.proxy_authorization
    return found


def _sendable(text: str) -> str:
    """Returns a header's value; what an id of a trace holds beyond ASCII goes percent-encoded."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        each if " " <= each <= "~" else "".join(f"%{byte:02X}" for byte in each.encode())
        for each in text
    )


def _body_terms(terms: Terms) -> dict[str, Any]:
    """Returns who asks and what was promised as fields of a body, without what nobody said."""
    slo = None if terms.slo is None else in_milliseconds(terms.slo)
    said = {"user": terms.user_id, "user_class": terms.user_class, "slo": slo}
    return {name: value for name, value in said.items() if value is not None}


def _flat_terms(terms: Terms) -> dict[str, Any]:
    """Returns the same for `vllm_xargs`, which hold plain values only."""
    said = _body_terms(terms)
    slo = said.pop("slo", {})
    return {**said, **slo}
