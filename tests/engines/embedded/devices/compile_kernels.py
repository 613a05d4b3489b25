"""Compiles every kernel for a Hopper GPU, which needs none, and says what each would use there.

`python -m tests.engines.embedded.devices.compile_kernels FOLDER`, with Triton not interpreting.
Prints {kernel: {"REG": registers a thread, "STACK": bytes put aside in memory}} as JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.backends.nvidia import compiler
from triton.compiler import ASTSource

from engines.embedded.devices import attention_kernels, copy_kernels
from engines.embedded.devices.kernel_attention import HeadShape, kernel_constants

LLAMA_3_8B = HeadShape(num_heads=32, num_kv_heads=8, head_dim=128, block_size=16)
POINTERS = {
    **dict.fromkeys(("lengths", "starts", "tables", "tiles", "blocks", "source", "target"), "*i64"),
    **dict.fromkeys(("queries", "kv", "outputs"), "*bf16"),
    **dict.fromkeys(("parts", "sums"), "*fp32"),
}


def resources(kernel: Any, constants: dict[str, Any], folder: Path) -> dict[str, int]:
    constants = dict(constants)
    options = {"num_warps": constants.pop("num_warps", 4)}
    types = {name: POINTERS.get(name, "i32") for name in kernel.arg_names}
    types |= dict.fromkeys(constants, "constexpr")
    # As in a call: addresses and strides are multiples of 16.
    even = {
        (i,): [["tt.divisibility", 16]] for i, name in enumerate(types) if name not in constants
    }
    source = ASTSource(fn=kernel, signature=types, constexprs=constants, attrs=even)
    made = triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options)
    binary = folder / f"{kernel.__name__}.cubin"
    binary.write_bytes(made.asm["cubin"])
    tool = Path(compiler.__file__).parent / "bin" / "cuobjdump"
    shown = subprocess.run([tool, "-res-usage", binary], capture_output=True, text=True, check=True)
    pairs = (word.partition(":") for word in shown.stdout.split())
    return {name: int(value) for name, _, value in pairs if name in ("REG", "STACK")}


def main() -> None:
    folder = Path(sys.argv[1])
    constants = kernel_constants(LLAMA_3_8B, torch.bfloat16)
    whole = {"HEAD_DIM": 128, "DIM": 128, "NUM_SPLITS": 4}
    kernels = [
        (attention_kernels.decode_parts, {**constants, "GROUP": 16, "NUM_SPLITS": 4}),
        (attention_kernels.combine_parts, whole),
        (attention_kernels.prefill_tiles, {**constants, "ROWS": 16, "GROUP": 64}),
        (copy_kernels.move_blocks, {"TILE": 1024}),
    ]
    used = {kernel.__name__: resources(kernel, own, folder) for kernel, own in kernels}
    print(json.dumps(used))


if __name__ == "__main__":
    main()
