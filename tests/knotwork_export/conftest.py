"""Tiny supernets and their exports, shared by all tests: each export starts a fresh process, which takes seconds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from knotwork_export import Provenance, export
from knotwork_ops import Architecture
from knotwork_spaces.gpt2 import GPT2Space, GPT2Supernet
from tokenizers import Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from .classifiers import CLASSIFIERS, ClassifierCase, exported

END = "<|endoftext|>"
ARCHITECTURES = {
    "uniform": {"embed_dim": 16, "depth": 2, "num_heads": 4, "mlp_ratio": 2},
    "per_layer": {"embed_dim": 32, "depth": 2, "num_heads": [2, 4], "mlp_ratio": [4, 2]},
}


@dataclass(frozen=True, eq=False)
class Case:
    """An architecture, what the supernet computes for it, and the folder it was exported to."""

    name: str
    architecture: Architecture
    ids: Tensor
    logits: Tensor
    folder: Path

    @property
    def custom_code(self) -> bool:
        return self.name == "per_layer"


@pytest.fixture(scope="session")
def supernet() -> GPT2Supernet:
    space = GPT2Space.build(
        embed_dim=[16, 32],
        depth=[1, 2],
        num_heads=[2, 4],
        mlp_ratio=[2, 4],
        per_layer=["num_heads", "mlp_ratio"],
        vocab_size=320,
        block_size=24,
        eos_token_id=0,
        dropout=0.1,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = GPT2Supernet(space)
        # Weights as drawn give nearly the same logits whatever the net; spread them, biases and norms included.
        for parameter in net.parameters():
            parameter.data += 0.1 * torch.randn_like(parameter)
    return net


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    tokenizer.decoder = ByteLevelDecoder()
    trainer = BpeTrainer(vocab_size=300, special_tokens=[END], initial_alphabet=ByteLevel.alphabet(), show_progress=False)
    tokenizer.train_from_iterator(["once upon a time there was a function", "def once(upon): return upon"], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=END, eos_token=END)


@pytest.fixture(scope="session")
def architecture(supernet: GPT2Supernet) -> Callable[[str], Architecture]:
    return lambda name: supernet.space.architecture(ARCHITECTURES[name])


@pytest.fixture(scope="session", params=list(ARCHITECTURES))
def case(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    supernet: GPT2Supernet,
    tokenizer: PreTrainedTokenizerFast,
    architecture: Callable[[str], Architecture],
) -> Case:
    arch = architecture(request.param)
    ids = torch.randint(320, (3, 24), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        logits = supernet.eval().logits(ids, arch)
    provenance = Provenance(
        arch,
        {name: float(cost) for name, cost in supernet.cost(arch).items()},
        strategy="drnas",
        dataset="python-stdlib",
        metrics={"loss": 4.25, "bits_per_byte": 2.125},
        settings={"steps": 600, "seed": 0},
    )
    # A training model: export must write and compare it in eval mode, dropout off.
    model = supernet.train().extract(arch)
    folder = tmp_path_factory.mktemp("exports") / "new" / request.param
    written = export(model, folder, tokenizer=tokenizer, provenance=provenance, reference_ids=ids, reference_logits=logits)
    assert written == folder
    assert model.training
    assert not hasattr(model.config, "auto_map")
    return Case(request.param, arch, ids, logits, folder)


@pytest.fixture(scope="session", params=list(CLASSIFIERS))
def classifier(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ClassifierCase:
    return exported(request.param, tmp_path_factory.mktemp("classifiers") / "new" / request.param)
