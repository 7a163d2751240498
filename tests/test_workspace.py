"""The rules of the house: which way dependencies point, how long a file may get, what loads data, README code that runs."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = sorted(path.parent for path in (ROOT / "packages").glob("*/pyproject.toml"))
ARROWS = {
    "knotwork-ops": set(),
    "knotwork-spaces": {"knotwork-ops"},
    "knotwork-search": {"knotwork-ops"},
    "knotwork-export": {"knotwork-ops", "knotwork-spaces"},
    "knotwork-tasks": {"knotwork-ops", "knotwork-spaces", "knotwork-search", "knotwork-export"},
}
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60


def python_files(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py") if ".venv" not in path.parts)


def nodes(path: Path) -> Iterator[ast.AST]:
    return ast.walk(ast.parse(path.read_text(encoding="utf-8"), filename=str(path)))


def imported_roots(path: Path) -> Iterator[tuple[str, int]]:
    """Each absolute import's first name, with its line; also where it stands inside a function."""
    for node in nodes(path):
        if isinstance(node, ast.Import):
            yield from ((alias.name.split(".")[0], node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.split(".")[0], node.lineno


def declared(package: Path, *, extras: bool) -> set[str]:
    project = tomllib.loads((package / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines: list[str] = list(project.get("dependencies", []))
    if extras:
        lines += [line for extra in project.get("optional-dependencies", {}).values() for line in extra]
    return {re.split(r"[^\w.-]", line)[0].lower() for line in lines}


def place(path: Path, line: int) -> str:
    return f"{path.relative_to(ROOT)}:{line}"


def test_every_package_has_its_arrows():
    assert {package.name for package in PACKAGES} == set(ARROWS)


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.name)
def test_dependencies_follow_the_arrows(package: Path):
    ours = {name for name in declared(package, extras=True) if name.startswith("knotwork")}
    assert ours <= ARROWS[package.name] | {package.name}, f"{package.name} may depend on {ARROWS[package.name]} only"


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.name)
def test_imports_follow_the_arrows(package: Path):
    allowed = {name.replace("-", "_") for name in ARROWS[package.name] | {package.name}}
    offenders = [
        f"{place(path, line)} imports {name}"
        for path in python_files(f"packages/{package.name}/src")
        for name, line in imported_roots(path)
        if (name.startswith("knotwork") and name not in allowed) or name in ("apps", "tests", "tools")
    ]
    assert not offenders, f"{package.name} may import {sorted(allowed)} of this workspace only"


def test_ops_needs_torch_alone():
    assert declared(ROOT / "packages/knotwork-ops", extras=False) == {"torch"}
    allowed = sys.stdlib_module_names | {"torch", "knotwork_ops"}
    offenders = [
        f"{place(path, line)} imports {name}"
        for path in python_files("packages/knotwork-ops/src")
        for name, line in imported_roots(path)
        if name not in allowed
    ]
    assert not offenders


def test_nothing_but_tests_imports_an_app():
    # An app is started as a program; what two of them share belongs in a package.
    offenders = [
        place(path, line) for path in python_files("packages", "tools") for name, line in imported_roots(path) if name == "apps"
    ]
    assert not offenders


def test_files_and_functions_are_short():
    offenders: list[str] = []
    for path in python_files("packages", "apps", "tools", "tests"):
        lines = len(path.read_text(encoding="utf-8").splitlines())
        if lines > MAX_FILE_LINES:
            offenders.append(f"{path.relative_to(ROOT)} has {lines} lines; at most {MAX_FILE_LINES}")
        for node in nodes(path):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > MAX_FUNCTION_LINES:
                    offenders.append(f"{place(path, node.lineno)} {node.name} has {lines} lines; at most {MAX_FUNCTION_LINES}")
    assert not offenders


UNPICKLERS = ("pickle", "_pickle", "cPickle", "cloudpickle", "dill", "shelve", "marshal", "joblib")
RUNS_CODE = ("eval", "exec", "yaml.load", "yaml.load_all", "yaml.full_load", "yaml.unsafe_load", "yaml.unsafe_load_all")


def loads_code(path: Path) -> Iterator[int]:
    """Lines that may run code from a data file.

    An import of pickle or its kin; eval and exec; YAML that is not read by safe_load; torch.load without weights_only=True,
    numpy's with allow_pickle; a model of transformers from anything but safetensors.
    """
    yield from (line for name, line in imported_roots(path) if name in UNPICKLERS)
    for node in nodes(path):
        if isinstance(node, ast.ImportFrom) and node.module in ("torch", "yaml", "numpy"):
            # Write torch.load, so that this test sees the calls.
            yield from (node.lineno for alias in node.names if "load" in alias.name and alias.name != "safe_load")
        elif isinstance(node, ast.Call) and not is_safe(node):
            yield node.lineno


def is_safe(call: ast.Call) -> bool:
    name = ast.unparse(call.func)
    given = {word.arg: ast.unparse(word.value) for word in call.keywords}
    if name == "torch.load":
        return given.get("weights_only") == "True"
    if name.endswith(".from_pretrained") and not re.search("config|tokenizer|processor|embedding", name, re.IGNORECASE):
        return given.get("use_safetensors") == "True"
    return name not in RUNS_CODE and "allow_pickle" not in given


def test_no_data_file_can_run_code():
    offenders = [place(path, line) for path in python_files("packages", "apps", "tools") for line in loads_code(path)]
    assert not offenders, "save tensors with safetensors; where torch.load is needed, pass weights_only=True"


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ("import pickle", [1]),
        ("import joblib", [1]),
        ("from torch import load", [1]),
        ("from yaml import full_load", [1]),
        ("from yaml import safe_load", []),
        ("import torch\ntorch.load(file, map_location='cpu')", [2]),
        ("import torch\ntorch.load(file, weights_only=False)", [2]),
        ("import torch\ntorch.load(file, weights_only=True)", []),
        ("eval(text)", [1]),
        ("def f():\n    exec(text)", [2]),
        ("model.eval()", []),
        ("yaml.load(text, Loader=yaml.SafeLoader)", [1]),
        ("yaml.safe_load(text)", []),
        ("np.load(file, allow_pickle=True)", [1]),
        ("np.load(file)", []),
        ("AutoModel.from_pretrained(folder)", [1]),
        ("AutoModel.from_pretrained(folder, use_safetensors=True)", []),
        ("AutoTokenizer.from_pretrained(folder)", []),
    ],
)
def test_loading_rule_sees_each_form(tmp_path: Path, source: str, lines: list[int]):
    (tmp_path / "a.py").write_text(source)
    assert list(loads_code(tmp_path / "a.py")) == lines


READMES = [package / "README.md" for package in PACKAGES]
if "```python" in (ROOT / "README.md").read_text(encoding="utf-8"):
    READMES.append(ROOT / "README.md")


@pytest.mark.parametrize("readme", READMES, ids=lambda readme: str(readme.relative_to(ROOT)))
def test_first_readme_example_runs(readme: Path, tmp_path: Path):
    block = re.search(r"(?ms)^```python\n(.*?)^```$", readme.read_text(encoding="utf-8"))
    assert block, f"{readme.relative_to(ROOT)} has no ```python block; show the shortest use of the package"
    (tmp_path / "example.py").write_text(block.group(1), encoding="utf-8")
    command = [sys.executable, "example.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{readme.relative_to(ROOT)}: its first example failed\n{done.stdout}{done.stderr}"
