from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from workloads.errors import TraceError
from workloads.shapes import Tally
from workloads.traces import READERS
from workloads.traces.azure import read_azure

HEADER = "t_s,context_tokens,generated_tokens\n"


def refusal(path: Path) -> str:
    with pytest.raises(TraceError) as caught:
        list(read_azure(path, Tally()))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("trace", READERS)
def test_a_missing_file_says_where_such_data_comes_from(tmp_path: Path, trace: str) -> None:
    with pytest.raises(TraceError, match=r"nope: no such trace file; .*\(see docs/"):
        list(READERS[trace](tmp_path / "nope", Tally()))


def test_gzip_is_recognised_by_content_and_not_by_name(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_bytes(gzip.compress((HEADER + "0.5,3,4\n").encode()))
    assert next(iter(read_azure(path, Tally()))).start_us == 500_000


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_bytes(b"\xef\xbb\xbf" + (HEADER + "0.5,3,4\n").replace("\n", "\r\n").encode())
    assert len(list(read_azure(path, Tally()))) == 1


def test_an_unnamed_column_of_row_numbers_does_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_text("," + HEADER + "0,0.5,3,4\n")
    assert len(list(read_azure(path, Tally()))) == 1


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("0.5,x,4", "context_tokens must be a whole number ≥ 0, got 'x'"),
        ("0.5,3.5,4", "context_tokens must be a whole number ≥ 0, got '3.5'"),
        ("0.5,3,-4", "generated_tokens must be a whole number ≥ 0, got '-4'"),
        ("nan,3,4", "t_s must be a number ≥ 0, got 'nan'"),
        ("inf,3,4", "t_s must be a number ≥ 0, got 'inf'"),
        ("0.5,3", "must have 3 fields like the header"),
        ("0.5,3,4,5", "must have 3 fields like the header"),
        ('0.5,3,"4', "unexpected end of data"),
    ],
)
def test_a_bad_row_is_named_by_file_and_line(tmp_path: Path, row: str, problem: str) -> None:
    path = tmp_path / "trace.csv"
    path.write_text(f"{HEADER}0.1,1,1\n{row}\n")
    assert refusal(path) == f"{path}:3: {problem}"


def test_wrong_columns_are_refused_with_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_text("a,b\n1,2\n")
    assert refusal(path).endswith(
        "columns must hold TIMESTAMP, ContextTokens, GeneratedTokens or "
        "t_s, context_tokens, generated_tokens, got a, b"
    )
    path.write_text("")
    assert refusal(path).endswith("got an empty file")
    path.write_text('[{"id": "a","conversations": []}]')
    assert refusal(path).startswith(f"{path}:1: not CSV with a header: ")


def test_damaged_and_unreadable_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_bytes(gzip.compress(HEADER.encode() + b"1,1,1\n" * 50)[:-12])
    assert "can not be read: " in refusal(path)
    path.write_bytes(HEADER.encode() + b"\xff\xfe\n")
    assert "not UTF-8 text" in refusal(path)
    assert "can not be read: " in refusal(tmp_path)


def test_blank_lines_and_spaces_around_names_and_values_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_text(
        "\n  \n t_s , context_tokens,  generated_tokens \n\n 0.5, 3 ,4\n , , \n\n1,5,6\n\n"
    )
    found = list(read_azure(path, Tally()))
    assert [each.start_us for each in found] == [500_000, 1_000_000]
    assert found[0].turns[0].num_new_prompt_tokens == 3
    path.write_text("\n\n" + HEADER + "\n1,2\n")
    assert refusal(path) == f"{path}:5: must have 3 fields like the header"


@pytest.mark.parametrize("is_zipped", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("trace", ["azure", "mooncake", "messages", "sharegpt-json", "bailian"])
def test_a_byte_order_mark_does_no_harm_in_any_format(
    tmp_path: Path, trace: str, is_zipped: bool
) -> None:
    line = {
        "azure": HEADER + "0.5,3,4",
        "mooncake": '{"timestamp": 1, "input_length": 3, "output_length": 4}',
        "bailian": '{"chat_id": 1, "timestamp": 1, "input_length": 3, "output_length": 4}',
        "messages": '{"messages": [{"role": "user", "content": "a"}, {"role": "assistant"}]}',
        "sharegpt-json": '[{"conversations": [{"from": "human", "value": "a"}, '
        '{"from": "gpt", "value": "b"}]}]',
    }[trace]
    content = b"\xef\xbb\xbf\r\n" + line.encode() + b"\r\n\r\n"
    (tmp_path / "trace").write_bytes(gzip.compress(content) if is_zipped else content)
    assert len(list(READERS[trace](tmp_path / "trace", Tally()))) == 1


def test_time_zones_are_heeded(tmp_path: Path) -> None:
    """The same instant in three zones; a time without a zone is taken as UTC."""
    path = tmp_path / "trace.csv"
    at = [
        "2023-11-16 18:17:03.9799600",
        "2023-11-16 18:17:03.97996Z",
        "2023-11-16 18:17:03.979960 UTC",
        "2023-11-16T20:17:03.979960+02:00",
        "2023-11-16 10:17:03.979960-0800",
    ]
    rows = "".join(f"{each},3,4\n" for each in at)
    path.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n" + rows)
    assert len({each.start_us for each in read_azure(path, Tally())}) == 1
