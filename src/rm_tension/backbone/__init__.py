"""The backbones, and where their neurons are."""
