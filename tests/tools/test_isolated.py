"""tools/isolated.py: what it builds, installs and asks. No network; CI runs it in full."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "tools" / "isolated.py"
_spec = importlib.util.spec_from_file_location("knotwork_isolated_tool", SCRIPT)
assert _spec is not None
assert _spec.loader is not None
isolated = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(isolated)

SOURCES = {"__init__.py": "", "py.typed": "", "presets/small.yaml": "family: gpt2"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A workspace of one package."""
    for name, text in SOURCES.items():
        file = tmp_path / "packages/knotwork-spaces/src/knotwork_spaces" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    cache = tmp_path / "packages/knotwork-spaces/src/knotwork_spaces/__pycache__"
    cache.mkdir()
    (cache / "__init__.pyc").touch()
    return tmp_path


def wheel_with(root: Path, *files: str) -> Path:
    with zipfile.ZipFile(root / "a.whl", "w") as wheel:
        for file in files:
            wheel.writestr(f"knotwork_spaces/{file}", "")
    return root / "a.whl"


def test_what_a_wheel_lacks(root: Path):
    assert isolated.left_out("knotwork-spaces", wheel_with(root, *SOURCES), root) == []
    lacks = isolated.left_out("knotwork-spaces", wheel_with(root, "__init__.py", "py.typed"), root)
    assert lacks == ["knotwork_spaces/presets/small.yaml"]
    (root / "packages/knotwork-spaces/src/knotwork_spaces/py.typed").unlink()
    lacks = isolated.left_out("knotwork-spaces", wheel_with(root, "__init__.py", "presets/small.yaml"), root)
    assert lacks == ["knotwork_spaces/py.typed"]


def test_wheels_know_no_sources_of_the_workspace(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    def run(command: list[str], **_: Any) -> None:
        assert command[:2] == ["uv", "build"]
        assert {"--wheel", "--no-sources", "--all-packages"} <= set(command)
        (tmp_path / "knotwork_ops-0.1.0-py3-none-any.whl").touch()

    monkeypatch.setattr(subprocess, "run", run)
    assert isolated.build(tmp_path, "uv") == {"knotwork-ops": tmp_path / "knotwork_ops-0.1.0-py3-none-any.whl"}


def test_siblings_are_pinned_to_their_wheels(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    done = subprocess.CompletedProcess([], 0, stdout="torch==2.6.0\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: done)
    wheel = tmp_path / "knotwork_ops-0.1.0-py3-none-any.whl"
    lines = isolated.constraints({"knotwork-ops": wheel}, "uv").split()
    assert lines == ["torch==2.6.0", "knotwork-ops", "@", wheel.as_uri()]


def test_every_step_is_in_the_environment_of_its_own(tmp_path: Path):
    steps = list(isolated.steps("knotwork-spaces", tmp_path / "pins.txt", tmp_path / "env", "uv"))
    python = str(tmp_path / "env/bin/python")
    assert [step[:3] for step in steps] == [
        ["uv", "venv", "--quiet"],
        ["uv", "pip", "install"],
        [python, "-I", "-W"],
        ["uv", "pip", "install"],
        [python, "-I", "-W"],
    ]
    assert all(python in step and str(tmp_path / "pins.txt") in step for step in steps if step[1] == "pip")
    assert steps[2][-5:] == list(isolated.ABSENT["knotwork-spaces"])
    assert "load_space" in steps[4][-1]


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["string", "no_such_module"], ""),
        (["string", "no_such_module", "json"], "json can be imported beside string alone"),
        (["no_such_module"], "No module named 'no_such_module'"),
    ],
)
def test_probe(names: list[str], told: str):
    done = subprocess.run([sys.executable, "-I", "-c", isolated.PROBE, *names], capture_output=True, text=True)
    assert (done.returncode == 0) == (not told)
    assert told in done.stderr


def test_a_package_that_fails_a_step_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    wheels = {name: tmp_path / f"{name}.whl" for name in isolated.ABSENT}
    monkeypatch.setattr(isolated, "build", lambda *_: wheels)
    monkeypatch.setattr(isolated, "constraints", lambda *_: "")
    monkeypatch.setattr(isolated, "left_out", lambda package, *_: ["a.yaml"] if package == "knotwork-ops" else [])
    status = {"knotwork-search": 1, "knotwork-export": 0}
    monkeypatch.setattr(isolated, "steps", lambda package, *_: [[package]])
    monkeypatch.setattr(subprocess, "run", lambda step, **_: subprocess.CompletedProcess(step, status[step[0]]))
    packages = ["knotwork-ops", "knotwork-search", "knotwork-export"]
    assert isolated.check(packages, tmp_path, "uv") == ["knotwork-ops", "knotwork-search"]
    told = capsys.readouterr().err
    assert "knotwork-ops.whl lacks a.yaml" in told
    assert "knotwork-search: does not stand alone" in told


def test_an_unknown_package_and_no_uv(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit, match="2"):
        isolated.main(["knotwork-opps"])
    assert "unknown package 'knotwork-opps'; expected one of knotwork-ops, " in capsys.readouterr().err
    monkeypatch.delenv("UV", raising=False)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SystemExit, match="2"):
        isolated.main(["knotwork-ops"])
    assert "uv was not found. Run: python3 -m pip install uv" in capsys.readouterr().err
