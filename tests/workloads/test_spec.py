from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tests.workloads.examples import SMALL, load_spec, write_small
from workloads.errors import WorkloadError
from workloads.spec import WorkloadSpec
from workloads.spec_conversations import FixedConversations, TraceConversations

SHIPPED = Path(__file__).parents[2] / "workloads"


def refusal(folder: Path, *overrides: str, text: str = SMALL) -> str:
    """The one line a bad file or override gives."""
    with pytest.raises(WorkloadError) as caught:
        load_spec(write_small(folder, text), overrides)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_valid_file_is_read_with_its_defaults(tmp_path: Path) -> None:
    spec = load_spec(write_small(tmp_path))
    assert spec.think_time.distribution == "lognormal"
    assert spec.users["interactive"].slo.tbt == 0.2
    assert spec.users["interactive"].slo.tbt_percentile == 0.99
    assert spec.conversations.token_ids == (256, 8000)
    assert spec.driver.turn_timeout == 300.0
    assert spec.engines["fcfs"] == {"kind": "fastswitch", "kv_tokens": 4096}
    assert spec.repeats == 1


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("rate: 2.0", "rate: 0.0", "arrivals.rate must be > 0, got 0.0"),
        ("rate: 2.0", "rate: -1", "arrivals.rate must be > 0, got -1"),
        ("rate: 2.0", "rate: .inf", "arrivals.rate must be a finite number, got inf"),
        ("rate: 2.0", "rate: fast", "arrivals.rate must be a number, got 'fast'"),
        ("rate: 2.0", "rte: 2.0", "small.yaml: arrivals.rte is unknown; did you mean rate?"),
        ("rate: 2.0", "", "arrivals.rate is missing; Conversations per second"),
        ("{process: poisson,", "{process: closed,", "arrivals.rate is unknown; write one of: pro"),
        ("rate: 2.0", "rate: 2.0, rte: 1", "arrivals.rte is unknown; did you mean rate?"),
        ("name: small", "name: small\nsede: 8", "sede is unknown; did you mean seed?"),
        ("ttft: 1s", "ttft: 1", "users.interactive.slo.ttft is without unit, got 1; write it like"),
        (
            "tbt: 200ms",
            "tbt: 200ms, max_gap: 100ms",
            "users.interactive.slo.max_gap must be >= tbt (0.2s), got 0.1s",
        ),
        ("ttft: 1s", "ttft: 0", "users.interactive.slo.ttft must be > 0, got 0"),
        ("share: 0.5, priority: 3", "share: 0.4", "users.*.share must add up to 1, got 0.9"),
        ("poisson", "posson", "'posson'; did you mean poisson?"),
        ("process: poisson, ", "", "arrivals.process is missing; write one of: poisson, gamma,"),
        (
            "{process: poisson, rate: 2.0}",
            "poisson",
            "arrivals must be a mapping (key: value), got",
        ),
        (
            "source: sharegpt-like, ",
            "",
            "conversations.source is missing; write source: sharegpt-l",
        ),
        (
            "sharegpt-like",
            "sharegptlike",
            "conversations.source must be one of sharegpt-like, fixed",
        ),
        ("sharegpt-like", "{trace: azure}", "conversations.source must be text, got a mapping"),
        ("sharegpt-like", "fixed, trace: azure, path: x", "conversations.source can not stand"),
        ("source: sharegpt-like", "trace: azur, path: x", "got 'azur'; did you mean azure?"),
        (
            "source: sharegpt-like",
            "trace: azure",
            "write it there or give --set conversations.path",
        ),
        ("count: 12", "count: 1.5", "conversations.count must be a whole number, got 1.5"),
        ("count: 12", "count: yes", "conversations.count must be a whole number, got True"),
        ("count: 12", "count: 1e3", "must be a whole number, got 1000.0; write 1000"),
        ("count: 12", "count: 1, token_ids: [9, 9]", "conversations.token_ids must be [low, high]"),
        ("stay: 0.9", "stay: 1.9", "priorities.stay must be ≤ 1, got 1.9"),
        (
            "markov, levels: 4, stay: 0.9",
            "random, stay: 1",
            "priorities.stay is unknown; write one",
        ),
        (
            "baseline: vllm-0.3",
            "baseline: me",
            "baseline must be one of the engines fcfs, vllm-0.3",
        ),
        (
            "fcfs: {kind: fastswitch,",
            "fcfs: {",
            "engines.fcfs must say its kind, e.g. kind: fastsw",
        ),
        ("fcfs:", "plan.parquet:", "can not be named 'plan.parquet', which is a file of the run"),
        ("fcfs:", "../fcfs:", "engines.../fcfs must be of letters, digits, '.', '_', '-'"),
        ("name: small", "name: a/b", "name must be of letters, digits"),
        ("name: small", "name: 2026", "name must be text, got 2026; put it in quotes"),
        ("batch:", "my batch:", "users.my batch must be of letters, digits, '.', '_', '-' (it"),
        ("batch:", "no:", "users has a name that YAML does not read as text, got False; put it in"),
        ("attainment: 0.95", "attainment: 95%", "must be a number, got '95%'; write 0.95"),
        ("attainment: 0.95", "attainment: 95", "≤ 1, got 95; if that is percent, write 0.95"),
        (
            "gates: [ttft.p99 <= 1.5s]",
            "gates: [fcfs: ttft.p99 <= 1.5s]",
            'gates.0 must be text, got a mapping; put it in quotes: "fcfs: ttft.p99 <= 1.5s"',
        ),
        ("gates: [ttft.p99 <= 1.5s]", "gates: [3]", "gates.0 must be text, got 3"),
        ("gates: [ttft.p99 <= 1.5s]", "repeats: 0", "repeats must be ≥ 1, got 0"),
        ("seed: 7", "seed: 7\nstop: {afterr: 3}", "stop.afterr is unknown; did you mean after?"),
        ("seed: 7", "seed: 7\nstop: {error_ratio: 2}", "stop.error_ratio must be ≤ 1, got 2"),
        ("seed: 7", "seed: 7\nstop: sometimes", "stop must be a mapping (key: value), got"),
        (
            "process: poisson, rate: 2.0",
            "process: trace",
            "arrivals.process can be trace only with",
        ),
        ("seed: 7", "seed: 7\nseed: 8", "small.yaml:3: not YAML: key 'seed' stands here a second"),
        ("seed: 7", "seed: [7", "small.yaml:3: not YAML: "),
        ("seed: 7", "1: 7", "seed is missing; All randomness comes from it: same seed, same plan"),
    ],
)
def test_a_bad_file_is_refused_in_one_line(
    tmp_path: Path, old: str, new: str, problem: str
) -> None:
    assert SMALL.count(old) == 1, old
    message = refusal(tmp_path, text=SMALL.replace(old, new))
    assert message.startswith(f"{tmp_path}/small.yaml:")
    assert problem in message


def test_an_unknown_key_without_a_near_one_lists_the_choices(tmp_path: Path) -> None:
    message = refusal(tmp_path, "users.batch.slo.zzz=1s")
    assert message.endswith("write one of: ttft, tbt, attainment, tbt_percentile, max_gap")


def test_static_priorities_need_a_level_in_each_class(tmp_path: Path) -> None:
    text = SMALL.replace("share: 0.5, priority: 3", "share: 0.5")
    message = refusal(tmp_path, "priorities={pattern: static}", text=text)
    assert "users.batch.priority is missing; with priorities.pattern static" in message


def test_real_words_can_not_be_scaled(tmp_path: Path) -> None:
    override = "conversations={trace: sharegpt-json, path: x, length_scale: 0.5}"
    assert "conversations.length_scale must be 1 for trace" in refusal(tmp_path, override)


def test_trace_think_times_need_a_trace_with_gaps(tmp_path: Path) -> None:
    message = refusal(
        tmp_path, "conversations={trace: azure, path: x}", "think_time={distribution: trace}"
    )
    assert "mooncake, burstgpt or bailian, got conversations.trace azure" in message


def test_several_problems_give_the_first_and_a_count(tmp_path: Path) -> None:
    message = refusal(tmp_path, "arrivals.rate=-1", "repeats=0", "seed=x")
    assert message.endswith("(and 2 more errors)")


def test_a_misspelt_key_is_named_and_not_what_it_leaves_missing(tmp_path: Path) -> None:
    message = refusal(tmp_path, text=SMALL.replace("rate: 2.0", "rte: -1").replace("seed:", "sed:"))
    assert message.endswith("is unknown; did you mean rate? (and 1 more error)")
    message = refusal(tmp_path, text=SMALL.replace("rate: 2.0", "zzz: 1"))
    assert message.endswith(
        "arrivals.zzz is unknown; write one of: process, rate (and 1 more error)"
    )


def test_a_missing_file_and_a_file_of_another_shape_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WorkloadError, match=r"nope\.yaml: no such workload file"):
        load_spec(tmp_path / "nope.yaml")
    assert "must be a mapping (key: value), got a list" in refusal(tmp_path, text="- a\n")
    assert "must be a mapping (key: value), got nothing" in refusal(tmp_path, text="")


def test_a_number_with_an_exponent_needs_no_dot(tmp_path: Path) -> None:
    spec = load_spec(write_small(tmp_path, SMALL.replace("rate: 2.0", "rate: 5e-1")))
    assert spec.model_dump()["arrivals"]["rate"] == 0.5


# ------------------------------------------------------------------------------- overrides


def test_an_override_reaches_names_that_hold_dots(tmp_path: Path) -> None:
    spec = load_spec(write_small(tmp_path), ["engines.vllm-0.3.kv_tokens=64", "gates=[]"])
    assert spec.engines["vllm-0.3"] == {"kind": "fastswitch", "kv_tokens": 64}
    assert spec.gates == []


def test_an_override_makes_the_blocks_it_needs(tmp_path: Path) -> None:
    spec = load_spec(write_small(tmp_path), ["driver.turn_timeout=5s"])
    assert spec.driver.turn_timeout == 5.0


def test_an_override_to_blame_is_named(tmp_path: Path) -> None:
    message = refusal(tmp_path, "seed=1", "arrivals.rate=0")
    assert message == "--set arrivals.rate=0: arrivals.rate must be > 0, got 0"
    message = refusal(tmp_path, "baseline=me")
    assert message.startswith("--set baseline=me: baseline must be one of")
    message = refusal(tmp_path, "engine.fcfs.kv_tokens=1")
    assert message.startswith("--set engine.fcfs.kv_tokens=1: engine is unknown; did you mean")
    message = refusal(tmp_path, "engines.fcsf.kv_tokens=1")
    assert message.startswith("--set engines.fcsf.kv_tokens=1: engines.fcsf must say its kind")


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("seed", "--set seed: must be KEY=VALUE, e.g. arrivals.rate=2"),
        ("=3", "--set =3: must be KEY=VALUE"),
        ("seed=[1", "--set seed=[1: not YAML: "),
        ("seed.x=1", "--set seed.x=1: 'x' can not be set inside 7"),
    ],
)
def test_an_override_that_can_not_be_applied_is_refused(
    tmp_path: Path, override: str, problem: str
) -> None:
    assert refusal(tmp_path, override).startswith(problem)


def test_a_path_set_on_the_command_line_starts_from_the_current_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    in_file = SMALL.replace("source: sharegpt-like", "trace: azure, path: a.csv")
    path = write_small(tmp_path, in_file)
    assert _trace_path(load_spec(path)) == "a.csv"
    assert _trace_path(load_spec(path, ["conversations.path=b.csv"])) == str(tmp_path / "b.csv")
    whole = load_spec(path, ["conversations={trace: azure, path: c.csv}"])
    assert _trace_path(whole) == str(tmp_path / "c.csv")


def _trace_path(spec: WorkloadSpec) -> str:
    assert isinstance(spec.conversations, TraceConversations)
    return spec.conversations.path


# ----------------------------------------------------------------------- whole files, schema


def test_the_example_of_the_documentation_is_valid(tmp_path: Path) -> None:
    page = (SHIPPED.parent / "docs" / "workloads.md").read_text(encoding="utf-8")
    example = page.split("```yaml\n")[1].split("```")[0]
    assert load_spec(write_small(tmp_path, example)).name == "sharegpt-markov"


@pytest.mark.parametrize("name", ["quickstart.yaml", "sharegpt-trace.yaml"])
def test_the_shipped_workloads_are_valid(name: str) -> None:
    overrides = ["conversations.path=FILE"] if "trace" in name else []
    spec = load_spec(SHIPPED / name, overrides)
    engines = {"vllm-0.3", "fastswitch"} if name == "quickstart.yaml" else {"fcfs", "priority"}
    assert set(spec.engines) == engines


def test_the_shipped_trace_workload_says_how_to_give_the_file() -> None:
    with pytest.raises(WorkloadError, match=r"conversations\.path is missing; .*--set conversat"):
        load_spec(SHIPPED / "sharegpt-trace.yaml")


SOURCES = [
    "{source: sharegpt-like, count: 3}",
    "{source: fixed, count: 3, turns: 2, prompt_tokens: 5, output_tokens: 4, token_ids: [0, 9]}",
    "{trace: burstgpt, path: x.csv, offset: 2, max_turns: 1, length_scale: 0.5}",
]
ARRIVALS = [
    "{process: gamma, rate: 1, cv: 2.5}",
    "{process: constant, rate: 1}",
    "{process: closed, concurrency: 4}",
]
THINKING = [
    "{distribution: none}",
    "{distribution: constant, value: 0}",
    "{distribution: constant, value: 1.25ms}",
    "{distribution: exponential, mean: 2m, max: 1h}",
]
PRIORITIES = [
    "{pattern: none}",
    "{pattern: static}",
    "{pattern: random, update_interval: 500ms}",
    "{pattern: markov, stay: 1}",
]


@given(
    st.sampled_from(SOURCES),
    st.sampled_from(ARRIVALS),
    st.sampled_from(THINKING),
    st.sampled_from(PRIORITIES),
)
def test_a_spec_written_as_json_is_read_back_the_same(
    source: str, arrivals: str, thinking: str, priorities: str
) -> None:
    raw = _raw(source, arrivals, thinking, priorities)
    spec = WorkloadSpec.model_validate(raw)
    assert WorkloadSpec.model_validate(spec.model_dump(mode="json")) == spec


def _raw(source: str, arrivals: str, thinking: str, priorities: str) -> dict[str, object]:
    text = re.sub(r"conversations: .*", f"conversations: {source}", SMALL)
    text = re.sub(r"arrivals: .*", f"arrivals: {arrivals}", text)
    text = re.sub(r"think_time: .*", f"think_time: {thinking}", text)
    text = re.sub(r"priorities: .*", f"priorities: {priorities}", text)
    raw = yaml.safe_load(text)
    assert isinstance(raw, dict)
    return raw


def test_fields_of_one_source_do_not_leak_into_another(tmp_path: Path) -> None:
    override = (
        "conversations={source: fixed, count: 1, turns: 1, prompt_tokens: 1, output_tokens: 2}"
    )
    spec = load_spec(write_small(tmp_path), [override])
    assert isinstance(spec.conversations, FixedConversations)
    assert "conversations.path is unknown" in refusal(tmp_path, "conversations.path=x")


def test_the_schema_knows_units_choices_and_that_other_keys_are_refused() -> None:
    schema = WorkloadSpec.model_json_schema()
    models = schema["$defs"]
    assert schema["additionalProperties"] is False
    assert all(model["additionalProperties"] is False for model in models.values())
    duration = models["SloSpec"]["properties"]["ttft"]["anyOf"][0]["pattern"]
    assert re.search(duration, "250ms")
    assert not re.search(duration, "250")
    assert set(schema["properties"]["arrivals"]["discriminator"]["mapping"]) >= {"poisson", "gamma"}
    assert len(schema["properties"]["conversations"]["oneOf"]) == 4
    assert schema["properties"]["engines"]["additionalProperties"]["required"] == ["kind"]
    assert set(schema["required"]) == {
        "name", "seed", "conversations", "arrivals", "users", "engines",
    }  # fmt: skip


def test_every_key_of_the_schema_is_described() -> None:
    schema = WorkloadSpec.model_json_schema()
    for model in [schema, *schema["$defs"].values()]:
        for key, field in model["properties"].items():
            named_elsewhere = {"process", "distribution", "pattern", "source", "conversations"}
            if key in named_elsewhere | {"arrivals", "slo"}:
                continue  # discriminators and blocks that describe themselves
            assert "description" in field, (model["title"], key)


def test_what_engines_share_is_written_once_and_overridden(tmp_path: Path) -> None:
    spec = load_spec(
        write_small(tmp_path, SMALL),
        [
            "engines={a: &a {kind: simulated, preset: x, kv_tokens: 64}, b: {<<: *a, preset: y}}",
            "baseline=a",
        ],
    )
    assert spec.engines["b"] == {"kind": "simulated", "preset": "y", "kv_tokens": 64}
