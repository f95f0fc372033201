"""Neurons to silence, and rewards under every ablation."""
