"""`dmx data`: commands that make a data set, look at one, and pack one."""

import click

from dmx.cli.lazy import LazyGroup

COMMANDS = {
    "check": (
        "dmx.cli.data.look:check",
        "Find what is wrong with the data set ROOT; exit code 1 where errors were found.",
    ),
    "compose": (
        "dmx.cli.data.make:compose",
        "Compose quartets of CUTOUTS before BACKGROUNDS into OUT, with metric depth where these have it.",
    ),
    "import": ("dmx.cli.data.make:import_", "Bring the data set at SOURCE into the canonical folder OUT."),
    "pack": ("dmx.cli.data.pack:pack", "Decode and resize DATASET once into memory-mapped Arrow files in OUT."),
    "show": (
        "dmx.cli.data.look:show",
        "Draw samples of the data set ROOT into the picture OUT (PNG), spread over its groups.",
    ),
    "stats": (
        "dmx.cli.data.look:stats",
        "Tell colours, depth, coverage and counts of the data set ROOT, and keep them in its stats.json.",
    ),
    "synth": (
        "dmx.cli.data.make:synth",
        "Ray-cast quartets of procedural rooms into OUT, with exact depth, mask and background.",
    ),
}


@click.group(cls=LazyGroup, lazy=COMMANDS)
def data() -> None:
    """Make, import and look at data sets."""
