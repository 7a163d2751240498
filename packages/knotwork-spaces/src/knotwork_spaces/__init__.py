"""Search spaces whose supernets wrap upstream models: one folder a family, imported when it is asked for."""

from knotwork_spaces._adapters import adapted, merged_state
from knotwork_spaces._families import Family, family, family_names
from knotwork_spaces._model_folder import check_finite, check_model_folder, check_size
from knotwork_spaces._pretrained import Pretrained, load_pretrained
from knotwork_spaces._yaml import SpaceDefinition, load_space, preset_names, presets_of, space_definition, space_from_dict

__all__ = [
    "Family",
    "Pretrained",
    "SpaceDefinition",
    "adapted",
    "check_finite",
    "check_model_folder",
    "check_size",
    "family",
    "family_names",
    "load_pretrained",
    "load_space",
    "merged_state",
    "preset_names",
    "presets_of",
    "space_definition",
    "space_from_dict",
]
