"""What a search in wall time shows: the bracket as it closes, and lines where there is no
terminal."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

from rich.console import Console

from suite.playing.workload import resolve_workload
from suite.records.progress import Progress
from suite.sweep.budget import Budget
from suite.sweep.capacity_display import LINE_INTERVAL_S, CapacityDisplay
from suite.sweep.crossing import Answer
from suite.sweep.rate_look import RateLook
from suite.sweep.run_cell import CellResult
from tests.suite.sweep.examples import ENGINE, source_of


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def look(answer: Answer, num: int, within: int, ends: tuple[float, float]) -> RateLook:
    return RateLook(
        answer=answer,
        num_users=num,
        num_within_slo=within,
        num_turns=num,
        num_succeeded=num,
        interval=ends,
    )


PROGRESS = Progress(
    num_planned=60,
    num_done=12,
    num_failed=0,
    num_in_flight=3,
    num_output_tokens=100,
    elapsed_s=2.0,
    ttft_p99_s=None,
)


def shown(tmp_path: Path, *, is_terminal: bool) -> tuple[CapacityDisplay, StringIO, Clock]:
    clock, text = Clock(), StringIO()
    console = Console(file=text, force_terminal=is_terminal, width=120, color_system=None)
    budget = Budget(1200, clock)
    display = CapacityDisplay("chat", ["mine"], 0.9, budget, console=console, clock=clock)
    engines = {"mine": {**ENGINE, "preset": "fastswitch"}}
    display.begin(resolve_workload(source_of(tmp_path, engines=engines, baseline=None)), 2.0)
    return display, text, clock


def drawn(display: CapacityDisplay) -> str:
    text = StringIO()
    Console(file=text, width=120, color_system=None).print(display.drawn())
    return " ".join(text.getvalue().split())


def test_the_bracket_closes_on_a_terminal(tmp_path: Path) -> None:
    display, _, clock = shown(tmp_path, is_terminal=True)
    assert "mine ? ? 2/s: starting the engine …" in drawn(display)
    display.on_progress(PROGRESS)
    assert "12 turns, the server is filling" in drawn(display)
    clock.now += 300
    display.on_bracket("mine", 2.0, 3.0)
    display.on_look(look(Answer.UNSURE, 40, 38, (0.5, 1.0)))
    text = drawn(display)
    assert text.startswith("chat: conversations a second, 15 min of the budget left")
    assert "90% hold at do not at apart now" in text
    assert "mine 2 3 50% 2/s: 38 of 40 users within SLO so far" in text


def test_without_a_terminal_there_is_a_line_now_and_then_and_one_for_what_a_rate_came_to(
    tmp_path: Path,
) -> None:
    display, text, clock = shown(tmp_path, is_terminal=False)
    with display:
        display.on_progress(PROGRESS)
        clock.now += LINE_INTERVAL_S
        display.on_look(look(Answer.UNSURE, 40, 38, (0.5, 1.0)))
        display.on_progress(PROGRESS)
        display.on_look(look(Answer.HOLDS, 106, 106, (0.9012, 1.0)))
        display.on_cell(CellResult(name="c", status="complete", note=None, duration_s=31.4))
    assert text.getvalue().splitlines() == [
        "mine at 2/s: 6 users at most",
        "mine at 2/s: 38 of 40 users within SLO so far",
        "mine at 2/s: holds: 106 of 106 users within SLO, in the long run at least 90.1% (31 s)",
    ]


def test_a_rate_that_could_not_be_played_says_why(tmp_path: Path) -> None:
    display, text, _ = shown(tmp_path, is_terminal=False)
    display.on_cell(CellResult(name="c", status="failed", note="died", duration_s=2.0))
    assert text.getvalue().splitlines()[-1] == "mine at 2/s: failed, died (2 s)"
