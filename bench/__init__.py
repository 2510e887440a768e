"""Benchmarks: whole processes, medians, on loopback. `make bench` prints the table."""
