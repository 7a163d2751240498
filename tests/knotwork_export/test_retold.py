"""Cards of models that were trained again: training and results are told anew, all else stays."""

from __future__ import annotations

from pathlib import Path

import pytest
from huggingface_hub import ModelCard
from knotwork_export import Provenance, export, model_card
from knotwork_export._retold import retold
from knotwork_spaces.gpt2 import GPT2Supernet

TRAINED = Provenance({}, metrics={"loss": 3.5}, before={"loss": 4.25}, training={"steps": 1000, "teacher": "big/model"})
RESULTS = "| metric | before training | after training |\n| --- | --- | --- |\n| loss | 4.25 | 3.5 |"
TRAINING = "## How it was trained\n\n| training | value |\n| --- | --- |\n| steps | 1,000 |\n| teacher | big/model |"


def card(provenance: Provenance) -> str:
    return str(model_card(provenance, name="a", model_type="gpt2", parameters=10))


def test_results_and_training_are_replaced_and_all_else_stays():
    searched = Provenance({"depth": 2}, strategy="drnas", metrics={"loss": 4.25})
    license_ = card(searched).replace("pipeline_tag", "license: mit\npipeline_tag")
    new = retold(license_, card(TRAINED))
    assert RESULTS in new
    assert TRAINING in new
    without = new.replace(RESULTS, "| metric | value |\n| --- | --- |\n| loss | 4.25 |").replace(TRAINING + "\n\n", "")
    assert without == license_
    assert ModelCard(new).data.to_dict()["license"] == "mit"
    assert new.index("## How it was found") < new.index("## How it was trained") < new.index("## Results")
    assert new.index("## Results") < new.index("## Loading it")


def test_a_second_training_replaces_the_first():
    once = retold(card(Provenance({"depth": 2})), card(TRAINED))
    again = Provenance({}, metrics={"loss": 3.0}, before={"loss": 3.5}, training={"steps": 5})
    twice = retold(once, card(again))
    assert twice.count("## How it was trained") == twice.count("## Results") == 1
    assert "| loss | 3.5 | 3 |" in twice
    assert "big/model" not in twice


@pytest.mark.parametrize(
    "previous",
    ["", "# Mine\n", "Just text, no heading", "# Mine\n\n```\n## Results\nin code\n```\n\n## After\n\nkept\n"],
    ids=["empty", "title", "text", "code"],
)
def test_cards_that_others_wrote(previous: str):
    new = retold(previous, card(TRAINED))
    assert new.startswith(previous.strip())
    assert new.endswith(f"{TRAINING}\n\n## Results\n\n{RESULTS}\n")


def test_export_keeps_the_previous_card(tmp_path: Path, supernet: GPT2Supernet, architecture):
    model = supernet.extract(architecture("uniform"))
    folder = export(model, tmp_path / "a", provenance=TRAINED, previous_card="# Mine\n\nwritten by hand", verify=False)
    text = (folder / "README.md").read_text()
    assert text.startswith("# Mine\n\nwritten by hand\n\n## How it was trained")
    assert RESULTS in text
