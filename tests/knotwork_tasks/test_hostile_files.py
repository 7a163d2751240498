"""Whatever the files of a run or of a model hold, the apps' readers give what they should, or one clear error."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st
from knotwork_export import Preprocessing, export, export_classifier
from knotwork_search import RunFolder, load_checkpoint
from knotwork_search._checkpoint import save_checkpoint
from knotwork_spaces.gpt2 import GPT2Space, GPT2Supernet, PerLayerGPT2LMHeadModel
from knotwork_spaces.vit import ViTSpace
from knotwork_spaces.vit import plain_model as plain_vit
from knotwork_tasks import SavedRun
from knotwork_tasks.compare._folder import result_of
from knotwork_tasks.images._flags import parse_image_flags
from knotwork_tasks.images._network import load_classifier
from knotwork_tasks.images._packaging import CellPackaging, load_packaging
from knotwork_tasks.text._flags import parse_text_flags
from knotwork_tasks.text._network import load_language_model
from knotwork_tasks.text._tokenizer import existing_tokenizer, load_tokenizer
from knotwork_tasks.text._train_flags import parse_text_train_flags
from knotwork_tasks.training._start import ArchitectureFile, read_start
from safetensors.torch import load_file, save_file

from ..hostile import (
    MARKER,
    cases,
    damaged,
    evil_code,
    json_bytes,
    one_changed,
    refused_clearly,
    watched,
    write_all,
    yaml_bytes,
)

SPACE: dict[str, Any] = {"embed_dim": [4, 8], "depth": [1, 2], "num_heads": [1, 2], "mlp_ratio": [1, 2]}
PREPROCESSING = Preprocessing(("a", "b", "c"), (3, 8, 8), (0.5, 0.5, 0.5), (0.2, 0.2, 0.2))


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return load_tokenizer("train:260", Dataset.from_dict({"text": ["the cat sat on the mat"] * 9}))


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory, tokenizer: Any) -> Path:
    """A run whose files are what a search leaves, and the model of a net whose layers differ."""
    run = RunFolder(tmp_path_factory.mktemp("saved") / "run")
    space = GPT2Space.build(**SPACE, per_layer=["num_heads"], vocab_size=260, block_size=8, eos_token_id=0)
    torch.manual_seed(0)
    supernet = GPT2Supernet(space)
    flags = parse_text_flags("search_gpt", "", ["--output-dir", str(run.path), "--dataset", "nowhere.txt"])
    with run.create(flags.as_config(), space.as_dict()):
        pass
    weights = {f"supernet.{name}": tensor.detach() for name, tensor in supernet.named_parameters()}
    save_checkpoint(run.checkpoints, 3, weights, {"step": 3, "multipliers": {}, "scaler": None})
    found = space.architecture({"embed_dim": 8, "depth": 2, "num_heads": [1, 2], "mlp_ratio": 2})
    row = {"name": "found", "architecture": found.as_dict(), "cost": {"params": 3}, "metrics": {"loss": 1.5}}
    record = {
        "space": space.as_dict(),
        "architecture": found.as_dict(),
        "cost": {"params": 3},
        "strategy": "drnas",
        "versions": {"a": "1"},
    }
    run.write_architecture({**record, "comparison": [row], "front": {"points": [row]}, "search_flops": 1e9})
    tokenizer.save_pretrained(run.tokenizer)
    export(supernet.extract(found), run.model, tokenizer=tokenizer, verify=False)
    return run.path


@pytest.fixture
def run(saved: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(saved, tmp_path / "inside" / "run"))


def use(run: Path) -> None:
    """Read everything of a run that an export of it reads, and check what came of it."""
    saved = SavedRun(run)
    assert isinstance(saved.config, dict)
    assert all(isinstance(value, int | float) for value in saved.metrics.values())
    saved.space.validate(saved.found)
    saved.space.validate(saved.point(1))
    assert torch.stack([p.sum() for p in saved.supernet.parameters()]).isfinite().all()
    packaging: Any = saved.packaging
    assert len(packaging.tokenizer)


@pytest.mark.parametrize("name", ["space.json", "architecture.json"])
def test_any_record_of_a_run_is_used_or_refused(run: Path, tmp_path: Path, name: str):
    use(run)
    file = run / name

    @cases(120)
    @given(content=json_bytes(json.loads(file.read_bytes())))
    def read(content: bytes):
        file.write_bytes(content)
        refused_clearly(lambda: use(run))
        if name == "architecture.json":
            refused_clearly(lambda: started(file))

    def started(file: Path) -> None:
        start = read_start(str(file))
        assert isinstance(start, ArchitectureFile)
        assert start.provenance.architecture == start.architecture.as_dict()

    with watched(tmp_path):
        read()


def test_any_checkpoint_of_a_run_is_used_or_refused(run: Path, tmp_path: Path):
    file = run / "checkpoints" / "step-00000003" / "tensors.safetensors"

    @cases(60)
    @given(content=damaged(file.read_bytes()))
    def read(content: bytes):
        file.write_bytes(content)
        refused_clearly(lambda: SavedRun(run).supernet)

    with watched(tmp_path):
        read()


def test_any_settings_are_taken_or_refused(run: Path, tmp_path: Path):
    file, model = run / "config.yaml", str(run / "model")
    stored = yaml.safe_load(file.read_bytes())
    parsers: list[Callable[[], Any]] = [
        lambda: parse_text_flags("search_gpt", "", ["--output-dir", str(run), "--resume"]),
        lambda: parse_text_flags("search_gpt", "", ["--output-dir", "new", "--config", str(file)]),
        lambda: parse_text_train_flags("train_gpt", "", ["--output-dir", "new", "--model", model]),
    ]

    @cases(100)
    @given(content=yaml_bytes(stored), parse=st.sampled_from(parsers))
    def read(content: bytes, parse: Callable[[], Any]):
        file.write_bytes(content)
        flags: list[Any] = []
        if not refused_clearly(lambda: flags.append(parse())):
            assert isinstance(flags[0].learning_rate, int | float)
            assert isinstance(flags[0].batch_size, int)

    for parse in parsers:
        parse()
    with watched(tmp_path):
        read()


@pytest.mark.parametrize("flags", [["--tokenizer", "gpt2"], []], ids=["text", "images"])
def test_settings_of_another_type_are_refused_by_name(run: Path, flags: list[str]):
    config = yaml.safe_load((run / "config.yaml").read_bytes())
    (run / "config.yaml").write_text(yaml.safe_dump({**config, "max_steps": "many"}))
    parse = parse_text_flags if flags else parse_image_flags
    with pytest.raises(ValueError, match=r"(?s)config\.yaml.*(max_steps.*many|unknown key)"):
        parse("search", "", ["--output-dir", str(run), "--resume"])


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json"])
def test_any_tokenizer_is_read_or_refused(run: Path, tmp_path: Path, name: str):
    file = run / "tokenizer" / name
    (run / "tokenizer" / "evil.py").write_text(evil_code(tmp_path))

    @cases(120)
    @given(content=json_bytes(json.loads(file.read_bytes())))
    def read(content: bytes):
        file.write_bytes(content)
        refused_clearly(lambda: existing_tokenizer(str(run / "tokenizer")).save_pretrained(run / "kept"))

    with watched(tmp_path):
        read()


@pytest.mark.parametrize("reference", ["evil.Evil", "../evil.Evil", "evil/repo--evil.Evil", ["evil.Evil", "evil.Evil"]])
def test_a_tokenizers_code_never_runs(run: Path, tmp_path: Path, reference: Any):
    folder = run / "tokenizer"
    (folder / "evil.py").write_text(evil_code(tmp_path))
    (run / "evil.py").write_text(evil_code(tmp_path))
    config = json.loads((folder / "tokenizer_config.json").read_bytes())
    odd = {
        "tokenizer_class": "Evil",
        "auto_map": {"AutoTokenizer": reference},
        "tokenizer_file": str(tmp_path / "outside" / "t.json"),
    }
    (folder / "tokenizer_config.json").write_text(json.dumps({**config, **odd}))
    with watched(tmp_path):
        refused_clearly(lambda: existing_tokenizer(str(folder)))


def test_any_language_model_is_read_or_refused(run: Path, tmp_path: Path):
    folder = run / "model"
    assert isinstance(load_language_model(folder), PerLayerGPT2LMHeadModel)
    read_any(folder, tmp_path, load_language_model)


def test_any_classifier_is_read_or_refused(classifier: Path, tmp_path: Path):
    load_classifier(classifier)
    read_any(classifier, tmp_path, load_classifier)


def read_any(folder: Path, room: Path, load: Callable[..., Any]) -> None:
    whole = {name: (folder / name).read_bytes() for name in ("config.json", "model.safetensors")}

    @cases(80)
    @given(contents=one_changed(whole), weights=st.booleans())
    def read(contents: dict[str, bytes], weights: bool):
        write_all(folder, contents)
        refused_clearly(lambda: load(folder, weights=weights))

    with watched(room):
        read()


@pytest.fixture
def classifier(tmp_path: Path) -> Path:
    space = ViTSpace.build(**SPACE, image_size=8, patch_size=4, num_classes=3)
    model, name = plain_vit(space, space.largest), space.timm_model(space.largest)
    return export_classifier(model, tmp_path / "inside" / "vit", timm_model=name, preprocessing=PREPROCESSING, verify=False)


def test_knotworks_own_code_is_the_one_installed_whatever_the_folder_brings(run: Path, tmp_path: Path):
    folder = run / "model"
    (code,) = folder.glob("*.py")
    code.write_text(evil_code(tmp_path))
    for reference in (f"{code.stem}.PerLayerGPT2LMHeadModel", "other.Evil"):
        configure(folder, auto_map={"AutoConfig": reference, "AutoModelForCausalLM": reference})
        (folder / "other.py").write_text(evil_code(tmp_path))
        for trust in (False, True):
            with watched(tmp_path):
                assert type(load_language_model(folder, trust_remote_code=trust)) is PerLayerGPT2LMHeadModel
    configure(folder, model_type="another", architectures=["PerLayerGPT2LMHeadModel"])
    with watched(tmp_path), pytest.raises(ValueError, match=r"(?s)cannot be loaded with transformers .*trust_remote_code"):
        load_language_model(folder)


@pytest.mark.parametrize("reference", ["evil/repo--modeling.Evil", "../../evil.Evil", "/evil.Evil", "evil", 3])
@pytest.mark.parametrize("trust", [False, True])
def test_code_of_another_place_is_refused_even_where_code_is_trusted(run: Path, tmp_path: Path, reference: Any, trust: bool):
    (run.parent / "evil.py").write_text(evil_code(tmp_path))
    configure(run / "model", model_type="another", auto_map={"AutoConfig": reference, "AutoModelForCausalLM": reference})
    with watched(tmp_path), pytest.raises(ValueError, match=r"auto_map in .* code must lie in the folder itself"):
        load_language_model(run / "model", trust_remote_code=trust)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_models_with_weights_that_are_not_finite_are_refused_by_name(run: Path, classifier: Path, value: float):
    for folder, name, load in (
        (run / "model", "transformer.ln_f.weight", load_language_model),
        (classifier, "norm.weight", load_classifier),
    ):
        weights = load_file(folder / "model.safetensors")
        weights[name][0] = value
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        with pytest.raises(ValueError, match=f"{folder} are not finite: NaN or infinity in {name}"):
            load(folder)
        load(folder, weights=False)


def test_a_run_with_weights_that_are_not_finite_is_refused_by_name(run: Path):
    weights, state = load_checkpoint(run / "checkpoints")
    weights["supernet.transformer.ln_f.weight"][0] = torch.nan
    save_checkpoint(run / "checkpoints", 3, weights, state)
    with pytest.raises(ValueError, match=r"checkpoints are not finite: NaN or infinity in transformer\.ln_f\.weight"):
        assert SavedRun(run).supernet


def configure(folder: Path, **changes: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changes}))


def test_any_preprocessing_is_read_or_refused(tmp_path: Path):
    run = RunFolder(tmp_path / "inside")
    run.path.mkdir()
    CellPackaging(PREPROCESSING, torch.zeros(2, 3, 8, 8)).save(run)
    whole = {name: (run.path / name).read_bytes() for name in ("preprocessing.json", "calibration.safetensors")}

    @cases(120)
    @given(contents=one_changed(whole))
    def read(contents: dict[str, bytes]):
        write_all(run.path, contents)
        refused_clearly(lambda: load_packaging(run))

    load_packaging(run)
    with watched(tmp_path):
        read()


@cases(80)
@given(
    content=json_bytes({"loss": 1.5, "losses": [1.0, 2.0], "memory": 3}), kind=st.sampled_from(["search", "train", "inherit"])
)
def test_any_result_of_a_comparison_is_used_or_refused(tmp_path: Path, content: bytes, kind: str):
    file = tmp_path / "cell.json"
    file.write_bytes(content)
    error = refused_clearly(lambda: result_of({"kind": kind, "result": str(file)}))
    assert error is None or str(file) in str(error)


def test_no_code_ran(tmp_path: Path):
    evil = tmp_path / "evil.py"
    evil.write_text(evil_code(tmp_path))
    exec(compile(evil.read_text(), str(evil), "exec"))  # what the tests above look for is what such code leaves
    assert (tmp_path / MARKER).exists()
    __import__("sys").modules.pop(MARKER)
