import pytest
from datasets import Dataset
from knotwork_tasks.text import load_tokenizer
from transformers import PreTrainedTokenizerFast

STORIES = [
    "Once upon a time there was a little fox.\nIt liked the river, and the river liked it.\n",
    "The fox said: 'Good morning, river!'\n\n    And the river said nothing.",
    "Ünïcödé 🦊 foxes cross — 3.14 rivers\ta day",
    "def river(fox):\n    return fox + 1\n",
] * 5


@pytest.fixture(scope="session")
def stories() -> Dataset:
    return Dataset.from_dict({"text": STORIES})


@pytest.fixture(scope="session")
def tokenizer(stories: Dataset) -> PreTrainedTokenizerFast:
    return load_tokenizer("train:300", stories)
