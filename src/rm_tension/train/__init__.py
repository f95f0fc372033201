"""Training of the reward models."""
