"""Benchmarks: the installation beside baseline implementations and what the hardware allows."""
