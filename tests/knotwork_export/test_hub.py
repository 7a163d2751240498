"""Uploads against a client that only records what it is asked."""

from __future__ import annotations

import fnmatch
import json
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from huggingface_hub import HfApi, constants
from knotwork_export import ExportError, push_to_hub, timm_models

from .classifiers import ClassifierCase

COMMIT = "https://huggingface.co/ada/gpt-nano/commit/0123456789abcdef"


class FakeApi(HfApi):
    """Records calls, or fails as told; nothing it does reaches a network."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.calls: list[tuple[str, dict[str, Any]]] = []

    def create_repo(self, repo_id: str, **options: Any) -> Any:
        self.calls.append(("create_repo", {"repo_id": repo_id, **options}))

    def upload_folder(self, **options: Any) -> Any:
        self.calls.append(("upload_folder", options))
        if self.error is not None:
            raise self.error
        return COMMIT


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    auto_map = {"AutoConfig": "modeling_a.Config", "AutoModelForCausalLM": "modeling_a.Model"}
    (folder / "config.json").write_text(json.dumps({"auto_map": auto_map}))
    for name in ("model.safetensors", "README.md", "generation_config.json", "tokenizer.json", "modeling_a.py"):
        (folder / name).write_text("x")
    return folder


def uploaded(folder: Path, api: FakeApi) -> set[str]:
    """The files that the recorded patterns let through, as huggingface_hub matches them."""
    patterns = api.calls[-1][1]["allow_patterns"]
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    return {name for name in names if any(fnmatch.fnmatch(name, pattern) for pattern in patterns)}


def test_makes_the_repository_and_uploads_the_folder(folder: Path):
    api = FakeApi()
    assert push_to_hub(folder, "ada/gpt-nano", private=True, token="hf_a", api=api) == COMMIT
    (made, options), (sent, upload) = api.calls
    assert (made, options) == (
        "create_repo",
        {"repo_id": "ada/gpt-nano", "private": True, "exist_ok": True, "token": "hf_a"},
    )
    assert (sent, upload["repo_id"], upload["folder_path"], upload["token"]) == (
        "upload_folder",
        "ada/gpt-nano",
        folder,
        "hf_a",
    )


def test_uploads_only_what_an_export_writes(folder: Path):
    written = {path.name for path in folder.iterdir()}
    for name in ("notes.txt", "optimizer.pt", ".env", "other.py"):
        (folder / name).write_text("mine")
    (folder / "sub").mkdir()
    (folder / "sub" / "config.json").write_text("mine")
    (folder.parent / "secret.py").write_text("mine")
    api = FakeApi()
    push_to_hub(folder, "ada/gpt-nano", api=api)
    assert uploaded(folder, api) == written
    assert not any("secret" in pattern for pattern in api.calls[-1][1]["allow_patterns"])


def test_code_of_another_place_is_refused(folder: Path):
    (folder.parent / "secret.py").write_text("mine")
    (folder / "config.json").write_text(json.dumps({"auto_map": {"AutoModel": "../secret.Model"}}))
    api = FakeApi()
    with pytest.raises(ValueError, match=r"names '\.\./secret\.Model': expected MODULE\.CLASS of the folder"):
        push_to_hub(folder, "ada/gpt-nano", api=api)
    assert not api.calls


def test_uploads_every_file_of_a_real_export(case):
    api = FakeApi()
    push_to_hub(case.folder, "ada/gpt-nano", api=api)
    assert uploaded(case.folder, api) == {path.name for path in case.folder.iterdir()}


def test_uploads_every_file_of_a_classifier(classifier):
    api = FakeApi()
    push_to_hub(classifier.folder, "ada/vit-nano", api=api)
    assert uploaded(classifier.folder, api) == {path.name for path in classifier.folder.iterdir()}


def test_hub_folder_loads_with_timm(classifier: ClassifierCase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    # What the Hub's client would have downloaded, were this folder there.
    api = FakeApi()
    push_to_hub(classifier.folder, "ada/vit-nano", api=api)
    repository, commit = tmp_path / "models--ada--vit-nano", "0" * 40
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(commit)
    (repository / "snapshots" / commit).mkdir(parents=True)
    for name in uploaded(classifier.folder, api):
        (repository / "snapshots" / commit / name).write_bytes((classifier.folder / name).read_bytes())
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert timm_models.per_layer_vit  # imported, so registered
    torch.set_default_dtype(classifier.logits.dtype)
    try:
        model = timm.create_model("hf-hub:ada/vit-nano", pretrained=True, cache_dir=tmp_path).eval()
    finally:
        torch.set_default_dtype(torch.float32)
    images = classifier.images.to(classifier.logits.dtype)
    with torch.inference_mode():
        assert torch.equal(model(images), classifier.model().eval()(images))


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "README.md"])
def test_folder_must_be_an_export(folder: Path, name: str):
    (folder / name).unlink()
    api = FakeApi()
    with pytest.raises(ValueError, match=f"model has no {name}: expected a folder that export"):
        push_to_hub(folder, "ada/gpt-nano", api=api)
    assert not api.calls


def test_missing_folder_is_named(tmp_path: Path):
    with pytest.raises(ValueError, match=r"nowhere has no config\.json, model\.safetensors, README\.md"):
        push_to_hub(tmp_path / "nowhere", "ada/gpt-nano", api=FakeApi())


def test_link_out_of_the_folder_is_refused(folder: Path):
    (folder.parent / "secret").write_text("mine")
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer.json").symlink_to(folder.parent / "secret")
    api = FakeApi()
    with pytest.raises(ValueError, match=r"tokenizer\.json links to a file outside the folder"):
        push_to_hub(folder, "ada/gpt-nano", api=api)
    assert not api.calls


@pytest.mark.parametrize("repo_id", ["gpt-nano", "ada/", "/gpt", "ada/gpt/nano", "ada/gpt nano", "../gpt", "ada/a--b", ""])
def test_repo_id_must_be_user_and_name(folder: Path, repo_id: str):
    api = FakeApi()
    with pytest.raises(ValueError, match=f"repo_id is '{repo_id}': expected USER/NAME"):
        push_to_hub(folder, repo_id, api=api)
    assert not api.calls


@pytest.mark.parametrize("error", [ConnectionError("no route to host"), RuntimeError("403 Forbidden")])
def test_network_trouble_is_one_clear_error(folder: Path, error: Exception):
    with pytest.raises(ExportError, match=f"could not be uploaded to ada/gpt-nano: {type(error).__name__}: {error}") as caught:
        push_to_hub(folder, "ada/gpt-nano", token="hf_secret", api=FakeApi(error))
    assert caught.value.__cause__ is error
    assert "hf_secret" not in str(caught.value)
