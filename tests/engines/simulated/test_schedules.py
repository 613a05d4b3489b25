"""Who is computed, copied and sent away when is the same as ever, to the bit, for every preset.

`python -m tests.engines.simulated.test_schedules` writes the digests anew: only where a schedule is
meant to change, and then with a word on why in the commit.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engines.core.settings import PRESETS
from tests.engines.simulated.schedules import schedule_digest
from tests.suite.virtual.test_player import plan_of, settings_of

FILE = Path(__file__).with_name("schedule_digests.json")
CASES = [f"{preset} {policy}" for preset in PRESETS for policy in ("fcfs", "priority")]


def digest_of(case: str) -> dict[str, object]:
    preset, policy = case.split()
    plan = plan_of(40, arrivals={"process": "poisson", "rate": 16.0})
    settings = settings_of(preset, policy=policy, swap_tokens=8192)
    digest, num_steps, num_transfers = schedule_digest(plan, settings)
    return {"digest": digest, "num_steps": num_steps, "num_transfers": num_transfers}


@pytest.mark.parametrize("case", CASES)
def test_a_presets_schedule_is_the_same_as_ever(case: str) -> None:
    known = json.loads(FILE.read_text())[case]
    assert known["num_steps"] > 1000
    assert digest_of(case) == known


if __name__ == "__main__":
    FILE.write_text(json.dumps({case: digest_of(case) for case in CASES}, indent=2) + "\n")
