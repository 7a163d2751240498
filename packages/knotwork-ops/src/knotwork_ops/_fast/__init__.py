"""Fused formulations, each beside the plain one that says what it computes and that the tests compare it with."""
