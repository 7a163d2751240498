"""The ViT search space: which subnets there are, and the timm model of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import timm
from knotwork_ops import Architecture

from knotwork_spaces._settings import LARGEST_IMAGE, check_weights, check_whole, is_number
from knotwork_spaces._transformer_space import TransformerSpace
from knotwork_spaces.vit.per_layer_vit import exact_ratio

PER_LAYER_MODEL = "per_layer_vit"
POOLS = ("token", "avg")


@dataclass(frozen=True)
class ViTSpace(TransformerSpace):
    """A search space of timm Vision Transformers: embedding width, depth, head count and MLP ratio.

    Build it with ``ViTSpace.build``; every combination in it is a valid ViT. Settings that are None are those of ``model``.

    Attributes:
        choices: ``embed_dim``, ``depth``, ``num_heads`` and ``mlp_ratio``, in this order.
        model: the timm ViT whose other settings the nets have.
        image_size: height and width of the images, in pixels.
        patch_size: height and width of a patch, in pixels.
        channels: of the images: 1 for grey, 3 for colour.
        num_classes: entries of the classifier.
        head_dim: units of every head, such as AutoFormer's 64; None splits the embedding over the heads.
        global_pool: ``token`` classifies the class token, ``avg`` the mean of the patches.
        qkv_bias: whether queries, keys and values have a bias.
        init_values: initial layer scale; 0 for none.
        drop_path_rate: stochastic depth of the deepest layer while training. timm spreads it over a net's own depth, so a
            shallow subnet trained alone drops its last layers more often than inside the supernet.
        dropout: of the residual branches, while training.
        initializer_range: standard deviation of the initial weights of linear maps. timm's 0.02 suits wide nets; narrow ones
            learn much faster from larger ones.

    Raises:
        ValueError: an embedding width that a head count does not divide, an MLP ratio that gives no whole number of hidden
            units, an image size that is not a multiple of the patch, a choice per layer that cannot be, a setting out of its
            range, or a largest net of over 1e11 weights.
    """

    model: str = "vit_tiny_patch16_224"
    image_size: int = 224
    patch_size: int = 16
    channels: int = 3
    num_classes: int = 1000
    head_dim: int | None = None
    global_pool: str | None = None
    qkv_bias: bool | None = None
    init_values: float | None = None
    drop_path_rate: float = 0.0
    dropout: float = 0.0
    initializer_range: float = 0.02

    family: ClassVar[str] = "vit"
    another_remedy: ClassVar[str] = ", or give all heads one width with head_dim"

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_settings(self)
        embed, depth, heads, ratio = (self[name].numbers[-1] for name in self.choice_names)
        attention = embed if self.head_dim is None else heads * self.head_dim
        outside = self.tokens + self.channels * self.patch_size**2 + self.num_classes
        check_weights(embed * (outside + depth * (4 * attention + 2 * ratio * embed)))

    @property
    def heads_share_embedding(self) -> bool:
        """Whether a head's width is the embedding's over the head count, rather than ``head_dim``."""
        return self.head_dim is None

    @property
    def tokens(self) -> int:
        """Patches of an image."""
        return (self.image_size // self.patch_size) ** 2

    def stock(self, architecture: Architecture) -> bool:
        """Whether a stock timm ViT expresses this architecture: all layers alike, and heads that share the embedding."""
        heads = architecture.at("num_heads", 0)
        return architecture.uniform and self.head_dim in (None, architecture["embed_dim"] / heads)

    def timm_model(self, architecture: Architecture) -> tuple[str, dict[str, Any]]:
        """The timm name and ``model_args`` of a subnet, ``num_classes`` apart, which timm and transformers pass on their own.

        Raises:
            ValueError: an architecture that is not of this space.
        """
        self.validate(architecture)
        embed = architecture["embed_dim"]
        heads, hidden = self.layer_heads(architecture), self.layer_hidden(architecture)
        given = {"global_pool": self.global_pool, "qkv_bias": self.qkv_bias, "init_values": self.init_values}
        common = {
            "img_size": self.image_size,
            "patch_size": self.patch_size,
            "in_chans": self.channels,
            "embed_dim": embed,
            "depth": architecture["depth"],
            **{name: value for name, value in given.items() if value is not None},
        }
        rates = {"drop_path_rate": self.drop_path_rate, "proj_drop_rate": self.dropout}
        common |= {name: rate for name, rate in rates.items() if rate}
        if self.stock(architecture):
            return self.model, {**common, "num_heads": heads[0], "mlp_ratio": exact_ratio(embed, hidden[0])}
        sizes = {"base": self.model, "heads_per_layer": heads, "hidden_per_layer": hidden}
        return PER_LAYER_MODEL, {**common, **sizes, **({} if self.head_dim is None else {"head_dim": self.head_dim})}


def _check_settings(space: ViTSpace) -> None:
    if not isinstance(space.model, str) or space.model == PER_LAYER_MODEL or not timm.is_model(space.model):
        raise ValueError(f"unknown timm model {space.model!r}: name one that timm.list_models('vit_*') lists")
    for name in ("image_size", "patch_size"):
        check_whole(name, getattr(space, name), LARGEST_IMAGE)
    for name in ("channels", "num_classes"):
        check_whole(name, getattr(space, name))
    if space.head_dim is not None:
        check_whole("head_dim", space.head_dim)
    if space.image_size % space.patch_size:
        raise ValueError(
            f"image_size {space.image_size} is not a multiple of patch_size {space.patch_size}: change one of them"
        )
    if space.global_pool is not None and space.global_pool not in POOLS:
        raise ValueError(f"global_pool is {space.global_pool!r}: known are {list(POOLS)}")
    if space.qkv_bias is not None and not isinstance(space.qkv_bias, bool):
        raise ValueError(f"qkv_bias is {space.qkv_bias!r}: it must be true or false")
    if space.init_values is not None:
        _check_number("init_values", space.init_values, 0, 1e6)
    _check_number("drop_path_rate", space.drop_path_rate, 0, 0.999)
    _check_number("dropout", space.dropout, 0, 0.999)
    _check_number("initializer_range", space.initializer_range, 1e-6, 1e3)


def _check_number(name: str, value: Any, low: float, high: float) -> None:
    if not is_number(value) or not low <= value <= high:
        raise ValueError(f"{name} is {value!r}: it must be a number from {low:g} to {high:g}")
