"""Searching over experiments: the study, its space, its trials, and the best of them."""
