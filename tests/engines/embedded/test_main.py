from __future__ import annotations

import pytest

from engines.embedded.__main__ import warm_up
from engines.embedded.settings import FastSwitchSettings
from tests.engines.core.memory_device import MemoryDevice


@pytest.mark.parametrize(
    ("max_context_tokens", "prompt_tokens"), [(2, 1), (3, 1), (4, 2), (1024, 64)]
)
def test_warming_up_fits_the_smallest_context(max_context_tokens: int, prompt_tokens: int) -> None:
    settings = FastSwitchSettings(
        kv_tokens=max_context_tokens,
        swap_tokens=4096,
        block_size=1,
        max_batch_tokens=64,
        max_context_tokens=max_context_tokens,
    )
    core = settings.core()
    device = MemoryDevice(
        block_size=core.block_size,
        num_device_blocks=core.num_device_blocks,
        num_host_blocks=core.num_host_blocks,
    )
    warm_up(core, device, max_context_tokens=max_context_tokens)
    assert len(device.batches[0].chunks[0].token_ids) == prompt_tokens
