"""Benchmarks of dlskills and its peers on the same work. See README.md."""
