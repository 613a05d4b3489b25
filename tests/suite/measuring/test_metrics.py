"""metrics.json from run directories whose instants, and so whose numbers, are known by hand."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from suite.errors import RunDirectoryError
from suite.judging.metrics_file import measure, write_metrics
from suite.records.run_directory import SCHEMA_VERSION, Counts, Manifest
from suite.records.turn_records import TurnRecord
from tests.reports.synthetic_run import FAST, SLOW, make_manifest, make_plan, make_trial, write_run
from tests.turn_files import write_turns
from workloads.plan import Plan
from workloads.plan_parts import Conversation, Slo, Turn, UserClass


def turn(num_output_tokens=3, think_time_s=0.0):
    return Turn(
        new_prompt_token_ids=np.arange(10, dtype=np.int32),
        prompt_text=None,
        num_output_tokens=num_output_tokens,
        think_time_s=think_time_s,
    )


def conversation(name, user, user_class, num_turns):
    return Conversation(
        conversation_id=name,
        user_id=user,
        user_class=user_class,
        start_at_s=0.0,
        turns=tuple(turn() for _ in range(num_turns)),
    )


def user_class(name, ttft_s, tbt_s, attainment_ratio, tbt_percentile=0.99):
    return UserClass(
        name=name,
        share_ratio=0.5,
        slo=Slo(
            ttft_s=ttft_s,
            tbt_s=tbt_s,
            tbt_percentile=tbt_percentile,
            attainment_ratio=attainment_ratio,
        ),
    )


PLAN = Plan(
    name="by-hand",
    seed=1,
    user_classes=(user_class("quick", 0.5, 0.2, 1.0), user_class("calm", 5.0, 1.0, 0.5)),
    conversations=(
        conversation("c0", "ann", "quick", 2),
        conversation("c1", "bob", "quick", 1),
        conversation("c2", "cat", "calm", 2),
    ),
    closed_concurrency=None,
    priorities=None,
)


def record(conversation_id, number, scheduled_at, sent_at, token_at, **changes):
    owner = next(c for c in PLAN.conversations if c.conversation_id == conversation_id)
    tokens = tuple(token_at)
    values = {
        "conversation_id": conversation_id,
        "turn": number,
        "user_id": owner.user_id,
        "user_class": owner.user_class,
        "priority": None,
        "planned_output_tokens": 3,
        "scheduled_at": scheduled_at,
        "sent_at": sent_at,
        "token_at": tokens,
        "tokens_per_chunk": (1,) * len(tokens),
        "done_at": tokens[-1] if tokens else scheduled_at,
        "num_prompt_tokens": 10,
        "num_cached_tokens": 0,
        "num_output_tokens": len(tokens),
        "num_coalesced": 0,
        "time_source": "kernel",
        "finish_reason": "length",
        "error": None,
    }
    return TurnRecord(**{**values, **changes})


ALL_WELL = [
    record("c0", 0, 0.0, 0.0, [0.25, 0.375, 0.5]),
    record("c0", 1, 1.0, 1.0, [1.25, 1.375, 1.5]),
    record("c1", 0, 0.0, 0.0, [0.5, 0.625, 0.75]),
    record("c2", 0, 0.0, 0.125, [4.0, 5.0, 5.5]),
    record("c2", 1, 6.0, 6.0, [6.25, 6.5, 10.0]),
]


def run_of(tmp_path: Path, *repeats: list[TurnRecord], planned_repeats=None, engines=("mine",)):
    PLAN.write(tmp_path / "plan.parquet")
    trials = []
    for number, records in enumerate(repeats, start=1):
        trial = make_trial(PLAN, records, "mine", number)
        trial.directory(tmp_path).mkdir(parents=True)
        write_turns(
            trial.directory(tmp_path) / "turns.parquet", records, started_at_monotonic_s=0.0
        )
        trials.append(trial)
    count = planned_repeats or max(1, len(repeats))
    make_manifest(PLAN, list(engines), trials, repeats=count).write(tmp_path)
    return tmp_path


def measured(tmp_path, *repeats, **options):
    return measure(run_of(tmp_path, *repeats, **options))["engines"]["mine"]


def test_latencies_of_scripted_instants_are_exact(tmp_path):
    engine = measured(tmp_path, ALL_WELL)
    assert engine["ttft_s"]["count"] == 5
    assert engine["ttft_s"]["p50"] == 0.25  # 0.25 0.25 0.25 0.5 3.875
    assert engine["ttft_s"]["max"] == 3.875
    assert engine["first_token_delay_s"]["max"] == 4.0  # from the planned instant
    assert engine["driver_lag_s"]["max"] == 0.125
    assert engine["tbt_s"]["count"] == 10
    assert engine["tbt_s"]["p90"] == 1.0  # 6 × 0.125, 0.25, 0.5, 1.0, 3.5
    assert engine["tbt_s"]["max"] == 3.5
    assert engine["tpot_s"]["max"] == (10.0 - 6.25) / 2
    assert engine["e2e_s"]["max"] == 5.375
    assert engine["tokens_per_chunk_mean"] == 1.0
    assert engine["throughput"] == {
        "window_s": 10.0,
        "output_tokens_per_s": 1.5,
        "turns_per_s": 0.5,
        "goodput_turns_per_s": 0.4,
    }


def test_slo_and_fairness_of_scripted_instants_are_exact(tmp_path):
    engine = measured(tmp_path, ALL_WELL)
    slo = engine["slo"]
    # cat's second turn stalls for 3.5 s: 1 of her 2 turns attains, which her class's 0.5 allows
    assert slo["users_within_slo_ratio"] == 1.0
    assert slo["turn_attainment_ratio"] == 0.8
    assert slo["by_class"]["calm"]["turn_attainment_ratio"] == 0.5
    assert slo["by_class"]["quick"]["num_users"] == 2
    fairness = engine["fairness"]
    assert fairness["jain_index"] == pytest.approx(2.5**2 / (3 * 2.25))
    assert (fairness["worst_user_id"], fairness["worst_user_attainment_ratio"]) == ("cat", 0.5)
    assert fairness["p5_user_attainment_ratio"] == 0.5
    assert fairness["longest_gap_s"] == 3.5


def capped(max_gap_s, *, attainment_ratio=1.0):
    """The plan, where calm promises a longest gap and half of the gaps may be any length."""
    quick, calm = PLAN.user_classes
    slo = replace(
        calm.slo,
        max_gap_s=max_gap_s,
        attainment_ratio=attainment_ratio,
        tbt_percentile=0.5,
    )
    return replace(PLAN, user_classes=(quick, replace(calm, slo=slo)))


@pytest.mark.parametrize(
    ("max_gap_s", "attainment_ratio", "within"),
    [(None, 1.0, 3), (3.5, 1.0, 3), (3.25, 1.0, 2), (3.25, 0.5, 3)],
)
def test_a_pause_beyond_the_longest_gap_takes_a_turn_out_of_its_slo(
    tmp_path, max_gap_s, attainment_ratio, within
):
    """Cat's second turn has gaps of 0.25 and 3.5 s, and the class looks at their median."""
    run = run_of(tmp_path, ALL_WELL)
    plan = capped(max_gap_s, attainment_ratio=attainment_ratio)
    plan.write(run / "plan.parquet")
    trial = make_trial(plan, ALL_WELL, "mine", 1)
    make_manifest(plan, ["mine"], [trial], repeats=1).write(run)
    engine = measure(run)["engines"]["mine"]
    slo = engine["slo"]
    assert slo["num_users_within_slo"] == within
    assert slo["num_users_within_slo_uncapped"] == 3
    assert slo["users_within_slo_uncapped_ratio"] == 1.0
    assert slo["num_turns_attained"] == (4 if max_gap_s == 3.25 else 5)
    assert engine["fairness"]["longest_gap_s"] == 3.5
    assert engine["fairness"]["longest_wait_s"] == 4.0


def test_a_chunk_with_several_tokens_invents_no_gaps(tmp_path):
    records = [
        replace(ALL_WELL[0], token_at=(0.25, 0.5), tokens_per_chunk=(1, 3), num_output_tokens=4),
        *ALL_WELL[1:],
    ]
    engine = measured(tmp_path, records)
    assert engine["tbt_s"]["count"] == 9
    assert engine["tokens_per_chunk_mean"] == 16 / 14
    assert engine["tpot_s"]["count"] == 5


def test_chunks_that_hide_their_tokens_are_counted_by_the_server(tmp_path):
    """Without token ids a chunk counts as one token; the usage at the end says 4 in 2 chunks."""
    records = [
        replace(ALL_WELL[0], token_at=(0.25, 0.5), tokens_per_chunk=(1, 1), num_output_tokens=4),
        *ALL_WELL[1:],
    ]
    engine = measured(tmp_path, records)
    assert engine["tokens_per_chunk_mean"] == 16 / 14
    assert engine["throughput"]["output_tokens_per_s"] == 1.6


def test_an_answer_that_comes_at_once_has_no_time_per_token(tmp_path):
    at_once = replace(
        ALL_WELL[0], token_at=(0.25,), tokens_per_chunk=(4,), done_at=0.25, num_output_tokens=4
    )
    engine = measured(tmp_path, [at_once, *ALL_WELL[1:]])
    assert engine["tpot_s"]["count"] == 4


def test_a_late_driver_cannot_hide_waiting(tmp_path):
    """Sent 0.4 s late and answered in 0.25 s: TTFT is fine, the promise of 0.5 s is broken."""
    late = record("c1", 0, 0.0, 0.4, [0.65, 0.7, 0.75])
    engine = measured(tmp_path, [*ALL_WELL[:2], late, *ALL_WELL[3:]])
    assert engine["by_class"]["quick"]["ttft_s"]["max"] == 0.25
    assert engine["slo"]["by_class"]["quick"]["num_users_within_slo"] == 1


def test_failed_and_lost_turns_miss_their_slo(tmp_path):
    failed = replace(ALL_WELL[1], error="connection reset", finish_reason=None)
    engine = measured(tmp_path, [ALL_WELL[0], failed, *ALL_WELL[3:]])  # bob's only turn is lost
    assert engine["counts"] == {"planned": 5, "recorded": 4, "failed": 1, "lost": 1}
    assert engine["slo"]["by_class"]["quick"]["num_turns_attained"] == 1
    assert engine["slo"]["by_class"]["quick"]["num_users_within_slo"] == 0
    assert engine["ttft_s"]["count"] == 3
    assert engine["driver_lag_s"]["count"] == 4
    assert "1 of 5 planned turns left no record" in engine["warnings"]


@pytest.mark.parametrize(("percentile", "within"), [(0.5, True), (0.51, False), (1.0, False)])
def test_the_tbt_promise_is_held_at_the_stated_percentile(tmp_path, percentile, within):
    """Gaps 0.1 0.1 1.0 1.0: half of them are short enough."""
    plan = replace(
        PLAN,
        user_classes=(user_class("quick", 0.5, 0.2, 1.0, percentile), PLAN.user_classes[1]),
    )
    run = run_of(tmp_path, [record("c1", 0, 0.0, 0.0, np.cumsum([0.1, 0.1, 0.1, 1.0, 1.0]))])
    plan.write(run / "plan.parquet")
    slo = measure(run)["engines"]["mine"]["slo"]
    assert slo["by_class"]["quick"]["num_turns_attained"] == int(within)


def test_repeats_are_pooled_and_shown_apart(tmp_path):
    slower = [replace(each, sent_at=each.scheduled_at - 1.0) for each in ALL_WELL]
    engine = measured(tmp_path, ALL_WELL, slower)
    assert engine["ttft_s"]["count"] == 10
    assert [each["ttft_s"]["max"] for each in engine["repeats"]] == [3.875, 5.0]
    assert engine["throughput"]["window_s"] == 20.0
    assert engine["slo"]["num_users"] == 6
    assert [each["slo"]["num_users"] for each in engine["repeats"]] == [3, 3]


def test_turn_numbers_are_told_apart(tmp_path):
    engine = measured(tmp_path, ALL_WELL)
    assert {name: each["ttft_s"]["count"] for name, each in engine["by_turn"].items()} == {
        "0": 3,
        "1": 2,
    }


def test_an_engine_that_never_started_has_reasons_instead_of_numbers(tmp_path):
    metrics = measure(run_of(tmp_path, engines=("mine", "other")))
    engine = metrics["engines"]["other"]
    assert engine["status"] == "missing"
    assert engine["slo"] is None
    assert engine["unavailable"]["slo"] == "the engine was never started"
    assert engine["counts"] == {"planned": 5, "recorded": 0, "failed": 0, "lost": 5}
    assert engine["ttft_s"]["unavailable"]["p50"] == "needs at least 2 samples, has 0"


def test_a_run_in_which_every_turn_failed_is_still_measured(tmp_path):
    failed = [
        replace(each, token_at=(), tokens_per_chunk=(), sent_at=None, done_at=None, error="refused")
        for each in ALL_WELL
    ]
    engine = measured(tmp_path, failed)
    assert engine["slo"]["users_within_slo_ratio"] == 0.0
    assert engine["fairness"]["jain_index"] is None
    assert engine["fairness"]["unavailable"]["jain_index"] == "no turn attained its SLO"
    assert engine["throughput"]["output_tokens_per_s"] is None


def test_an_interrupted_part_says_so_and_repeats_not_begun_are_not_judged(tmp_path):
    run = run_of(tmp_path, ALL_WELL[:2], planned_repeats=2)
    manifest = Manifest.read(run)
    trial = manifest.trials[0].model_copy(update={"status": "interrupted", "note": "Ctrl-C"})
    manifest.model_copy(update={"trials": [trial]}).write(run)
    engine = measure(run)["engines"]["mine"]
    assert engine["status"] == "interrupted"
    assert engine["counts"] == {"planned": 10, "recorded": 2, "failed": 0, "lost": 8}
    assert engine["slo"]["num_users"] == 3
    assert "repeat 1 interrupted: Ctrl-C" in engine["warnings"]
    assert "1 of 2 repeats were begun" in engine["warnings"]


def test_turns_that_a_stop_kept_from_being_asked_or_cut_short_are_neither_failed_nor_missed(
    tmp_path,
):
    """Ann's second turn was under way, cat's second was not due yet; bob was never asked."""
    cut = replace(ALL_WELL[1], error="cut short: Ctrl-C", error_source="stop", token_at=())
    cut = replace(cut, tokens_per_chunk=(), finish_reason=None)
    run = run_of(tmp_path, [ALL_WELL[0], cut, ALL_WELL[3]])
    manifest = Manifest.read(run)
    counts = Counts(planned=5, recorded=3, failed=0, lost=2, cut=1, not_due=2)
    changes = {"status": "interrupted", "note": "Ctrl-C", "counts": counts}
    trial = manifest.trials[0].model_copy(update=changes)
    manifest.model_copy(update={"trials": [trial]}).write(run)
    engine = measure(run)["engines"]["mine"]
    assert engine["counts"] == {"planned": 5, "recorded": 3, "failed": 0, "lost": 2}
    assert engine["not_asked"] == {"after_failure": 0, "not_due": 2, "cut_short": 1}
    assert engine["slo"]["num_users"] == 2
    assert engine["slo"]["users_within_slo_ratio"] == 1.0
    assert engine["slo"]["turn_attainment_ratio"] == 1.0
    assert engine["driver_lag_s"]["count"] == 2
    [told] = [text for text in engine["warnings"] if "not asked" in text]
    assert told.startswith("3 turns of 5 planned were not asked, or not to the end")
    assert not [text for text in engine["warnings"] if "left no record" in text]


def test_turns_after_a_failed_one_are_not_asked_and_miss_also_in_a_run_that_was_stopped(tmp_path):
    failed = replace(ALL_WELL[0], error="refused", error_source="server")
    run = run_of(tmp_path, [failed, *ALL_WELL[2:4]])
    manifest = Manifest.read(run)
    counts = Counts(planned=5, recorded=3, failed=1, lost=2, not_asked=1, not_due=1)
    trial = manifest.trials[0].model_copy(update={"status": "interrupted", "counts": counts})
    manifest.model_copy(update={"trials": [trial]}).write(run)
    engine = measure(run)["engines"]["mine"]
    assert engine["not_asked"] == {"after_failure": 1, "not_due": 1, "cut_short": 0}
    assert engine["slo"]["num_users"] == 3
    assert engine["slo"]["num_users_within_slo"] == 2  # ann is not
    assert engine["slo"]["turn_attainment_ratio"] == 2 / 4


def test_prompt_tokens_that_no_server_counted_leave_service_open(tmp_path):
    engine = measured(tmp_path, [replace(each, num_prompt_tokens=None) for each in ALL_WELL])
    assert engine["fairness"]["max_service_difference"] is None
    assert "did not count" in engine["fairness"]["unavailable"]["max_service_difference"]


def test_context_switching_is_summed_from_the_step_log(tmp_path):
    run = write_run(
        tmp_path, {"logged": FAST, "silent": replace(FAST, has_step_log=False)}, repeats=1
    )
    engines = measure(run)["engines"]
    switch = engines["logged"]["context_switch"]
    moved = switch["num_swap_out_blocks"] + switch["num_swap_in_blocks"]
    assert switch["num_preemptions"] > 0
    assert switch["mean_blocks_per_copy"] == moved / switch["num_copy_runs"] > 5
    assert 0 < switch["stall_ratio"] < 1
    assert engines["silent"]["context_switch"] is None
    assert engines["silent"]["unavailable"]["context_switch"] == "the engine gives no step log"


def test_metrics_json_is_what_measure_returns_and_free_of_nan(tmp_path):
    run = write_run(
        tmp_path,
        {"fast": FAST, "slow": replace(SLOW, fail_ratio=0.1, lost_ratio=0.05)},
        gates=("ttft.p99 <= 1.5s", "tbt.p999 <= 1.05 * baseline"),
        baseline="slow",
    )
    metrics = write_metrics(run)
    text = (run / "metrics.json").read_text()
    assert json.loads(text) == metrics == json.loads(json.dumps(measure(run)))
    assert "NaN" not in text
    assert [gate["engine"] for gate in metrics["gates"]] == ["fast", "slow", "fast"]
    fast, slow = (metrics["engines"][name]["ttft_s"]["p99"] for name in ("fast", "slow"))
    entries = [each for each in metrics["comparisons"]["fast"] if each["user_class"] is None]
    ratio_of = {each["metric"]: each["ratio"] for each in entries}
    assert ratio_of["ttft.p99"] == fast / slow


def test_a_folder_that_is_no_run_is_refused_in_one_line(tmp_path):
    with pytest.raises(RunDirectoryError, match=r"manifest\.json is missing; name a folder that"):
        measure(tmp_path)
    (tmp_path / "manifest.json").write_text('{"name": "cut')
    with pytest.raises(RunDirectoryError, match="cut short or written by another version"):
        measure(tmp_path)


def keys_of(value, known_names):
    """Every key of the JSON, without the names that the workload chose."""
    if isinstance(value, list):
        return set().union(*(keys_of(each, known_names) for each in value), set())
    if not isinstance(value, dict):
        return set()
    own = {key for key in value if key not in known_names and not key.isdigit() and "." not in key}
    return own.union(*(keys_of(each, known_names) for each in value.values()))


def test_every_key_of_metrics_json_stands_in_the_document(tmp_path):
    run = write_run(
        tmp_path, {"fast": FAST, "slow": SLOW}, gates=("ttft.p99 <= 1s",), baseline="slow"
    )
    metrics = measure(run)
    names = {"fast", "slow", "interactive", "standard", "batch"}
    document = Path("docs/metrics.md").read_text()
    documented = set(re.findall(r"`([a-z0-9_]+)`", document))
    assert keys_of(metrics, names) - documented == set()


def test_the_plans_users_are_all_judged(tmp_path):
    plan = make_plan(num_conversations=30)
    run = write_run(tmp_path, {"fast": FAST}, plan=plan, repeats=2)
    slo = measure(run)["engines"]["fast"]["slo"]
    assert slo["num_users"] == 2 * len({each.user_id for each in plan.conversations})
    assert slo["num_turns"] == 2 * plan.num_turns
    by_class = slo["by_class"].values()
    assert sum(each["num_turns_attained"] for each in by_class) == slo["num_turns_attained"]


def test_records_of_an_older_schema_are_refused_with_the_column_and_both_versions(tmp_path):
    run = run_of(tmp_path, ALL_WELL)
    manifest = Manifest.read(run)
    manifest.model_copy(update={"schema_version": 1}).write(run)
    path = manifest.trials[0].directory(run) / "turns.parquet"
    pq.write_table(pq.read_table(path).drop_columns(["tokens_per_chunk"]), path)
    expected = (
        f"{path}: has no column tokens_per_chunk; it was recorded with schema 1, this fsbench "
        f"reads {SCHEMA_VERSION}: measure it with that version, or run it again"
    )
    with pytest.raises(RunDirectoryError, match=re.escape(expected)):
        measure(run)
