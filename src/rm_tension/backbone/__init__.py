"""The six backbones, and where their neurons are."""
