"""Experiment tracking: a run writes its journal, which is forwarded to MLflow and TensorBoard during training."""

from dmx.tracking.home import Home
from dmx.tracking.run import RunTracker, open_run
from dmx.tracking.syncing import sync
from dmx.tracking.tracker import RunStart, Tracker

__all__ = ["Home", "RunStart", "RunTracker", "Tracker", "open_run", "sync"]
