"""Run the tests with the lowest versions that the packages claim to work with, on the lowest Python.

    uv run python tools/lowest.py                                   # the suite
    uv run python tools/lowest.py tests/knotwork_ops -n 1           # whatever pytest takes
    uv run python tools/lowest.py --folder ../lowest --no-tests     # the environment alone

The environment and the versions in it (requirements.txt) lie in a folder of their own; uv.lock and .venv stay as they are. A
bound that the others never let the resolution come down to is untested, and an error: claim the version that was found. The
first run downloads a whole PyTorch with CUDA, about 3 GB.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
PROJECTS = (ROOT / "pyproject.toml", *sorted((ROOT / "packages").glob("*/pyproject.toml")))


def read(project: Path) -> dict[str, Any]:
    """A pyproject.toml's content."""
    return tomllib.loads(project.read_text(encoding="utf-8"))


def claims(content: Mapping[str, Any]) -> Iterator[Requirement]:
    """What a project requires of others than this workspace: itself, with each extra, and for development."""
    project = content["project"]
    groups = [*project.get("optional-dependencies", {}).values(), *content.get("dependency-groups", {}).values()]
    for line in (*project.get("dependencies", []), *(line for group in groups for line in group)):
        requirement = Requirement(line)
        if not requirement.name.startswith("knotwork"):
            yield requirement


def lower_bound(specifiers: SpecifierSet) -> Version | None:
    """The version of `>=`, which is how this workspace claims; None where there is none."""
    return next((Version(one.version) for one in specifiers if one.operator == ">="), None)


def untested(claimed: Iterable[Requirement], resolved: str) -> list[str]:
    """What is wrong with the claims, given the lines `name==version` they resolved to."""
    versions = {
        canonicalize_name(name): Version(version.split(";")[0].strip())
        for name, found, version in (line.partition("==") for line in resolved.splitlines())
        if found
    }
    problems: list[str] = []
    for requirement in claimed:
        bound, version = lower_bound(requirement.specifier), versions[canonicalize_name(requirement.name)]
        if bound is None:
            problems.append(f"{requirement} has no lower bound; write {requirement.name}>=VERSION")
        elif bound != version:
            problems.append(f"{requirement} is never tested: the lowest version that resolves is {version}; claim that")
    return sorted(set(problems))


def resolution(uv: str, python: str, requirements: Path) -> list[str]:
    """The command that writes the lowest versions of everything in the workspace to a file."""
    lowest = ["--resolution", "lowest-direct", "--python-version", python]
    everything = ["--all-extras", "--group", "dev", *map(str, PROJECTS)]
    return [uv, "pip", "compile", "--quiet", "--no-header", "--no-annotate", *lowest, *everything, "-o", str(requirements)]


def installation(uv: str, python: str, requirements: Path, environment: Path) -> Iterator[list[str]]:
    """The commands that make an environment of exactly these versions, with the workspace's packages editable."""
    yield [uv, "venv", "--quiet", "--clear", "--python", python, str(environment)]
    yield [uv, "pip", "sync", "--quiet", "--python", str(environment), str(requirements)]


def main(arguments: list[str] | None = None) -> int:
    """Resolve, install, test; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="tools/lowest.py",
        usage="%(prog)s [--folder FOLDER] [--no-tests] [PYTEST'S ARGUMENTS ...]",
        description="Run the tests with the lowest versions that the packages claim.",
        allow_abbrev=False,
    )
    parser.add_argument("--folder", type=Path, default=ROOT / "build/lowest", help="of the environment (build/lowest)")
    parser.add_argument("--no-tests", action="store_true", help="stop when the environment is there")
    options, arguments_of_pytest = parser.parse_known_args(arguments)
    uv = os.environ.get("UV") or shutil.which("uv")
    if uv is None:
        parser.error("uv was not found. Run: python3 -m pip install uv")
    folder = options.folder.resolve()  # the commands run in ROOT
    python = lower_bound(SpecifierSet(read(PROJECTS[0])["project"]["requires-python"]))
    requirements, environment = folder / "requirements.txt", folder / "environment"
    folder.mkdir(parents=True, exist_ok=True)
    requirements.unlink(missing_ok=True)  # uv would keep to the versions of a former run
    subprocess.run(resolution(uv, str(python), requirements), cwd=ROOT, check=True)
    problems = untested((claim for project in PROJECTS for claim in claims(read(project))), requirements.read_text())
    for problem in problems:
        print(problem, file=sys.stderr)
    if problems:
        return 1
    for command in installation(uv, str(python), requirements, environment):
        subprocess.run(command, cwd=ROOT, check=True)
    if options.no_tests:
        return 0
    return subprocess.run([environment / "bin/pytest", *arguments_of_pytest], cwd=ROOT).returncode


if __name__ == "__main__":
    raise SystemExit(main())
