"""Benchmarks: how long dlskills takes, and the same work done by its peers. See README.md."""
