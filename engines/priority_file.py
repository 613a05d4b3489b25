"""A plan's priority trace as a file, for engines in processes of their own."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from engines.api import PriorityUpdates


def write_priorities(directory: Path, priorities: PriorityUpdates | None) -> Path | None:
    """Writes the trace and returns its file; None where there is no trace."""
    if priorities is None:
        return None
    path = directory / "priorities.npz"
    np.savez_compressed(
        path,
        update_frequency=priorities.update_frequency,
        conversation_ids=np.array(priorities.conversation_ids, dtype=np.str_),
        levels=priorities.levels,
    )
    return path


def read_priorities(path: Path) -> PriorityUpdates:
    with np.load(path) as stored:
        return PriorityUpdates(
            update_frequency=float(stored["update_frequency"]),
            conversation_ids=stored["conversation_ids"].tolist(),
            levels=stored["levels"],
        )
