"""Chat messages to one prompt text, by the model's own Jinja2 template."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NoReturn

from jinja2 import Template, TemplateError
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

CHATML = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
PLAIN = (
    "{% for message in messages %}{{ message['role'] + ': ' + message['content'] + '\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ 'assistant:' }}{% endif %}"
)


class ChatTemplateError(ValueError):
    """These messages can not be rendered. One line; the asker's to mend."""


class ChatTemplate:
    """Templates come with models from anywhere, so they run in Jinja2's sandbox."""

    def __init__(self, source: str, *, special_tokens: Mapping[str, str]) -> None:
        self._source = source
        self._special_tokens = dict(special_tokens)  # bos_token, eos_token, …
        self._compiled: Template | None = None

    def render(self, messages: Sequence[Mapping[str, Any]]) -> str:
        """Ends where the assistant is to speak. Raises ChatTemplateError."""
        try:
            if self._compiled is None:  # a model whose template is broken can still complete text
                self._compiled = _environment().from_string(self._source)
            return self._compiled.render(
                messages=messages, add_generation_prompt=True, **self._special_tokens
            )
        except (TemplateError, TypeError, KeyError, ValueError) as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise ChatTemplateError(f"the model's chat template failed: {reason}") from None


def _environment() -> ImmutableSandboxedEnvironment:
    """Returns a template environment with what templates written for `transformers` expect to
    find."""
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols]
    )
    environment.policies["json.dumps_kwargs"] = {"ensure_ascii": False}
    environment.globals["raise_exception"] = _raise
    environment.globals["strftime_now"] = lambda layout: datetime.now().strftime(layout)
    return environment


def _raise(message: str) -> NoReturn:
    raise TemplateError(message)
