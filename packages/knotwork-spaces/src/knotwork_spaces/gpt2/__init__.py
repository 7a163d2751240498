"""GPT-2: search space, supernet and extraction. Needs transformers: install ``knotwork-spaces[gpt]``."""

try:
    import transformers as _transformers  # noqa: F401
except ImportError as error:  # pragma: no cover - tested in an isolated environment
    raise ImportError("knotwork_spaces.gpt2 needs transformers: pip install 'knotwork-spaces[gpt]'") from error

from knotwork_spaces._language import plain_metrics
from knotwork_spaces.gpt2._cost import gpt2_cost
from knotwork_spaces.gpt2._extract import plain_model, slice_state_dict
from knotwork_spaces.gpt2._pretrained import load_pretrained
from knotwork_spaces.gpt2._space import GPT2Space
from knotwork_spaces.gpt2._supernet import GPT2Supernet
from knotwork_spaces.gpt2._units import units
from knotwork_spaces.gpt2.modeling_per_layer_gpt2 import PerLayerGPT2Config, PerLayerGPT2LMHeadModel

__all__ = [
    "GPT2Space",
    "GPT2Supernet",
    "PerLayerGPT2Config",
    "PerLayerGPT2LMHeadModel",
    "gpt2_cost",
    "load_pretrained",
    "plain_metrics",
    "plain_model",
    "slice_state_dict",
    "units",
]
