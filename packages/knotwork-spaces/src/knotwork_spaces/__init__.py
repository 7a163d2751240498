"""Search spaces whose supernets wrap upstream models: one folder a family, imported when it is asked for."""

from knotwork_spaces._families import family, family_names
from knotwork_spaces._yaml import SpaceDefinition, load_space, preset_names, space_definition, space_from_dict

__all__ = ["SpaceDefinition", "family", "family_names", "load_space", "preset_names", "space_definition", "space_from_dict"]
