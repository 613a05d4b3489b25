"""What a reader should know of turns that succeeded: counts that disagree, lengths that differ.

Nothing is corrected; what was counted and what was told are both kept."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from suite.driver.faults import is_length_end as is_length_end_of
from suite.plurals import several


def turn_remarks(turns: pa.Table, *, asks_ignore_eos: bool) -> list[str]:
    """Returns a line for each. `turns` has the columns of TURN_SCHEMA; `asks_ignore_eos`: every
    request said ignore_eos."""
    good = turns.filter(pc.is_null(turns["error"]))
    counted = _tokens_received(good)
    reported = good["num_output_tokens"].combine_chunks()
    planned = good["planned_output_tokens"].combine_chunks()
    ends = good["finish_reason"].to_pylist()
    # Chunks that were taken for tokens say nothing of the length.
    is_known = pc.invert(pc.equal(pc.coalesce(good["counted_by"], pa.scalar("")), "chunks"))
    got = pc.coalesce(reported, counted)
    is_short = pc.and_(is_known.combine_chunks(), pc.less(got, planned))
    is_length_end = pa.array([is_length_end_of(each or "") for each in ends], pa.bool_())
    is_ended = pc.and_(is_short, pc.invert(is_length_end))
    is_other = pc.and_(is_known.combine_chunks(), pc.not_equal(got, planned))
    remarks = [
        *_of_chunks(_num_true(pc.invert(is_known))),
        *_of_disagreement(_num_true(pc.not_equal(counted, reported))),
        *_of_hidden(good["num_hidden_tokens"]),
    ]
    num_ended = _num_true(is_ended)
    num_other = _num_true(is_other) - num_ended
    return remarks + _of_lengths(num_ended, num_other, asks_ignore_eos=asks_ignore_eos)


def _tokens_received(turns: pa.Table) -> pa.Array:
    chunks = turns["tokens_per_chunk"].combine_chunks()
    per_turn = np.bincount(
        pc.list_parent_indices(chunks), weights=pc.list_flatten(chunks), minlength=len(turns)
    )
    return pa.array(per_turn.astype(np.int64))


def _of_chunks(num: int) -> list[str]:
    if not num:
        return []
    return [
        f"{several(num, 'turn')} came with neither usage nor token ids: chunks were counted, so "
        "TPOT, TBT and tokens are per chunk, whatever it holds; let the server send its usage "
        "(stream_options) or token ids"
    ]


def _of_disagreement(num: int) -> list[str]:
    if not num:
        return []
    return [
        f"{several(num, 'turn')} streamed another number of tokens than the server's usage "
        "reports: their chunks hold several tokens or none; where the server can, let it return "
        "token ids"
    ]


def _of_hidden(hidden: pa.ChunkedArray) -> list[str]:
    num = _num_true(pc.greater(hidden, 0).combine_chunks())
    if not num:
        return []
    return [
        f"{several(num, 'turn')} had {pc.sum(hidden).as_py():,} tokens of hidden thought that "
        "were counted by the server and not streamed: they are no output tokens here, and their "
        "time lies in TTFT"
    ]


def _of_lengths(num_ended: int, num_other: int, *, asks_ignore_eos: bool) -> list[str]:
    advice = "let it ignore the end-of-sequence token (ignore_eos: true)"
    if asks_ignore_eos:
        advice = "it was asked to ignore that token and did not; try {min_tokens: N} in extra_body"
    remarks = []
    if num_ended:
        remarks.append(
            f"{several(num_ended, 'turn')} ended by the server's own choice before the planned "
            f"length, which is no failure, but engines do unequal work: {advice}"
        )
    if num_other:
        remarks.append(
            f"{several(num_other, 'turn')} got another number of tokens than planned, so engines "
            "do unequal work: look for the server's own limit on an answer's length"
        )
    return remarks


def _num_true(flags: pa.Array) -> int:
    return int(pc.sum(pc.cast(flags, pa.int64())).as_py() or 0)
