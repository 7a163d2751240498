"""Whatever a file or a folder holds, reading it gives a space, a checkpoint, a network or a table, or one clear error."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st
from knotwork_export import Preprocessing, export_classifier
from knotwork_spaces import load_pretrained, load_space, space_definition, space_from_dict
from knotwork_spaces.cells import ToyCellSpace, load_cells, read_benchmark, recalibrate, save_cells
from knotwork_spaces.vit import plain_model
from safetensors.torch import load_file, save_file
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from ..hostile import MARKER, cases, damaged, evil_code, mutated, one_changed, refused_clearly, watched, write_all, yaml_bytes
from .cells_cases import cells_supernet, images, tiny_cells
from .vit_cases import tiny_vit

SHARES = {"embed_dim": [0.5, 1.0], "depth": [0.5, 1.0], "mlp_ratio": [0.5, 1.0]}
SPACES: dict[str, dict[str, Any]] = {
    "gpt2": {"embed_dim": [8, 16], "depth": [1, 2], "num_heads": {"options": [1, 2], "granularity": "per_layer"},
        "mlp_ratio": [1, 2], "block_size": 8, "vocab_size": 11, "dropout": 0.1,
        "recipe": {"max_steps": 3, "tokenizer": "train:300", "learning_rate": 0.1}},
    "llama": {"embed_dim": [8, 16], "depth": [1, 2], "num_kv_heads": [1, 2], "heads_per_group": [1, 2], "head_dim": [2, 4],
        "intermediate_size": {"options": [8, 12], "granularity": "per_layer"}, "rope_theta": 100.0, "model_type": "qwen3"},
    "vit": {"embed_dim": [8, 16], "depth": [1, 2], "num_heads": [1, 2], "mlp_ratio": [1, 2], "image_size": 8, "patch_size": 4,
        "model": "vit_tiny_patch16_224", "head_dim": 4, "global_pool": "avg", "init_values": 0.1},
    "toy-cell": {**{name: list(options) for name, options in zip(ToyCellSpace.choice_names,
        [choice.options for choice in ToyCellSpace.build()], strict=True)}, "image_size": 7, "width": 8},
}  # fmt: skip
BENCHMARK = (
    "normal_0_1,normal_0_2,normal_1_2,reduce_0_1,reduce_0_2,reduce_1_2,test_accuracy,train_accuracy,parameters\n"
    + "sep_conv_3x3," * 6
    + "90.88,96.9217,198826.0\n"
)


@pytest.mark.parametrize("family", SPACES)
def test_any_space_file_is_a_space_or_an_error(tmp_path: Path, family: str):
    file = tmp_path / "space.yaml"

    @cases(120)
    @given(content=yaml_bytes({"family": family, **SPACES[family]}))
    def read(content: bytes):
        file.write_bytes(content)
        refused_clearly(lambda: load_space(str(file)).build())

    with watched(tmp_path):
        read()


@pytest.mark.parametrize("family", SPACES)
def test_any_stored_space_is_a_space_or_an_error(family: str):
    stored = space_definition({"family": family, **SPACES[family]}).build().as_dict()

    @cases(80)
    @given(values=mutated(stored))
    def read(values: Any):
        refused_clearly(lambda: space_from_dict(values))

    read()


@pytest.mark.parametrize(
    ("family", "changes", "message"),
    [
        ("gpt2", {"embed_dim": [10**12]}, "choice 'embed_dim' has an option over 1,000,000,000"),
        ("gpt2", {"embed_dim": [10**6], "depth": [1000]}, r"the largest network of the space has about 8e\+15 weights"),
        ("gpt2", {"depth": [1, 10**9]}, "made in 1,000,000,000 layers: a network has at most 10,000"),
        ("gpt2", {"mlp_ratio": [10**9]}, "the largest network of the space has about"),
        ("gpt2", {"block_size": 10**12}, "block_size is 1000000000000: it must be at most 1,000,000,000"),
        ("gpt2", {"vocab_size": 10**9, "embed_dim": [1024]}, "the largest network of the space has about"),
        ("gpt2", {"num_heads": list(range(1, 2000))}, "choice 'num_heads' has 1,999 options: at most 1,000"),
        ("llama", {"head_dim": [10**9]}, "the largest network of the space has about"),
        ("llama", {"intermediate_size": [10**9], "embed_dim": [1024]}, "the largest network of the space has about"),
        ("vit", {"image_size": 10**6}, "image_size is 1000000: it must be at most 16,384"),
        ("vit", {"head_dim": 10**9, "embed_dim": [64]}, "the largest network of the space has about"),
        ("vit", {"num_classes": 10**9, "embed_dim": [256]}, "the largest network of the space has about"),
        ("toy-cell", {"width": 10**6}, "the largest network of the space has about"),
        ("gpt2", {"recipe": {"push_to_hub": "evil/repo"}}, "'recipe' has the unknown key 'push_to_hub': it may set"),
        ("gpt2", {"recipe": {"max_steps": "many"}}, "'recipe' has max_steps 'many': it must be of the type int"),
    ],
    ids=lambda value: str(value)[:30],
)  # fmt: skip
def test_spaces_that_fit_no_memory_or_ask_for_more_than_a_search_are_refused(family: str, changes: dict, message: str):
    with pytest.raises(ValueError, match=message):
        space_definition({"family": family, **SPACES[family], **changes}).build()


def test_ten_million_options_are_refused_before_they_are_compared(tmp_path: Path):
    file = tmp_path / "space.yaml"
    file.write_text(yaml.safe_dump({"family": "gpt2", **SPACES["gpt2"]}) + f"other: [{'1,' * 600_000}]\n")
    with pytest.raises(ValueError, match=r"space\.yaml has 1,200,\d+ bytes: at most 1,048,576 are read"):
        load_space(str(file))
    with pytest.raises(ValueError, match="choice 'embed_dim' has 10,000,000 options: at most 1,000 can be compared"):
        space_definition({"family": "gpt2", **SPACES["gpt2"], "embed_dim": list(range(1, 10**7 + 1))}).build()


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    room = tmp_path_factory.mktemp("checkpoints")
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"vocab_size": 31, "bos_token_id": None, "eos_token_id": None}
    GPT2LMHeadModel(GPT2Config(**sizes, n_positions=12, n_embd=8, n_layer=2, n_head=2)).save_pretrained(room / "gpt2")
    llama = LlamaConfig(
        **sizes, max_position_embeddings=12, hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=12
    )
    LlamaForCausalLM(llama).save_pretrained(room / "llama")
    space = tiny_vit(num_classes=3, num_heads=[1, 2], mlp_ratio=[1, 4])
    preprocessing = Preprocessing(("a", "b", "c"), (3, 6, 6), (0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    model = plain_model(space, space.largest)
    export_classifier(
        model, room / "vit", timm_model=space.timm_model(space.largest), preprocessing=preprocessing, verify=False
    )
    return {family: room / family for family in ("gpt2", "llama", "vit")}


def around(family: str, folder: Path) -> Any:
    heads = {"num_kv_heads": [1.0], "heads_per_group": [1.0], "head_dim": [1.0], "intermediate_size": [1.0]}
    shares = {**SHARES, **(heads if family == "llama" else {"num_heads": [1.0]})}
    if family == "llama":
        shares.pop("mlp_ratio")
    return load_pretrained(space_definition({"family": family, **shares}), str(folder))


@pytest.fixture(params=["gpt2", "llama", "vit"])
def checkpoint(request: pytest.FixtureRequest, checkpoints: dict[str, Path], tmp_path: Path) -> tuple[str, Path]:
    """A family, and a copy of its checkpoint to damage."""
    return request.param, Path(shutil.copytree(checkpoints[request.param], tmp_path / "inside" / "model"))


def test_any_checkpoint_is_read_or_refused(checkpoint: tuple[str, Path], tmp_path: Path):
    family, folder = checkpoint
    around(family, folder)
    whole = {name: (folder / name).read_bytes() for name in ("config.json", "model.safetensors")}

    @cases(60)
    @given(contents=one_changed(whole))
    def read(contents: dict[str, bytes]):
        write_all(folder, contents)
        refused_clearly(lambda: around(family, folder))

    with watched(tmp_path):
        read()


def configured(**changes: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, **changes}))

    return change


def weighted(change: Callable[[dict[str, torch.Tensor]], None]) -> Callable[[Path], None]:
    def rewrite(folder: Path) -> None:
        weights = load_file(folder / "model.safetensors")
        change(weights)
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})

    return rewrite


def first(change: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[Path], None]:
    """Change the first matrix among the weights."""

    def at_first(weights: dict[str, torch.Tensor]) -> None:
        name = min(name for name, weight in weights.items() if weight.dim() == 2)
        weights[name] = change(weights[name]).contiguous()

    return weighted(at_first)


def linked(name: str) -> Callable[[Path], None]:
    def link(folder: Path) -> None:
        outside = folder.parents[1] / "outside"
        outside.mkdir(exist_ok=True)
        shutil.move(folder / name, outside / name)
        (folder / name).symlink_to(outside / name)

    return link


def sharded(file: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        names = list(load_file(folder / "model.safetensors"))
        shutil.move(folder / "model.safetensors", folder / "part.safetensors")
        shutil.copy(folder / "part.safetensors", folder.parent / "part.safetensors")
        index = {"metadata": {}, "weight_map": dict.fromkeys(names, file.format(parent=folder.parent))}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))

    return write


def truncated(folder: Path) -> None:
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[: len(content) // 2])


def huge_header(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes((2**62).to_bytes(8, "little") + b"{}")


def huge_shape(folder: Path) -> None:
    header = json.dumps({"a": {"dtype": "F32", "shape": [10**9, 10**9], "data_offsets": [0, 4]}}).encode()
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + b"\0" * 4)


def pickled(folder: Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


NO_WEIGHTS = "weights are read from safetensors only"
MANY = 10**9
BROKEN = {
    "truncated": (truncated, "model.safetensors"),
    "huge header": (huge_header, "model.safetensors"),
    "huge shape": (huge_shape, "model.safetensors"),
    "wrong shape": (first(lambda weight: weight[:-1]), "mismatch"),
    "NaN": (first(lambda weight: weight * torch.nan), "not finite: NaN or infinity in"),
    "infinite": (first(lambda weight: weight / 0), "not finite: NaN or infinity in"),
    "no weights": (weighted(dict.clear), "of at most 0 layers|describes"),
    "pickled": (pickled, NO_WEIGHTS),
    "link": (linked("model.safetensors"), "model.safetensors links to .*outside.* which lies outside the folder"),
    "linked configuration": (linked("config.json"), "config.json links to .*outside.* which lies outside the folder"),
    "shard above": (sharded("../part.safetensors"), rf"names the file '../part.safetensors'|{NO_WEIGHTS}"),
    "absolute shard": (sharded("{parent}/part.safetensors"), rf"names the file '/.*|{NO_WEIGHTS}"),
    "code of another": (configured(auto_map={"AutoConfig": "evil/repo--m.Evil"}), "auto_map in .* names 'evil/repo--m.Evil'"),
    "code above": (configured(auto_map={"AutoModelForCausalLM": "../../evil.Evil"}), "auto_map in .* names '../../evil.Evil'"),
    "layers": (configured(n_layer=MANY, num_hidden_layers=MANY, model_args={"depth": MANY}), "its weights are of at most"),
    "widths": (configured(n_embd=10**7, hidden_size=10**7, num_classes=MANY), "weights, but the folder holds"),
    "other weights": (configured(transformers_weights="../part.safetensors"), "names other weights than model.safetensors"),
    "adapter": (lambda folder: (folder / "adapter_config.json").write_text("{}"), "holds an adapter"),
}  # fmt: skip


@pytest.mark.parametrize("how", BROKEN)
def test_broken_checkpoints_are_refused(checkpoint: tuple[str, Path], tmp_path: Path, how: str):
    family, folder = checkpoint
    breaks, message = BROKEN[how]
    breaks(folder)
    (folder / "m.py").write_text(evil_code(tmp_path))
    with watched(tmp_path), pytest.raises((ValueError, OSError), match=message) as caught:
        around(family, folder)
    assert str(folder) in str(caught.value)
    assert not (tmp_path / MARKER).exists()


def test_sharded_checkpoints_and_those_of_the_hubs_cache_are_read(checkpoints: dict[str, Path], tmp_path: Path):
    folder = Path(shutil.copytree(checkpoints["gpt2"], tmp_path / "model"))
    sharded("part.safetensors")(folder)
    around("gpt2", folder)
    (tmp_path / "cache" / "snapshots").mkdir(parents=True)
    snapshot = Path(shutil.copytree(checkpoints["gpt2"], tmp_path / "cache" / "snapshots" / "0123"))
    (tmp_path / "cache" / "blobs").mkdir()
    shutil.move(snapshot / "model.safetensors", tmp_path / "cache" / "blobs" / "4567")
    (snapshot / "model.safetensors").symlink_to(Path("..") / ".." / "blobs" / "4567")
    around("gpt2", snapshot)


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> Path:
    space = tiny_cells()
    model = cells_supernet(space, torch.float32).extract(space.largest)
    recalibrate(model, [{"image": images(space, torch.float32)}])
    return save_cells(model, tmp_path_factory.mktemp("cells") / "model")


def test_any_folder_of_cells_is_a_network_or_an_error(cells: Path, tmp_path: Path):
    whole = {name: (cells / name).read_bytes() for name in ("config.json", "model.safetensors")}

    @cases(80)
    @given(contents=one_changed(whole))
    def read(contents: dict[str, bytes]):
        write_all(tmp_path / "inside", contents)
        refused_clearly(lambda: load_cells(tmp_path / "inside"))

    with watched(tmp_path):
        read()


def test_cells_as_large_as_no_memory_are_refused(cells: Path, tmp_path: Path):
    folder = Path(shutil.copytree(cells, tmp_path / "inside" / "model"))
    configured(width=2**20)(folder)
    with watched(tmp_path), pytest.raises(ValueError, match=r"(?s)does not hold a toy-cell network: Error.*size mismatch"):
        load_cells(folder)


@cases(100)
@given(
    content=damaged(BENCHMARK.encode()) | st.text(max_size=40).map(lambda text: (BENCHMARK + text).encode("utf-8", "replace"))
)
def test_any_benchmark_is_a_table_or_an_error(tmp_path: Path, content: bytes):
    file = tmp_path / "benchmark.csv"
    file.write_bytes(content)
    error = refused_clearly(lambda: read_benchmark(file))
    assert error is None or str(file) in str(error)
