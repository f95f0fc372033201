"""The speed of what computes, beside the plain way of doing the same: `python -m benchmarks` (docs/PERFORMANCE.md)."""
