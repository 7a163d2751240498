"""The benchmark's variants compute what they say, and its ratios are what they should be. Nothing here asserts a time."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from knotwork_ops import Mixture
from knotwork_spaces.gpt2 import GPT2Space, GPT2Supernet
from knotwork_spaces.vit import ViTSpace, ViTSupernet

TOOLS = Path(__file__).parents[2] / "tools"
PER_LAYER = ["num_heads", "mlp_ratio"]
# Depths that leave one out, and widths and ratios that no other option's product equals.
GPT2 = {"embed_dim": [8, 16, 24], "depth": [1, 3], "num_heads": [1, 2, 4], "mlp_ratio": [0.5, 1.25, 3], "per_layer": PER_LAYER}
FIXED_HEADS = {"embed_dim": [6, 10, 14], "mlp_ratio": [0.5, 1.5, 3], "head_dim": 5}
VIT_SIZES = {"image_size": 6, "patch_size": 3, "num_classes": 7}


def tool(name: str):
    spec = importlib.util.spec_from_file_location(name, TOOLS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def naive():
    return tool("bench_naive")


@pytest.fixture(scope="module")
def cells(naive):
    return tool("bench_cells")


@pytest.fixture(scope="module")
def bench():
    return tool("bench")


def gpt2_space(**changes) -> GPT2Space:
    return GPT2Space.build(**{**GPT2, "vocab_size": 13, "block_size": 7, **changes})


def vit_space(**changes) -> ViTSpace:
    return ViTSpace.build(**{**GPT2, **VIT_SIZES, **changes})


SPACES = {"gpt2": gpt2_space(), "vit": vit_space(), "vit, fixed heads": vit_space(**FIXED_HEADS)}


@pytest.mark.parametrize("raw", [False, True], ids=["shares that sum to one", "any shares"])
@pytest.mark.parametrize("kind", SPACES)
def test_padded_sums_equal_the_supernet(naive, cells, kind: str, raw: bool):
    """Values, and gradients of every weight and every alpha, in train mode. Any shares show what each of them multiplies."""
    space = SPACES[kind]
    torch.manual_seed(0)
    supernet = (GPT2Supernet(space) if isinstance(space, GPT2Space) else ViTSupernet(space)).double().train()
    with torch.no_grad():
        for parameter in supernet.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    alphas = {choice.name: torch.randn(choice.shape, dtype=torch.float64, requires_grad=True) for choice in space}
    batch = {name: x.double() if x.is_floating_point() else x for name, x in cells.random_batch(space, 2, "cpu").items()}
    leaves = [*supernet.parameters(), *alphas.values()]

    def value_and_gradients(loss):
        mixture = Mixture(space, {n: 0.5 + 0.1 * alpha if raw else alpha.softmax(-1) for n, alpha in alphas.items()})
        value = loss(batch, mixture)
        return [value, *torch.autograd.grad(value, leaves)]

    ours = value_and_gradients(supernet.loss)
    padded = value_and_gradients(lambda batch, mixture: naive.naive_loss(supernet, batch, mixture))
    for mine, theirs in zip(ours, padded, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("changes", [{"global_pool": "avg"}, {"init_values": 0.5}])
def test_padded_sums_refuse_what_they_do_not_know(naive, cells, changes):
    space = vit_space(**changes)
    ones = Mixture(space, {choice.name: torch.ones(choice.shape) for choice in space})
    with pytest.raises(ValueError, match="vit_tiny_patch16_224 are not written out"):
        naive.naive_loss(ViTSupernet(space), cells.random_batch(space, 2, "cpu"), ones)


@pytest.mark.parametrize("variant", ["a", "b", "c", "d", "e", "f", "g"])
@pytest.mark.parametrize("kind", SPACES)
def test_every_variant_leaves_its_own_gradients(cells, kind: str, variant: str):
    job = {"space": SPACES[kind].as_dict(), "variant": variant, "device": "cpu", "batch_size": 2, "compile": False}
    case = cells.build(json.loads(json.dumps(job)))
    case.run(0)
    first = [leaf.grad for leaf in case.leaves]
    case.run(1)
    alphas = {"b": 4, "c": 4, "d": 4}.get(variant, 0)
    weights = len(case.leaves) - alphas
    with_gradients = [leaf.grad is not None for leaf in case.leaves]
    if variant == "d":
        assert with_gradients == [False] * weights + [True] * alphas
    elif variant == "b":  # as the paper's code, whose weight step has the alphas' gradients too
        assert with_gradients == [True] * len(case.leaves)
    elif variant == "f":  # a sliced net does not touch the layers beyond its depth
        assert any(with_gradients)
    else:
        assert with_gradients == [True] * weights + [False] * alphas
    # A new draw every step where one is drawn, and gradients that do not pile up where none is.
    same = all(torch.equal(a, b.grad) for a, b in zip(first, case.leaves, strict=True) if a is not None)
    assert same == (variant in ("a", "e", "f", "g"))


def test_middle_and_largest(cells):
    space = vit_space(num_heads=[1, 2])
    assert cells.middle(space).as_dict() == {"embed_dim": 16, "depth": 3, "num_heads": [2] * 3, "mlp_ratio": [1.25] * 3}
    narrow = cells.only_largest(space)
    assert narrow.largest == narrow.smallest == space.largest


def test_memory_is_what_a_step_needs_or_not_measured(cells, monkeypatch, tmp_path: Path):
    leaf = torch.zeros(2**24, requires_grad=True)
    # The gradient, and one tensor for the backward pass; the kernel counts pages in batches, so a few may be missing.
    case = cells.Case(lambda _: leaf.exp().sum().backward(), [leaf])
    memory = cells.peak_memory(case, torch.device("cpu"))
    if memory is not None:
        assert 1.9 <= memory / (4 * 2**24) <= 3.5
    monkeypatch.setattr(cells, "CLEAR_REFS", tmp_path / "no such folder" / "clear_refs")
    assert cells.peak_memory(case, torch.device("cpu")) is None
    # A system that takes the request and does nothing: the peak still is that of a former allocation.
    monkeypatch.setattr(cells, "CLEAR_REFS", tmp_path / "clear_refs")
    if memory is not None:
        assert cells.peak_memory(case, torch.device("cpu")) is None


def measured(round_: int, variant: str, time: float, memory: int | None = None) -> dict[str, object]:
    return {"round": round_, "space": "small", "variant": variant, "time": time, "memory": memory}


MADE_UP = [
    measured(0, "a", 1.0, 100),
    measured(0, "b", 2.0, 440),
    measured(0, "c", 1.2, 110),
    measured(0, "d", 0.6, 90),
    measured(1, "a", 2.0, 100),
    measured(1, "b", 4.2, 400),
    measured(1, "c", 2.2, 100),
    measured(1, "d", 1.4, None),
    {"round": 2, "space": "small", "variant": "a", "error": "RuntimeError: out of luck"},
    measured(2, "c", 7.0, 100),
    measured(3, "a", 1.0, 0),
    measured(3, "c", 1.0, 50),
]


def test_ratios_are_taken_within_a_round(bench):
    ratios = bench.target_ratios(MADE_UP, "small")
    # Rounds 0, 1 and 3; in round 2 there was nothing to compare with.
    assert ratios["weight step / (a), time"]["measured"] == pytest.approx({"median": 1.1, "min": 1.0, "max": 1.2})
    assert ratios["(architecture + weight step) / 2 (a), time"]["measured"]["median"] == pytest.approx(0.9)
    # No ratio to a memory of nothing.
    assert ratios["weight step / (a), peak memory"]["measured"] == pytest.approx({"median": 1.05, "min": 1.0, "max": 1.1})
    assert ratios["(b) / (c), peak memory"]["measured"]["median"] == pytest.approx(4.0)
    assert ratios["(f) / (g), time"] == {"measured": None, "target": 1.0, "at_least": False, "met": None}
    found = {name: ratio["met"] for name, ratio in ratios.items() if ratio["met"] is not None}
    assert found == {
        "weight step / (a), time": True,
        "(architecture + weight step) / 2 (a), time": True,
        "weight step / (a), peak memory": False,
        "(b) / (c), time": True,
        "(b) / (c), peak memory": True,
    }
    assert all(ratio["target"] is None and ratio["met"] is None for ratio in bench.target_ratios(MADE_UP, "mine").values())


def test_margin_is_on_the_far_side_of_either_bound(bench):
    assert bench.meets(1.049, 1.0, at_least=False)
    assert not bench.meets(1.051, 1.0, at_least=False)
    assert bench.meets(0.951, 1.0, at_least=True)
    assert not bench.meets(0.949, 1.0, at_least=True)


def test_tables_of_made_up_cells(bench):
    table = bench.variant_table(MADE_UP, ["a", "c", "d", "g"], "transformers").splitlines()
    assert table[2] == "| (a) plain transformers, largest architecture | 1,000.0 | 1.00 (1.00-1.00) | 0.0 | 1.00 |"
    assert table[4] == "| (d) ours, architecture step | 1,000.0 | 0.65 (0.60-0.70) | 0.0 | 0.90 |"
    assert table[5] == "| (g) plain transformers built at that size | failed | - | - | - |"
    assert bench.failures(MADE_UP) == ["(a) failed in round 3, small: RuntimeError: out of luck"]
    target = bench.target_table(bench.target_ratios(MADE_UP, "small")).splitlines()
    assert target[2] == "| weight step / (a), time | 1.10 (1.00-1.20) | <= 1.10 | yes |"
    assert target[7] == "| (b) / (c), time | 1.79 (1.67-1.91) | >= 1.60 | yes |"


def test_spaces_that_grow(bench):
    spaces = bench.growth_spaces()
    sizes = {name: (len(s["embed_dim"].options), len(s["mlp_ratio"].options)) for name, s in spaces.items()}
    assert sizes == {f"{n} options": (n, n) for n in (2, 3, 5, 8)} | {
        "3 options, depth 12": (3, 3),
        "3 options, width 768": (3, 3),
    }
    assert len({space.largest for name, space in spaces.items() if "," not in name}) == 1
    assert spaces["8 options"]["embed_dim"].options == (216, 240, 264, 288, 312, 336, 360, 384)
    assert spaces["3 options"]["embed_dim"].options == (192, 288, 384)


def test_named_spaces_need_no_data(bench):
    assert bench.named_space("small").as_dict()["vocab_size"] == 4096
    assert bench.named_space("gpt-nano").as_dict()["vocab_size"] == bench.VOCABULARY
    assert bench.named_space("autoformer-tiny").as_dict()["family"] == "vit"
    with pytest.raises(ValueError, match="unknown space 'smal'"):
        bench.named_space("smal")


def test_a_cell_that_fails_is_an_error_without_paths(bench, monkeypatch, tmp_path: Path):
    job = {"space": gpt2_space().as_dict(), "variant": "z", "device": "cpu", "batch_size": 2, "compile": False}
    assert bench.run_cell(job) == {"error": "ValueError: unknown variant 'z'"}
    monkeypatch.setattr(bench, "CELL", str(tmp_path / "gone.py"))
    error = bench.run_cell(job)["error"]
    assert error.startswith("exit status 2")
    assert str(tmp_path) not in error


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--variants", "a,z"], "unknown variant 'z'"),
        (["--growth", "--space", "small"], "--growth has spaces"),
        (["--device", "tpu"], "device 'tpu' is neither"),
        (["--rounds", "0"], "--rounds is 0"),
        (["--space", "smal"], "unknown space 'smal'"),
    ],
)
def test_bad_flags(bench, monkeypatch, capsys, flags: list[str], message: str):
    monkeypatch.setattr(sys, "argv", ["bench.py", *flags])
    with pytest.raises(SystemExit):
        bench.main()
    assert message in capsys.readouterr().err


@pytest.mark.slow
def test_the_whole_benchmark_on_a_space_of_seconds(tmp_path: Path):
    space, result = tmp_path / "tiny.yaml", tmp_path / "bench.json"
    space.write_text(
        "{family: gpt2, embed_dim: [8, 12, 16], depth: [1, 2], num_heads: [1, 2], mlp_ratio: [1, 2, 4], "
        "vocab_size: 50, block_size: 16}"
    )
    flags = ["--space", str(space), "--rounds", "1", "--variants", "d,a,b,c", "--json", str(result)]
    command = [sys.executable, str(TOOLS / "bench.py"), *flags]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    lines = done.stdout.splitlines()
    assert "failed" not in done.stdout
    # The variants in their own order, then the ratios, of which the last three columns are empty where nothing was measured.
    assert [line[:5] for line in lines if line.startswith("| (")][:4] == ["| (a)", "| (b)", "| (c)", "| (d)"]
    assert [line for line in lines if line.endswith("| - | - | - |")] == [
        "| weight step / (e), time | - | - | - |",
        "| (f) / (g), time | - | - | - |",
    ]
    written = json.loads(result.read_text())
    assert [cell["variant"] for cell in written["cells"]] == list("abcd")
    assert all(len(cell["times"]) >= 5 and cell["time"] > 0 for cell in written["cells"])
    assert {"torch", "threads", "device"} <= written["machine"].keys()
    assert written["ratios"]["weight step / (a), time"]["measured"]["median"] > 0
    assert str(tmp_path) not in result.read_text()
