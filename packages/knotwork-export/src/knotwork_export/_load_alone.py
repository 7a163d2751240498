"""Load an exported folder where no knotwork package can be imported, and write down what it computes.

``_verify.py`` runs this file as a script, ``python -I _load_alone.py REQUEST.json``. No module of the package imports it, and
it imports nothing but the standard library before the block below is in place.
"""

import importlib
import importlib.util
import json
import pkgutil
import sys
from collections.abc import Callable, Sequence
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
    """Run the request's loaders one after another, and write logits and whatever else they give to its output."""
    block()
    import torch
    from safetensors.torch import load_file, save_file

    torch.set_num_threads(request["threads"])
    inputs = load_file(request["input"])["inputs"].clone()
    results: dict[str, Any] = {}
    for name in request["loaders"]:
        results |= LOADERS[name](request, inputs)
    loaded = sorted(name for name, module in sys.modules.items() if name.startswith(PREFIX) and module is not None)
    if loaded:
        sys.exit(f"loading the folder imported {loaded}")
    save_file(results, request["output"])


def causal_lm(request: dict[str, Any], ids: Any) -> dict[str, Any]:
    """A language model as transformers loads it, and the token ids of the probe if it has a tokenizer."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = _pretrained(AutoModelForCausalLM, request, attn_implementation=request["attention"])
    with torch.inference_mode():
        results = {"logits.transformers": model(input_ids=ids).logits.contiguous()}
    if request["probe"] is not None:
        tokenizer = AutoTokenizer.from_pretrained(request["folder"], **_trust(request))
        results["token_ids"] = torch.tensor(tokenizer(request["probe"])["input_ids"], dtype=torch.int64)
    return results


def transformers_classifier(request: dict[str, Any], images: Any) -> dict[str, Any]:
    """An image classifier and its image processor as transformers loads them; nothing where transformers is not installed."""
    if importlib.util.find_spec("transformers") is None:
        return {}
    import torch
    from transformers import AutoImageProcessor, AutoModelForImageClassification

    model = _pretrained(AutoModelForImageClassification, request)
    processor: Any = AutoImageProcessor.from_pretrained(request["folder"])
    names = [model.config.id2label[index] for index in range(model.config.num_labels)]
    _expect("transformers", request, data_config=processor.data_config, labels=names)
    with torch.inference_mode():
        return {"logits.transformers": model(pixel_values=images).logits.contiguous()}


def timm_classifier(request: dict[str, Any], images: Any) -> dict[str, Any]:
    """An image classifier as timm loads it, with the folder's own model registered if it has one."""
    import timm
    import torch
    from timm.data.config import resolve_model_data_config

    folder = Path(request["folder"])
    for name in request["code"]:
        _import_file(folder / name)
        # transformers has registered the model before, and must not do this file's work.
        if timm.models.model_entrypoint(request["architecture"]).__module__ != Path(name).stem:
            sys.exit(f"importing {name} did not register {request['architecture']} with timm")
    # timm builds a model in torch's default precision, and would round the weights to it.
    torch.set_default_dtype(images.dtype)
    model: Any = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    settings = resolve_model_data_config(model)
    _expect("timm", request, data_config=settings, labels=model.pretrained_cfg["label_names"])
    with torch.inference_mode():
        return {"logits.timm": model(images).contiguous()}


LOADERS: dict[str, Callable[[dict[str, Any], Any], dict[str, Any]]] = {
    "causal_lm": causal_lm,
    "transformers_classifier": transformers_classifier,
    "timm_classifier": timm_classifier,
}


def _pretrained(auto_class: Any, request: dict[str, Any], **options: Any) -> Any:
    """The model in eval mode; exits where weights and configuration do not fit each other."""
    import torch

    model, report = auto_class.from_pretrained(
        request["folder"], use_safetensors=True, output_loading_info=True, **options, **_trust(request)
    )
    wrong = {kind: sorted(map(str, names)) for kind, names in report.items() if names}
    if wrong:
        sys.exit(f"the weights do not fit the configuration: {wrong}")
    # transformers maps the file, and some kernels sum in another order where a tensor begins at an odd address. See _copy.py.
    for tensor in (*model.parameters(), *model.buffers()):
        tensor.data = tensor.data.clone(memory_format=torch.contiguous_format)
    return model.eval()


def _trust(request: dict[str, Any]) -> dict[str, bool]:
    return {"trust_remote_code": True} if request["custom_code"] else {}


def _import_file(path: Path) -> None:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # timm looks up the module of what it registers.
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)


def _expect(library: str, request: dict[str, Any], **found: Any) -> None:
    """Exit unless the library understood the folder's settings as they were given."""
    for name, value in found.items():
        value = json.loads(json.dumps(value))
        if value != request[name]:
            sys.exit(f"{library} reads {name} as {value}, but it was given as {request[name]}")


if __name__ == "__main__":
    load(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
