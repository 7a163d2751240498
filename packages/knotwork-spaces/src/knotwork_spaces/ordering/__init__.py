"""What a smaller net inherits is a prefix: put first what matters most, without changing what the whole network computes."""

from knotwork_spaces.ordering._order import order_units, ordered
from knotwork_spaces.ordering._scores import SCORES, unit_scores
from knotwork_spaces.ordering._units import Layer, Place, Reading, UnitGroup, Units

__all__ = ["SCORES", "Layer", "Place", "Reading", "UnitGroup", "Units", "order_units", "ordered", "unit_scores"]
