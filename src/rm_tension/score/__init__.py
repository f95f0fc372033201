"""Trained reward models for others to use."""
