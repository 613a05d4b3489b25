"""The engine's process: load a model, warm it up, serve it.

Started by the suite, or by `fsbench serve`.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import Any

import torch

from engines.core.device import Device
from engines.core.engine import Engine
from engines.core.engine_logs import EngineLogs
from engines.core.request import Request, RequestOutput
from engines.core.sampling_params import SamplingParams
from engines.core.settings import CoreSettings
from engines.embedded.devices.loading import LoadedModel, load_model
from engines.embedded.devices.paced import PacedDevice
from engines.embedded.devices.torch_device import TorchDevice
from engines.embedded.settings import FastSwitchSettings, ProcessConfig
from engines.errors import EngineInputError
from engines.priority_file import read_priorities
from engines.serving.admission import ServedModel
from engines.serving.app import create_app
from engines.serving.engine_bridge import EngineFactory
from engines.serving.engine_thread import EngineThread
from engines.serving.serve import bind, serve
from engines.serving.serving_process import process_main
from engines.serving.tokenizer import Detokenizer
from engines.simulated.paced_engine import PacedClock, PacedEngine
from engines.simulated.virtual_engine import modelled_device
from engines.urgency import Claimant, claim_urgency


def run(config: ProcessConfig) -> None:
    """Serve until told to stop. Raises EngineInputError, EngineError."""
    settings = config.settings
    api_key = os.environ.get(config.api_key_env) if config.api_key_env else None
    listener = bind(config.host, config.port, api_key=api_key)
    torch.set_num_threads(settings.num_threads)
    assert settings.model is not None, "settings are resolved before they come here"
    loaded = load_model(
        settings.model,
        dtype=settings.dtype,
        seed=settings.weights_seed,
        torch_device=settings.torch_device,
    )
    served = _served_model(config, loaded)
    device = _torch_device(settings, loaded)
    logs = EngineLogs(config.log_directory) if config.log_directory else None
    if settings.pace is not None:
        claim_urgency(Claimant.PACED_ENGINE)

    def set_up() -> None:
        device.prepare()
        warm_up(settings.core(), device, max_context_tokens=served.max_context_tokens)

    try:
        make_engine = _engine_factory(config, device, logs, set_up)
        app = create_app(served, make_engine, api_key=api_key, max_live=settings.max_live)
        host, port = listener.getsockname()[:2]
        greeting = f"{served.name} at http://{host}:{port}/v1 (Ctrl-C stops it)"
        serve(app, listener, ready_file=config.ready_file, greeting=greeting)
    finally:
        device.close()
        if logs is not None:
            logs.close()


def _served_model(config: ProcessConfig, loaded: LoadedModel) -> ServedModel:
    settings = config.settings
    limit = min(loaded.config.max_positions, settings.kv_tokens)
    wanted = settings.max_context_tokens or limit
    if wanted > limit:
        raise EngineInputError(
            f"max_context_tokens must be <= {limit} (the model has {loaded.config.max_positions} "
            f"positions, the pool {settings.kv_tokens} tokens), got {wanted}"
        )
    return ServedModel(
        name=config.model_name,
        tokenizer=loaded.tokenizer,
        make_detokenizer=lambda: Detokenizer(loaded.tokenizer),
        max_context_tokens=wanted,
        vocab_size=loaded.config.vocab_size,
        promises=settings.slo_by_class,
    )


def _torch_device(settings: FastSwitchSettings, loaded: LoadedModel) -> TorchDevice:
    core = settings.core()
    device = TorchDevice(
        loaded.decoder,
        block_size=core.block_size,
        num_device_blocks=core.num_device_blocks,
        num_host_blocks=core.num_host_blocks,
        copy=core.mechanisms.copy,
        layout=core.mechanisms.layout,
        num_copy_threads=settings.num_copy_threads or 0,
        max_graph_rows=core.max_num_seqs if settings.cuda_graphs else 0,
    )
    graphs = " and graphs" if device.has_graphs else ""
    print(f"attention by {device.attention}{graphs} on {settings.torch_device}", flush=True)
    return device


def _engine_factory(
    config: ProcessConfig, device: Device, logs: EngineLogs | None, set_up: Callable[[], None]
) -> EngineFactory:
    priorities = read_priorities(config.priorities) if config.priorities else None

    def make(
        *,
        on_outputs: Callable[[list[RequestOutput]], None],
        on_failure: Callable[[BaseException], None],
    ) -> EngineThread:
        engine = _engine(
            config.settings,
            device,
            priorities=priorities,
            on_step=logs.step if logs else None,
            on_request=logs.request if logs else None,
            on_transfer=logs.transfer if logs else None,
        )
        return EngineThread(engine, on_outputs=on_outputs, on_failure=on_failure, set_up=set_up)

    return make


def _engine(settings: FastSwitchSettings, device: Device, **listeners: Any) -> Engine:
    """Returns an engine as fast as its device, or one that keeps the pace of a profile's GPU."""
    pace = settings.named_pace
    if pace is None:
        return Engine(settings.core(), device, clock=time.monotonic, **listeners)
    clock = PacedClock()
    modelled = modelled_device(settings, pace.loaded_profile(), clock)
    paced = PacedDevice(device, modelled, clock)
    return PacedEngine(settings.core(), paced, clock=clock, **listeners)


def warm_up(core: CoreSettings, device: Device, *, max_context_tokens: int) -> None:
    """Run every kind of step once, so that the first user does not pay for lazy set-up.

    A full prefill chunk, decodes beside it, and a swap each way; an engine of its own, so that
    nothing of it shows in the counters.
    """
    engine = Engine(core, device, clock=time.monotonic)
    num_tokens = max(1, min(core.max_batch_tokens, max_context_tokens - 2))
    sampling = SamplingParams(max_tokens=min(2, max_context_tokens - num_tokens), ignore_eos=True)
    for turn in range(2):
        for i in range(2):
            engine.submit(
                Request(
                    request_id=f"warm-up-{turn}-{i}",
                    prompt_token_ids=[1] * num_tokens,
                    sampling=sampling,
                    arrived_at=time.monotonic(),
                    conversation_id=f"warm-up-{i}",
                )
            )
        while engine.has_work:
            engine.step()


if __name__ == "__main__":
    sys.exit(process_main("engines.embedded", ProcessConfig, run))
