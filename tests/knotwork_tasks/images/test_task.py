"""What the task settles where the user says nothing, and what leaves with the model."""

from __future__ import annotations

import json
import re

import pytest
from knotwork_export import Preprocessing
from knotwork_search import RunFolder
from knotwork_tasks.images import ImagePackaging, load_packaging
from knotwork_tasks.images._task import default_patch


@pytest.mark.parametrize(("size", "patch"), [(8, 2), (12, 2), (16, 2), (24, 3), (28, 4), (32, 4), (64, 8), (224, 28)])
def test_the_patch_gives_16_to_64_patches(size: int, patch: int):
    assert default_patch(size) == patch
    assert 16 <= (size // patch) ** 2 <= 64


@pytest.mark.parametrize("size", [17, 31, 1])
def test_a_size_without_a_patch(size: int):
    with pytest.raises(ValueError, match=f"no patch divides {size} pixels"):
        default_patch(size)


def test_packaging_is_read_as_it_was_kept(tmp_path):
    run = RunFolder(tmp_path)
    kept = ImagePackaging(Preprocessing(("cat", "dog"), (1, 8, 8), (0.25,), (0.5,), "bilinear", 0.9))
    kept.save(run)
    assert load_packaging(run) == kept
    (tmp_path / "preprocessing.json").write_text(json.dumps({"labels": ["cat"], "colour": 3}))
    with pytest.raises(ValueError, match=re.escape("preprocessing.json does not describe a preprocessing")):
        load_packaging(run)
