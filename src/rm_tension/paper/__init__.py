"""What the paper and the suites fix."""
