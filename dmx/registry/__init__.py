"""Registries of components by name, with their parameters, legal ranges and search ranges."""

from dmx.registry.catalogue import (
    METRICS,
    REGISTRIES,
    augmentations,
    depth_losses,
    depth_metrics,
    import_modules,
    importers,
    joint_metrics,
    load,
    mask_losses,
    mask_metrics,
    models,
    optimizers,
    schedules,
    weightings,
)
from dmx.registry.component import Component, Params, Registry
from dmx.registry.ranges import Choice, Range, Scalar, Search
from dmx.registry.table import Setting, described

__all__ = [
    "METRICS",
    "REGISTRIES",
    "Choice",
    "Component",
    "Params",
    "Range",
    "Registry",
    "Scalar",
    "Search",
    "Setting",
    "augmentations",
    "depth_losses",
    "depth_metrics",
    "described",
    "import_modules",
    "importers",
    "joint_metrics",
    "load",
    "mask_losses",
    "mask_metrics",
    "models",
    "optimizers",
    "schedules",
    "weightings",
]
