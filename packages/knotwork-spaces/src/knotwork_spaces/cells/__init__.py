"""The cells of TangleNAS' toy benchmark: search space, supernet, plain network, and the published figures.

Needs safetensors, which saved networks are written with: install ``knotwork-spaces[cells]``.
"""

try:
    import safetensors as _safetensors  # noqa: F401
except ImportError as error:  # pragma: no cover - tested in an isolated environment
    raise ImportError("knotwork_spaces.cells needs safetensors: pip install 'knotwork-spaces[cells]'") from error

from knotwork_spaces.cells._benchmark import BenchmarkRow, read_benchmark
from knotwork_spaces.cells._cost import cell_cost
from knotwork_spaces.cells._extract import plain_metrics, plain_model, recalibrate, slice_state_dict
from knotwork_spaces.cells._save import save_cells
from knotwork_spaces.cells._space import ToyCellSpace
from knotwork_spaces.cells._supernet import ToyCellSupernet
from knotwork_spaces.cells.toy_cell_network import OPERATIONS, ToyCellNetwork, load_cells

__all__ = [
    "OPERATIONS",
    "BenchmarkRow",
    "ToyCellNetwork",
    "ToyCellSpace",
    "ToyCellSupernet",
    "cell_cost",
    "load_cells",
    "plain_metrics",
    "plain_model",
    "read_benchmark",
    "recalibrate",
    "save_cells",
    "slice_state_dict",
]
