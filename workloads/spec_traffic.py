"""What is asked and when, in a workload file: conversations, arrivals, think times."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

from workloads.units import Duration


class Spec(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


TRACES_WITH_INSTANTS = ("azure", "mooncake", "burstgpt", "vllm-requests")
TRACES_WITH_GAPS = ("mooncake", "burstgpt")  # between turns of one conversation

PositiveDuration = Annotated[Duration, Field(gt=0)]


class ConversationLimits(Spec):
    """What every source of conversations takes."""

    max_context_tokens: int | None = Field(
        default=None,
        ge=3,
        description="A conversation ends before the turn that would bring prompt, history and "
        "answer together over this; what is cut so is counted. Default: no limit.",
    )
    max_turns: int | None = Field(
        default=None, ge=1, description="A conversation ends after so many turns; counted."
    )
    length_scale: float = Field(
        default=1.0,
        gt=0,
        description="Prompt and output lengths are multiplied by this (at least 1 prompt token "
        "and 2 output tokens remain), to fit small models and machines.",
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


class ShareGptLikeConversations(ConversationLimits):
    """Lengths drawn from distributions fitted to ShareGPT; needs no file."""

    source: Literal["sharegpt-like"]
    count: int = Field(ge=1, description="How many conversations.")


class FixedConversations(ConversationLimits):
    """Conversations that all have these lengths."""

    source: Literal["fixed"]
    count: int = Field(ge=1, description="How many conversations.")
    turns: int = Field(ge=1, description="Turns in each conversation.")
    prompt_tokens: int = Field(ge=1, description="New prompt tokens in each turn.")
    output_tokens: int = Field(ge=1, description="Tokens of each answer.")


class TraceConversations(ConversationLimits):
    """Conversations read from a trace file, in its order."""

    trace: Literal[
        "sharegpt", "sharegpt-json", "azure", "mooncake", "burstgpt", "vllm-requests"
    ] = Field(description="The file's format.")
    path: str = Field(
        min_length=1,
        description="The trace file, plain or gzip; relative to the workload file's folder "
        "(given with --set: to the current directory).",
    )
    count: int | None = Field(
        default=None,
        ge=1,
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
        if self.trace == "sharegpt-json" and self.length_scale != 1:
            raise ValueError(
                f"length_scale must be 1 for trace sharegpt-json, whose prompts are real words, "
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
    | Annotated[TraceConversations, Tag("trace")],
    Discriminator(_conversation_source),
]


class PoissonArrivals(Spec):
    """Open loop; exponential gaps between the starts of conversations."""

    process: Literal["poisson"]
    rate: float = Field(gt=0, description="Conversations per second.")


class GammaArrivals(Spec):
    """Open loop; gamma gaps, burstier than Poisson for cv > 1."""

    process: Literal["gamma"]
    rate: float = Field(gt=0, description="Conversations per second.")
    cv: float = Field(gt=0, le=50, description="Standard deviation of the gaps over their mean.")


class ConstantArrivals(Spec):
    """Open loop; equal gaps, the first conversation at 0."""

    process: Literal["constant"]
    rate: float = Field(gt=0, description="Conversations per second.")


class TraceArrivals(Spec):
    """Open loop; the trace's own instants, the first conversation at 0."""

    process: Literal["trace"]
    scale: float = Field(
        default=1.0, gt=0, description="Instants are multiplied by this; 0.5 is twice as fast."
    )


class ClosedArrivals(Spec):
    """Closed loop: so many conversations at any time; the next begins when one has ended."""

    process: Literal["closed"]
    concurrency: int = Field(ge=1, description="Conversations at any time.")


ArrivalsSpec = Annotated[
    PoissonArrivals | GammaArrivals | ConstantArrivals | TraceArrivals | ClosedArrivals,
    Field(discriminator="process"),
]

_MAX_THINK_TIME = Field(
    default=None, gt=0, description="Longer times do not occur (the distribution is truncated)."
)


class NoThinkTime(Spec):
    """The next turn follows the answer at once."""

    distribution: Literal["none"]


class ConstantThinkTime(Spec):
    distribution: Literal["constant"]
    value: Duration = Field(ge=0, description="From the answer's end to the next turn.")


class LognormalThinkTime(Spec):
    distribution: Literal["lognormal"]
    median: PositiveDuration = Field(description="From the answer's end to the next turn.")
    sigma: float = Field(gt=0, le=10, description="Standard deviation of its logarithm.")
    max: Duration | None = _MAX_THINK_TIME


class ExponentialThinkTime(Spec):
    distribution: Literal["exponential"]
    mean: PositiveDuration = Field(description="From the answer's end to the next turn.")
    max: Duration | None = _MAX_THINK_TIME


class TraceThinkTime(Spec):
    """The gaps between the trace's linked turns (mooncake, burstgpt with sessions)."""

    distribution: Literal["trace"]
    scale: float = Field(default=1.0, gt=0, description="Gaps are multiplied by this.")


ThinkTimeSpec = Annotated[
    NoThinkTime | ConstantThinkTime | LognormalThinkTime | ExponentialThinkTime | TraceThinkTime,
    Field(discriminator="distribution"),
]
