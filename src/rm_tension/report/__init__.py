"""Tidy tables in, LaTeX and figures out."""
