import json
import os
import re
from pathlib import Path

import pytest
from knotwork_search import RunFolder, write_atomically

CONFIG = {"strategy": "drnas", "limits": {"params": 100}, "ratio": 0.5, "note": "naïve: yes"}


def test_create_writes_configuration_and_space(tmp_path):
    run = RunFolder(tmp_path / "deep" / "run")
    run.check_free()
    assert not run.path.exists()
    with run.create(CONFIG, {"width": [2, 4]}):
        assert not run.config.exists()
    assert run.read_config() == CONFIG
    assert list(run.read_config()) == list(CONFIG)  # in the order of the settings
    assert json.loads(run.space.read_text()) == {"width": [2, 4]}
    assert sorted(path.name for path in run.path.iterdir()) == ["config.yaml", "space.json"]
    run.check_resumable()
    run.write_architecture({"architecture": {"width": 2}})
    assert json.loads(run.architecture.read_text()) == {"architecture": {"width": 2}}


def test_a_folder_that_holds_a_run_is_not_free(tmp_path):
    run = RunFolder(tmp_path)
    run.check_free()  # an empty folder is
    with run.create({}, {}):
        pass
    with pytest.raises(ValueError, match=re.escape(f"{tmp_path} already holds a run: give --resume")):
        run.check_free()


def test_what_a_kill_leaves_of_a_beginning_is_begun_anew(tmp_path):
    run = RunFolder(tmp_path / "run")
    run.create({"seed": 1}, {"width": [2]}).__enter__()
    (run.path / "checkpoints").mkdir()
    with pytest.raises(ValueError, match="holds no run to resume"):
        run.check_resumable()
    run.check_free()
    with run.create({"seed": 2}):
        pass
    assert [path.name for path in run.path.iterdir()] == ["config.yaml"]
    assert run.read_config() == {"seed": 2}


def test_a_folder_that_holds_anything_is_not_free(tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(ValueError, match=re.escape(f"{tmp_path} exists and is not an empty folder")):
        RunFolder(tmp_path).check_free()
    with pytest.raises(ValueError, match=r"thesis\.tex exists and is not an empty folder"):
        RunFolder(tmp_path / "thesis.tex").check_free()


def test_no_run_cannot_be_resumed(tmp_path):
    for action in (RunFolder(tmp_path).check_resumable, RunFolder(tmp_path).read_config):
        with pytest.raises(ValueError, match=re.escape(f"{tmp_path} holds no run to resume: it has no config.yaml")):
            action()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a: [1, 2", "cannot be read: .*expected"),
        (b"\xff\xfe\x00", "cannot be read"),
        (b"a: !!python/object/apply:os.system ['true']", "cannot be read: ConstructorError: could not determine a constructor"),
        (b"- just\n- a list\n", "is not a mapping of names to values"),
        (b"", "is not a mapping of names to values"),
    ],
)
def test_a_bad_configuration_is_refused(tmp_path, content, message):
    run = RunFolder(tmp_path)
    run.config.write_bytes(content)
    with pytest.raises(ValueError, match=rf"config\.yaml {message}"):
        run.read_config()


def test_write_atomically_writes_and_replaces(tmp_path):
    path = tmp_path / "file.txt"
    for text in ("old ünï\n", "new\n"):
        write_atomically(path, text)
        assert path.read_text(encoding="utf-8") == text
    assert [found.name for found in tmp_path.iterdir()] == ["file.txt"]


@pytest.mark.parametrize("moment", ["fsync", "replace"])
@pytest.mark.parametrize("old", ["old", None])
def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path, monkeypatch, moment, old):
    path = tmp_path / "file.txt"
    if old is not None:
        path.write_text(old)

    def fail(*_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(*((os, "fsync") if moment == "fsync" else (Path, "replace")), fail)
    with pytest.raises(OSError, match="No space left on device"):
        write_atomically(path, "new")
    assert [found.read_text() for found in tmp_path.iterdir()] == ([] if old is None else [old])
