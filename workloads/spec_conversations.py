"""What is said, in a workload file: the sources of conversations and their limits."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from workloads.bounds import MAX_CONVERSATIONS, MAX_FACTOR, MAX_TOKENS, MAX_TURNS
from workloads.spec_base import PositiveDuration, Spec
from workloads.spec_lengths import Lengths

TRACES_WITH_INSTANTS = ("azure", "mooncake", "burstgpt", "bailian", "vllm-requests", "messages")
TRACES_WITH_GAPS = ("mooncake", "burstgpt", "bailian")  # between turns of one conversation
TRACES_OF_WORDS = ("sharegpt-json", "messages")


class SharedPrefixSpec(Spec):
    """A system prompt that conversations have in common, so that they share it in a cache."""

    tokens: int = Field(ge=1, le=MAX_TOKENS, description="Its length.")
    groups: int = Field(
        default=1,
        ge=1,
        le=MAX_CONVERSATIONS,
        description="How many different ones there are; each conversation has one of them, drawn "
        "uniformly.",
    )


class ConversationLimits(Spec):
    """What every source of conversations takes."""

    max_context_tokens: int | None = Field(
        default=None,
        ge=3,
        description="A conversation ends before the turn that would bring prompt, history and "
        "answer together over this; what is cut so is counted. Default: no limit.",
    )
    duration: PositiveDuration | None = Field(
        default=None,
        description="In place of `count`: as many conversations as start within this time. In a "
        "closed loop no turn is asked once it has passed; `count` is the most then.",
    )
    max_turns: int | None = Field(
        default=None, ge=1, description="A conversation ends after so many turns; counted."
    )
    length_scale: float = Field(
        default=1.0,
        gt=0,
        le=MAX_FACTOR,
        description="Prompt and output lengths are multiplied by this (at least 1 prompt token "
        "and 2 output tokens remain), to fit small models and machines.",
    )
    shared_prefix: SharedPrefixSpec | None = Field(
        default=None,
        description="A system prompt before each conversation's first turn. Default: none.",
    )
    token_ids: Annotated[tuple[int, int], Field(strict=False)] = Field(
        default=(256, 8000),
        description="Sources that know only lengths get prompts of token ids drawn uniformly "
        "from this range, upper end excluded; it must lie in the model's vocabulary.",
    )

    @model_validator(mode="after")
    def _token_range_is_not_empty(self) -> ConversationLimits:
        low, high = self.token_ids
        if not 0 <= low < high <= 2**31:
            raise ValueError(
                f"token_ids must be [low, high] with 0 ≤ low < high, got {[low, high]}"
            )
        return self


class GeneratedConversations(ConversationLimits):
    """What sources that need no trace have in common."""

    count: int | None = Field(
        default=None,
        ge=1,
        le=MAX_CONVERSATIONS,
        description="How many conversations; or give `duration`.",
    )


class ShareGptLikeConversations(GeneratedConversations):
    """Lengths drawn from distributions fitted to ShareGPT; needs no file."""

    source: Literal["sharegpt-like"]


class FixedConversations(GeneratedConversations):
    """Conversations that all have these lengths."""

    source: Literal["fixed"]
    turns: int = Field(ge=1, le=MAX_TURNS, description="Turns in each conversation.")
    prompt_tokens: int = Field(ge=1, le=MAX_TOKENS, description="New prompt tokens in each turn.")
    output_tokens: int = Field(ge=1, le=MAX_TOKENS, description="Tokens of each answer.")


class SyntheticConversations(GeneratedConversations):
    """Lengths drawn from distributions that the file gives."""

    source: Literal["synthetic"]
    turns: Lengths = Field(description="Turns in each conversation.")
    prompt_tokens: Lengths = Field(description="New prompt tokens in each turn.")
    first_prompt_tokens: Lengths | None = Field(
        default=None, description="The same in each first turn. Default: as in the others."
    )
    output_tokens: Lengths = Field(description="Tokens of each answer.")


class TraceConversations(ConversationLimits):
    """Conversations read from a trace file, in its order."""

    trace: Literal[
        "sharegpt",
        "sharegpt-json",
        "messages",
        "azure",
        "mooncake",
        "burstgpt",
        "bailian",
        "vllm-requests",
    ] = Field(description="The file's format.")
    path: str = Field(
        min_length=1,
        description="The trace file, plain or gzip; relative to the workload file's folder "
        "(given with --set: to the current directory).",
    )
    count: int | None = Field(
        default=None,
        ge=1,
        le=MAX_CONVERSATIONS,
        description="How many conversations that fit the limits. Default: all from offset on.",
    )
    offset: int = Field(default=0, ge=0, description="Conversations to leave out at the start.")

    @model_validator(mode="before")
    @classmethod
    def _has_one_source(cls, value: Any) -> Any:
        if isinstance(value, dict) and "source" in value:
            raise ValueError("source can not stand beside trace; remove one of them")
        return value

    @model_validator(mode="after")
    def _words_are_not_scaled(self) -> TraceConversations:
        if self.trace in TRACES_OF_WORDS and self.length_scale != 1:
            raise ValueError(
                f"length_scale must be 1 for trace {self.trace}, whose prompts are real words, "
                f"got {self.length_scale}; use max_context_tokens or max_turns"
            )
        return self


def _conversation_source(value: Any) -> str | None:
    if isinstance(value, TraceConversations) or (isinstance(value, dict) and "trace" in value):
        return "trace"
    source = value.get("source") if isinstance(value, dict) else getattr(value, "source", None)
    return source if isinstance(source, str) else None


ConversationsSpec = Annotated[
    Annotated[ShareGptLikeConversations, Tag("sharegpt-like")]
    | Annotated[FixedConversations, Tag("fixed")]
    | Annotated[SyntheticConversations, Tag("synthetic")]
    | Annotated[TraceConversations, Tag("trace")],
    Discriminator(_conversation_source),
]
