"""Sums of the MLP activations."""
