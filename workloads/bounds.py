"""Sizes beyond which a workload is a slip of the pen: it is refused and not attempted."""

from __future__ import annotations

MAX_TOKENS = 10_000_000  # of one prompt or answer; ten times the longest context on sale
MAX_TURNS = 100_000  # of one conversation
MAX_CONVERSATIONS = 100_000_000
MAX_SECONDS = 10_000 * 3600  # a year and a bit
MAX_RATE = 1e6  # conversations a second
MAX_PLAN_TOKENS = 2_000_000_000  # all prompts of a plan, 8 GB
MAX_PLAN_TURNS = 20_000_000  # likewise, some 10 GB of objects
MAX_FACTOR = 1e6  # by which lengths, instants or gaps are multiplied
