"""tools/lock.py: the neutral form, and what its check finds in a git repository. No network."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "tools" / "lock.py"
_spec = importlib.util.spec_from_file_location("knotwork_lock_tool", SCRIPT)
assert _spec is not None
assert _spec.loader is not None
lock = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(lock)

INDEX, FILES = lock.REGISTRY_HOSTS
NEUTRAL = """\
version = 1
revision = 3
requires-python = ">=3.11"

[[package]]
name = "knotwork"
version = "0.1.0"
source = { virtual = "." }
dependencies = [
    { name = "numpy", version = "2.4.6", source = { registry = "pypi" }, marker = "python_full_version < '3.12'" },
    { name = "numpy", version = "2.5.5", source = { registry = "pypi" }, marker = "python_full_version >= '3.12'" },
]

[[package]]
name = "numpy"
version = "2.4.6"
source = { registry = "pypi" }
sdist = { path = "numpy-2.4.6.tar.gz", hash = "sha256:aa", size = 42, upload-time = "2026-09-09T13:04:49.078Z" }
wheels = [
    { path = "numpy-2.4.6-cp311-cp311-linux_x86_64.whl", hash = "sha256:bb", size = 394295 },
    { path = "numpy-2.4.6-cp312-cp312-linux_x86_64.whl", hash = "sha256:cc", size = 394296 },
]
"""
FILLED = NEUTRAL.replace('registry = "pypi"', f'registry = "https://{INDEX}/simple"').replace(
    '{ path = "', f'{{ url = "https://{FILES}/packages/f5/b5/1d3e/'
)


def git(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", "-C", str(folder), *arguments], check=True, capture_output=True)


def run(folder: Path, *arguments: str, stdin: str | None = None) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(SCRIPT), *arguments]
    return subprocess.run(command, cwd=folder, input=stdin, capture_output=True, text=True)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A git repository with a neutral lock file, staged."""
    git(tmp_path, "init")
    (tmp_path / "uv.lock").write_text(NEUTRAL)
    git(tmp_path, "add", "uv.lock")
    return tmp_path


def stage(repository: Path, name: str, text: str) -> None:
    (repository / name).write_text(text)
    git(repository, "add", name)


def test_filled_file_becomes_neutral():
    assert FILLED.count("://") == 6
    assert lock.neutralise(FILLED) == (NEUTRAL, [])


def test_neutral_file_stays():
    assert lock.neutralise(NEUTRAL) == (NEUTRAL, [])


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("https://mirror.example:8443/root/pkg/a_b-1.0-py3-none-any.whl#sha256=aa", "a_b-1.0-py3-none-any.whl"),
        ("https://mirror.example/torch-2.9.0%2Bcpu-cp311-none-any.whl", "torch-2.9.0+cpu-cp311-none-any.whl"),
        ("../../mirror/a-1.0.tar.gz", "a-1.0.tar.gz"),
    ],
)
def test_every_index_loses_its_address(address: str, name: str):
    filled = NEUTRAL.replace('path = "numpy-2.4.6.tar.gz"', f'url = "{address}"')
    filled = filled.replace('registry = "pypi"', 'registry = "../../mirror"')
    assert lock.neutralise(filled)[0] == NEUTRAL.replace("numpy-2.4.6.tar.gz", name)


def test_direct_url_keeps_its_address():
    package = '[[package]]\nname = "a"\nsource = { url = "https://a.example/a.whl" }\n'
    package += 'wheels = [\n    { url = "https://a.example/a.whl", hash = "sha256:aa" },\n]\n'
    assert lock.neutralise(package) == (package, [])


def test_package_of_the_explicit_index_stays_and_is_named(tmp_path: Path):
    source = f'source = {{ registry = "https://{lock.EXPLICIT_HOST}/whl/cpu" }}'
    package = f'[[package]]\nname = "torch"\n{source}\nwheels = [\n    {{ url = "https://x/t.whl", hash = "sha256:aa" }},\n]\n'
    assert lock.neutralise(package) == (package, ["torch"])
    (tmp_path / "uv.lock").write_text(package)
    done = run(tmp_path, "neutralise")
    assert done.returncode == 1
    assert f"takes torch from {lock.EXPLICIT_HOST}" in done.stderr
    # The git filter must not fail, or git status would.
    assert run(tmp_path, "neutralise", "-", stdin=package).returncode == 0


def test_file_is_rewritten_in_place(tmp_path: Path):
    (tmp_path / "uv.lock").write_text(FILLED)
    assert run(tmp_path, "neutralise").returncode == 0
    assert (tmp_path / "uv.lock").read_text() == NEUTRAL


def test_check_passes_on_a_neutral_repository(repository: Path):
    (repository / "uv.lock").write_text(FILLED)  # what uv leaves in the working copy does not matter
    below_home = "/".join(("~", "work", "a"))  # spelt out, it would look like a path of one machine
    stage(repository, "a.md", f"https://{lock.EXPLICIT_HOST}/whl/cpu, {below_home}, https://x.example/root/b, $HOME/work/c\n")
    done = run(repository, "check", "--no-resolve")
    assert (done.returncode, done.stderr) == (0, "")


def test_check_finds_an_address_in_the_staged_lock(repository: Path):
    stage(repository, "uv.lock", FILLED)
    (repository / "uv.lock").write_text(NEUTRAL)
    done = run(repository, "check", "--no-resolve")
    assert done.returncode == 1
    assert "uv.lock in git holds an address in 6 lines; expected none. Run: python3 tools/lock.py install" in done.stderr


def test_check_needs_a_lock(tmp_path: Path):
    git(tmp_path, "init")
    assert lock.url_problems(tmp_path) == ["git holds no uv.lock; expected one. Run: uv lock && git add uv.lock"]


@pytest.mark.parametrize("host", [INDEX, FILES, FILES.upper(), "mirror.example:8443"])
def test_check_finds_a_registry_host(repository: Path, host: str):
    stage(repository, "setup.sh", f"true\npip install --index-url https://{host}/simple torch\n")
    (problem,) = lock.name_problems(repository, ["mirror.example:8443"])
    assert problem.startswith("setup.sh:2:")
    assert "names a package index" in problem


@pytest.mark.parametrize("folder", ["work/main", "root/.cache", "home/ada/data", "Users/ada/data"])
def test_check_finds_a_local_path(repository: Path, folder: str):
    stage(repository, "a.py", f'FOLDER = "/{folder}/x"\n')
    (problem,) = lock.name_problems(repository, [])
    assert problem.startswith("a.py:1:")
    assert "names a local path" in problem


def test_index_addresses_come_from_the_environment_and_pip_and_uv_files(tmp_path: Path):
    (tmp_path / ".config/pip").mkdir(parents=True)
    (tmp_path / ".config/uv").mkdir()
    (tmp_path / ".config/pip/pip.conf").write_text("[global]\nextra-index-url = https://a.example/s\n  file:///opt/b/s\n")
    (tmp_path / ".config/uv/uv.toml").write_text('[[index]]\nurl = "https://c.example/s"\n')
    environment = {"UV_INDEX": f"d=https://me:secret@d.example:81/s https://{lock.EXPLICIT_HOST}/whl/cpu"}
    addresses = lock.index_addresses(environment, tmp_path)
    assert {"a.example", "/opt/b/s", "c.example", "d.example:81"} <= set(addresses)
    assert lock.EXPLICIT_HOST not in addresses


def test_differences_names_changed_versions_and_hashes_only():
    later = NEUTRAL.replace("\n]\n", '\n    { path = "numpy-2.4.6-cp313.whl", hash = "sha256:dd" },\n]\n')
    assert lock.differences(NEUTRAL, later) == []
    stale = lock.differences(NEUTRAL, NEUTRAL.replace('version = "2.5.5"', 'version = "2.6.0"'))
    assert stale[0].startswith("uv.lock does not fit the pyproject.toml files. Run: uv lock")
    assert any("uv adds" in line and '"2.6.0"' in line for line in stale)
    (problem,) = lock.differences(NEUTRAL, NEUTRAL.replace("sha256:bb", "sha256:ee"))
    assert "numpy-2.4.6-cp311-cp311-linux_x86_64.whl sha256:bb, the index sha256:ee" in problem


def test_installed_filter_stages_the_neutral_form(repository: Path):
    (repository / "tools").mkdir()
    (repository / "tools/lock.py").write_bytes(SCRIPT.read_bytes())
    (repository / ".gitattributes").write_bytes((SCRIPT.parents[1] / ".gitattributes").read_bytes())
    for _ in range(2):
        assert run(repository, "install").returncode == 0
    git(repository, "add", ".")
    (repository / "uv.lock").write_text(FILLED)
    git(repository, "diff", "--exit-code")  # the filled copy is no change
    git(repository, "add", "uv.lock")
    assert lock.committed_lock(repository) == NEUTRAL
