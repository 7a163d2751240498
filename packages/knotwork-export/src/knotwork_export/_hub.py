"""Deliver an exported folder to the Hugging Face Hub."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from huggingface_hub import HfApi

from knotwork_export._code import code_files
from knotwork_export._errors import ExportError

REQUIRED = ("config.json", "model.safetensors", "README.md")
WRITTEN = (
    *REQUIRED,
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "vocab.json",
    "merges.txt",
)
REPO_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+", re.ASCII)


def push_to_hub(
    folder: Path, repo_id: str, *, private: bool = False, token: str | None = None, api: HfApi | None = None
) -> str:
    """Upload what ``export`` or ``export_classifier`` wrote, and nothing else that may lie in the folder.

    Args:
        folder: an exported folder.
        repo_id: where to, as USER/NAME; made when it is not there.
        private: whether a new repository is private; one that is there stays what it is.
        token: the Hub token; by default the one that ``hf auth login`` stored.
        api: the client to use, for tests and other endpoints.

    Returns:
        The commit's address.

    Raises:
        ExportError: the Hub could not be reached or refused.
        ValueError: not an exported folder, a file that links out of it, or a repo_id that is not USER/NAME.
    """
    folder = Path(folder)
    if not REPO_ID.fullmatch(repo_id) or "--" in repo_id or ".." in repo_id:
        raise ValueError(f"repo_id is {repo_id!r}: expected USER/NAME, such as 'ada/gpt-nano'")
    files = _files(folder)
    api = HfApi() if api is None else api
    try:
        api.create_repo(repo_id, private=private, exist_ok=True, token=token)
        commit = api.upload_folder(
            repo_id=repo_id,
            folder_path=folder,
            allow_patterns=list(files),
            commit_message="Upload a model exported by Knotwork",
            token=token,
        )
    except Exception as error:  # the Hub's client raises its own errors, its HTTP library's, and those of the system
        raise ExportError(
            f"{folder} could not be uploaded to {repo_id}: {type(error).__name__}: {error}. "
            "Check the network, that `hf auth login` was done, and that the token may write to that account; then push again"
        ) from error
    return str(commit)


def _files(folder: Path) -> Sequence[str]:
    """Names of the files to upload. Raises ValueError as ``push_to_hub`` does."""
    missing = [name for name in REQUIRED if not (folder / name).is_file()]
    if missing:
        raise ValueError(f"{folder} has no {', '.join(missing)}: expected a folder that export() or export_classifier() wrote")
    root = folder.resolve()
    names = [name for name in (*WRITTEN, *code_files(folder)) if (folder / name).is_file()]
    for name in names:
        # The upload reads through links, and would publish whatever they lead to.
        if not (folder / name).resolve().is_relative_to(root):
            raise ValueError(f"{folder / name} links to a file outside the folder: replace it with a copy, or export again")
    return names
