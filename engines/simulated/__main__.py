"""The process of `time: wall`: the real server over a modelled device that sleeps."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence

from engines.core.engine_logs import EngineLogs
from engines.core.request import RequestOutput
from engines.priority_file import read_priorities
from engines.serving.admission import ServedModel
from engines.serving.app import create_app
from engines.serving.engine_thread import EngineThread
from engines.serving.serve import bind, serve
from engines.serving.serving_process import process_main
from engines.simulated.paced_engine import PacedClock, PacedEngine
from engines.simulated.settings import EmulationConfig, SimulatedSettings
from engines.simulated.virtual_engine import modelled_device
from engines.urgency import Claimant, claim_urgency


class ByteTokenizer:
    """A token for each byte: the model has no words."""

    eos_token_ids: frozenset[int] = frozenset()

    def encode(self, text: str) -> list[int]:
        return list(text.encode())

    def apply_chat_template(self, messages: Sequence[Mapping[str, str]]) -> list[int]:
        return self.encode("".join(f"{each['role']}: {each['content']}\n" for each in messages))


class NumberDetokenizer:
    """A token's text is its number."""

    def push(self, token_ids: Sequence[int]) -> str:
        return "".join(f" {token_id}" for token_id in token_ids)

    def finish(self) -> str:
        return ""


def run(config: EmulationConfig) -> None:
    """Serve until told to stop. Raises EngineInputError, EngineError."""
    settings = config.settings
    api_key = os.environ.get(config.api_key_env) if config.api_key_env else None
    listener = bind(config.host, config.port, api_key=api_key)
    claim_urgency(Claimant.PACED_ENGINE)
    clock = PacedClock()
    device = modelled_device(settings, settings.loaded_profile(), clock)
    priorities = read_priorities(config.priorities) if config.priorities else None
    logs = EngineLogs(config.log_directory) if config.log_directory else None

    def make_engine(
        *,
        on_outputs: Callable[[list[RequestOutput]], None],
        on_failure: Callable[[BaseException], None],
    ) -> EngineThread:
        engine = PacedEngine(
            settings.core(),
            device,
            clock=clock,
            priorities=priorities,
            on_step=logs.step if logs else None,
            on_request=logs.request if logs else None,
            on_transfer=logs.transfer if logs else None,
        )
        return EngineThread(engine, on_outputs=on_outputs, on_failure=on_failure)

    served = _served_model(config.model_name, settings)
    try:
        app = create_app(served, make_engine, api_key=api_key, max_live=settings.max_live)
        serve(app, listener, ready_file=config.ready_file)
    finally:
        print(f"the emulation was late by {clock.max_lag_s:.4f} s at most", flush=True)
        if logs is not None:
            logs.close()


def _served_model(name: str, settings: SimulatedSettings) -> ServedModel:
    shape = settings.loaded_profile().shape
    wanted = settings.max_context_tokens or settings.kv_tokens
    return ServedModel(
        name=name,
        tokenizer=ByteTokenizer(),
        make_detokenizer=NumberDetokenizer,
        max_context_tokens=min(wanted, shape.max_positions),
        vocab_size=shape.vocab_size,
        promises=settings.slo_by_class,
    )


if __name__ == "__main__":
    sys.exit(process_main("engines.simulated", EmulationConfig, run))
