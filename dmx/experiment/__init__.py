"""One experiment: prepared (everything a user can have got wrong is found), then run."""

from dmx.experiment.ended import UNFINISHED, tidy
from dmx.experiment.prepare import Prepared, check, prepare
from dmx.experiment.run import run, run_id_of, run_known
from dmx.experiment.start import IDENTITY, check_equal, check_identity, costs, identity_of

__all__ = [
    "IDENTITY",
    "UNFINISHED",
    "Prepared",
    "check",
    "check_equal",
    "check_identity",
    "costs",
    "identity_of",
    "prepare",
    "run",
    "run_id_of",
    "run_known",
    "tidy",
]
