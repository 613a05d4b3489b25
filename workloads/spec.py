"""The workload file: who asks what, and which engines answer. Strict; every key is described here.

`fsbench schema` prints the JSON schema of `WorkloadSpec`; docs/workloads.md is the prose.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    ValidationError,
    WithJsonSchema,
    model_validator,
)

from workloads.engine_defaults import with_engine_defaults
from workloads.errors import WorkloadError
from workloads.source import WorkloadSource
from workloads.spec_base import PositiveDuration, Spec
from workloads.spec_conversations import (
    TRACES_WITH_GAPS,
    TRACES_WITH_INSTANTS,
    ConversationsSpec,
    TraceConversations,
)
from workloads.spec_errors import describe
from workloads.spec_references import ReferenceSpec, check_engines
from workloads.spec_traffic import ArrivalsSpec, NoThinkTime, ThinkTimeSpec
from workloads.spec_users import NoPriorities, PrioritiesSpec, Ratio, UserClassSpec
from workloads.units import parse_duration

RUN_DIRECTORY_FILES = frozenset(
    {"manifest.json", "plan.parquet", "metrics.json", "report.html", "solo"}
)
CHANGING = ("steps", "ramp")  # arrivals that say themselves how long they take
FOLDER_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,62}[A-Za-z0-9])?")


def _folder_name(name: str) -> str:
    if not FOLDER_NAME.fullmatch(name):
        raise ValueError(
            f"must be of letters, digits, '.', '_', '-' (it names a folder), got {name!r}"
        )
    if name in RUN_DIRECTORY_FILES:
        raise ValueError(f"can not be named {name!r}, which is a file of the run directory")
    return name


Name = Annotated[str, AfterValidator(_folder_name)]


def _has_kind(entry: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(entry.get("kind"), str):
        raise ValueError(f"must say its kind, e.g. kind: fastswitch, got {entry.get('kind')!r}")
    return entry


EngineEntry = Annotated[
    dict[str, Any],
    AfterValidator(_has_kind),
    WithJsonSchema(
        {
            "type": "object",
            "required": ["kind"],
            "properties": {"kind": {"type": "string"}},
            "description": "`kind` and the settings of that kind.",
        }
    ),
]


class DefaultsSpec(Spec):
    engines: dict[str, Any] = Field(
        default_factory=dict,
        description="Settings common to all engines; an engine's own take their place.",
    )


class DriverSpec(Spec):
    turn_timeout: PositiveDuration = Field(
        default=300.0, description="A turn that takes longer is given up and recorded as failed."
    )


class StopSpec(Spec):
    """When an engine's run ends before its plan does, because its turns fail."""

    error_ratio: Ratio = Field(
        default=0.5, description="Share of the turns that ended, and failed, that is too much."
    )
    after: int = Field(default=20, ge=1, description="Asked once so many turns have ended.")
    throughout: bool = Field(
        default=False,
        description="Asked again and again until the end, over all turns so far. Default: once, "
        "over the first turns.",
    )


def _share_or_duration(value: float | str) -> float | str:
    if isinstance(value, str):
        parse_duration(value)
    elif not 0 <= value < 1:
        raise ValueError(
            f"must be a share of the conversations in [0, 1) or a duration such as 30s, got {value}"
        )
    return value


Cut = Annotated[float | str, AfterValidator(_share_or_duration)]


class MeasureSpec(Spec):
    """Which conversations are played but not judged; the rule looks at the plan alone."""

    warm_up: Cut = Field(
        default=0.0,
        description="Leave out conversations that start in the first so many seconds (30s), or the "
        "first share of them (0.1).",
    )
    drain: Cut = Field(
        default=0.0, description="The same at the end, back from the last planned start."
    )

    @model_validator(mode="after")
    def _something_is_left(self) -> MeasureSpec:
        shares = [cut for cut in (self.warm_up, self.drain) if not isinstance(cut, str)]
        if sum(shares) >= 1:
            raise ValueError(f"warm_up and drain leave nothing to measure, got {sum(shares):g}")
        return self


class WorkloadSpec(Spec):
    """One experiment: conversations, users and their SLOs, and the engines that answer."""

    model_config = ConfigDict(title="fsbench workload")

    name: Name = Field(description="Begins the run directory's name.")
    seed: int = Field(ge=0, description="All randomness comes from it: same seed, same plan.")
    model: str | None = Field(
        default=None, description="A preset (tiny-llama) or a Hugging Face model folder."
    )
    conversations: ConversationsSpec
    arrivals: ArrivalsSpec
    think_time: ThinkTimeSpec = Field(
        default=NoThinkTime(distribution="none"), description="Default: none."
    )
    users: dict[Name, UserClassSpec] = Field(min_length=1, description="User classes by name.")
    priorities: PrioritiesSpec = Field(
        default=NoPriorities(pattern="none"), description="Default: none are sent."
    )
    engines: dict[Name, EngineEntry] = Field(min_length=1, description="Engines by name.")
    defaults: DefaultsSpec = Field(
        default=DefaultsSpec(),
        exclude=True,  # they stand in `engines` then
        description="What is common to many entries, written once.",
    )
    baseline: str | None = Field(
        default=None, description="The engine that others are compared with."
    )
    repeats: int = Field(default=1, ge=1, description="Runs of each engine, interleaved: A B A B.")
    measure: MeasureSpec = Field(
        default=MeasureSpec(), description="What is cut before measuring. Default: nothing."
    )
    gates: list[str] = Field(
        default_factory=list, description="Bounds such as `ttft.p99 <= 1.5s`; a miss fails the run."
    )
    references: list[ReferenceSpec] = Field(
        default_factory=list, description="Published figures shown beside this run's own."
    )
    driver: DriverSpec = Field(default=DriverSpec(), description="How the requests are sent.")
    stop: StopSpec | None = Field(
        default=StopSpec(),
        description="When turns fail: end early. Default: where half of the first 20 do; null: "
        "never.",
    )
    matrix: dict[str, Annotated[list[Any], Field(min_length=1)]] = Field(
        default_factory=dict,
        exclude=True,  # a run is of one cell
        description="Sweep: setting (`engines.*.kv_tokens`) by its values; a cell for each "
        "combination.",
    )

    @model_validator(mode="before")
    @classmethod
    def _engines_have_defaults(cls, raw: Any) -> Any:
        return with_engine_defaults(raw)

    @model_validator(mode="after")
    def _number_is_known(self) -> WorkloadSpec:
        conversations, process = self.conversations, self.arrivals.process
        has_duration = conversations.duration is not None
        has_count = conversations.count is not None
        if has_duration and has_count and process != "closed":
            raise ValueError(
                "conversations.duration can not stand beside count; remove one of them"
            )
        has_none = not has_duration and not has_count
        is_trace = isinstance(conversations, TraceConversations)
        if has_none and not is_trace and process not in CHANGING:
            raise ValueError(
                "conversations.count is missing; write how many, or how long they start to come: "
                "duration: 5m"
            )
        return self

    @model_validator(mode="after")
    def _trace_knows_instants(self) -> WorkloadSpec:
        trace = getattr(self.conversations, "trace", None) or "none"
        needs = {
            "arrivals.process": (self.arrivals.process, TRACES_WITH_INSTANTS),
            "think_time.distribution": (self.think_time.distribution, TRACES_WITH_GAPS),
        }
        for key, (value, traces) in needs.items():
            if value == "trace" and trace not in traces:
                raise ValueError(
                    f"{key} can be trace only with conversations.trace "
                    f"{', '.join(traces[:-1])} or {traces[-1]}, got conversations.trace {trace}"
                )
        return self

    @model_validator(mode="after")
    def _cuts_know_instants(self) -> WorkloadSpec:
        for key, cut in (("warm_up", self.measure.warm_up), ("drain", self.measure.drain)):
            if self.arrivals.process != "closed" or not cut:
                continue
            if self.conversations.duration is not None:
                raise ValueError(
                    f"measure.{key} can not stand with conversations.duration and arrivals.process "
                    f"closed, where nobody knows how many will be begun, got {cut!r}; give "
                    "conversations.count alone"
                )
            if isinstance(cut, str):
                raise ValueError(
                    f"measure.{key} must be a share such as 0.1 with arrivals.process closed, "
                    f"where no start is planned, got {cut!r}"
                )
        return self

    @model_validator(mode="after")
    def _shares_add_up(self) -> WorkloadSpec:
        total = sum(user_class.share for user_class in self.users.values())
        if abs(total - 1) > 1e-6:
            raise ValueError(f"users.*.share must add up to 1, got {total:.9g}")
        return self

    @model_validator(mode="after")
    def _baseline_is_an_engine(self) -> WorkloadSpec:
        if self.baseline is not None and self.baseline not in self.engines:
            names = ", ".join(self.engines)
            raise ValueError(f"baseline must be one of the engines {names}, got {self.baseline!r}")
        return self

    @model_validator(mode="after")
    def _references_are_of_engines(self) -> WorkloadSpec:
        check_engines(self.references, engines=list(self.engines), baseline=self.baseline)
        return self

    @model_validator(mode="after")
    def _static_levels_are_given(self) -> WorkloadSpec:
        if self.priorities.pattern == "static":
            for name, user_class in self.users.items():
                if user_class.priority is None:
                    raise ValueError(
                        f"users.{name}.priority is missing; with priorities.pattern static "
                        f"each class needs its level (smaller is more urgent)"
                    )
        return self


def spec_of(source: WorkloadSource) -> WorkloadSpec:
    """Returns the file's content, checked but for engines' settings and traces. Raises
    WorkloadError, one line."""
    try:
        return WorkloadSpec.model_validate(source.raw)
    except ValidationError as error:
        raise WorkloadError(describe(error, source.path, source.settings, WorkloadSpec)) from None
