"""Reading metrics.jsonl: what a kill leaves is ignored, what is broken is named."""

from __future__ import annotations

from pathlib import Path

import pytest
from knotwork_search.report import read_metrics

GOOD = b'{"step": 0, "split": "weight", "loss": 5.0}\n'


def write(run: Path, content: bytes) -> Path:
    (run / "metrics.jsonl").write_bytes(content)
    return run


def test_lines_come_in_order(tmp_path):
    found = read_metrics(write(tmp_path, GOOD + b"\n" + GOOD.replace(b"0,", b"1,", 1)))
    assert [record["step"] for record in found] == [0, 1]


def test_no_file_yet(tmp_path):
    assert read_metrics(tmp_path) == []


@pytest.mark.parametrize("rest", [b'{"step": 1, "lo', b"{", b'{"step": 1, "text": "\xc3', b'"half', b"\x00\x00", b"12"])
def test_a_truncated_last_line_is_ignored(tmp_path, rest):
    assert len(read_metrics(write(tmp_path, GOOD + rest))) == 1


def test_a_whole_last_line_without_its_newline_counts(tmp_path):
    assert len(read_metrics(write(tmp_path, GOOD + GOOD.rstrip()))) == 2


@pytest.mark.parametrize(
    "broken", [b'{"step": 1, "lo\n', b"[1, 2]\n", b"12\n", b"\xff\xfe\n", b"null\n"], ids=["cut", "list", "12", "ff", "null"]
)
@pytest.mark.parametrize("after", [GOOD, b""], ids=["middle", "last"])
def test_a_broken_line_is_named(tmp_path, broken, after):
    with pytest.raises(ValueError, match=r"metrics\.jsonl, line 3 cannot be read|line 3 is not a mapping"):
        read_metrics(write(tmp_path, GOOD + GOOD + broken + after))
