"""Load an exported folder where no knotwork package can be imported, and write down what it computes.

``_verify.py`` runs this file as a script, ``python -I _load_alone.py REQUEST.json``. No module of the package imports it, and
it imports nothing but the standard library before the block below is in place.
"""

import importlib
import json
import pkgutil
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

PREFIX = "knotwork"


class Block(MetaPathFinder):
    """Refuses every module whose top-level name starts with knotwork."""

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """None for every other module, so that the search goes on."""
        if fullname.startswith(PREFIX):
            raise ModuleNotFoundError(f"{fullname} is blocked: an exported model must load without knotwork", name=fullname)
        return None


def block() -> list[str]:
    """Make knotwork impossible to import, and prove it; returns the names that this environment has and that were refused."""
    installed = sorted({module.name for module in pkgutil.iter_modules() if module.name.startswith(PREFIX)})
    sys.meta_path.insert(0, Block())
    for name in installed:
        try:
            importlib.import_module(name)
        except ModuleNotFoundError:
            # Refused for good, even should another finder come first later.
            sys.modules[name] = None  # pyright: ignore[reportArgumentType]
        else:
            sys.exit(f"{name} could be imported in the process that must not have it")
    return installed


def load(request: dict[str, Any]) -> None:
    """Load the model, and the tokenizer if there is one; write logits and token ids to the request's output."""
    block()
    import torch
    from safetensors.torch import load_file, save_file
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.set_num_threads(request["threads"])
    trust = {"trust_remote_code": True} if request["custom_code"] else {}
    # Annotated, because the stubs do not know that output_loading_info makes it a pair.
    pair: Any = AutoModelForCausalLM.from_pretrained(
        request["folder"], attn_implementation=request["attention"], output_loading_info=True, **trust
    )
    model, report = pair
    wrong = {kind: sorted(map(str, names)) for kind, names in report.items() if names}
    if wrong:
        sys.exit(f"the weights do not fit the configuration: {wrong}")
    ids = load_file(request["input"])["input_ids"]
    with torch.inference_mode():
        results = {"logits": model.eval()(input_ids=ids).logits.contiguous()}
    if request["probe"] is not None:
        tokenizer = AutoTokenizer.from_pretrained(request["folder"], **trust)
        results["token_ids"] = torch.tensor(tokenizer(request["probe"])["input_ids"], dtype=torch.int64)
    loaded = sorted(name for name, module in sys.modules.items() if name.startswith(PREFIX) and module is not None)
    if loaded:
        sys.exit(f"loading the folder imported {loaded}")
    save_file(results, request["output"])


if __name__ == "__main__":
    load(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
