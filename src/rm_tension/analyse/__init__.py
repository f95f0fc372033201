"""Rewards and activations in, tidy tables out; numpy and pandas only."""
