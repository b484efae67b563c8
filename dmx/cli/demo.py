"""`dmx demo`."""

import errno
import socket
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from threading import Thread

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

    RUN is a run's name; it is exported first. FILE.onnx is a file of `dmx export`. Several are shown side by side.
    Ctrl-C stops it. Needs dmx[depth].
    """
    import webbrowser

    import uvicorn

    from dmx.deliver.demo.server import Example, app
    from dmx.deliver.exported import ExportedNetwork

    with tempfile.TemporaryDirectory() as folder:
        files = {name: exported(one, Path(folder), home) for name, one in named([*dict.fromkeys(networks)]).items()}
        opened = {name: ExportedNetwork(path) for name, path in files.items()}
        page = app(opened, Example(image, background))
        with listening(port) as one:
            address = f"http://{HOST}:{one.getsockname()[1]}"
            click.echo(f"{', '.join(opened)}: {address}\nCtrl-C stops it.")
            if not no_browser:
                # in a thread, for a browser in the terminal goes on until it is left
                Thread(target=webbrowser.open, args=[address], daemon=True).start()
            uvicorn.Server(uvicorn.Config(page, log_level="warning")).run(sockets=[one])


def named(networks: Sequence[str]) -> dict[str, str]:
    """The networks by the name that each has on the page.

    That is a run's own and a file's without `.onnx`; where others have that as well, a file's folder; else its path.
    """
    from dmx.written import place

    files = {one: place(one) for one in networks if is_file(one)}
    first = {one: files[one].stem if one in files else one for one in networks}
    taken = Counter(first.values())
    folders = Counter([*taken, *(folder_of(path) for one, path in files.items() if taken[first[one]] > 1)])

    def name(one: str) -> str:
        if one not in files or taken[first[one]] == 1:
            return first[one]
        folder = folder_of(files[one])
        return folder if folders[folder] == 1 else one

    return {name(one): one for one in networks}


def folder_of(path: Path) -> str:
    """The name of the folder in which a file is, which may itself be a link."""
    return path.parent.resolve().name


def is_file(network: str) -> bool:
    """Whether a network is a file; otherwise it is a run."""
    return network.lower().endswith(".onnx")


def exported(network: str, folder: Path, home: Home) -> Path:
    """The file of a network; a run is exported to `folder` by a process of its own, so that this one needs no torch.

    Raises:
        UserError: The run cannot be exported.
    """
    from dmx.errors import UserError
    from dmx.written import place

    if is_file(network):
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
        UserError: The port is taken, or may not be used.
    """
    from dmx.errors import UserError

    try:
        return socket.create_server((HOST, port or 0))
    except OSError as error:
        taken = error.errno == errno.EADDRINUSE
        why = "is taken by another program" if taken else f"cannot be listened on ({error.strerror})"
        raise UserError(f"port {port} of {HOST} {why}; leave out --port, and a free one is taken.") from error
