"""tools/lowest.py: which claims it reads, what it resolves and installs, and what it says. No network."""

from __future__ import annotations

import importlib.util
import subprocess
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

SCRIPT = Path(__file__).resolve().parents[2] / "tools" / "lowest.py"
_spec = importlib.util.spec_from_file_location("knotwork_lowest_tool", SCRIPT)
assert _spec is not None
assert _spec.loader is not None
lowest = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(lowest)

PROJECT = {
    "project": {
        "dependencies": ["torch>=2.6", "knotwork-ops>=0.1,<0.2"],
        "optional-dependencies": {"gpt": ["transformers>=5.2,<6"], "vit": ["timm>=1.0.28"]},
    },
    "dependency-groups": {"dev": ["pytest>=8.3.4"]},
}


def test_claims_are_those_of_every_extra_and_group_but_not_our_own():
    names = [claim.name for claim in lowest.claims(PROJECT)]
    assert names == ["torch", "transformers", "timm", "pytest"]


def test_every_project_of_the_workspace_claims_lower_bounds():
    assert {path.parent.name for path in lowest.PROJECTS[1:]} == {
        path.name for path in (lowest.ROOT / "packages").glob("knotwork-*")
    }
    claims = [claim for project in lowest.PROJECTS for claim in lowest.claims(lowest.read(project))]
    assert {"torch", "huggingface-hub", "pytest"} <= {claim.name for claim in claims}
    assert [str(claim) for claim in claims if lowest.lower_bound(claim.specifier) is None] == []


def test_a_bound_that_others_hold_up_is_untested():
    claims = [Requirement(line) for line in ("torch>=2.6", "PyYAML>=6", "huggingface-hub>=1.0", "numpy<3")]
    resolved = """-e file:///packages/knotwork-ops
torch==2.6.0 ; sys_platform == 'linux'
pyyaml==6.0
huggingface-hub==1.3.0
numpy==1.26.0
"""
    assert lowest.untested(claims, resolved) == [
        "huggingface-hub>=1.0 is never tested: the lowest version that resolves is 1.3.0; claim that",
        "numpy<3 has no lower bound; write numpy>=VERSION",
    ]


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What is run, instead of running it; every claim resolves to its bound."""
    ran: list[list[str]] = []

    def run(command: list[Any], **_: Any) -> subprocess.CompletedProcess[str]:
        ran.append([str(part) for part in command])
        if command[1:3] == ["pip", "compile"]:
            claims = [claim for project in lowest.PROJECTS for claim in lowest.claims(lowest.read(project))]
            lines = [f"{claim.name}=={lowest.lower_bound(claim.specifier)}" for claim in claims]
            Path(command[-1]).write_text("\n".join(lines))
        return subprocess.CompletedProcess(command, 3 if "pytest" in str(command[0]) else 0)

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setenv("UV", "uv")
    return ran


def test_environment_and_versions_lie_in_the_folder(commands: list[list[str]], tmp_path: Path):
    assert lowest.main(["--folder", str(tmp_path), "tests/knotwork_ops", "-n", "1", "-x"]) == 3
    compiled, created, synced, tested = commands
    assert {"lowest-direct", "--all-extras", "--group"} <= set(compiled)
    assert compiled[compiled.index("--python-version") + 1] == created[created.index("--python") + 1] == "3.11"
    assert compiled[-2:] == ["-o", str(tmp_path / "requirements.txt")]
    assert created[-1] == str(tmp_path / "environment")
    assert synced[-3:] == ["--python", str(tmp_path / "environment"), str(tmp_path / "requirements.txt")]
    assert tested == [str(tmp_path / "environment/bin/pytest"), "tests/knotwork_ops", "-n", "1", "-x"]
    # `uv sync`, `uv lock` and `uv run` would write uv.lock and .venv.
    assert [command[1] for command in commands[:3]] == ["pip", "venv", "pip"]


def test_no_tests(commands: list[list[str]], tmp_path: Path):
    assert lowest.main(["--folder", str(tmp_path), "--no-tests"]) == 0
    assert len(commands) == 3


def test_nothing_is_installed_for_a_claim_that_is_never_tested(
    commands: list[list[str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(lowest, "untested", lambda *_: ["torch>=2.6 is never tested"])
    assert lowest.main(["--folder", str(tmp_path)]) == 1
    assert len(commands) == 1
    assert "torch>=2.6 is never tested" in capsys.readouterr().err


def test_no_uv(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.delenv("UV", raising=False)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SystemExit, match="2"):
        lowest.main([])
    assert "uv was not found. Run: python3 -m pip install uv" in capsys.readouterr().err
