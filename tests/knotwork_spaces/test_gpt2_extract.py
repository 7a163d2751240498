"""Extraction copies slices and does nothing else; and what dropout and the travelling modelling file do."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import torch
from knotwork_ops import HardSample, Mixture
from knotwork_spaces.gpt2 import (
    GPT2Space,
    PerLayerGPT2Config,
    PerLayerGPT2LMHeadModel,
    modeling_per_layer_gpt2,
    plain_model,
    slice_state_dict,
)

from .comparison import GRANULARITIES, one_hot, random_alphas, some_architectures, spread_supernet, tiny_space, token_ids
from .family_checks import assert_extraction_copies, assert_extraction_draws_nothing, assert_whole

SPACE = tiny_space(GRANULARITIES["per_layer"])


def test_extraction_draws_no_random_numbers():
    assert_extraction_draws_nothing(spread_supernet(SPACE))


def test_extracted_models_share_no_memory():
    assert_extraction_copies(spread_supernet(SPACE))


def test_extracted_models_are_whole():
    supernet = spread_supernet(SPACE)
    for arch in some_architectures(SPACE):
        model = supernet.extract(arch)
        assert model.lm_head.weight is model.transformer.wte.weight
        assert_whole(model)


@pytest.mark.parametrize("training", [True, False])
def test_extracted_models_train_when_the_supernet_does(training: bool):
    model = spread_supernet(SPACE).train(training).extract(SPACE.smallest)
    assert all(module.training is training for module in model.modules())


def test_slices_are_contiguous_copies_that_a_plain_model_loads():
    supernet = spread_supernet(SPACE)
    state = slice_state_dict(SPACE, supernet.state_dict(), SPACE.smallest)
    assert all(tensor.is_contiguous() and not tensor.requires_grad for tensor in state.values())
    fresh = plain_model(SPACE, SPACE.smallest)
    assert {name: tensor.shape for name, tensor in fresh.state_dict().items()} == {n: t.shape for n, t in state.items()}
    assert not torch.equal(fresh.state_dict()["transformer.wte.weight"], state["transformer.wte.weight"].float())


def test_an_architecture_of_another_space_is_refused():
    stranger = tiny_space(embed_dim=[32]).smallest
    with pytest.raises(ValueError, match=r"'embed_dim' cannot be 32: allowed are \[8, 16, 24\]"):
        spread_supernet(SPACE).extract(stranger)
    with pytest.raises(ValueError, match=r"'embed_dim' cannot be 32: allowed are \[8, 16, 24\]"):
        SPACE.config(stranger)


def test_running_an_architecture_of_another_space_is_refused():
    with pytest.raises(ValueError, match=r"'embed_dim' cannot be 4: allowed are \[8, 16, 24\]"):
        spread_supernet(SPACE).logits(token_ids(SPACE), tiny_space(embed_dim=[4]).smallest)


def test_dropout_works_in_training_and_not_in_evaluation():
    space = tiny_space(GRANULARITIES["per_layer"], dropout=0.5)
    supernet, ids = spread_supernet(space), token_ids(space)
    same = spread_supernet(SPACE)
    mixture = Mixture(space, {name: alpha.softmax(-1) for name, alpha in random_alphas(space).items()})
    for arch in (mixture, one_hot(space, space.largest), space.largest, HardSample(space.smallest)):
        expected = same.logits(ids, arch)
        assert torch.equal(supernet.eval().logits(ids, arch), expected)
        first, second = supernet.train().logits(ids, arch), supernet.logits(ids, arch)
        assert not torch.allclose(first, expected)
        assert not torch.allclose(first, second)


@pytest.mark.parametrize("where", ["embd_pdrop", "attn_pdrop", "resid_pdrop"])
def test_dropout_goes_into_the_exported_configuration(where: str):
    space = tiny_space(dropout=0.25)
    assert getattr(space.config(space.smallest), where) == 0.25


def test_the_modelling_file_travels_alone():
    tree = ast.parse(Path(modeling_per_layer_gpt2.__file__).read_text(encoding="utf-8"))
    roots: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            roots |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "a relative import does not resolve in an exported folder"
            roots.add((node.module or "").split(".")[0])
    assert roots <= {"copy", "torch", "transformers"}


@pytest.mark.parametrize(
    ("heads", "inner"), [(None, None), ([2], [8, 8]), ([2, 2], [8]), ([2, 2, 2], [8, 8, 8]), ([2, 2], None)], ids=str
)
def test_lists_of_another_length_are_refused(heads: list[int] | None, inner: list[int] | None):
    config = PerLayerGPT2Config(
        vocab_size=5, n_positions=4, n_embd=8, n_layer=2, n_head=2, heads_per_layer=heads, inner_per_layer=inner
    )
    with pytest.raises(ValueError, match=r"heads_per_layer .* must each name 2 layers \(n_layer\)"):
        PerLayerGPT2LMHeadModel(config)


def test_per_layer_configuration_names_every_layer():
    arch = SPACE.architecture({"embed_dim": 16, "depth": 3, "num_heads": [2, 4, 1], "mlp_ratio": [3, 0.5, 1.25]})
    config = SPACE.config(arch)
    assert isinstance(config, PerLayerGPT2Config)
    assert (config.heads_per_layer, config.inner_per_layer) == ([2, 4, 1], [48, 8, 20])
    assert (config.n_head, config.n_inner) == (2, 48)


def test_a_per_layer_model_starts_like_a_stock_one():
    space = GPT2Space.build(
        embed_dim=[64], depth=[2], num_heads=[2, 4], mlp_ratio=[2, 4], per_layer=["num_heads", "mlp_ratio"], vocab_size=50
    )
    layers = {"embed_dim": 64, "depth": 2}
    stock = plain_model(space, space.architecture({**layers, "num_heads": [4, 4], "mlp_ratio": [4, 4]}))
    mixed = plain_model(space, space.architecture({**layers, "num_heads": [2, 4], "mlp_ratio": [2, 4]}))
    assert type(stock) is not type(mixed)
    scales = {name: parameter.std().item() for name, parameter in stock.named_parameters() if parameter.dim() == 2}
    for name, parameter in mixed.named_parameters():
        if parameter.dim() == 2:
            assert parameter.std().item() == pytest.approx(scales[name], rel=0.1), name
