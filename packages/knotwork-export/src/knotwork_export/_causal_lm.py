"""A transformers language model: its files and, for a model of its own class, its code; its card; what it is compared on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from huggingface_hub import ModelCard
from torch import Tensor, nn

from knotwork_export._card import CardContent, build_card, python
from knotwork_export._code import check_code, has_custom_code
from knotwork_export._copy import plain_copy
from knotwork_export._errors import ExportError
from knotwork_export._provenance import Provenance
from knotwork_export._reference import Reference, token_reference

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

CODE_MAY_IMPORT = frozenset({"torch", "transformers"})
ATTENTION_ON_CPU = ("eager", "sdpa")
PROBE = "Once upon a time, in 1984:\n\tdef naïve(x): return x ** 2  # 日本語 🙂"
GPT2_SIZES = ("n_embd", "n_layer", "n_head", "n_inner", "heads_per_layer", "inner_per_layer")
LLAMA_SIZES = (
    "hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "head_dim", "intermediate_size",
    "kv_heads_per_layer", "intermediate_per_layer",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class CausalLM:
    """A language model and its tokenizer on their way out; see ``Exportable``.

    Attributes:
        plain: a copy of the model, which writing changes.
        tokenizer: written and compared when there is one.
        reference: token ids, and the supernet's logits for them.
    """

    plain: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase | None
    reference: Reference

    @classmethod
    def of(
        cls, model: nn.Module, tokenizer: PreTrainedTokenizerBase | None, ids: Tensor | None, logits: Tensor | None
    ) -> CausalLM:
        """Of a given model, which is left as it is.

        Raises:
            ImportError: transformers is not installed.
            ValueError: not a transformers model that generates text, or a tokenizer or reference that does not fit it.
        """
        plain = _supported_copy(model)
        _check_tokenizer(plain, tokenizer)
        return cls(plain, tokenizer, token_reference(plain, ids, logits))

    def write(self, folder: Path) -> None:
        """Write configuration, weights, generation settings, the code of a per-layer model and the tokenizer."""
        plain = self.plain
        for part, auto_class in ((plain, "AutoModelForCausalLM"), (plain.config, "AutoConfig")):
            # Registered classes have save_pretrained copy their file and name it in config.json's auto_map.
            if not _is_stock(type(part)) and part._auto_class is None:
                type(part).register_for_auto_class(auto_class)
        plain.generation_config = _generation_config(plain)
        # Sharded weights would need an index; one file is what a small model has.
        plain.save_pretrained(folder, max_shard_size="1000TB")
        if self.tokenizer is not None:
            self.tokenizer.save_pretrained(folder)
        for path in sorted(folder.glob("*.py")):
            check_code(path, CODE_MAY_IMPORT)

    def card(self, folder: Path, provenance: Provenance | None, *, verified: bool) -> ModelCard:
        """The card; without provenance it describes the model alone."""
        return model_card(
            provenance or Provenance(self._sizes()),
            name=folder.name,
            model_type=_upstream_type(self.plain),
            parameters=sum(parameter.numel() for parameter in self.plain.parameters()),
            custom_code=has_custom_code(folder),
            tokenizer=self.tokenizer is not None,
            verified=verified,
        )

    def logits(self) -> Tensor:
        """(batch, tokens, vocabulary)."""
        return self.plain(input_ids=self.reference.inputs).logits

    def request(self, folder: Path) -> dict[str, Any]:
        """Load with transformers, with the attention used here, and have the tokenizer read the probe."""
        return {
            "loaders": ["causal_lm"],
            "custom_code": has_custom_code(folder),
            "attention": self.plain.config._attn_implementation,
            "probe": None if self.tokenizer is None else PROBE,
        }

    def check(self, results: Mapping[str, Tensor]) -> None:
        """The probe's token ids must be equal."""
        if self.tokenizer is None:
            return
        loaded, expected = results["token_ids"].tolist(), list(self.tokenizer(PROBE)["input_ids"])
        if loaded != expected:
            raise ExportError(f"the exported tokenizer reads {PROBE!r} as {loaded}, but the given one as {expected}")

    def _sizes(self) -> dict[str, Any]:
        """The architecture as the configuration tells it, for a model whose search is not known."""
        names = (*GPT2_SIZES, *LLAMA_SIZES)
        config = self.plain.config.to_dict()
        return {name: config[name] for name in names if config.get(name) is not None}


def model_card(
    provenance: Provenance,
    *,
    name: str,
    model_type: str,
    parameters: int,
    custom_code: bool = False,
    tokenizer: bool = True,
    verified: bool = False,
) -> ModelCard:
    """The card of an exported language model.

    License and language are left out: only whoever publishes the model knows them.

    Args:
        provenance: the architecture, its cost, and how it was found.
        name: the title, and the folder in the example.
        model_type: the upstream family, which becomes a tag: ``gpt2``, ``llama``.
        parameters: how many parameters the model has, counted.
        custom_code: whether loading needs ``trust_remote_code=True``.
        tokenizer: whether tokenizer files are there.
        verified: whether export compared the folder with the model.

    Returns:
        The card; ``str(card)`` is its text.
    """
    content = CardContent(
        name=name,
        summary=(
            f"A `{model_type}` language model whose architecture was found inside a weight-entangled supernet with Knotwork."
        ),
        library_name="transformers",
        pipeline_tag="text-generation",
        tags=[model_type],
        software=["knotwork-export", "torch", "transformers"],
        parameters=parameters,
        loading=_loading(name, custom_code, tokenizer),
        sections={},
        verified=verified,
    )
    return build_card(provenance, content)


def _loading(name: str, custom_code: bool, tokenizer: bool) -> str:
    trust = ", trust_remote_code=True" if custom_code else ""
    names = "AutoModelForCausalLM, AutoTokenizer" if tokenizer else "AutoModelForCausalLM"
    lines = [
        f"from transformers import {names}",
        "",
        f"folder = {json.dumps(name, ensure_ascii=False)}  # this folder's path, or USER/NAME on the Hub",
        f"model = AutoModelForCausalLM.from_pretrained(folder{trust})",
    ]
    if tokenizer:
        lines += [
            f"tokenizer = AutoTokenizer.from_pretrained(folder{trust})",
            'prompt = tokenizer("Once upon a time", return_tensors="pt")',
            "print(tokenizer.decode(model.generate(**prompt, max_new_tokens=20)[0]))",
        ]
    if not custom_code:
        return python(*lines)
    return python(*lines) + (
        "\n\nIts layers differ in size, which the stock class cannot express, so the folder carries a small modelling "
        "file; `trust_remote_code=True` permits it. It imports torch, transformers and the standard library only."
    )


def _supported_copy(model: nn.Module) -> PreTrainedModel:
    try:
        from transformers import PreTrainedModel
    except ImportError as error:
        raise ImportError("exporting a language model needs transformers: pip install 'knotwork-export[gpt]'") from error
    if not isinstance(model, PreTrainedModel) or not model.can_generate():
        raise ValueError(
            f"the model is a {type(model).__name__}: expected a transformers model that generates text, "
            "such as GPT2Supernet.extract(architecture) returns"
        )
    plain = plain_copy(model)
    _renew_wavelengths(plain)
    if plain.config._attn_implementation not in ATTENTION_ON_CPU:
        plain.set_attn_implementation("sdpa")
    return plain


def _renew_wavelengths(plain: PreTrainedModel) -> None:
    """Rotary wavelengths are no weights: loading computes them in float32, so those that a cast has rounded do not travel."""
    for name, module in list(plain.named_modules()):
        rounded = getattr(module, "inv_freq", None)
        if "RotaryEmbedding" in type(module).__name__ and rounded is not None and rounded.dtype.itemsize < 4:
            plain.set_submodule(name, type(module)(config=module.config).eval())


def _check_tokenizer(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase | None) -> None:
    """Raise ValueError for a tokenizer that is not transformers' own kind, or knows more tokens than the model."""
    if tokenizer is None:
        return
    if not hasattr(tokenizer, "save_pretrained"):
        raise ValueError(
            f"the tokenizer is a {type(tokenizer).__name__}: expected one of transformers; "
            "wrap a tokenizers.Tokenizer in PreTrainedTokenizerFast(tokenizer_object=...)"
        )
    if len(tokenizer) > model.config.vocab_size:
        raise ValueError(
            f"the tokenizer has {len(tokenizer)} tokens, but the model's vocabulary {model.config.vocab_size}: "
            "export the tokenizer that the model was trained with"
        )


def _upstream_type(model: PreTrainedModel) -> str:
    """The upstream family's name, also for a class derived from it: ``gpt2``."""
    stock = (getattr(kind, "model_type", "") for kind in type(model.config).__mro__ if _is_stock(kind))
    return next(filter(None, stock), str(model.config.model_type))


def _is_stock(kind: type) -> bool:
    # Not a prefix: code that came with a model lives in transformers_modules.
    return kind.__module__.split(".")[0] == "transformers"


def _generation_config(plain: PreTrainedModel) -> Any:
    from transformers import GenerationConfig

    config = plain.config
    eos, pad = config.eos_token_id, getattr(config, "pad_token_id", None)
    # Without a padding token generate() takes the end of text, and says so each time.
    return GenerationConfig(bos_token_id=config.bos_token_id, eos_token_id=eos, pad_token_id=eos if pad is None else pad)
