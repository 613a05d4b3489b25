"""The same plan gives the same records to the bit, whatever Python's hash seed is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]
PLAY = """
import hashlib, sys
from pathlib import Path
from engines.core.policies.settings import POLICIES
from tests.suite.virtual.test_player import plan_of, settings_of
from suite.playing.simulate import simulate
directory = Path(sys.argv[1])
plan = plan_of(16, arrivals={"process": "poisson", "rate": 8.0})
presets = ("vllm-0.3", "fastswitch", "recompute-prefix")
cases = [(preset, "priority") for preset in presets]
cases += [("fastswitch", policy) for policy in POLICIES if policy not in ("fcfs", "priority")]
for preset, policy in cases:
    folder = directory / f"{preset} {policy}"
    folder.mkdir(parents=True)
    settings = settings_of(preset, policy=policy, kv_tokens=2048)
    simulate(plan, settings, folder)
    for path in sorted(folder.iterdir()):
        print(folder.name, path.name, hashlib.sha256(path.read_bytes()).hexdigest())
"""


def digests(directory: Path, hash_seed: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", PLAY, str(directory / hash_seed)],
        env={"PYTHONPATH": str(REPOSITORY), "PYTHONHASHSEED": hash_seed, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def test_another_hash_seed_gives_the_same_files(tmp_path: Path) -> None:
    first, second = (digests(tmp_path, seed) for seed in ("1", "2"))
    assert first == second
    assert first.count("turns.parquet") == 10 and first.count("steps.parquet") == 10
