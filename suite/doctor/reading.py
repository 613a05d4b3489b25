"""What answers to single requests say of the server that gave them."""

from __future__ import annotations

from dataclasses import dataclass, field

from suite.doctor.asking import Api, Heard
from suite.doctor.findings import Finding, Outcome
from suite.playing.prompt_wording import MAX_TOKENS_PER_WORD, MIN_TOKENS_PER_WORD

MIN_CHUNKS = 8  # for a word on how they came
BUFFERED_RATIO = 0.5  # of the reads that as many chunks would need one by one
AT_ONCE_S = 0.002  # within which no model makes MIN_CHUNKS tokens
MAX_DEVIATION = 0.05  # of tokens a word from one


@dataclass(slots=True)
class Asked:
    """What was heard so far, by endpoint: a prompt of a few words, and a longer one."""

    by_api: dict[Api, Heard] = field(default_factory=dict)
    longer: dict[Api, Heard] = field(default_factory=dict)

    @property
    def api(self) -> Api:
        """Returns the endpoint that serves the questions."""
        return next(iter(self.by_api))

    @property
    def first(self) -> Heard | None:
        return next(iter(self.by_api.values()), None)


def stream_findings(heard: Heard) -> list[Finding]:
    """Returns what a whole streamed answer says of the stream."""
    return [_usage(heard), _chunks(heard), _buffering(heard), _kept_alive(heard)]


def _usage(heard: Heard) -> Finding:
    answer, what = heard.answer, "usage in the stream"
    if answer.num_output_tokens is None:
        text = "none, so chunks are counted, whatever they hold"
        return Finding(what=what, outcome="no", text=text, is_problem=True)
    text = f"{_count(answer.num_prompt_tokens)} prompt and {heard.num_tokens} output tokens told"
    return Finding(what=what, outcome="yes", text=text)


def _chunks(heard: Heard) -> Finding:
    answer, what = heard.answer, "one token a chunk"
    num, told = len(answer.token_reads), answer.num_output_tokens
    if told is None:
        text = f"{num} chunks came, and nobody says of how many tokens"
        return Finding(what=what, outcome="unknown", text=text)
    text = f"{told} tokens came in {num} chunks"
    if told == num:
        return Finding(what=what, outcome="yes", text=text)
    text += ": gaps are between chunks"
    return Finding(what=what, outcome="no", text=text, is_problem=abs(told - num) > 0.1 * told)


def _buffering(heard: Heard) -> Finding:
    response, reads = heard.response, heard.answer.token_reads
    assert response is not None, heard
    at_s = [(response.read_at_ns[read] - heard.sent_at_ns) / 1e9 for read in reads]
    num_reads, span_s = len(set(reads)), at_s[-1] - at_s[0]
    text = (
        f"{len(reads)} chunks in {num_reads} reads, the first after {at_s[0] * 1e3:.1f} ms, the "
        f"last {span_s * 1e3:.1f} ms later"
    )
    what = "streams without buffering"
    if len(reads) < MIN_CHUNKS:
        return Finding(what=what, outcome="unknown", text=text)
    if num_reads <= BUFFERED_RATIO * len(reads) or span_s < AT_ONCE_S:
        text += ": something on the way collects chunks, so TTFT and TBT are not the server's"
        return Finding(what=what, outcome="no", text=text, is_problem=True)
    return Finding(what=what, outcome="yes", text=text)


def _kept_alive(heard: Heard) -> Finding:
    what = "keeps connections open"
    if heard.is_kept:
        return Finding(what=what, outcome="yes", text="the next turn goes over the same one")
    text = "each turn opens one of its own, before it is sent"
    if heard.response is not None and heard.response.can_reuse_connection:
        text = f"closes after an answer though its head does not say so; {text}"
    return Finding(what=what, outcome="no", text=text)


def count_findings(asked: Asked, *, short: int, long: int) -> list[Finding]:
    """Returns what a word of ours counts, and what the chat template adds to a prompt. Without a
    template where both endpoints answer; else from how the count grows."""
    api: Api = "completions" if "completions" in asked.by_api else "chat"
    least, most = _prompt_tokens(asked.by_api[api]), _prompt_tokens(asked.longer[api])
    what = "tokens a word"
    if not asked.longer[api].is_good:
        text = f"{long} words: {asked.longer[api].failure}"
        return [Finding(what=what, outcome="no", text=text, is_problem=True)]
    if least is None or most is None:
        text = "the server does not count a prompt's tokens"
        return [Finding(what=what, outcome="unknown", text=text)]
    per_word = (most - least) / (long - short)
    text = f"{per_word:.2f}: {short} words are counted as {least} tokens in {api}, {long} as {most}"
    if not MIN_TOKENS_PER_WORD <= per_word <= MAX_TOKENS_PER_WORD:
        text += ", which is no count of them; a run sends a word for each token"
        return [Finding(what=what, outcome="no", text=text, is_problem=True)]
    if abs(per_word - 1) > MAX_DEVIATION:
        text += "; a run measures this and sizes its prompts by it"
    found = [Finding(what=what, outcome="yes", text=text)]
    if "chat" in asked.by_api:
        found.append(_template(asked, round(least - per_word * short), short=short))
    return found


def _template(asked: Asked, growth_less: int, *, short: int) -> Finding:
    """`growth_less`: the tokens of the chat prompt that its words do not explain."""
    what, in_chat = "chat template", _prompt_tokens(asked.by_api["chat"])
    plain = asked.by_api.get("completions")
    without = None if plain is None else _prompt_tokens(plain)
    if in_chat is None or (plain is not None and without is None):
        return Finding(what=what, outcome="unknown", text="the server does not count both")
    if without is None:
        text = f"adds about {growth_less} tokens to a message, by how the count grows"
    else:
        text = (
            f"adds {in_chat - without} tokens to a message: the same {short} words are {in_chat} "
            f"in chat, {without} in completions"
        )
    return Finding(what=what, outcome="yes", text=text)


def _prompt_tokens(heard: Heard) -> int | None:
    return heard.answer.num_prompt_tokens


def length_findings(field: str, plain: Heard, heard: Heard, *, num_asked: int) -> list[Finding]:
    """Returns whether a field that should keep an answer from ending early does so. `plain` is the
    answer without it."""
    if not heard.is_good:
        return [Finding(what=field, outcome="no", text=heard.failure or "", is_problem=False)]
    got = heard.num_tokens
    if got < num_asked:
        text = f"is taken, and the answer ends after {got} of {num_asked} tokens all the same"
        return [Finding(what=field, outcome="ignored", text=text, is_problem=field == "ignore_eos")]
    if not plain.is_good or plain.num_tokens >= num_asked:
        text = (
            f"is taken; without it the answer has its {num_asked} tokens too, so whether it is "
            "heeded can not be seen"
        )
        return [Finding(what=field, outcome="unknown", text=text)]
    text = f"the answer has {got} of {num_asked} tokens with it, {plain.num_tokens} without"
    return [Finding(what=field, outcome="yes", text=text)]


def field_finding(field: str, heard: Heard, what_is_unseen: str) -> Finding:
    """Returns whether a field is taken whose effect a single request does not show."""
    if not heard.is_good:
        return Finding(what=field, outcome="no", text=heard.failure or "")
    text = f"is taken; {what_is_unseen} can not be seen from one request"
    return Finding(what=field, outcome="unknown", text=text)


def cache_findings(first: Heard, again: Heard, salted: Heard) -> list[Finding]:
    """Returns what the second asking of a prompt finds in the cache, and the third under a salt."""
    return [_prefix_cache(first, again), _cache_salt(again, salted)]


def _prefix_cache(first: Heard, again: Heard) -> Finding:
    what = "prefix cache"
    if not first.is_good or not again.is_good:
        text = first.failure or again.failure or ""
        return Finding(what=what, outcome="unknown", text=text)
    found = again.answer.num_cached_tokens
    if found is None:
        text = "the server does not tell how many tokens it found (cached_tokens)"
        return Finding(what=what, outcome="unknown", text=text)
    text = f"of {_count(again.answer.num_prompt_tokens)} prompt tokens asked again it found {found}"
    return Finding(what=what, outcome="yes" if found else "no", text=text)


def _cache_salt(again: Heard, salted: Heard) -> Finding:
    what = "cache_salt"
    if not salted.is_good:
        return Finding(what=what, outcome="no", text=salted.failure or "")
    found, under_salt = again.answer.num_cached_tokens, salted.answer.num_cached_tokens
    outcome: Outcome = "unknown"
    if not found or under_salt is None:
        text = "is taken; without tokens found in a cache nobody sees whether it separates"
    elif under_salt < found / 2:
        outcome, text = "yes", f"separates: {under_salt} tokens found under a new salt, not {found}"
    else:
        outcome = "ignored"
        text = (
            f"is taken, and {under_salt} tokens are found under a new salt all the same; trials "
            "are kept apart by words"
        )
    return Finding(what=what, outcome=outcome, text=text)


def _count(number: int | None) -> str:
    return "?" if number is None else str(number)
