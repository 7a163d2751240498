"""Training a language model end to end, on folders as a search leaves them and on plain ones."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from knotwork_export import Provenance, export
from knotwork_search import RunFolder, TrainSettings, seeded
from knotwork_search._checkpoint import save_checkpoint
from knotwork_spaces.gpt2 import GPT2Space, GPT2Supernet
from knotwork_tasks.text import load_text, load_tokenizer
from knotwork_tasks.text._network import load_language_model
from knotwork_tasks.training import ArchitectureFile, read_start
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer, GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from .conftest import Main
from .trained import drop_record, files, losses, results, validation

PER_LAYER = {"embed_dim": 16, "depth": 2, "num_heads": [1, 2], "mlp_ratio": [2, 1]}


@pytest.fixture(scope="module")
def tokenizer(text_file: Path) -> Any:
    return load_tokenizer("train:280", load_text(str(text_file)).train)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, text_file: Path, tokenizer: Any) -> Path:
    """What training needs of a run: settings, space, supernet, the tokenizer, what was found, and its export."""
    folder = RunFolder(tmp_path_factory.mktemp("searched") / "run")
    space = GPT2Space.build(
        embed_dim=[8, 16],
        depth=[1, 2],
        num_heads=[1, 2],
        mlp_ratio=[1, 2],
        per_layer=["num_heads", "mlp_ratio"],
        vocab_size=len(tokenizer),
        block_size=16,
        eos_token_id=tokenizer.eos_token_id,
        dropout=0.1,
        initializer_range=0.1,
    )
    with seeded("supernet"):
        supernet = GPT2Supernet(space).eval()
    architecture = space.architecture(PER_LAYER)
    config = {"dataset": str(text_file), "batch_size": 4, "learning_rate": 0.01, "max_steps": 12, "block_size": None}
    with folder.create(config, space.as_dict()):
        pass
    tokenizer.save_pretrained(folder.tokenizer)
    save_checkpoint(folder.checkpoints, 1, {f"supernet.{n}": p for n, p in supernet.named_parameters()}, {"step": 1})
    folder.write_architecture({"space": space.as_dict(), "architecture": architecture.as_dict(), "strategy": "drnas"})
    provenance = Provenance(architecture, strategy="drnas", metrics={"loss": 9.5})
    export(supernet.extract(architecture), folder.model, tokenizer=tokenizer, provenance=provenance, verify=False)
    return folder.path


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory, tokenizer: Any) -> Path:
    """A plain GPT-2 of the same vocabulary."""
    folder = tmp_path_factory.mktemp("teacher") / "big"
    with seeded("teacher"):
        model = GPT2LMHeadModel(GPT2Config(vocab_size=len(tokenizer), n_positions=32, n_embd=24, n_layer=1, n_head=2))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.verified
def test_inherited_weights_are_trained_with_a_teacher(train_gpt: Main, run: Path, teacher: Path, tmp_path: Path):
    """A per-layer model of a run: all settings from the run, no code trusted, verified alone, the card told anew."""
    out, before = tmp_path / "out", files(run)
    flags = ["--model", str(run / "model"), "--output-dir", str(out), "--teacher", str(teacher), "--steps", "40"]
    assert train_gpt([*flags, "--distillation-weight", "0.25"]) == 0
    assert files(run) == before
    assert {path.name for path in out.iterdir()} == {
        "config.yaml", "metrics.jsonl", "checkpoints", "tokenizer", "model", "training.json",
    }  # fmt: skip
    assert {path.name for path in (out / "model").iterdir()} == {path.name for path in (run / "model").iterdir()}
    first, last = validation(out)
    assert (first["step"], last["step"]) == (0, 40)
    assert last["loss"] < first["loss"] - 0.5
    told = results(out / "model")
    assert told["loss"] == [f"{first['loss']:.6g}", f"{last['loss']:.6g}"]
    assert told["bits_per_byte"] == [f"{first['bits_per_byte']:.6g}", f"{last['bits_per_byte']:.6g}"]
    card = (out / "model" / "README.md").read_text()
    for row in ("| strategy | drnas |", "| steps | 40 |", f"| teacher | {teacher} |", "| distillation weight | 0.25 |"):
        assert row in card
    record = json.loads((out / "training.json").read_text())
    assert record["after"]["loss"] == pytest.approx(last["loss"], rel=1e-5)
    stored = load_file(out / "model" / "model.safetensors")
    model = AutoModelForCausalLM.from_pretrained(out / "model", trust_remote_code=True)
    assert all(stored[name].equal(tensor) for name, tensor in model.state_dict().items() if name in stored)


def test_before_is_what_the_search_measured(train_gpt: Main, run: Path, tmp_path: Path):
    """From the folder or from the supernet's checkpoint, the same inherited weights; from scratch, the same drawn ones."""
    figures = {}
    for init in ("inherit", "scratch"):
        for model in ("model", "architecture.json"):
            out = tmp_path / f"{init}-{model}"
            flags = ["--model", str(run / model), "--output-dir", str(out), "--init", init, "--steps", "1"]
            assert train_gpt(flags) == 0
            figures[init, model] = [figure["loss"] for figure in validation(out)]
        assert figures[init, "model"] == figures[init, "architecture.json"]
    assert figures["inherit", "model"][0] != figures["scratch", "model"][0]
    card = (tmp_path / "scratch-architecture.json" / "model" / "README.md").read_text()
    assert "| num_heads | 1, 2 |" in card
    assert "| initial weights | drawn anew |" in card


def test_scratch_is_drawn_by_the_seed(run: Path):
    start = read_start(str(run / "architecture.json"))
    assert isinstance(start, ArchitectureFile)
    drawn = []
    for seed in (0, 0, 1):
        with seeded("initial weights", seed):
            drawn.append(load_language_model(run / "model", weights=False).state_dict())
    with seeded("initial weights", 0):
        of_the_space = start.model("scratch").state_dict()
    name = "transformer.h.1.attn.c_proj.weight"
    assert drawn[0][name].equal(drawn[1][name])
    assert not drawn[0][name].equal(drawn[2][name])
    assert all(drawn[0][key].equal(value) for key, value in of_the_space.items())


def test_a_resumed_training_ends_as_if_it_had_not_been_stopped(
    train_gpt: Main, run: Path, teacher: Path, tmp_path: Path, monkeypatch
):
    monkeypatch.setattr("knotwork_tasks.training._train.TrainSettings", partial(TrainSettings, checkpoint_every=2))
    out = tmp_path / "out"
    flags = ["--model", str(run / "model"), "--output-dir", str(out), "--teacher", str(teacher), "--steps", "4"]
    assert train_gpt(flags) == 0
    whole = files(out)
    drop_record(out)
    assert train_gpt(["--output-dir", str(out), "--resume"]) == 0
    again = files(out)
    assert again["model/model.safetensors"] == whole["model/model.safetensors"]
    assert again["training.json"] == whole["training.json"]
    assert again["model/README.md"] == whole["model/README.md"]
    assert len(losses(out)) == 4
    assert train_gpt(["--output-dir", str(out), "--resume"]) == 0
    assert files(out) == again


def test_any_language_model_that_transformers_loads(train_gpt: Main, text_file: Path, tokenizer: Any, tmp_path: Path):
    """A plain Llama in half precision that nothing is known of: trained in float32, written as it came."""
    folder, out = tmp_path / "llama", tmp_path / "out"
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=24, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=1, max_position_embeddings=24, bos_token_id=0, eos_token_id=0, tie_word_embeddings=True,
    )  # fmt: skip
    LlamaForCausalLM(config).bfloat16().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    flags = ["--dataset", str(text_file), "--steps", "20", "--batch-size", "4", "--learning-rate", "0.01"]
    assert train_gpt(["--model", str(folder), "--output-dir", str(out), *flags]) == 0
    first, last = validation(out)
    assert last["loss"] < first["loss"] - 0.5
    model = AutoModelForCausalLM.from_pretrained(out / "model")
    assert type(model) is LlamaForCausalLM
    assert model.dtype == torch.bfloat16
    assert results(out / "model")["loss"][1] == f"{last['loss']:.6g}"
    assert AutoTokenizer.from_pretrained(out / "model").get_vocab() == tokenizer.get_vocab()
    # The figure is of the rounded weights that were written.
    measured = tmp_path / "measured"
    assert train_gpt(["--model", str(out / "model"), "--output-dir", str(measured), *flags, "--steps", "1"]) == 0
    assert validation(measured)[0]["loss"] == last["loss"]


def test_half_precision_and_accumulation_run(train_gpt: Main, run: Path, tmp_path: Path):
    flags = ["--model", str(run / "model"), "--output-dir", str(tmp_path / "out"), "--steps", "2"]
    assert train_gpt([*flags, "--gradient-accumulation", "2"]) == 0
    assert len(losses(tmp_path / "out")) == 2


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory, run: Path, tokenizer: Any) -> dict[str, str]:
    """Folders and files that do not fit, by a short name."""
    room = tmp_path_factory.mktemp("misfits")
    small: dict[str, Any] = {"n_positions": 16, "n_embd": 8, "n_layer": 1, "n_head": 1}
    made = {
        "LARGER": GPT2LMHeadModel(GPT2Config(vocab_size=len(tokenizer) + 1, **small)),
        "SHORT": GPT2LMHeadModel(GPT2Config(vocab_size=len(tokenizer), **{**small, "n_positions": 8})),
        "OTHER": GPT2LMHeadModel(GPT2Config(vocab_size=len(tokenizer), **small)),
    }
    for name, model in made.items():
        model.save_pretrained(room / name)
    other = load_tokenizer("train:270", load_text("python-stdlib").validation.take(3))
    other.add_tokens([f"extra-{number}" for number in range(len(tokenizer) - len(other))])
    other.save_pretrained(room / "OTHER")
    pickled = room / "PICKLED"
    made["OTHER"].save_pretrained(pickled)
    torch.save(made["OTHER"].state_dict(), pickled / "pytorch_model.bin")
    (pickled / "model.safetensors").unlink()
    code = room / "CODE"
    made["OTHER"].save_pretrained(code)
    config = json.loads((code / "config.json").read_text())
    names = {"AutoConfig": "mine.MineConfig", "AutoModelForCausalLM": "mine.Mine"}
    (code / "config.json").write_text(json.dumps({**config, "model_type": "mine", "auto_map": names}))
    (code / "mine.py").write_text("raise SystemExit('this code ran')\n")
    (room / "EMPTY").mkdir()
    record = json.loads((run / "architecture.json").read_text())
    (room / "bare.json").write_text(json.dumps(record["architecture"]))
    (room / "alone.json").write_text(json.dumps(record))
    (room / "cells.json").write_text(json.dumps({**record, "space": {"family": "magic", "choices": {}}}))
    return {"RUN": str(run), **{path.stem.upper(): str(path) for path in room.iterdir()}}


CASES = [
    ([], "--model is missing"),
    (["--model", "nowhere"], "--model nowhere: there is no such folder or file"),
    (["--model", "EMPTY"], "holds no model: it has no config.json"),
    (["--model", "RUN"], "is a run's folder: name the model in it"),
    (["--model", "PICKLED"], "weights are read from safetensors only"),
    (["--model", "CODE"], "trust_remote_code"),
    (["--model", "LARGER"], "it holds none of tokenizer.json"),
    (["--model", "BARE"], "names no search space"),
    (["--model", "ALONE"], "but there is none"),
    (["--model", "ALONE", "--init", "scratch"], "name one with --tokenizer"),
    (["--model", "CELLS"], "unknown family 'magic'"),
    (["--model", "MODEL", "--init", "magic"], "unknown init 'magic': known are ['inherit', 'scratch']"),
    (["--model", "MODEL", "--steps", "0"], "steps is 0"),
    (["--model", "MODEL", "--temperature", "0"], "temperature is 0.0: it must be positive"),
    (["--model", "MODEL", "--distillation-weight", "1.5"], "distillation_weight is 1.5"),
    (["--model", "MODEL", "--block-size", "17"], "--block-size is 17: the model takes 16 tokens at most"),
    (["--model", "MODEL", "--dataset", "nowhere.txt"], "nowhere.txt"),
    (["--model", "MODEL", "--teacher", "LARGER"], "both must predict the same tokens"),
    (["--model", "MODEL", "--teacher", "OTHER"], "the tokenizer of the teacher"),
    (["--model", "MODEL", "--teacher", "SHORT"], "the teacher takes 8 tokens at most: give --block-size 8"),
    (["--model", "MODEL", "--teacher", "EMPTY"], "--teacher"),
    (["--model", "MODEL", "--teacher", "RUN"], "is a run's folder"),
]


@pytest.mark.parametrize(("flags", "message"), CASES, ids=["-".join(flags) or "none" for flags, _ in CASES])
def test_bad_flags(train_gpt: Main, run: Path, folders: dict[str, str], tmp_path: Path, capsys, flags: list[str], message: str):
    known = {**folders, "MODEL": str(run / "model")}
    assert train_gpt(["--output-dir", str(tmp_path / "out"), *(known.get(flag, flag) for flag in flags)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("train_gpt: error: ")
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_what_is_there_is_not_written_over(train_gpt: Main, run: Path, capsys):
    before = files(run)
    for out in (run, run / "model"):
        assert train_gpt(["--model", str(run / "model"), "--output-dir", str(out)]) == 2
    error = capsys.readouterr().err
    assert "already holds a run" in error
    assert "is not an empty folder" in error
    assert train_gpt(["--output-dir", str(run), "--resume"]) == 2
    assert files(run) == before
