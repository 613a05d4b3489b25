"""An estimate of how long a plan takes, on an engine whose pace is steady whoever else it
serves."""

from __future__ import annotations

import heapq

from suite.virtual.agenda import Agenda, Due
from workloads.plan import Plan


def steady_duration_s(plan: Plan, *, token_s: float) -> float:
    """Returns the seconds from the start to the last answer's end, where each answer takes
    `token_s` for each of its tokens. With 0 that is what arrivals and think times take alone."""
    agenda = Agenda(plan)
    answering: list[tuple[float, Due]] = []  # by the instant they end
    ended_at = 0.0
    while answering or agenda.next_at is not None:
        next_end = answering[0][0] if answering else float("inf")
        if agenda.next_at is not None and agenda.next_at <= next_end:
            for due in agenda.take_due(agenda.next_at):
                turn = plan.conversations[due.conversation].turns[due.turn]
                heapq.heappush(answering, (due.at + turn.num_output_tokens * token_s, due))
        else:
            ended_at, due = heapq.heappop(answering)
            agenda.answered(due, ended_at)
    return ended_at
