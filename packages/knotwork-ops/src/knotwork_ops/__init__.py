"""Choices, mixtures and weight-entangled operations. Depends on torch alone."""

from knotwork_ops._adapted import AdaptedWeight, Weight, take_columns, take_rows
from knotwork_ops._architecture import Architecture, Option, Value
from knotwork_ops._attention import (
    Heads,
    MixedHeads,
    SlicedHeads,
    attention,
    fixed_head_attention,
    fixed_head_width,
    head_width,
)
from knotwork_ops._choices import DEPTH, LARGEST_OPTION, MOST_LAYERS, Choice, SearchSpace
from knotwork_ops._conv1d import conv1d
from knotwork_ops._conv2d import conv2d
from knotwork_ops._depth import Depth, GatedDepth, MixedDepth, SlicedDepth, run_layers
from knotwork_ops._embedding import columns, embedding
from knotwork_ops._kernel import Kernel, MixedKernel, SlicedKernel
from knotwork_ops._kinds import KindShare, mixed_kinds, run_kinds, sliced_kind
from knotwork_ops._linear import EntangledLinear, linear
from knotwork_ops._loss import linear_cross_entropy
from knotwork_ops._mapping import parse_mapping, read_mapping
from knotwork_ops._mixture import HardSample, Mixture, Selection
from knotwork_ops._mlp import hidden_units, mlp_width
from knotwork_ops._norm import layer_norm, rms_norm
from knotwork_ops._profiles import HeadUnits, MixedWidth, SlicedWidth, Width, joint_width, prefix_width
from knotwork_ops._separable import separable_conv2d

__all__ = [
    "DEPTH",
    "LARGEST_OPTION",
    "MOST_LAYERS",
    "AdaptedWeight",
    "Architecture",
    "Choice",
    "Depth",
    "EntangledLinear",
    "GatedDepth",
    "HardSample",
    "HeadUnits",
    "Heads",
    "Kernel",
    "KindShare",
    "MixedDepth",
    "MixedHeads",
    "MixedKernel",
    "MixedWidth",
    "Mixture",
    "Option",
    "SearchSpace",
    "Selection",
    "SlicedDepth",
    "SlicedHeads",
    "SlicedKernel",
    "SlicedWidth",
    "Value",
    "Weight",
    "Width",
    "attention",
    "columns",
    "conv1d",
    "conv2d",
    "embedding",
    "fixed_head_attention",
    "fixed_head_width",
    "head_width",
    "hidden_units",
    "joint_width",
    "layer_norm",
    "linear",
    "linear_cross_entropy",
    "mixed_kinds",
    "mlp_width",
    "parse_mapping",
    "prefix_width",
    "read_mapping",
    "rms_norm",
    "run_kinds",
    "run_layers",
    "separable_conv2d",
    "sliced_kind",
    "take_columns",
    "take_rows",
]
