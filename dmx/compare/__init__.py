"""Comparison of runs, with tests of statistical significance."""
