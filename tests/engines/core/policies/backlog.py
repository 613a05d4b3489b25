"""Users who always have more to ask than is served, on a memory device, and what they got."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from engines.core.policies.settings import PolicySettings
from engines.core.request import Request
from engines.core.settings import PRESETS
from engines.terms import Terms
from tests.engines.core.bench import Bench, core_settings, prompt_of

INPUT_WEIGHT, OUTPUT_WEIGHT = 1.0, 2.0
NUM_OUTSTANDING = 10  # requests of each user: more than run at a time, so one always waits


class Backlog:
    def __init__(
        self,
        policy: PolicySettings,
        lengths: Mapping[str, Sequence[tuple[int, int]]],
        *,
        preset: str = "fastswitch",
        classes: Mapping[str, str] | None = None,
        joined: Sequence[str] | None = None,
        **sizes: int,
    ) -> None:
        """`lengths`: of each user's prompts and answers, in turn, over and over; `joined`: who asks
        from the start on, None = all."""
        core = core_settings(replace(PRESETS[preset], policy=policy), **sizes)
        self.bench = Bench(core)
        self._lengths = lengths
        self._classes = classes or {}
        self._live: dict[str, list[Request]] = {}
        self._num_asked: dict[str, int] = {}
        self._ended_with: dict[str, float] = {}  # service of requests that have ended
        for user in lengths if joined is None else joined:
            self.join(user)

    def join(self, user: str) -> None:
        """Lets a user ask from now on."""
        self._live[user], self._num_asked[user], self._ended_with[user] = [], 0, 0.0

    def step(self) -> None:
        for user, requests in self._live.items():
            self._ended_with[user] += sum(_service(each) for each in requests if _has_ended(each))
            requests[:] = [each for each in requests if not _has_ended(each)]
            while len(requests) < NUM_OUTSTANDING:
                requests.append(self._ask(user))
        self.bench.step()

    def service(self) -> np.ndarray:
        """Returns the weighted tokens that each user has had, counted here and not by the
        policy."""
        return np.array(
            [self._ended_with[user] + sum(map(_service, self._live[user])) for user in self._live]
        )

    def _ask(self, user: str) -> Request:
        number = self._num_asked[user]
        self._num_asked[user] += 1
        lengths = self._lengths[user]
        num_prompt, num_tokens = lengths[number % len(lengths)]
        terms = Terms(user_id=user, user_class=self._classes.get(user))
        prompt = prompt_of(number + 7 * len(self._live), num_prompt)
        return self.bench.submit(f"{user}-{number}", prompt, num_tokens, terms=terms)


def _has_ended(request: Request) -> bool:
    return request.finish_reason is not None


def _service(request: Request) -> float:
    num_outputs = len(request.output_token_ids)
    # What was dropped after it was computed has been served all the same.
    num_prompt = len(request.prompt_token_ids) if num_outputs else request.num_computed
    return INPUT_WEIGHT * num_prompt + OUTPUT_WEIGHT * num_outputs
