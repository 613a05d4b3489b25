"""KV pools and the bandwidth of swapping."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from reports.drawing.palette import looks
from reports.sections import (
    kv_over_time,
)
from reports.sections.kv_over_time import KvView

LOOK = looks(["a", "b"])


def test_the_bandwidth_of_swapping_has_its_own_panel_on_the_same_time():
    ratio = np.array([0.5, 1.0])
    view = KvView(
        repeat=1,
        num_steps=2,
        stretch_s=1.0,
        at=np.array([0.5, 1.5]),
        device_ratio=ratio,
        host_ratio=ratio,
        preemptions=np.array([0.0, 2.0]),
        swap_out_bytes_per_s=np.array([2e6, 0.0]),
        swap_in_bytes_per_s=np.array([0.0, 1e6]),
    )
    figure = kv_over_time.kv_over_time(view, LOOK["a"])
    traces = {trace.name: trace for trace in figure.data}
    assert list(traces["swap-out"].y) == [2.0, 0.0]  # upwards
    assert list(traces["swap-in"].y) == [0.0, -1.0]  # downwards
    assert not any("-" in text for text in figure.layout.yaxis3.ticktext)
    assert traces["swap-out"].yaxis == "y3"
    assert figure.layout.yaxis3.domain[1] < figure.layout.yaxis.domain[0]
    without = replace(view, swap_out_bytes_per_s=None, swap_in_bytes_per_s=None)
    assert "swap-out" not in {
        each.name for each in kv_over_time.kv_over_time(without, LOOK["a"]).data
    }
