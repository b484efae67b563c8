"""One experiment: prepare it (which finds user errors before anything is written), then run it."""

from dmx.experiment.prepare import Prepared, check, prepare
from dmx.experiment.run import UNFINISHED, record_without_training, remove_unneeded_files, run, run_id_of
from dmx.experiment.run_record import Tracking, check_equal, check_identity, costs, identity_of
from dmx.training.progress import RunOptions

__all__ = [
    "UNFINISHED",
    "Prepared",
    "RunOptions",
    "Tracking",
    "check",
    "check_equal",
    "check_identity",
    "costs",
    "identity_of",
    "prepare",
    "record_without_training",
    "remove_unneeded_files",
    "run",
    "run_id_of",
]
