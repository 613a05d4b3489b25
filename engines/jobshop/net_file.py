"""Networks as files, and what they were trained on: graphs of which version."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from engines.errors import EngineInputError
from engines.jobshop.gnn import DispatchNet
from engines.jobshop.graph import GRAPH_VERSION


def save_net(path: Path, net: DispatchNet, made_by: str) -> None:
    """Writes the network alone, with the words that say how it was made."""
    content = {
        "made_by": made_by,
        "net_settings": net.settings,
        "net": net.state_dict(),
    }
    replace_file(path, content)


def load_net(path: Path) -> DispatchNet:
    """Returns the file's network, ready to decide. Raises EngineInputError, one line."""
    content = load_file(path)
    try:
        net = DispatchNet(**content["net_settings"])
        net.load_state_dict(content["net"])
    except (KeyError, TypeError, RuntimeError):
        raise EngineInputError(f"{path}: holds no network that this program can load") from None
    return net.eval()


def replace_file(path: Path, content: dict[str, Any]) -> None:
    """Replaces the file, whole, by the content and the version of the graphs it belongs to."""
    new = path.with_name(path.name + ".new")
    torch.save({"graph_version": GRAPH_VERSION, **content}, new)
    new.replace(path)


def load_file(path: Path) -> dict[str, Any]:
    """Returns what `replace_file` wrote. Raises EngineInputError, one line."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise EngineInputError(f"{path}: can not be read: {error.strerror or error}") from None
    except Exception:  # torch raises whatever its unpickler meets
        raise EngineInputError(f"{path}: is no file that training wrote") from None
    version = content.get("graph_version") if isinstance(content, dict) else None
    if version != GRAPH_VERSION:
        raise EngineInputError(
            f"{path}: was trained on graphs of version {version}, but this program's are of "
            f"version {GRAPH_VERSION}; train again"
        )
    return dict(content)
