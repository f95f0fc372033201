"""Shared utilities, which decide no result."""
