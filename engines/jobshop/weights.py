"""Files of trained weights of the linear rule: what they were trained for, checked when read."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from engines.errors import EngineInputError
from engines.jobshop.base_rule import NUM_WEIGHTS
from engines.jobshop.features import FEATURES_VERSION, Floats

SHIPPED = Path(__file__).with_name("shipped")


def load_linear(weights: str) -> Floats:
    """Returns the linear rule's weights [NUM_WEIGHTS]; `shipped`, or a file's."""
    path = SHIPPED / "linear.json" if weights == "shipped" else Path(weights)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        version, values = content["features_version"], np.array(content["weights"], np.float64)
    except OSError as error:
        raise EngineInputError(f"{path}: can not be read: {error.strerror or error}") from None
    except (ValueError, KeyError, TypeError):
        raise EngineInputError(
            f"{path}: must be JSON with features_version and a list of weights"
        ) from None
    if version != FEATURES_VERSION or values.shape != (NUM_WEIGHTS,):
        raise EngineInputError(
            f"{path}: holds {values.size} weights of feature version {version}, but this program's "
            f"has {NUM_WEIGHTS} of version {FEATURES_VERSION}; train them again"
        )
    return values


def save_linear(path: Path, weights: Floats, made_by: str) -> None:
    """Writes the weights, with the words that say how they were made."""
    content = {
        "features_version": FEATURES_VERSION,
        "made_by": made_by,
        "weights": [round(float(each), 6) for each in weights],
    }
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
