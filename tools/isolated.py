"""Prove that each package installs and imports alone: its wheel in an empty environment, without extras or developers' tools.

uv run python tools/isolated.py [PACKAGE ...]      default: every package

The wheels are built without the workspace's sources, as a user of an index gets them. Third parties come from the index, in the
versions of uv.lock.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# What an environment of the package alone must not hold: extras, and packages the arrows do not lead to.
ABSENT = {
    "knotwork-ops": ("knotwork_spaces", "knotwork_search", "knotwork_export", "transformers", "timm", "accelerate"),
    "knotwork-spaces": ("knotwork_search", "knotwork_export", "transformers", "timm", "accelerate"),
    "knotwork-search": ("knotwork_spaces", "knotwork_export", "transformers", "timm", "datasets"),
    "knotwork-export": ("knotwork_search", "transformers", "timm", "accelerate"),
    "knotwork-tasks": ("transformers", "timm", "datasets", "sklearn"),
}
PROBE = """
import importlib, sys
module = importlib.import_module(sys.argv[1])
print(f"{sys.argv[1]} imported from {module.__file__}")
for name in sys.argv[2:]:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError:
        continue
    sys.exit(f"{name} can be imported beside {sys.argv[1]} alone; a declared dependency must have pulled it in")
"""
OPS_PROBE = """
import importlib.metadata, re
declared = [re.split(r"[^\\w.-]", line)[0] for line in importlib.metadata.requires("knotwork-ops") or []]
if declared != ["torch"]:
    sys.exit(f"knotwork-ops declares {declared}; expected torch alone")
"""
# With the smallest of the extras, without which no preset's family can be imported.
SPACES_PROBE = """
from knotwork_spaces import load_space
print(f"toy-cell loaded: {len(load_space('toy-cell').options)} choices")
"""


def build(wheels: Path, uv: str) -> dict[str, Path]:
    """Build every package; returns the wheels by the package's name."""
    command = [uv, "build", "--quiet", "--all-packages", "--wheel", "--no-sources", "--out-dir", str(wheels)]
    subprocess.run(command, cwd=ROOT, check=True)
    return {wheel.name.split("-")[0].replace("_", "-"): wheel for wheel in wheels.glob("*.whl")}


def left_out(package: str, wheel: Path, root: Path = ROOT) -> list[str]:
    """The files of a package that its wheel lacks, and py.typed if it has none."""
    source = root / "packages" / package / "src"
    files = (path.relative_to(source) for path in source.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    wanted = {path.as_posix() for path in files} | {f"{package.replace('-', '_')}/py.typed"}
    return sorted(wanted - set(zipfile.ZipFile(wheel).namelist()))


def constraints(wheels: dict[str, Path], uv: str) -> str:
    """Pins: our packages to these wheels, whatever an index may have under their names, and all else to uv.lock."""
    command = [uv, "export", "--quiet", "--frozen", "--no-hashes", "--no-emit-workspace"]
    locked = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    return "\n".join([locked, *(f"{name} @ {wheel.as_uri()}" for name, wheel in wheels.items())])


def steps(package: str, pins: Path, environment: Path, uv: str) -> Iterator[list[str]]:
    """The commands that install a package in an environment of its own and use it."""
    python = str(environment / "bin/python")
    install = [uv, "pip", "install", "--quiet", "--python", python, "--constraints", str(pins)]
    # -I: neither the current folder nor PYTHONPATH may lend the import a hand.
    # -W: torch warns where there is no numpy, which is as it should be.
    probe = [python, "-I", "-W", "ignore", "-c"]
    yield [uv, "venv", "--quiet", "--python", sys.executable, str(environment)]
    yield [*install, package]
    extra = OPS_PROBE if package == "knotwork-ops" else ""
    yield [*probe, PROBE + extra, package.replace("-", "_"), *ABSENT[package]]
    if package == "knotwork-spaces":
        yield [*install, "knotwork-spaces[cells]"]
        yield [*probe, SPACES_PROBE]


def check(packages: list[str], folder: Path, uv: str) -> list[str]:
    """Build in this folder and check the named packages; returns those that fail, having said on stderr why."""
    wheels, pins, failed = build(folder / "wheels", uv), folder / "pins.txt", []
    pins.write_text(constraints(wheels, uv), encoding="utf-8")
    for package in packages:
        lacks = left_out(package, wheels[package])
        if lacks:
            print(f"{wheels[package].name} lacks {', '.join(lacks)}", file=sys.stderr)
        # In a folder without a pyproject.toml: no sources of the workspace count there.
        if lacks or any(subprocess.run(step, cwd=folder).returncode for step in steps(package, pins, folder / package, uv)):
            print(f"{package}: does not stand alone (see above)", file=sys.stderr)
            failed.append(package)
    return failed


def main(arguments: list[str] | None = None) -> int:
    """Check the named packages, all of them if none is named; returns the exit status."""
    parser = argparse.ArgumentParser(prog="tools/isolated.py", description="Install and import each package alone.")
    parser.add_argument("packages", nargs="*", metavar="PACKAGE", help=f"any of {', '.join(ABSENT)}; default: all")
    packages: list[str] = parser.parse_args(arguments).packages or list(ABSENT)
    for package in packages:
        if package not in ABSENT:
            parser.error(f"unknown package {package!r}; expected one of {', '.join(ABSENT)}")
    uv = os.environ.get("UV") or shutil.which("uv")
    if uv is None:
        parser.error("uv was not found. Run: python3 -m pip install uv")
    # Beside .venv, where uv can link what its cache holds instead of copying it.
    (ROOT / "build").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=ROOT / "build") as folder:
        return 1 if check(packages, Path(folder), uv) else 0


if __name__ == "__main__":
    raise SystemExit(main())
