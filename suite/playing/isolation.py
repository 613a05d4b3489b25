"""What keeps the prompts of the trial that begins now from those of all other trials."""

from __future__ import annotations

from dataclasses import replace

from engines.api import Endpoint
from engines.errors import EngineInputError
from suite.driver.opening import opening_of
from suite.driver.wording import Wording
from suite.driver.words import WORDS
from suite.records.run_directory import Isolation
from workloads.plan import Plan


def isolated(
    endpoint: Endpoint, plan: Plan, salt: str, wording: Wording | None = None
) -> tuple[Endpoint, Isolation | None]:
    """Returns how the server is asked in this trial, and what is recorded of it (None: it starts
    anew with each trial). `salt` is of this trial alone. Raises EngineInputError."""
    words, tokens_per_word = WORDS, 1.0
    if wording is not None:
        words, tokens_per_word = list(wording.words), wording.lengths.tokens_per_word
    match endpoint.separation:
        case None:
            return endpoint, None
        case "cache_salt":
            body = {**endpoint.extra_body, "cache_salt": salt}
            return replace(endpoint, extra_body=body), Isolation(by="cache_salt", salt=salt)
        case "words":
            opening = opening_of(plan, salt, words)
            if not opening:
                raise EngineInputError(
                    "prefix_cache: isolate puts a few tokens of the plan's own before each "
                    "conversation, and all tokens of this plan are the same; widen "
                    "conversations.token_ids, or set prefix_cache: shared"
                )
            found = Isolation(
                by="words", salt=salt, num_tokens=round(len(opening) * tokens_per_word)
            )
            return replace(endpoint, opening_token_ids=opening), found
        case "reset" | "shared" as by:
            return endpoint, Isolation(by=by)
