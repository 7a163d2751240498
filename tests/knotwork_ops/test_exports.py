import knotwork_ops

PUBLIC = """
    DEPTH LARGEST_OPTION MOST_LAYERS AdaptedWeight Architecture Choice Depth EntangledLinear GatedDepth HardSample
    HeadUnits Heads Kernel KindShare MixedDepth MixedHeads MixedKernel MixedWidth Mixture Option SearchSpace
    Selection SlicedDepth SlicedHeads SlicedKernel SlicedWidth Value Weight Width attention columns conv1d conv2d
    embedding fixed_head_attention fixed_head_width head_width hidden_units joint_width layer_norm linear
    linear_cross_entropy mixed_kinds mlp_width parse_mapping prefix_width read_mapping rms_norm run_kinds run_layers
    separable_conv2d sliced_kind take_columns take_rows
"""


def test_public_names():
    """A name that comes or goes is a change of the interface: write it here, in the README and in the version."""
    assert knotwork_ops.__all__ == PUBLIC.split()
    assert all(hasattr(knotwork_ops, name) for name in knotwork_ops.__all__)
