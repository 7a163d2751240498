"""Whatever an exported folder holds, what reads it back gives what it should, or one clear error."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from knotwork_export._classifier import Classifier
from knotwork_export._code import code_files, has_custom_code
from knotwork_export._hub import REQUIRED, _files
from knotwork_export._retold import retold

from ..hostile import cases, json_bytes, mutated, refused_clearly, watched
from .classifiers import exported

AUTO_MAP = {
    "auto_map": {"AutoConfig": "modeling.Config", "AutoModel": ["modeling.Model", None]},
    "model_type": "per_layer_gpt2",
}


@cases(150)
@given(content=json_bytes(AUTO_MAP))
def test_any_configuration_names_files_of_its_folder_or_is_refused(tmp_path: Path, content: bytes):
    for name in REQUIRED:
        (tmp_path / name).write_bytes(content)
    names: list[str] = []
    if not refused_clearly(lambda: names.extend([*code_files(tmp_path), *_files(tmp_path)])):
        assert all(Path(name).name == name for name in names)
        assert has_custom_code(tmp_path) == any(name.endswith(".py") for name in names)


@pytest.mark.parametrize("reference", ["evil/repo--modeling.Evil", "../modeling.Evil", "/modeling.Evil", ".", 3, {"a": "b"}])
def test_code_of_another_place_is_refused(tmp_path: Path, reference: Any):
    (tmp_path / "config.json").write_text(json.dumps({"auto_map": {"AutoModel": reference}}))
    with pytest.raises(ValueError, match=r"auto_map in .*config\.json names .*: expected MODULE\.CLASS of the folder"):
        code_files(tmp_path)


def test_any_classifiers_folder_is_read_or_refused(tmp_path: Path):
    folder = tmp_path / "inside" / "model"
    folder.parent.mkdir()
    case = exported("per_layer", folder, verify=False)
    model, file = case.model(), folder / "config.json"

    @cases(100)
    @given(content=json_bytes(json.loads(file.read_bytes())))
    def read(content: bytes):
        file.write_bytes(content)
        refused_clearly(lambda: Classifier.at(folder, model, None, None))

    Classifier.at(folder, model, None, None)
    with watched(tmp_path):
        read()


TABLE = "| metric | value |\n| --- | --- |\n| loss | 1 |"
CARD = f"---\nlicense: mit\n---\n\n# A\n\n## Results\n\n{TABLE}\n\n## Loading it\n\n```python\n## no\n```\n"


@cases(100)
@given(
    card=st.lists(st.sampled_from(CARD.splitlines(keepends=True)) | st.text(max_size=20)).map("".join)
    | mutated([CARD]).map(str)
)
def test_any_card_can_be_told_anew(card: str):
    told = retold(card, CARD.replace("| loss | 1 |", "| loss | 2 |"))
    assert "| loss | 2 |" in told
