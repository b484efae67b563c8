"""Several runs' networks as one, each alone or with mirrored pictures."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

import torch

from dmx.errors import UserError
from dmx.experiment.trained import Trained
from dmx.models.ensemble import Ensemble, Member, Pictures
from dmx.quartet import Prediction


@dataclass(frozen=True)
class Joined:
    """What is averaged with a run's prediction.

    Attributes:
        others: The other runs.
        flip: Whether the mirror image of each picture is predicted as well.
    """

    others: tuple[Trained, ...] = ()
    flip: bool = False

    def __bool__(self) -> bool:
        return bool(self.others) or self.flip

    def name(self, calibration: str) -> str:
        """What distinguishes the evaluation's folder from that of the run alone; empty for the run alone."""
        runs = "\0".join(sorted(one.run for one in self.others))
        parts = {
            "calibrated-" + calibration: calibration,
            f"with-{len(self.others)}-{sha256(runs.encode()).hexdigest()[:8]}": self.others,
            "flip": self.flip,
        }
        return "".join(f"-{part}" for part, used in parts.items() if used)

    def text(self, calibration: str) -> str:
        """The same as text that follows the run's name."""
        parts = {
            f" with {', '.join(one.run for one in self.others)}": self.others,
            " and mirrored pictures": self.flip,
            f", calibrated for {calibration}": calibration,
        }
        return "".join(part for part, used in parts.items() if used)


ALONE = Joined()


def predictor(network: Trained, joined: Joined = ALONE) -> Member:
    """The function that predicts a batch on the network's device, each run in its own precision.

    Where something is joined, its predictions are `Combined`.
    """
    if not joined:
        return member(network)
    networks = (network, *joined.others)
    return Ensemble([member(one, network.device_config.device) for one in networks], flip=joined.flip)


def member(network: Trained, device: torch.device | None = None) -> Member:
    """A run's network in its precision."""
    model = network.model if device is None else network.model.to(device)

    @torch.no_grad()
    def predict(image: Pictures, background: Pictures | None) -> Prediction:
        with network.device_config.autocast():
            prediction: Prediction = model(image, background)
        return prediction

    return predict


def check_members(networks: Sequence[Trained]) -> None:
    """Check that networks can be averaged.

    Raises:
        UserError: One is named twice, or they differ in what they take or give; the message has every difference.
    """
    runs = [one.run for one in networks]
    if twice := [run for run in runs if runs.count(run) > 1]:
        raise UserError(f"{twice[0]} is named twice; each member of an ensemble counts once.")

    def looks(one: Trained) -> dict[str, str]:
        near = "" if one.spec.near == "low" else ", near where it is high"
        return {
            "inputs": "image and background" if one.model.net.needs_background else "the image alone",
            "depth": one.spec.kind + near,
            "size": "x".join(map(str, one.size)),
        }

    first = looks(networks[0])
    wrong = [
        f"{other.run} has {name} {value}, {networks[0].run} {first[name]}"
        for other in networks[1:]
        for name, value in looks(other).items()
        if value != first[name]
    ]
    if wrong:
        raise UserError(f"these runs cannot be averaged: {'; '.join(wrong)}. Leave out those that do not fit.")
