"""Benchmarks: rows of detectors by columns of data on one page, with what was asked and whether it is shown."""
