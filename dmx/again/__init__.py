"""A run once more: its code, its settings, its training, and whether the same came of it."""
