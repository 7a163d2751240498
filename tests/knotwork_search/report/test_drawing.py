"""The drawn architecture, measured."""

from __future__ import annotations

import re

import pytest
from knotwork_search.report._drawing import draw_transformer, read_transformer, scale_of

CHOICES = {"embed_dim": {"options": [64, 128]}, "depth": {"options": [2, 3, 4]}, "mlp_ratio": {"options": [2, 4]}}
SPACE = {"choices": CHOICES}
FOUND = {"embed_dim": 64, "depth": 3, "num_heads": [4, 8, 2], "mlp_ratio": [2, 3.5, 4, 4]}


def widths(svg: str, name: str) -> list[float]:
    return [float(width) for width in re.findall(rf'<rect class="{name}"[^>]* width="([\d.]+)"', svg)]


def test_widths_are_to_scale():
    net = read_transformer(FOUND, SPACE)
    assert net is not None
    svg = draw_transformer(net)
    (embed,) = set(widths(svg, "attention"))
    assert widths(svg, "mlp") == pytest.approx([2 * embed, 3.5 * embed, 4 * embed], abs=0.2)
    # Each row of four layers and the two ends has the outline of the largest net, twice and eight times as wide.
    assert widths(svg, "outline") == pytest.approx([2 * embed, *[2 * embed, 8 * embed] * 4, 2 * embed], abs=0.2)


def test_heads_are_cells():
    net = read_transformer(FOUND, SPACE)
    assert net is not None
    svg = draw_transformer(net)
    assert svg.count('class="cut"') == 3 + 7 + 1
    assert re.findall(r">(\d heads?)<", svg) == ["4 heads", "8 heads", "2 heads"]


def test_labels_of_narrow_bars_stay_in_the_drawing():
    net = read_transformer(FOUND | {"mlp_ratio": 0.25}, SPACE)
    assert net is not None
    svg = draw_transformer(net)
    width = float(re.findall(r'viewBox="0 0 (\d+)', svg)[0])
    beside = re.findall(r'<text class="label" x="([\d.]+)"[^>]*>([^<]*)<', svg)
    assert "MLP 0.25 × 64" in [text for _, text in beside]  # noqa: RUF001
    assert all(float(x) + 7 * len(text) <= width for x, text in beside)


def test_nets_drawn_to_one_scale_compare():
    small, large = (read_transformer(FOUND | {"embed_dim": embed}, {}) for embed in (64, 256))
    assert small is not None
    assert large is not None
    (narrow,), (wide,) = (set(widths(draw_transformer(net, scale_of(large)), "attention")) for net in (small, large))
    assert wide == pytest.approx(4 * narrow, abs=0.4)


def test_without_the_space_there_is_no_outline():
    net = read_transformer(FOUND | {"num_heads": 1, "mlp_ratio": 4}, {})
    assert net is not None
    svg = draw_transformer(net)
    assert widths(svg, "outline") == []
    assert svg.count(">1 head<") == 3


def test_layers_stand_where_the_largest_net_has_them():
    net = read_transformer(FOUND, SPACE | {"layer_order": [3, 0, 2, 1]})
    assert net is not None
    assert [layer and layer.heads for layer in net.layers] == [8, None, 2, 4]
    assert draw_transformer(net).count("not used") == 1


@pytest.mark.parametrize(
    "change",
    [
        {"embed_dim": None},
        {"embed_dim": 0},
        {"embed_dim": [64, 64, 64]},
        {"depth": 0},
        {"depth": 100_000},
        {"num_heads": [4, 8]},
        {"num_heads": 1_000_000},
        {"num_heads": "four"},
        {"mlp_ratio": [2, None, 2]},
    ],
)
def test_what_cannot_be_drawn_is_left_to_the_table(change):
    assert read_transformer(FOUND | change, SPACE) is None
