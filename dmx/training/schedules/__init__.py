"""Learning-rate schedules: the factor on the optimizer's learning rates as a function of the step.

Each returns a `LambdaLR` that is stepped once after every optimizer step; groups of parameters keep the ratios of their
rates. torch's own classes do not fit: `MultiStepLR` has a state that JSON cannot hold, `CosineAnnealingLR` rises again
after its end, `OneCycleLR` refuses to be stepped past its end and divides by zero where `warmup` times the steps is 1,
`ReduceLROnPlateau` takes a worse negative value for a better one.
"""

from dmx.training.schedules import cosines, decays, plateau
from dmx.training.schedules.timeline import Timeline

__all__ = ["Timeline", "cosines", "decays", "plateau"]
