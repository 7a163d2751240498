"""The Llama search space: which subnets there are, and the plain upstream configuration of each."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from knotwork_ops import Architecture
from transformers import LlamaConfig, MistralConfig, Qwen3Config

from knotwork_spaces._layer_order import LayeredSpace
from knotwork_spaces._settings import check_weights, check_whole, described, is_number
from knotwork_spaces._transformer_space import check_whole_options, layered_choices
from knotwork_spaces.llama.modeling_per_layer_llama import PerLayerLlamaConfig, PerLayerMistralConfig, PerLayerQwen3Config

CONFIGS: dict[str, tuple[Any, Any]] = {
    "llama": (LlamaConfig, PerLayerLlamaConfig),
    "mistral": (MistralConfig, PerLayerMistralConfig),
    "qwen3": (Qwen3Config, PerLayerQwen3Config),
}
"""By upstream's model type: the configuration of nets whose layers are alike, and of all others."""


@dataclass(frozen=True)
class LlamaSpace(LayeredSpace):
    """A search space of Llamas: embedding width, depth, key-value heads, query heads of each, their width, and MLP units.

    Build it with ``LlamaSpace.build``; every combination in it is a valid net. Attention heads are ``num_kv_heads`` times
    ``heads_per_group``: a key-value head and the query heads that share it are one group, and groups stay whole.

    Attributes:
        choices: ``embed_dim``, ``depth``, ``num_kv_heads``, ``heads_per_group``, ``head_dim`` and ``intermediate_size``, in
            this order. One option of ``head_dim`` fixes it.
        model_type: ``llama``, ``mistral`` (the same function, without its sliding window) or ``qwen3`` (RMS norms on queries
            and keys).
        vocab_size: entries of the token embedding.
        block_size: the longest sequence that is trained on, in tokens.
        max_position_embeddings: what the exported configuration says is the longest sequence; ``block_size`` when None.
        rope_theta: base of the rotary embedding's wavelengths.
        rms_norm_eps: added to the mean of the squares in every norm.
        tie_word_embeddings: whether the head has the token embedding's weight.
        eos_token_id: the tokenizer's end of text, written to the exported configuration.
        initializer_range: standard deviation of the initial weights. Llama's 0.02 suits widths of 768 and more; narrow nets
            learn much faster from larger ones.

    Raises:
        ValueError: an option that is no whole number, a head width that is odd or does not divide the largest, for ``llama`` a
            width that a number of attention heads does not divide, a choice per layer that cannot be, a setting out of its
            range, a largest net of over 1e11 weights, or as ``LayeredSpace`` does.
    """

    model_type: str = "llama"
    vocab_size: int = 32000
    block_size: int = 2048
    max_position_embeddings: int | None = None
    rope_theta: float = 10000.0
    rms_norm_eps: float = 1e-6
    tie_word_embeddings: bool = False
    eos_token_id: int | None = None
    initializer_range: float = 0.02

    family: ClassVar[str] = "llama"
    choice_names: ClassVar[tuple[str, ...]] = (
        "embed_dim", "depth", "num_kv_heads", "heads_per_group", "head_dim", "intermediate_size",
    )  # fmt: skip
    # The residual stream shares one embedding width; upstream has one rotary embedding, so one head width.
    per_layer_choices: ClassVar[tuple[str, ...]] = ("num_kv_heads", "heads_per_group", "intermediate_size")
    named_options: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_whole_options(self, self.choice_names)
        _check_settings(self)
        _check_heads(self)
        embed, depth, groups, members, width, inner = (self[name].numbers[-1] for name in self.choice_names)
        check_weights(self.vocab_size * embed + depth * embed * (2 * groups * (members + 1) * width + 3 * inner))

    @classmethod
    def build(
        cls,
        *,
        embed_dim: Sequence[int],
        depth: Sequence[int],
        num_kv_heads: Sequence[int],
        heads_per_group: Sequence[int],
        head_dim: Sequence[int],
        intermediate_size: Sequence[int],
        per_layer: Collection[str] = (),
        **settings: Any,
    ) -> Self:
        """A space from options and settings; the choices named in ``per_layer`` are made by each layer alone.

        Raises:
            ValueError: as the class does, or a choice that cannot be made per layer.
            TypeError: a setting that there is not.
        """
        lists = (embed_dim, depth, num_kv_heads, heads_per_group, head_dim, intermediate_size)
        options = dict(zip(cls.choice_names, lists, strict=True))
        return cls(layered_choices(options, per_layer, cls.per_layer_choices), **settings)

    @property
    def longest(self) -> int:
        """Tokens of the longest sequence, as configurations say."""
        return self.block_size if self.max_position_embeddings is None else self.max_position_embeddings

    def config(self, architecture: Architecture) -> LlamaConfig | MistralConfig | Qwen3Config:
        """The upstream configuration of a subnet: a stock one when its layers are alike, else ``PerLayerLlamaConfig`` or kin.

        Raises:
            ValueError: an architecture that is not of this space.
        """
        self.validate(architecture)
        ranks = self.ranks(architecture["depth"])
        kv_heads, members, inner = (
            [int(architecture.at(name, rank)) for rank in ranks]
            for name in ("num_kv_heads", "heads_per_group", "intermediate_size")
        )
        heads = [count * each for count, each in zip(kv_heads, members, strict=True)]
        common: dict[str, Any] = {
            "vocab_size": self.vocab_size,
            "max_position_embeddings": self.longest,
            "hidden_size": architecture["embed_dim"],
            "num_hidden_layers": architecture["depth"],
            "num_attention_heads": heads[0],
            "num_key_value_heads": kv_heads[0],
            "head_dim": architecture["head_dim"],
            "intermediate_size": inner[0],
            "rope_parameters": {"rope_type": "default", "rope_theta": float(self.rope_theta)},
            "rms_norm_eps": float(self.rms_norm_eps),
            "tie_word_embeddings": self.tie_word_embeddings,
            "initializer_range": float(self.initializer_range),
            "bos_token_id": self.eos_token_id,
            "eos_token_id": self.eos_token_id,
        }
        if self.model_type == "mistral":
            common["sliding_window"] = None
        stock, per_layer = CONFIGS[self.model_type]
        if architecture.uniform:
            return stock(**common)
        return per_layer(**common, heads_per_layer=heads, kv_heads_per_layer=kv_heads, intermediate_per_layer=inner)

    def as_dict(self) -> dict[str, Any]:
        """The space as JSON values."""
        return described(self, super().as_dict())


def _check_heads(space: LlamaSpace) -> None:
    widths = [int(width) for width in space["head_dim"].numbers]
    for width in widths:
        if width % 2:
            raise ValueError(f"head_dim {width} is odd: the rotary embedding turns pairs of units, so give even widths")
        if widths[-1] % width:
            raise ValueError(
                f"head_dim {width} does not divide the largest, {widths[-1]}: a narrower head keeps every n-th pair of units "
                f"of the widest, and with them their wavelengths; change head_dim {widths}"
            )
    if space.model_type != "llama":
        return
    embeds, groups, members = (list(space[name].numbers) for name in ("embed_dim", "num_kv_heads", "heads_per_group"))
    for embed in embeds:
        for heads in (group * member for group in groups for member in members):
            if embed % heads:
                raise ValueError(
                    f"embed_dim {embed} is not divisible by {heads} attention heads (num_kv_heads x heads_per_group), which "
                    f"transformers' LlamaConfig refuses: change embed_dim {embeds}, num_kv_heads {groups} or heads_per_group "
                    f"{members}, or set model_type to mistral, which computes the same and allows it"
                )


def _check_settings(space: LlamaSpace) -> None:
    if not isinstance(space.model_type, str) or space.model_type not in CONFIGS:
        raise ValueError(f"unknown model_type {space.model_type!r}: known are {list(CONFIGS)}")
    for name in ("vocab_size", "block_size"):
        check_whole(name, getattr(space, name))
    if space.max_position_embeddings is not None:
        check_whole("max_position_embeddings", space.max_position_embeddings)
        if space.max_position_embeddings < space.block_size:
            raise ValueError(
                f"max_position_embeddings {space.max_position_embeddings} is less than block_size {space.block_size}: a block "
                "must be a sequence that the net takes"
            )
    end = space.eos_token_id
    if end is not None and (isinstance(end, bool) or not isinstance(end, int) or not 0 <= end < space.vocab_size):
        raise ValueError(f"eos_token_id is {end!r}: it must be a token of the vocabulary of {space.vocab_size}, or None")
    if not isinstance(space.tie_word_embeddings, bool):
        raise ValueError(f"tie_word_embeddings is {space.tie_word_embeddings!r}: it must be true or false")
    for name, most in (("rope_theta", 1e12), ("rms_norm_eps", 1.0), ("initializer_range", 1.0)):
        value = getattr(space, name)
        if not is_number(value) or not 0 < value < most:
            raise ValueError(f"{name} is {value!r}: it must be positive and below {most:g}")
