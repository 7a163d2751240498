"""From a subnet to a verified Hub-format folder that plain transformers or timm loads.

Exporting language models needs ``knotwork-export[gpt]``, image classifiers ``knotwork-export[vit]``.
"""

from knotwork_export._causal_lm import model_card
from knotwork_export._errors import ExportError
from knotwork_export._export import export, export_classifier
from knotwork_export._hub import push_to_hub
from knotwork_export._preprocessing import Preprocessing
from knotwork_export._provenance import Provenance
from knotwork_export._verify import verify_classifier, verify_export

__all__ = [
    "ExportError",
    "Preprocessing",
    "Provenance",
    "export",
    "export_classifier",
    "model_card",
    "push_to_hub",
    "verify_classifier",
    "verify_export",
]
