"""The same plan gives the same records to the bit, whatever Python's hash seed is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]
PLAY = """
import hashlib, sys
from pathlib import Path
from tests.suite.virtual.test_player import plan_of, settings_of
from suite.playing.simulate import simulate
directory = Path(sys.argv[1])
plan = plan_of(16, arrivals={"process": "poisson", "rate": 8.0})
for preset in ("vllm-0.3", "fastswitch", "recompute-prefix"):
    folder = directory / preset
    folder.mkdir(parents=True)
    settings = settings_of(preset, kv_tokens=2048)
    simulate(plan, settings, folder)
    for path in sorted(folder.iterdir()):
        print(preset, path.name, hashlib.sha256(path.read_bytes()).hexdigest())
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
    assert first.count("turns.parquet") == 3 and first.count("steps.parquet") == 3
