"""Importing this registers ``per_layer_vit`` with timm, so that it loads exported classifiers whose layers differ.

timm names its models and cannot read a folder's own code, as transformers can:

    import knotwork_export.timm_models
    model = timm.create_model("local-dir:FOLDER", pretrained=True)
"""

try:
    from knotwork_spaces.vit import per_layer_vit
except ImportError as error:
    raise ImportError("knotwork_export.timm_models needs timm: pip install 'knotwork-export[vit]'") from error

__all__ = ["per_layer_vit"]
