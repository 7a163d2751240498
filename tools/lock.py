"""Keep the committed uv.lock free of any index's address, so that it works behind every mirror.

In git the lock file names versions, files and hashes, but no URL ("neutral"). `uv sync` and `uv run` keep those versions
and fill the URLs of whichever index they use into the working copy; the git filter set up by `install` takes them out
again on `git add`. (After filling, git status may list uv.lock, for its size; `git add uv.lock` settles that and stages
nothing.)

    python3 tools/lock.py install              once in each clone
    python3 tools/lock.py neutralise [FILE|-]  rewrite FILE (default uv.lock), or stdin to stdout
    python3 tools/lock.py check                what CI runs

Standard library only: git runs it outside the project's environment.
"""

from __future__ import annotations

import argparse
import configparser
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOCK = "uv.lock"
# Put together here, so that this file passes its own check.
REGISTRY_HOSTS = (".".join(("pypi", "org")), ".".join(("files", "pythonhosted", "org")))
# pyproject.toml names this one as an explicit index. Its files are not on the default index, so an entry from it has no
# neutral form.
EXPLICIT_HOST = "download.pytorch.org"
FROM_EXPLICIT = f"Run: git checkout HEAD -- {LOCK}   (and lock without the index {EXPLICIT_HOST})"
INDEX_VARIABLES = (
    *("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS"),
    *("UV_INDEX", "UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS"),
)
PIP_OPTIONS = ("index-url", "extra-index-url", "find-links", "index_url", "extra_index_url", "find_links")
# A home or checkout folder at the start of a path; not one inside a URL or after a variable.
LOCAL_PATH = r"(^|[^[:alnum:]_.~}/-])/(work|root|home/[[:alnum:]_.-]+|Users/[[:alnum:]_.-]+)/"

_REGISTRY = re.compile(r'(?<=source = \{ )registry = "([^"]*)"')
_FILE = re.compile(r'(?<=\{ )(?:url|path) = "([^"]*)"(?=, hash = )')
_FILE_HASH = re.compile(r'\{ path = "([^"]*)", hash = "([^"]*)"')


def neutralise(lock: str) -> tuple[str, list[str]]:
    """Take the index out of a lock file's text.

    Returns the neutral text and the names of packages left as they were: those from an explicit index, which no other
    index can serve. Neutral text comes back unchanged.
    """
    head, *blocks = re.split(r"(?m)^(?=\[\[package\]\]$)", lock)
    kept: list[str] = []
    neutral = [_neutral_registries(head)]
    for block in blocks:
        source = re.search(r"(?m)^source = .*$", block)
        if source and EXPLICIT_HOST in source.group():
            name = re.search(r'(?m)^name = "([^"]*)"$', block)
            kept.append(name.group(1) if name else "a package without a name")
        elif source and _REGISTRY.search(source.group()):  # not a direct URL or git source: those must keep their address
            block = _FILE.sub(lambda found: f'path = "{_file_name(found.group(1))}"', block)
        neutral.append(_neutral_registries(block))
    return "".join(neutral), kept


def _neutral_registries(text: str) -> str:
    def name_only(found: re.Match[str]) -> str:
        return found.group() if EXPLICIT_HOST in found.group(1) else 'registry = "pypi"'

    return _REGISTRY.sub(name_only, text)


def _file_name(address: str) -> str:
    return unquote(re.split(r"[?#]", address)[0].rsplit("/", 1)[-1])


def index_addresses(environment: Mapping[str, str], home: Path) -> list[str]:
    """The package indexes this machine is set up to use, as hosts (with port) and local folders; none twice."""
    values = [environment.get(name, "") for name in INDEX_VARIABLES]
    pip_files = [environment.get("PIP_CONFIG_FILE", ""), "/etc/pip.conf", home / ".pip/pip.conf", home / ".config/pip/pip.conf"]
    for file in pip_files:
        values += _pip_values(Path(file))
    for file in (environment.get("UV_CONFIG_FILE", ""), "/etc/uv/uv.toml", home / ".config/uv/uv.toml"):
        values += re.findall(r'"([^"]*://[^"]*)"', _text(Path(file)))
    addresses: dict[str, None] = {}
    for word in " ".join(values).replace(",", " ").split():
        url = urlsplit(re.sub(r"^\w+=", "", word))  # UV_INDEX may hold name=url
        address = url.netloc.rsplit("@", 1)[-1] or url.path.rstrip("/")
        if address not in ("", ".", EXPLICIT_HOST):
            addresses[address] = None
    return list(addresses)


def _pip_values(file: Path) -> list[str]:
    parser = configparser.RawConfigParser(strict=False)
    try:
        parser.read_string(_text(file))
    except configparser.Error:  # pip's own business
        return []
    return [parser[section][option] for section in parser.sections() for option in PIP_OPTIONS if option in parser[section]]


def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""


def url_problems(root: Path) -> list[str]:
    """What is wrong with the lock file as git holds it: missing, or with an address in it."""
    lock = committed_lock(root)
    if lock is None:
        return [f"git holds no {LOCK}; expected one. Run: uv lock && git add {LOCK}"]
    lines = [f"{LOCK}:{number}: {line.strip()[:120]}" for number, line in enumerate(lock.splitlines(), 1) if "://" in line]
    if not lines:
        return []
    remedy = f"Run: python3 tools/lock.py install && git add --renormalize {LOCK}"
    if EXPLICIT_HOST in lock:
        remedy = FROM_EXPLICIT
    return [f"{LOCK} in git holds an address in {len(lines)} lines; expected none. {remedy}", f"first is {lines[0]}"]


def name_problems(root: Path, addresses: Iterable[str]) -> list[str]:
    """Lines of the files git holds that name a package index or a folder of one machine."""
    hosts = [option for host in (*REGISTRY_HOSTS, *addresses) for option in ("-e", host)]
    advice = "an index belongs in the user's own uv or pip settings"
    problems = [f"{line}  <- names a package index; {advice}" for line in _grep(root, "-F", *hosts)]
    advice = "use a path relative to the repository"
    return problems + [f"{line}  <- names a local path; {advice}" for line in _grep(root, "-E", "-e", LOCAL_PATH)]


def _grep(root: Path, *options: str) -> list[str]:
    command = ["grep", "--cached", "-I", "-n", "-i", *options, "--", ".", f":(exclude){LOCK}"]
    done = _git(root, *command)
    if done.returncode > 1:
        raise SystemExit(f"git grep failed: {done.stderr.strip()}")
    return [line[:200] for line in done.stdout.splitlines()]


def stale_problems(root: Path, uv: str) -> list[str]:
    """How the lock file in git differs from what uv makes of it and the pyproject.toml files in git.

    `uv lock --check` refuses every neutral file, so uv locks a copy and the two are compared: packages, versions and
    dependencies, and the hash of every file both know. Files that one of them does not list are no difference: an index
    gets further wheels later, and a mirror may lack some.
    """
    lock = committed_lock(root)
    if lock is None:
        return []  # url_problems says so
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for name in _git(root, "ls-files", "--", "*pyproject.toml", "uv.toml", ".python-version").stdout.splitlines():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            (copy / name).write_text(_git(root, "show", f":{name}").stdout, encoding="utf-8")
        (copy / LOCK).write_text(neutralise(lock)[0], encoding="utf-8")
        done = subprocess.run([uv, "lock", "--project", folder], cwd=folder, capture_output=True, text=True)
        if done.returncode != 0:
            return [f"uv could not lock the pyproject.toml files in git:\n{done.stderr.strip()}"]
        fresh = neutralise((copy / LOCK).read_text(encoding="utf-8"))[0]
    return differences(neutralise(lock)[0], fresh)


def differences(lock: str, fresh: str) -> list[str]:
    """Compare two neutral lock files: their resolutions, and the hashes of the files that both list."""
    before, after = set(_resolution(lock)), set(_resolution(fresh))
    problems = [f"{LOCK} is stale, uv drops: {line.strip()}" for line in sorted(before - after)]
    problems += [f"{LOCK} is stale, uv adds: {line.strip()}" for line in sorted(after - before)]
    if problems:
        problems = [f"{LOCK} does not fit the pyproject.toml files. Run: uv lock && git add {LOCK}", *problems[:10]]
    hashes = dict(_FILE_HASH.findall(fresh))
    for file, digest in _FILE_HASH.findall(lock):
        if hashes.get(file, digest) != digest:
            problems.append(f"{LOCK} gives {file} {digest}, the index {hashes[file]}: find out which before you install it")
    return problems


def _resolution(lock: str) -> list[str]:
    """Every line but those of files, with its package: uv is free in the order of markers."""
    lines, package = [], ""
    for line in lock.splitlines():
        if line.startswith("name = "):
            package = line
        if not _FILE_HASH.search(line) and line.strip() not in ("wheels = [", "]", ""):
            lines.append(f"{package}: {line.strip()}")
    return lines


def committed_lock(root: Path) -> str | None:
    """The lock file as staged, else as last committed; None where git has neither."""
    for revision in ("", "HEAD"):
        done = _git(root, "show", f"{revision}:{LOCK}")
        if done.returncode == 0:
            return done.stdout
    return None


def install(root: Path) -> None:
    """Set up the filter that .gitattributes names, in this clone. Raises SystemExit where git refuses."""
    settings = {
        "clean": "python3 tools/lock.py neutralise -",
        "smudge": "cat",  # git demands one of a required filter
        "required": "true",  # a filter that fails must not commit the addresses
    }
    for name, value in settings.items():
        done = _git(root, "config", f"filter.uv-lock.{name}", value)
        if done.returncode != 0:
            raise SystemExit(f"git config filter.uv-lock.{name} failed: {done.stderr.strip()}")


def _git(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, encoding="utf-8")


def _root() -> Path:
    done = _git(Path.cwd(), "rev-parse", "--show-toplevel")
    if done.returncode != 0:
        raise SystemExit(f"{Path.cwd()} is in no git repository; run this inside a clone of knotwork")
    return Path(done.stdout.rstrip("\n"))


def _run_neutralise(file: str) -> int:
    source = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    text, kept = neutralise(source.decode("utf-8"))
    if file == "-":
        sys.stdout.buffer.write(text.encode("utf-8"))
    elif text.encode("utf-8") != source:
        Path(file).write_bytes(text.encode("utf-8"))
    if kept:
        names = ", ".join(kept)
        print(f"{LOCK} takes {names} from {EXPLICIT_HOST}, which must not be committed.", file=sys.stderr)
        print(FROM_EXPLICIT, file=sys.stderr)
    # As a filter this must not fail: it would break git status, even the checkout that mends it. `check` fails instead.
    return 1 if kept and file != "-" else 0


def _run_check(resolve: bool) -> int:
    root = _root()
    problems = url_problems(root) + name_problems(root, index_addresses(os.environ, Path.home()))
    if resolve:
        uv = os.environ.get("UV") or shutil.which("uv")
        missing = "uv was not found, so the lock file cannot be compared. Run: python3 -m pip install uv (or --no-resolve)"
        problems += stale_problems(root, uv) if uv else [missing]
    for problem in problems:
        print(problem, file=sys.stderr)
    if not problems:
        print(f"{LOCK}: neutral" + (" and up to date" if resolve else ""))
    return 1 if problems else 0


def main(arguments: list[str] | None = None) -> int:
    """Run one subcommand; returns the exit status."""
    parser = argparse.ArgumentParser(prog="tools/lock.py", description="Keep uv.lock free of any index's address.")
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("neutralise", help="take the addresses out of a lock file")
    command.add_argument("file", nargs="?", default=LOCK, help="file to rewrite in place, or - for stdin to stdout")
    command = commands.add_parser("check", help="fail if git holds an address, or a lock file that is stale")
    command.add_argument("--no-resolve", action="store_true", help="do not ask uv and the index whether the lock is stale")
    commands.add_parser("install", help="set up the git filter in this clone")
    options = parser.parse_args(arguments)
    if options.command == "neutralise":
        return _run_neutralise(options.file)
    if options.command == "check":
        return _run_check(resolve=not options.no_resolve)
    install(_root())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
