"""Measurements beside public peers: `python -m benchmarks.NAME --json`. No test asserts a figure of theirs."""
