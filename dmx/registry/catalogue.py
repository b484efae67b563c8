"""The registries, filled by dmx's own packages, by installed plug-ins and by modules that a configuration names.

A plug-in is any module that registers components when it is imported. An installed distribution names it as an entry
point of the group `dmx.components`; a configuration names it under `plugins:`.
"""

import importlib
import sys
from collections.abc import Iterable
from importlib.metadata import entry_points
from pkgutil import iter_modules
from typing import Any

from dmx.errors import ConfigError, Problem
from dmx.registry.component import Registry

models: Registry[Any] = Registry("model")
mask_losses: Registry[Any] = Registry("mask loss")
depth_losses: Registry[Any] = Registry("depth loss")
weightings: Registry[Any] = Registry("weighting")
optimizers: Registry[Any] = Registry("optimizer")
schedules: Registry[Any] = Registry("schedule")
METRIC = ("finish", "higher_is_better", "equation", "version")
mask_metrics: Registry[Any] = Registry("mask metric", METRIC)
depth_metrics: Registry[Any] = Registry("depth metric", (*METRIC, "kinds"))
joint_metrics: Registry[Any] = Registry("joint metric", METRIC)
METRICS = {"mask": mask_metrics, "depth": depth_metrics, "joint": joint_metrics}
"""The metrics of each task, and of both."""
importers: Registry[Any] = Registry("importer")
augmentations: Registry[Any] = Registry("augmentation")

REGISTRIES: dict[str, Registry[Any]] = {
    "models": models,
    "mask_losses": mask_losses,
    "depth_losses": depth_losses,
    "weightings": weightings,
    "optimizers": optimizers,
    "schedules": schedules,
    "mask_metrics": mask_metrics,
    "depth_metrics": depth_metrics,
    "joint_metrics": joint_metrics,
    "importers": importers,
    "augmentations": augmentations,
}

OURS = (
    "dmx.models",
    "dmx.losses",
    "dmx.metrics",
    "dmx.weighting",
    "dmx.training.optimizers",
    "dmx.training.schedules",
    "dmx.datatools.importers",
    "dmx.data.augment",
)
GROUP = "dmx.components"


def import_modules(package: str) -> None:
    """Import every module of a package in the order of their names, so that each registers its components."""
    for module in iter_modules(sys.modules[package].__path__):
        importlib.import_module(f"{package}.{module.name}")


def load(plugins: Iterable[str] = ()) -> None:
    """Import every module that registers components; repeated calls are free.

    Args:
        plugins: Modules to import in addition to dmx's own and the installed plug-ins.

    Raises:
        ConfigError: A plug-in cannot be imported.
    """
    for module in OURS:
        importlib.import_module(module)
    installed = {point.value.partition(":")[0]: f"entry point '{point.name}'" for point in entry_points(group=GROUP)}
    problems = []
    for module, where in {**installed, **dict.fromkeys(plugins, "plugins")}.items():
        try:
            importlib.import_module(module)
        except Exception as error:  # a plug-in may raise anything, which must not end every command with a traceback
            text = f"{type(error).__name__}: {error}"
            what = f"module '{module}' cannot be imported ({text}); install it, put it on PYTHONPATH, or mend it"
            problems.append(Problem(where, what))
    if problems:
        raise ConfigError("the list of plug-ins", problems)
