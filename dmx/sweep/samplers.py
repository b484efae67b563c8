"""Optuna's samplers as a study names them.

Each draw of each trial gets a new one with a seed of its own, so all that they know is what stands in the storage.
CMA-ES is left out: it knows no choices, and a space with registries in it is mostly choices.
"""

import warnings

from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, GPSampler, NSGAIIISampler, NSGAIISampler, RandomSampler, TPESampler

from dmx.config.search import GpConfig, Nsga2Config, Nsga3Config, SamplerConfig, TpeConfig


def sampler(config: SamplerConfig, seed: int) -> BaseSampler:
    """The sampler with a seed; of designs, which are known beforehand, what draws the places that they leave open."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)  # TPE's `group`, GP and NSGA-III
        match config:
            case TpeConfig():
                return TPESampler(seed=seed, multivariate=True, group=True, n_startup_trials=config.startup_trials)
            case GpConfig():
                return GPSampler(seed=seed, n_startup_trials=config.startup_trials, warn_independent_sampling=False)
            case Nsga2Config():
                return NSGAIISampler(seed=seed, population_size=config.population)
            case Nsga3Config():
                return NSGAIIISampler(seed=seed, population_size=config.population)
            case _:
                return RandomSampler(seed=seed)
