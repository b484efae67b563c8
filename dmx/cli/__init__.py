"""The command line. Commands are imported on use: `dmx --help` loads neither torch, mlflow nor optuna."""

import os
import sys
from io import StringIO

import click

from dmx import __version__
from dmx.cli.lazy import LazyGroup
from dmx.cli.terminal import forgiving
from dmx.errors import PLACES, MachineError, UserError, shortened

# name -> (module:function, summary in `dmx --help`; a test compares it with the command's own help)
COMMANDS = {
    "bench": ("dmx.cli.bench:bench", "Measure how fast networks predict on this machine's processor."),
    "calibrate": ("dmx.cli.calibrate:calibrate", "Fit a run's depth to another camera."),
    "compare": ("dmx.cli.compare:compare", "Compare runs sample by sample, and say what is more than chance."),
    "data": ("dmx.cli.data:data", "Make, import and look at data sets."),
    "demo": ("dmx.cli.demo:demo", "Show mask and depth of your photographs in a page on this machine."),
    "describe": ("dmx.cli.catalogue:describe", "Tell all about one component."),
    "doctor": ("dmx.cli.doctor:doctor", "Check packages, devices, machine, results and data."),
    "evaluate": ("dmx.cli.evaluate:evaluate", "Evaluate a run, or a network of others, on a data set by every metric."),
    "export": ("dmx.cli.export:export", "Write a run's network as a file that needs no dmx."),
    "explain": ("dmx.cli.explain:explain", "Tell what became of a trial, and why."),
    "gc": ("dmx.cli.gc:gc", "Show disk usage, and remove files that are no longer needed."),
    "leaderboard": ("dmx.cli.leaderboard:leaderboard", "Rank the runs of a study, or all single runs."),
    "list": ("dmx.cli.catalogue:list_", "List the components of one kind, or the encoders that models take."),
    "lr-find": ("dmx.cli.lr_find:lr_find", "Look for a good learning rate: raise it until the loss explodes."),
    "predict": ("dmx.cli.predict:predict", "Write mask and depth of photographs."),
    "push": ("dmx.cli.push:push", "Send a bundle to Hugging Face's model hub."),
    "report": ("dmx.cli.report:report", "Write what a study came to as one HTML page."),
    "reproduce": ("dmx.cli.reproduce:reproduce", "Train a run again from what it recorded, and compare the two."),
    "schema": ("dmx.cli.schema:schema", "Print the JSON schema of a configuration, for editors."),
    "sweep": ("dmx.cli.sweep:sweep", "Search: run the trials of a study, going on where it was left."),
    "sync": ("dmx.cli.sync:sync", "Send to MLflow and TensorBoard what they still lack."),
    "train": ("dmx.cli.train:train", "Train one experiment, going on where it was left."),
    "train-best": ("dmx.cli.train_best:train_best", "Retrain a study's best trials and register the champion."),
    "ui": ("dmx.cli.ui:ui", "Serve MLflow, TensorBoard and the Optuna dashboard on this machine."),
    "worker": ("dmx.cli.worker:worker", "Join a sweep that was begun with a database, from this machine."),
}


@click.group(cls=LazyGroup, lazy=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="dmx")
def cli() -> None:
    """Depth-and-mask experiments: search, track and compare networks for depth and mask from one photograph."""


def main() -> None:
    """Run the command and exit; a `UserError` becomes one message on stderr and exit code 2, without a traceback."""
    os.environ.setdefault("PYTHONWARNINGS", "ignore")  # for our subprocesses: users should not see libraries' warnings
    # OpenMP's threads sleep while they wait, instead of spinning; it reads this when torch is imported. Forward and
    # backward of DepthMaskNet (width 16) ran as fast on two idle cores, and at 20.8 instead of 4.3 samples/s beside one
    # busy process.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    forgiving()
    sys.exit(run())


def run() -> int:
    """Run the command and return its exit code."""
    try:
        status = cli(standalone_mode=False)
        sys.stdout.flush()  # here, where a write error can still be reported
    except (UserError, MachineError) as error:
        click.echo(f"Error: {error}", err=True)
        status = 2 if isinstance(error, UserError) else 1
    except click.ClickException as error:
        said = StringIO()
        error.show(said)
        click.echo(shortened(said.getvalue().rstrip()), err=True)
        status = error.exit_code
    except OSError as error:
        if error.errno not in PLACES:
            raise
        where = f"{shortened(str(error.filename))}: " if error.filename else ""
        click.echo(f"Error: {where}{os.strerror(error.errno)}; {PLACES[error.errno]}.", err=True)
        status = 2
    except (click.Abort, KeyboardInterrupt):
        click.echo("Stopped.", err=True)
        status = 130
    return status if isinstance(status, int) else 0
