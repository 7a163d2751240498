import sysconfig
from pathlib import Path

import pytest
from knotwork_tasks.text import TextSplits, load_text
from knotwork_tasks.text._stdlib import is_validation_file, python_stdlib, stdlib_files

ROOT = Path(sysconfig.get_path("stdlib"))


@pytest.fixture(scope="module")
def splits() -> TextSplits:
    return load_text()


def test_no_document_is_in_both_splits(splits: TextSplits):
    train, validation = (list(texts[:]["text"]) for texts in (splits.train, splits.validation))  # pyright: ignore
    assert not set(train) & set(validation)
    files = stdlib_files(ROOT)
    assert len(train) == sum(bool((ROOT / path).read_bytes()) for path in files if not is_validation_file(path))
    assert 0.03 < len(validation) / len(files) < 0.07
    assert 0.03 < len("".join(validation)) / len("".join(train + validation)) < 0.07


def test_the_seed_changes_the_order_of_train_only(splits: TextSplits):
    again, other = load_text(), load_text(seed=1)
    assert splits.train[:] == again.train[:] != other.train[:]  # pyright: ignore
    assert splits.validation[:] == other.validation[:]  # pyright: ignore


def test_a_streamed_library_is_the_same_library(splits: TextSplits):
    streamed = load_text(streaming=True)
    assert sorted(row["text"] for row in streamed.train) == sorted(splits.train[:]["text"])  # pyright: ignore


def test_which_files_are_held_out_never_changes():
    # Written down once: another choice would change everybody's validation loss.
    held_out = ["fnmatch.py", "inspect.py", "logging/__init__.py", "pprint.py", "tokenize.py", "xml/sax/__init__.py"]
    learned = ["ast.py", "json/decoder.py", "logging/config.py", "os.py", "random.py", "typing.py", "zipfile.py"]
    assert [path for path in sorted(held_out + learned) if is_validation_file(path)] == held_out


def test_installed_packages_and_tests_are_left_out(tmp_path: Path):
    kept = ["ast.py", "json/decoder.py", "unittest/case.py", "site.py"]
    left_out = [
        "site-packages/torch.py",
        "dist-packages/a.py",
        "test/test_ast.py",
        "json/tests/a.py",
        "idlelib/a.py",
        "lib2to3/a.py",
        "__pycache__/a.py",
        "_sysconfigdata__linux_.py",
        "LICENSE.txt",
    ]
    for path in kept + left_out:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("x = 1\n")
    assert stdlib_files(tmp_path) == sorted(kept)


def test_a_file_has_its_own_encoding_or_is_skipped(tmp_path: Path):
    for i in range(60):
        (tmp_path / f"m{i}.py").write_bytes(f"# coding: latin-1\ns = 'é{i}'\n".encode("latin-1"))
    (tmp_path / "broken.py").write_bytes(b"# coding: utf-8\n\xff\n")
    splits = python_stdlib(tmp_path)
    assert len(splits.train) + len(splits.validation) == 60  # pyright: ignore
    assert "é" in splits.train[0]["text"]  # pyright: ignore


def test_a_library_without_sources(tmp_path: Path):
    with pytest.raises(ValueError, match=f"'python-stdlib' is empty: '{tmp_path}' does not hold"):
        python_stdlib(tmp_path)
