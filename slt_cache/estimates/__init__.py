"""Estimates of what a training takes, before it runs: steps, time, memory and disk space, measured briefly."""
