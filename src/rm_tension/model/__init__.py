"""Reward models: backbones, shared-prefix rows, neurons."""
