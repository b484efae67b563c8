"""`dmx data`: one file for each of its commands."""

import click

from dmx.cli.lazy import LazyGroup

COMMANDS = {
    "import": ("dmx.cli.data.importing:import_", "Bring the data set at SOURCE into the canonical folder OUT."),
    "synth": (
        "dmx.cli.data.synth:synth",
        "Ray-cast quartets of procedural rooms into OUT, with exact depth, mask and background.",
    ),
}


@click.group(cls=LazyGroup, lazy=COMMANDS)
def data() -> None:
    """Make, import and look at data sets."""
