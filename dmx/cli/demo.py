"""`dmx demo`."""

import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import click

from dmx.cli.options import home as home_option
from dmx.cli.paths import UserPath
from dmx.tracking.home import Home

HOST = "127.0.0.1"


@click.command()
@click.argument("networks", nargs=-1, required=True, metavar="RUN|FILE.onnx...")
@click.option("--image", type=UserPath(exists=True, dir_okay=False), help="A photograph that the page begins with.")
@click.option("--background", type=UserPath(exists=True, dir_okay=False), help="The scene without the object to it.")
@click.option("--port", type=click.IntRange(1, 65535), help="The port to listen on.  [a free one]")
@click.option("--no-browser", is_flag=True, help="Do not open the page in a browser.")
@home_option
def demo(
    networks: tuple[str, ...],
    image: Path | None,
    background: Path | None,
    port: int | None,
    no_browser: bool,
    home: Home,
) -> None:
    """Show mask and depth of your photographs in a page on this machine.

    Each of NETWORKS is a file of `dmx export`, or a run, which is exported first; several are shown side by side.
    Ctrl-C stops it. Needs dmx[depth].
    """
    import webbrowser

    import uvicorn

    from dmx.deliver.demo.server import Example, app
    from dmx.deliver.exported import ExportedNetwork

    with tempfile.TemporaryDirectory() as folder:
        files = {named(one): exported(one, Path(folder), home) for one in dict.fromkeys(networks)}
        opened = {name: ExportedNetwork(path) for name, path in files.items()}
        page = app(opened, Example(image, background))
        with listening(port) as one:
            address = f"http://{HOST}:{one.getsockname()[1]}"
            click.echo(f"{', '.join(opened)}: {address}\nCtrl-C stops it.")
            if not no_browser:
                webbrowser.open(address)
            uvicorn.Server(uvicorn.Config(page, log_level="warning")).run(sockets=[one])


def named(network: str) -> str:
    """The name of a network on the page."""
    return Path(network).stem if network.endswith(".onnx") else network


def exported(network: str, folder: Path, home: Home) -> Path:
    """The file of a network; a run is exported to `folder` by a process of its own, so that this one needs no torch.

    Raises:
        UserError: The run cannot be exported.
    """
    from dmx.errors import UserError
    from dmx.written import place

    if network.lower().endswith(".onnx"):
        return place(network)
    out = folder / f"{network}.onnx"
    click.echo(f"Exporting {network} ...")
    command = [sys.executable, "-P", "-m", "dmx", "export", network, str(out), "--home", str(home.root)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(done.stderr.strip().removeprefix("Error: "))
    return out


def listening(port: int | None) -> socket.socket:
    """A socket that listens on this machine alone.

    Raises:
        UserError: The port is taken.
    """
    from dmx.cli.ui import refuse_taken

    if port is not None:
        refuse_taken(HOST, [port])
    return socket.create_server((HOST, port or 0))
