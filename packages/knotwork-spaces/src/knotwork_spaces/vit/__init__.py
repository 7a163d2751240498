"""Vision Transformers: search space, supernet and extraction. Needs timm: install ``knotwork-spaces[vit]``."""

try:
    import timm as _timm  # noqa: F401
except ImportError as error:  # pragma: no cover - tested in an isolated environment
    raise ImportError("knotwork_spaces.vit needs timm: pip install 'knotwork-spaces[vit]'") from error

from knotwork_spaces.vit._cost import vit_cost
from knotwork_spaces.vit._extract import slice_state_dict
from knotwork_spaces.vit._folder import check_timm_folder
from knotwork_spaces.vit._pretrained import load_pretrained
from knotwork_spaces.vit._space import ViTSpace
from knotwork_spaces.vit._supernet import ViTSupernet
from knotwork_spaces.vit._units import units
from knotwork_spaces.vit._upstream import plain_metrics, plain_model
from knotwork_spaces.vit.per_layer_vit import per_layer_vit

__all__ = [
    "ViTSpace",
    "ViTSupernet",
    "check_timm_folder",
    "load_pretrained",
    "per_layer_vit",
    "plain_metrics",
    "plain_model",
    "slice_state_dict",
    "units",
    "vit_cost",
]
