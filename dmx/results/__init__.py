"""Stored results and their ranking, without importing torch, so that reading thousands is fast."""
