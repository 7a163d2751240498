"""Long searches need no more memory or files at their end than at their beginning, and read what would not fit in memory."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from .conftest import APPS

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads what a process holds from /proc"),
]
PAGE = os.sysconf("SC_PAGE_SIZE")
ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}


@dataclass(frozen=True)
class Held:
    """What a process holds after a step: its resident set in bytes, and its open files."""

    step: int
    resident: int
    files: int


def watch(arguments: list[str], run: Path) -> list[Held]:
    """Run search_gpt to its end; what it held, looked at twice a second."""
    seen: list[Held] = []
    command = [sys.executable, str(APPS / "search_gpt"), "--output-dir", str(run), *arguments]
    with open(run.with_suffix(".log"), "w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=ONE_THREAD)
    proc = Path(f"/proc/{process.pid}")
    while process.poll() is None:
        time.sleep(0.5)
        try:
            resident = int((proc / "statm").read_text().split()[1]) * PAGE
            files = len(list((proc / "fd").iterdir()))
        except (FileNotFoundError, IndexError):  # it has ended between
            break
        lines = (run / "metrics.jsonl").read_text().splitlines() if (run / "metrics.jsonl").exists() else []
        if len(lines) > 1:
            seen.append(Held(json.loads(lines[-2])["step"], resident, files))
    assert process.wait() == 0, run.with_suffix(".log").read_text()[-2000:]
    return seen


@pytest.mark.parametrize(
    ("strategy", "begins"),
    # A single-stage search runs no mixture, which takes more memory, in its first three quarters; then it has one size more.
    [("spos-rs", 200), ("drnas", 1550)],
)
def test_memory_and_open_files_do_not_grow(tmp_path: Path, strategy: str, begins: int):
    flags = ["--strategy", strategy, "--max-steps", "2000", "--granularity", "per-layer", "--max-time", "1h"]
    seen = [held for held in watch(flags, tmp_path / "run") if held.step >= 200]
    print([(held.step, held.resident >> 20, held.files) for held in seen[::20]])
    for first, last in ((200, 1490), (begins, 1990)):
        during = [held for held in seen if first <= held.step <= last]
        assert during[0].step < first + 50
        assert during[-1].resident <= 1.03 * during[0].resident
        assert max(held.files for held in during[-5:]) <= max(held.files for held in during[:5])


def test_a_text_larger_than_memory_streams(space_file: Path, tmp_path: Path):
    line = json.dumps({"text": "the cat sat on the mat and thought of a mouse that it had seen. " * 64}) + "\n"
    few, many = tmp_path / "few.jsonl", tmp_path / "many.jsonl"
    with few.open("w") as small, many.open("w") as large:
        small.writelines([line] * 2000)
        for _ in range(1024):
            large.writelines([line] * (2**20 // len(line)))
    assert many.stat().st_size > 0.95 * 2**30

    def mapped(text: Path, limit: int | None = None) -> int:
        """Bytes of data, stacks and heaps, that a search streaming this text maps at its end."""
        code = (
            "import re, runpy, sys\n"
            "del sys.argv[0]\n"
            "try:\n    runpy.run_path(sys.argv[0], run_name='__main__')\n"
            "finally:\n    print(re.search(r'VmData:\\s+(\\d+)', open('/proc/self/status').read())[1])\n"
        )
        run = tmp_path / f"run-{text.stem}-{limit}"
        flags = ["--output-dir", str(run), "--space", str(space_file), "--dataset", str(text), "--streaming"]
        command = [sys.executable, "-c", code, str(APPS / "search_gpt"), *flags, "--max-steps", "200"]

        def restrict() -> None:
            if limit is not None:
                resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))

        done = subprocess.run(command, capture_output=True, text=True, env=ONE_THREAD, preexec_fn=restrict)
        assert done.returncode == 0, done.stderr[-2000:]
        return int(done.stdout.splitlines()[-1]) * 1024

    # A quarter of the text may be held beside what every search takes.
    mapped(many, mapped(few) + 2**28)
