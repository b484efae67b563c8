"""Where a training gets its batches from."""

from collections.abc import Iterable, Mapping
from typing import Protocol, runtime_checkable

from dmx.config.experiment import Stage
from dmx.quartet import Batch


@runtime_checkable
class Loaders(Protocol):
    """Where batches come from; they are on the device already."""

    def train(self, stage: Stage, epoch: int, skip: int) -> Iterable[Batch]:
        """The batches of an epoch but for the first `skip`."""

    def steps(self, stage: Stage) -> int:
        """How many batches an epoch of `stage` has."""

    @property
    def groups(self) -> Mapping[str, str]:
        """The group of each validation sample."""

    def val(self) -> Iterable[Batch]:
        """All validation samples, at the size of the last stage, so that epochs of different stages compare."""
