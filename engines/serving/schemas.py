"""Request bodies of the OpenAI API: what is taken, what is refused, what is ignored.

A null counts as absent. Fields that would change the answer and are not implemented are refused
by name unless they hold their neutral value; so is a field that looks misspelt. Everything else
that clients like to send (`metadata`, `store`, …) changes nothing here and is ignored.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, TypeVar

import orjson
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
)

from engines.promise import Promise
from engines.serving.errors import ApiError

# field → values that ask for nothing
_UNSUPPORTED: Mapping[str, tuple[object, ...]] = {
    "n": (1,),
    "best_of": (1,),
    "echo": (False,),
    "suffix": ("",),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "prompt_logprobs": (),
    "logit_bias": ({},),
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "repetition_penalty": (1,),
    "length_penalty": (1,),
    "min_p": (0,),
    "use_beam_search": (False,),
    "stop_token_ids": ([],),
    "bad_words": ([],),
    "allowed_token_ids": ([],),
    "include_stop_str_in_output": (False,),
    "skip_special_tokens": (True,),
    "truncate_prompt_tokens": (),
    "response_format": ({"type": "text"},),
    "structured_outputs": (),
    "guided_json": (),
    "guided_regex": (),
    "guided_choice": (),
    "guided_grammar": (),
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "functions": ([],),
    "function_call": ("none", "auto"),
    "modalities": (["text"],),
    "audio": (),
    "prediction": (),
    "web_search_options": (),
    "chat_template": (),
    "chat_template_kwargs": ({},),
    "add_generation_prompt": (True,),
    "continue_final_message": (False,),
}
_IGNORED = frozenset(
    {
        "metadata",
        "store",
        "service_tier",
        "safety_identifier",
        "prompt_cache_key",
        "parallel_tool_calls",
        "reasoning_effort",
        "verbosity",
        "request_id",
    }
)

# To look for what each unknown field may have meant takes time, which other streams wait for.
MAX_UNKNOWN = 64

Stop = Annotated[str, StringConstraints(min_length=1, max_length=1024)]
ShortName = Annotated[str, StringConstraints(min_length=1, max_length=256)]
Int64 = Annotated[int, Field(ge=-(2**63), le=2**63 - 1)]


def _list_of_one(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _text_parts(value: object) -> object:
    return [{"type": "text", "text": value}] if isinstance(value, str) else value


class StreamOptions(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore")

    include_usage: bool = False
    continuous_usage_stats: bool = False  # vLLM's: every chunk carries the usage so far


class GenerationBody(BaseModel):
    """What both endpoints take."""

    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False)
    default_max_tokens: ClassVar[int | None] = None  # None: whatever the context leaves

    model: str | None = None
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)  # the newer name
    min_tokens: int = Field(0, ge=0)
    temperature: float = Field(1.0, ge=0.0)
    top_p: float = Field(1.0, gt=0.0, le=1.0)
    top_k: int = Field(0, ge=-1)  # -1 and 0 are off
    seed: Int64 | None = None
    stop: Annotated[list[Stop], Field(max_length=16), BeforeValidator(_list_of_one)] = []
    ignore_eos: bool = False
    stream: bool = False
    stream_options: StreamOptions | None = None
    priority: Int64 = 0
    conversation_id: ShortName | None = None
    user: ShortName | None = None  # who asks, whom the scheduler may be fair to
    user_class: ShortName | None = None
    slo: Promise | None = None
    return_token_ids: bool = False

    @property
    def requested_max_tokens(self) -> int | None:
        return self.max_tokens if self.max_completion_tokens is None else self.max_completion_tokens


class CompletionBody(GenerationBody):
    default_max_tokens = 16

    prompt: Any  # checked by `prompt_of`: a union's errors would name every alternative


class TextPart(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore")

    type: Literal["text"]
    text: str


class ChatMessage(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore")

    role: Literal["system", "developer", "user", "assistant"]
    content: Annotated[list[TextPart], BeforeValidator(_text_parts)]

    def plain(self) -> dict[str, str]:
        """Returns the message as chat templates know it: one text; `developer` is the newer name of
        `system`."""
        role = "system" if self.role == "developer" else self.role
        return {"role": role, "content": "".join(part.text for part in self.content)}


class ChatBody(GenerationBody):
    messages: list[ChatMessage] = Field(min_length=1)


BodyT = TypeVar("BodyT", bound=GenerationBody)


def parse(raw: bytes, body_type: type[BodyT]) -> BodyT:
    """Returns a request body; raises an ApiError that names the field and what was got."""
    try:
        values = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise ApiError(f"request body must be JSON: {error}") from None
    if not isinstance(values, dict):
        raise ApiError(f"request body must be a JSON object, got {_shown(values)}")
    given = {name: value for name, value in values.items() if value is not None}
    _refuse_unsupported(given, body_type)
    try:
        body = body_type.model_validate(given)
    except ValidationError as error:
        raise _of_validation(error) from None
    _check_together(body)
    return body


def _refuse_unsupported(given: Mapping[str, object], body_type: type[GenerationBody]) -> None:
    unknown = [name for name in given if not _is_known(name, body_type)]
    if len(unknown) > MAX_UNKNOWN:
        raise ApiError(
            f"{len(unknown)} fields are unknown, more than {MAX_UNKNOWN}, first"
            f" {_shown(unknown[0])}; leave out what this API has no field for",
            param=unknown[0][:64],
        )
    for name, value in given.items():
        if name in body_type.model_fields or name in _IGNORED:
            continue
        if name not in _UNSUPPORTED:
            _refuse_misspelt(name, body_type)
        elif not any(_is_same(value, neutral) for neutral in _UNSUPPORTED[name]):
            raise ApiError(
                f"{name} is not supported, got {_shown(value)}; leave it out", param=name
            )


def _is_known(name: str, body_type: type[GenerationBody]) -> bool:
    return name in body_type.model_fields or name in _IGNORED or name in _UNSUPPORTED


def _refuse_misspelt(name: str, body_type: type[GenerationBody]) -> None:
    near = difflib.get_close_matches(name[:64], body_type.model_fields, n=1, cutoff=0.8)
    if near:
        raise ApiError(f"{name} is not a field; did you mean {near[0]}?", param=name)


def _is_same(value: object, neutral: object) -> bool:
    """Returns whether the two are equal as JSON: `logprobs: 0` is not `logprobs: false`."""
    return isinstance(value, bool) == isinstance(neutral, bool) and value == neutral


def _check_together(body: GenerationBody) -> None:
    if body.stream_options is not None and not body.stream:
        raise ApiError(
            "stream_options needs stream: true; set it or leave stream_options out",
            param="stream_options",
        )
    if body.max_tokens is not None and body.requested_max_tokens != body.max_tokens:
        raise ApiError(
            f"max_tokens {body.max_tokens} and max_completion_tokens {body.max_completion_tokens} "
            "are the same setting and differ; give one",
            param="max_tokens",
        )


def prompt_of(prompt: object) -> str | list[int]:
    """Returns the one prompt of a completion body: text or token ids. Raises ApiError."""
    if isinstance(prompt, list) and prompt and isinstance(prompt[0], str | list):
        if len(prompt) > 1:
            raise ApiError(
                f"prompt must be one prompt, got {len(prompt)}; send a request for each",
                param="prompt",
            )
        prompt = prompt[0]
    if isinstance(prompt, str):
        return prompt
    if isinstance(prompt, list) and set(map(type, prompt)) <= {int}:
        return prompt
    raise ApiError(
        f"prompt must be a string or a list of token ids, got {_shown(prompt)}", param="prompt"
    )


def _of_validation(error: ValidationError) -> ApiError:
    first = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    param = str(first["loc"][0]) if first["loc"] else None
    if first["type"] == "missing":
        return ApiError(f"{where} is missing; give it", param=param)
    return ApiError(f"{where}: {validation_message(error)}", param=param)


def validation_message(error: ValidationError) -> str:
    """Returns what was wrong first, without where: one line."""
    first = error.errors(include_url=False)[0]
    if first["type"] == "value_error":
        return str(first["ctx"]["error"])
    return f"{first['msg'][0].lower()}{first['msg'][1:]}, got {_shown(first['input'])}"


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"
