"""docs/metrics.md once more, slowly and as plainly as it reads; shares no code with suite."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from workloads.plan import Plan

QUANTILES = {"p50": "0.5", "p90": "0.9", "p95": "0.95", "p99": "0.99", "p999": "0.999"}


LATENCIES = (
    "ttft_s",
    "first_token_delay_s",
    "tbt_s",
    "max_tbt_s",
    "tpot_s",
    "e2e_s",
    "normalised_latency_s",
    "driver_lag_s",
)


class NaiveRun:
    """One engine of a run directory: `turns` has a row a planned turn and repeat that began."""

    def __init__(self, run: Path, engine: str) -> None:
        manifest = json.loads((run / "manifest.json").read_text())
        plan = Plan.read(run / "plan.parquet")
        self.parts = [part for part in manifest["parts"] if part["engine"] == engine]
        self.slo = {each.name: each.slo for each in plan.user_classes}
        planned = pd.DataFrame(
            [
                {
                    "conversation_id": conversation.conversation_id,
                    "turn": number,
                    "user_id": conversation.user_id,
                    "user_class": conversation.user_class,
                    "start": conversation.start_at_s,
                    "planned": turn.num_output_tokens,
                }
                for conversation in plan.conversations
                for number, turn in enumerate(conversation.turns)
            ]
        )
        self.starts = planned["start"]
        planned = planned[~planned["conversation_id"].isin(_cut(planned, manifest["workload"]))]
        self.everything = _records(run, engine, self.parts)
        frames = [planned.assign(repeat=part["repeat"]) for part in self.parts]
        keys = ["repeat", "conversation_id", "turn"]
        extra = self.everything.drop(columns=["user_id", "user_class"])
        self.turns = pd.concat(frames).merge(extra, on=keys, how="left")
        self.turns["recorded"] = self.turns["scheduled_at"].notna()
        self.turns["ok"] = self.turns["recorded"] & self.turns["error"].isna()
        self.turns["attains_uncapped"] = [self._attains_uncapped(row) for row in self._rows()]
        self.turns["attains"] = [
            row.attains_uncapped and self._keeps_gaps(row) for row in self._rows()
        ]
        self.turns["headroom"] = [self._headroom(row) for row in self._rows()]
        self.turns["user"] = list(zip(self.turns["repeat"], self.turns["user_id"], strict=True))

    def _rows(self, where: str | None = None) -> list[Any]:
        turns = self.turns if where is None else self.turns[self.turns[where]]
        return list(turns.itertuples())

    def samples(self, name: str, turns: pd.DataFrame | None = None) -> list[float]:
        turns = self.turns if turns is None else turns
        found: list[float] = []
        for row in turns[turns["recorded"]].itertuples():
            found += self._of_turn(name, row)
        return found

    def _of_turn(self, name: str, row: Any) -> list[float]:
        sent = not math.isnan(row.sent_at)
        if name == "driver_lag_s":
            return [row.sent_at - row.scheduled_at] if sent else []
        if not row.ok:
            return []
        at, num_tokens = row.token_at, _num_tokens(row)
        gaps = [after - before for before, after in itertools.pairwise(at)]
        e2e = row.done_at - row.sent_at if sent else None
        values: dict[str, list[float]] = {
            "ttft_s": [at[0] - row.sent_at] if len(at) else [],
            "first_token_delay_s": [at[0] - row.scheduled_at] if len(at) else [],
            "tbt_s": gaps,
            "max_tbt_s": [max(gaps)] if gaps else [],
            "tpot_s": [(at[-1] - at[0]) / (num_tokens - 1)] if gaps and num_tokens > 1 else [],
            "e2e_s": [e2e] if e2e is not None else [],
            "normalised_latency_s": [e2e / num_tokens] if e2e is not None and num_tokens else [],
        }
        return values[name]

    def _tbt_at_percentile(self, row: Any) -> float:
        gaps = sorted(after - before for before, after in itertools.pairwise(row.token_at))
        needed = math.ceil(_exact(self.slo[row.user_class].tbt_percentile) * len(gaps))
        return gaps[needed - 1] if gaps else 0.0

    def _attains_uncapped(self, row: Any) -> bool:
        slo = self.slo[row.user_class]
        if not row.ok or not len(row.token_at):
            return False
        is_prompt = row.token_at[0] - row.scheduled_at <= slo.ttft_s
        return bool(is_prompt and self._tbt_at_percentile(row) <= slo.tbt_s)

    def _keeps_gaps(self, row: Any) -> bool:
        cap = self.slo[row.user_class].max_gap_s
        return cap is None or _longest(row) <= cap

    def _headroom(self, row: Any) -> float:
        slo = self.slo[row.user_class]
        if not row.attains:
            return 0.0
        used = [
            (row.token_at[0] - row.scheduled_at) / slo.ttft_s,
            self._tbt_at_percentile(row) / slo.tbt_s,
        ]
        if slo.max_gap_s is not None:
            used.append(_longest(row) / slo.max_gap_s)
        return 1.0 - max(used)

    def shares(self) -> pd.Series[float]:
        """a_u, the share of a user's planned turns that attained; users are judged each repeat."""
        return self.turns.groupby("user")["attains"].mean()

    def groups(self, user_class: str | None = None) -> dict[str, dict[str, Any]]:
        """All groups of metrics.json but latencies; for a class those that are known by class."""
        by_class = {"slo": self.slo_numbers(user_class), "prompts": self.prompts(user_class)}
        if user_class is not None:
            return by_class
        return {
            **by_class,
            "fairness": {**self.fairness(), **self.service()},
            "throughput": self.throughput(),
            "steady_state": self.backlog(),
        }

    def prompts(self, user_class: str | None) -> dict[str, Any]:
        cached = prompt = num_told = 0
        for row in self._rows("recorded"):
            if user_class not in (None, row.user_class):
                continue
            if not pd.isna(row.num_prompt_tokens) and not pd.isna(row.num_cached_tokens):
                cached, prompt = cached + row.num_cached_tokens, prompt + row.num_prompt_tokens
                num_told += 1
        ratio = cached / prompt if prompt else None
        return {"cached_tokens_ratio": ratio, "num_told_turns": num_told}

    def slo_numbers(self, user_class: str | None = None) -> dict[str, Any]:
        turns = self.turns
        if user_class is not None:
            turns = turns[turns["user_class"] == user_class]
        within = self._within(turns, "attains")
        uncapped = self._within(turns, "attains_uncapped")
        return {
            "num_users": len(within),
            "num_users_within_slo": sum(within),
            "users_within_slo_ratio": sum(within) / len(within) if within else None,
            "num_users_within_slo_uncapped": sum(uncapped),
            "users_within_slo_uncapped_ratio": sum(uncapped) / len(uncapped) if uncapped else None,
            "num_turns": len(turns),
            "num_turns_attained": int(turns["attains"].sum()),
            "turn_attainment_ratio": turns["attains"].mean(),
            "fluidity_index": self._fluidity(turns),
        }

    def _within(self, turns: pd.DataFrame, column: str) -> list[bool]:
        shares = turns.groupby(["user", "user_class"])[column].agg(["sum", "count"])
        return [
            Fraction(int(row["sum"]), int(row["count"]))
            >= _exact(self.slo[key[1]].attainment_ratio)
            for key, row in shares.iterrows()
        ]

    def _fluidity(self, turns: pd.DataFrame) -> float | None:
        met = missed = 0
        for row in turns[turns["recorded"]].itertuples():
            slo = self.slo[row.user_class]
            due = row.scheduled_at + slo.ttft_s
            for at in row.token_at:
                late = at - due
                if late <= 0:
                    met, due = met + 1, due + slo.tbt_s
                else:
                    missed, due = missed + 1 + math.floor(late / slo.tbt_s), at + slo.tbt_s
            if not row.ok:
                missed += max(0, row.planned - sum(row.tokens_per_chunk))
        return met / (met + missed) if met + missed else None

    def fairness(self) -> dict[str, Any]:
        shares, headroom = self.shares(), self.turns.groupby("user")["headroom"].mean()
        worst = np.sort(shares.to_numpy())
        best = np.sort(headroom.to_numpy())[::-1]
        tenth = math.ceil(len(best) / 10)
        waits = [
            (row.token_at[0] if len(row.token_at) else row.done_at) - row.scheduled_at
            for row in self._rows("recorded")
        ]
        gaps = [
            b - a for row in self._rows("recorded") for a, b in itertools.pairwise(row.token_at)
        ]
        return {
            "jain_index": _jain(shares),
            "gini_index": _gini(shares),
            "mean_user_attainment_ratio": shares.mean(),
            "worst_user_attainment_ratio": worst[0],
            "p5_user_attainment_ratio": worst[math.ceil(0.05 * len(worst)) - 1],
            "headroom_mean_ratio": headroom.mean(),
            "headroom_best_user_ratio": best[0],
            "headroom_top_decile_ratio": best[:tenth].sum() / best.sum() if best.sum() else None,
            "longest_gap_s": max(gaps, default=None),
            "longest_wait_s": max((wait for wait in waits if not math.isnan(wait)), default=None),
            "num_abandoned_turns": int((~self.turns["ok"]).sum()),
            "abandoned_turns_ratio": (~self.turns["ok"]).mean(),
        }

    def service(self) -> dict[str, Any]:
        """VTC's numbers, by looking at every pair of users and of instants."""
        users = {user: _service_of(rows) for user, rows in self.turns.groupby("user")}
        rates = {
            user: sum(amount for _, amount in events) / sum(b - a for a, b in waits)
            for user, (events, waits) in users.items()
            if sum(b - a for a, b in waits) > 0
        }
        biggest, spreads, lengths = 0.0, [], []
        for part in self.parts:
            mine = {user: value for user, value in users.items() if user[0] == part["repeat"]}
            for (one, waits), (other, others) in itertools.combinations(mine.values(), 2):
                for a, b in _overlaps(waits, others):
                    biggest = max(biggest, _widest(one, other, a, b))
            rows = self.turns[(self.turns["repeat"] == part["repeat"]) & self.turns["recorded"]]
            start, end = rows["scheduled_at"].min(), rows["done_at"].max()
            lengths.append(max(1.0, (end - start) / 20))
            for a, b in itertools.pairwise(np.arange(start, end + lengths[-1] / 1e6, lengths[-1])):
                served = [
                    sum(amount for at, amount in events if a < at <= b)
                    for events, waits in mine.values()
                    if any(first <= a and b <= last for first, last in waits)
                ]
                if len(served) > 1:
                    spreads.append(max(served) - min(served))
        return {
            "jain_service_index": _jain(pd.Series(rates)),
            "gini_service_index": _gini(pd.Series(rates)),
            "max_service_difference": biggest,
            "num_service_windows": len(spreads),
            "window_service_difference_max": max(spreads, default=None),
            "window_service_difference_mean": np.mean(spreads) if spreads else None,
            "window_service_difference_variance": np.var(spreads) if spreads else None,
        }

    def throughput(self) -> dict[str, float]:
        """Of the whole part, whatever is cut from the other numbers; SLOs need the measured."""
        parts = self.everything.groupby("repeat")
        window = (parts["done_at"].max() - parts["scheduled_at"].min()).sum()
        good = self.everything[self.everything["error"].isna()]
        tokens = sum(_num_tokens(row) for row in good.itertuples())
        return {
            "window_s": window,
            "turns_per_s": len(good) / window,
            "output_tokens_per_s": tokens / window,
        }

    def backlog(self) -> dict[str, Any]:
        """Turns outstanding: means over the twentieths of the time in which conversations start."""
        edges = np.linspace(self.starts.min(), self.starts.max(), 21)
        slices = list(itertools.pairwise(edges))
        repeats = [
            [
                sum(max(0.0, min(b, to) - max(a, since)) for since, to in waits) / (b - a)
                for a, b in slices
            ]
            for _, rows in self.everything.groupby("repeat")
            for waits in [list(zip(rows["scheduled_at"], rows["done_at"], strict=True))]
        ]
        return {"slice_s": edges[1] - edges[0], "backlog": np.mean(repeats, axis=0).tolist()}


def percentile(samples: Sequence[float], name: str) -> float | None:
    if len(samples) * (1 - Fraction(QUANTILES[name])) < 1:
        return None
    return float(np.quantile(samples, float(QUANTILES[name]), method="inverted_cdf"))


def slowdowns(run: NaiveRun, alone: NaiveRun) -> pd.Series[float]:
    """E2E / E2E of the same turn alone."""
    keys = ["conversation_id", "turn"]
    both = run.turns[run.turns["ok"]].merge(
        alone.turns[alone.turns["ok"]], on=keys, suffixes=("", "_alone")
    )
    return (both["done_at"] - both["sent_at"]) / (both["done_at_alone"] - both["sent_at_alone"])


def _exact(ratio: float) -> Fraction:
    return Fraction(str(ratio))


def _num_tokens(row: Any) -> int:
    counted = row.num_output_tokens
    return sum(row.tokens_per_chunk) if pd.isna(counted) else int(counted)


def _records(run: Path, engine: str, parts: list[dict[str, Any]]) -> pd.DataFrame:
    frames = [
        pd.read_parquet(run / engine / str(part["repeat"]) / "turns.parquet").assign(
            repeat=part["repeat"]
        )
        for part in parts
    ]
    return pd.concat(frames)


def _cut(planned: pd.DataFrame, workload: dict[str, Any]) -> set[str]:
    rule = workload.get("measure") or {}
    starts = planned.groupby("conversation_id")["start"].first().sort_values(kind="stable")
    cut: set[str] = set()
    for end, ordered in (("warm_up", starts), ("drain", starts[::-1])):
        length = rule.get(end)
        if isinstance(length, str) and length.endswith("s"):
            near = (ordered - ordered.iloc[0]).abs() < float(length[:-1])
            cut |= set(ordered[near].index)
        elif length:
            cut |= set(ordered.index[: round(float(length) * len(ordered))])
    return cut


def _service_of(turns: pd.DataFrame) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    """Events (instant, service) and the stretches of time in which the user waited."""
    events, waits = [], []
    for row in turns[turns["recorded"]].itertuples():
        for at, tokens in zip(row.token_at, row.tokens_per_chunk, strict=True):
            events.append((at, 2.0 * tokens))
        if len(row.token_at) and not pd.isna(row.num_prompt_tokens):
            events.append((row.token_at[0], float(row.num_prompt_tokens)))
        if not math.isnan(row.done_at):
            waits.append((row.scheduled_at, row.done_at))
    joined: list[tuple[float, float]] = []
    for start, end in sorted(waits):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return events, joined


def _overlaps(
    one: list[tuple[float, float]], other: list[tuple[float, float]]
) -> list[tuple[float, float]]:
    pairs = itertools.product(one, other)
    both = [(max(a[0], b[0]), min(a[1], b[1])) for a, b in pairs]
    return [(start, end) for start, end in both if start < end]


def _widest(
    one: list[tuple[float, float]], other: list[tuple[float, float]], start: float, end: float
) -> float:
    """The largest |W_f(t1, t2) - W_g(t1, t2)| in [start, end]: the difference's highest value less
    its lowest, whichever comes first."""
    steps = [(at, amount) for at, amount in one] + [(at, -amount) for at, amount in other]
    difference: dict[float, float] = {start: 0.0}
    total = 0.0
    for at, by in sorted(step for step in steps if start < step[0] <= end):
        total += by
        difference[at] = total  # of equal instants the last: they count together
    return max(difference.values()) - min(difference.values())


def _longest(row: Any) -> float:
    return max((after - before for before, after in itertools.pairwise(row.token_at)), default=0.0)


def _jain(values: pd.Series[float]) -> float | None:
    squares = len(values) * (values**2).sum()
    return float(values.sum() ** 2 / squares) if squares else None


def _gini(values: pd.Series[float]) -> float | None:
    total = values.sum()
    gaps = np.abs(np.subtract.outer(values.to_numpy(), values.to_numpy())).sum()
    return float(gaps / (2 * len(values) * total)) if total else None
