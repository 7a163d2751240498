"""Prove that each package installs and imports alone: in an empty environment, without extras or developers' tools.

python tools/isolated.py [PACKAGE ...]      default: every package
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
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


def check(package: str, uv: str) -> bool:
    """Install and import one package in a fresh environment; says on stderr what went wrong and returns False."""
    probe = PROBE + (OPS_PROBE if package == "knotwork-ops" else "")
    # -I: neither the current folder nor PYTHONPATH may lend the import a hand.
    # -W: torch warns where there is no numpy, which is as it should be.
    python = ["python", "-I", "-W", "ignore", "-c", probe, package.replace("-", "_"), *ABSENT[package]]
    # A real wheel, built anew (uv would keep an old one while pyproject.toml stays the same): a file that the build leaves
    # out must show.
    fresh = ["--no-editable", *(option for name in ABSENT for option in ("--reinstall-package", name))]
    alone = ["--isolated", "--no-default-groups", "--package", package]
    done = subprocess.run([uv, "run", "--quiet", *alone, *fresh, *python], cwd=ROOT)
    if done.returncode != 0:
        print(f"{package}: does not stand alone (see above)", file=sys.stderr)
    return done.returncode == 0


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
    failed = [package for package in packages if not check(package, uv)]
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
