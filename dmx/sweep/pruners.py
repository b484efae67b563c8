"""Optuna's pruners as a study names them; steps are epochs, counted from 1. Halving is our own: `dmx.sweep.halving`."""

import warnings

from optuna.exceptions import ExperimentalWarning
from optuna.pruners import (
    BasePruner,
    HyperbandPruner,
    MedianPruner,
    NopPruner,
    PatientPruner,
    PercentilePruner,
)

from dmx.config.search import (
    HyperbandConfig,
    MedianConfig,
    PatientConfig,
    PercentileConfig,
    PrunerConfig,
)


def pruner(config: PrunerConfig, epochs: int) -> BasePruner:
    """The pruner for trials of so many epochs."""
    match config:
        case MedianConfig():
            return MedianPruner(n_startup_trials=config.startup_trials, n_warmup_steps=config.warmup_epochs + 1)
        case PercentileConfig():
            warmup = config.warmup_epochs + 1
            return PercentilePruner(config.percentile, n_startup_trials=config.startup_trials, n_warmup_steps=warmup)
        case PatientConfig():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ExperimentalWarning)
                return PatientPruner(None, patience=config.patience, min_delta=config.min_delta)
        case HyperbandConfig():
            return HyperbandPruner(min_resource=config.min_epochs, max_resource=epochs, reduction_factor=config.factor)
        case _:
            return NopPruner()
