"""What is gathered over the batches of an evaluation, in one pass."""

from collections.abc import Mapping

from dmx.data.layout import DatasetIndex
from dmx.experiment.strata import Strata, ranges_of
from dmx.experiment.trained import Trained
from dmx.experiment.worst import Worst
from dmx.metrics import Evaluator, Probabilities, definitions
from dmx.metrics.alignment import Alignment, aligned, alignments
from dmx.metrics.pixels import DepthPixels
from dmx.quartet import Batch, Prediction
from dmx.sums import Samples


class Gathered:
    """All that is gathered over the batches, in one pass."""

    def __init__(self, network: Trained, index: DatasetIndex) -> None:
        self.predicted, self.true = network.spec, index.depth
        self.hows: tuple[Alignment, ...] = alignments(self.predicted, self.true)
        self.evaluators = {how: Evaluator(self.true, thorough=how == self.hows[0]) for how in self.hows}
        self.parts: list[Probabilities] = []
        self.strata = Strata(ranges_of(self.true), self.true)
        self.worst = Worst(self.true)

    @property
    def probabilities(self) -> Probabilities:
        """Of all batches."""
        first, *others = self.parts
        return sum(others, first)

    def take(self, batch: Batch, prediction: Prediction) -> None:
        """Take in a batch."""
        self.parts.append(Probabilities.of(prediction, batch))
        pixels = DepthPixels.of(prediction, batch)
        for how, evaluator in self.evaluators.items():
            brought = aligned(pixels, how, self.predicted, self.true)
            there = Prediction(prediction.mask_logits, brought.y)
            evaluator.update(there, batch)
            if how == self.hows[0]:
                self.strata.take(there, batch)
                self.worst.take(there, batch)

    def values(self) -> dict[str, float | None]:
        """Every metric: those of the mask once, those of depth for each alignment."""
        found: dict[str, float | None] = {}
        for how, evaluator in self.evaluators.items():
            for name, value in evaluator.compute().items():
                if name.startswith("mask/"):
                    found.setdefault(name, value)
                else:
                    found[named(name, how)] = value
        return found | {"mask/calibration_error_pooled": self.probabilities.calibration_error}

    def definitions(self) -> dict[str, str]:
        """What each name of `values` means."""
        found: dict[str, str] = {}
        for how in self.hows:
            said = "" if how == "none" else f"; depth of each picture aligned: {how.replace('_', ' ')}"
            for name, meaning in definitions(self.true, thorough=how == self.hows[0]).items():
                if name.startswith("mask/"):
                    found.setdefault(name, meaning)
                else:
                    found[named(name, how)] = meaning + said
        return found

    def samples(self, groups: Mapping[str, str]) -> Samples:
        """What each sample came to, without alignment where that makes sense."""
        return self.evaluators[self.hows[0]].samples(groups)


def named(metric: str, how: Alignment) -> str:
    """A depth metric's name with its alignment in it."""
    return metric if how == "none" else metric.replace("depth/", f"depth_{how}/", 1)
