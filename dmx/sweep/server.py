"""What the processes of a sweep's workers are started from."""

from collections.abc import Iterator
from multiprocessing.context import BaseContext

from dmx.config import StudyConfig
from dmx.machine import starting
from dmx.registry import models
from dmx.registry.catalogue import OURS


def server(config: StudyConfig) -> BaseContext:
    """The server from which workers are forked, begun: the sooner it is, the sooner it has imported everything.

    Whatever has an optimizer imports `torch._dynamo`, which takes 4 s.
    """
    return starting([*OURS, *libraries(config), "torch._dynamo", "dmx.sweep.process"])


def libraries(config: StudyConfig) -> Iterator[str]:
    """The large libraries that the study's trials will import, which takes up to 12 s."""
    named = config.search.get("model", config.experiment.model.component.name)
    wanted = models if named == "auto" else named if isinstance(named, tuple) else (named,)
    if any(name in models and models[str(name)].function.__module__.startswith("dmx.models.smp") for name in wanted):
        yield "segmentation_models_pytorch"
    if config.experiment.augment.steps:
        yield "kornia" if config.experiment.augment.where == "device" else "albumentations"
