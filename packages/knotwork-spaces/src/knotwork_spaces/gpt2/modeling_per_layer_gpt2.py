"""GPT-2 whose layers choose their head count and MLP width alone.

This file travels with an exported model (``trust_remote_code=True`` loads it): it imports transformers, and ``copy``.
"""

import copy

from transformers import GPT2Config, GPT2LMHeadModel
from transformers.models.gpt2.modeling_gpt2 import GPT2Block


class PerLayerGPT2Config(GPT2Config):
    """GPT-2's configuration with one head count and one MLP width a layer.

    ``n_head`` and ``n_inner`` hold the first layer's, for code that asks for one number.
    """

    model_type = "per_layer_gpt2"

    heads_per_layer: list[int] | None = None
    inner_per_layer: list[int] | None = None


class PerLayerGPT2LMHeadModel(GPT2LMHeadModel):
    """``GPT2LMHeadModel`` with blocks of the sizes that the configuration lists, under the same parameter names."""

    config_class = PerLayerGPT2Config

    def __init__(self, config: PerLayerGPT2Config) -> None:
        super().__init__(config)
        heads, inner = config.heads_per_layer or [], config.inner_per_layer or []
        if not len(heads) == len(inner) == config.n_layer:
            raise ValueError(
                f"heads_per_layer {heads} and inner_per_layer {inner} must each name {config.n_layer} layers (n_layer)"
            )
        for layer in range(config.n_layer):
            sizes = copy.copy(config)
            sizes.n_head, sizes.n_inner = heads[layer], inner[layer]
            block = GPT2Block(sizes, layer_idx=layer)
            # The attention reads the backend from its configuration, which may be changed after loading.
            block.attn.config = config
            self.transformer.h[layer] = block
        self.post_init()
        # transformers passes over modules without parameters of their own in code that is not its own, and with them GPT-2's
        # smaller initial scale of the projections back to the residual stream.
        for block in self.transformer.h:
            self._init_weights(block.attn)
            self._init_weights(block.mlp)
