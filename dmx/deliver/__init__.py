"""Deliver a trained run: predictions as files, and the champion in MLflow's model registry."""
