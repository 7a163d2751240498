from __future__ import annotations

import json
import re

import pytest
from huggingface_hub import ModelCard
from knotwork_export import Provenance, model_card


def test_front_matter_is_what_the_hub_reads(case):
    card = ModelCard.load(case.folder / "README.md")
    assert card.data.to_dict() == {
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["knotwork", "neural-architecture-search", "weight-entanglement", "gpt2"],
    }


def test_card_tells_architecture_cost_search_and_results(case, supernet):
    text = (case.folder / "README.md").read_text()
    block = re.search(r"(?ms)^```json\n(.*?)^```$", text)
    assert block
    assert supernet.space.architecture(json.loads(block.group(1))) == case.architecture
    cost = {name: int(value) for name, value in supernet.cost(case.architecture).items()}
    rows = [
        f"| parameters | {cost['params']:,} |",
        f"| flops | {cost['flops']:,} |",
        "| strategy | drnas |",
        "| dataset | python-stdlib |",
        "| steps | 600 |",
        "| loss | 4.25 |",
        "| bits_per_byte | 2.125 |",
        "| num_heads | 4, 4 |" if not case.custom_code else "| num_heads | 2, 4 |",
    ]
    for row in rows:
        assert row in text
    assert "| params |" not in text  # the same number, told once
    assert "could not import Knotwork" in text


def test_loading_lines_are_python_and_trust_code_only_where_needed(case):
    block = re.search(r"(?ms)^```python\n(.*?)^```$", (case.folder / "README.md").read_text())
    assert block
    compile(block.group(1), "card", "exec")
    assert ("trust_remote_code=True" in block.group(1)) == case.custom_code
    assert "AutoTokenizer" in block.group(1)


def test_computed_parameters_that_were_not_counted_show():
    text = str(model_card(Provenance({"depth": 2}, {"params": 11.0}), name="a", model_type="gpt2", parameters=10))
    assert "| parameters | 10 |\n| params | 11 |" in text


@pytest.mark.parametrize(("text", "row"), [("a|b", "a\\|b"), ("a\nb", "a b"), ("<script>", "&lt;script>")])
def test_values_stay_in_their_cell(text: str, row: str):
    provenance = Provenance({"depth": 2}, dataset=text, versions={"torch": "2.6"})
    card = model_card(provenance, name="x", model_type="gpt2", parameters=1, tokenizer=False)
    assert f"| dataset | {row} |" in str(card)
    assert "| torch version | 2.6 |" in str(card)
    assert "AutoTokenizer" not in str(card)
    assert "## Results" not in str(card)
    assert ModelCard(str(card)).data.to_dict()["library_name"] == "transformers"


def test_front_matter_of_a_classifier(classifier):
    card = ModelCard.load(classifier.folder / "README.md")
    assert card.data.to_dict() == {
        "library_name": "timm",
        "pipeline_tag": "image-classification",
        "tags": ["knotwork", "neural-architecture-search", "weight-entanglement", "vit", "timm", "transformers"],
    }


def test_card_of_a_classifier_tells_architecture_cost_images_and_results(classifier):
    text = (classifier.folder / "README.md").read_text()
    block = re.search(r"(?ms)^```json\n(.*?)^```$", text)
    assert block
    assert classifier.supernet.space.architecture(json.loads(block.group(1))) == classifier.architecture
    channels = classifier.preprocessing.input_size[0]
    rows = [
        f"| parameters | {int(classifier.supernet.cost(classifier.architecture)['params']):,} |",
        "| strategy | drnas |",
        "| dataset | digits |",
        "| top1 | 0.875 |",
        "| timm version | ",
        "| size | 16 x 16, 1 channel |" if channels == 1 else "| size | 16 x 16, 3 channels |",
        "| mean | 0.1 |" if channels == 1 else "| mean | 0.1, 0.2, 0.3 |",
        "| classes | 5: cat, dog, a\\|b, naïve, last |",
    ]
    for row in rows:
        assert row in text
    assert "could not import Knotwork" in text
    assert ("per_layer_vit.py" in text) == classifier.custom_code
