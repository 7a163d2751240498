"""From a subnet to a verified Hub-format folder that plain transformers loads. Exporting needs ``knotwork-export[gpt]``."""

from knotwork_export._card import model_card
from knotwork_export._errors import ExportError
from knotwork_export._export import export
from knotwork_export._hub import push_to_hub
from knotwork_export._provenance import Provenance
from knotwork_export._verify import verify_export

__all__ = ["ExportError", "Provenance", "export", "model_card", "push_to_hub", "verify_export"]
