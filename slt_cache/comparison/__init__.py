"""Comparison of runs for a paper: `slt-cache compare`."""
