"""Time what computes beside the plain way: `python -m benchmarks` (docs/PERFORMANCE.md)."""
