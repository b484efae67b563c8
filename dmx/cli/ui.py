"""`dmx ui`."""

import errno
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import click

from dmx.cli.options import home as home_option
from dmx.machine import ENDING, apart, end_group
from dmx.tracking.home import OPTUNA_JOURNAL, Home

OTHERS = (
    "MLFLOW_ARTIFACTS_DESTINATION",
    "MLFLOW_ARTIFACTS_ONLY",
    "MLFLOW_DEFAULT_ARTIFACT_ROOT",
    "MLFLOW_GUNICORN_OPTS",
    "MLFLOW_REGISTRY_STORE_URI",
    "MLFLOW_SERVE_ARTIFACTS",
    "MLFLOW_STATIC_PREFIX",
    "MLFLOW_TRACKING_URI",
    "MLFLOW_UVICORN_OPTS",
)
"""Variables that `mlflow ui` reads from the environment and that would be meant for another server."""


@click.command()
@click.argument("study", required=False)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option(
    "--port",
    default=5000,
    show_default=True,
    type=click.IntRange(1, 65533),
    help="MLflow's port; TensorBoard and Optuna take the next two.",
)
@home_option
def ui(study: str | None, host: str, port: int, home: Home) -> None:
    """Serve MLflow, TensorBoard and the Optuna dashboard on this machine.

    The dashboard shows STUDY, or the study that was worked on last. Where MLFLOW_TRACKING_URI is a database, MLflow
    serves that; where it is a server, that is MLflow's page. Ctrl-C stops all.
    """
    from dmx.tracking.mlflow_client import is_server, tracking_uri
    from dmx.tracking.secrets import without_secrets

    servers = commands(home, study, host, port)
    ports = {name: port + number for number, name in enumerate(("mlflow", "tensorboard", "optuna"))}
    refuse_taken(host, [ports[name] for name in servers])
    for number in ENDING:  # `&` in a shell and nohup set some signals to be ignored
        signal.signal(number, lambda *_: sys.exit(130))
    running = {}
    try:
        for name, command in servers.items():
            environment = {
                **{name: value for name, value in os.environ.items() if name not in OTHERS},
                "MLFLOW_DISABLE_TELEMETRY": "true",
                "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            }
            log = (home.root / f"{name}.log").open("w")
            running[name] = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT, **apart())
            click.echo(f"{name:11} http://{host}:{ports[name]}  (log: {log.name})")
        if "mlflow" in servers:
            click.echo("MLflow takes some 20 seconds to answer; an experiment's runs are its page `Training runs`.")
            click.echo("Ctrl-C stops all.")
        elif is_server(tracking_uri(home)):
            click.echo(
                f"mlflow      {without_secrets(tracking_uri(home))}  (MLFLOW_TRACKING_URI). Ctrl-C stops the others."
            )
        else:
            click.echo("MLflow's store is not there: `dmx sync` sends it all that was run. Ctrl-C stops the others.")
        while all(process.poll() is None for process in running.values()):
            time.sleep(0.5)
        ended = next(name for name, process in running.items() if process.poll() is not None)
        raise click.ClickException(f"{ended} ended; the end of {home.root / ended}.log says why.")
    finally:
        for process in running.values():
            if process.poll() is None:
                end_group(process.pid)  # MLflow starts processes of its own


def commands(home: Home, study: str | None, host: str, port: int) -> dict[str, list[str]]:
    """Return the command line of each server that has something to show.

    Raises:
        UserError: There are no results, or the study does not exist.
    """
    from dmx.errors import UserError, did_you_mean
    from dmx.tracking.mlflow_client import is_local, is_server, tracking_uri

    store, runs = tracking_uri(home), any(home.runs.glob("*"))
    has_store = home.mlflow_db.exists() if is_local(home) else not is_server(store)
    if not runs and not has_store:
        raise UserError(f"nothing was ever run in {home.root}; `make sweep` runs a first study.")
    journals = sorted(home.studies.glob(f"*/{OPTUNA_JOURNAL}"), key=lambda path: path.stat().st_mtime)
    by_name = {path.parent.name: path for path in journals}
    if study is not None and study not in by_name:
        raise UserError(f"no study '{study}' in {home.root}; {did_you_mean(study, by_name)}")
    here = Path(sys.executable).parent
    found = {}
    if has_store:
        mlflow = [str(here / "mlflow"), "ui", "--backend-store-uri", store, "--host", host]
        found["mlflow"] = [*mlflow, "--port", str(port), "--workers", "1"]
    board = [str(here / "tensorboard"), "--logdir", str(home.tensorboards), "--host", host]
    found["tensorboard"] = [*board, "--port", str(port + 1)]
    if by_name:
        journal = by_name[study] if study else journals[-1]
        found["optuna"] = [str(here / "optuna-dashboard"), str(journal), "--host", host, "--port", str(port + 2)]
    return found


def refuse_taken(host: str, ports: Sequence[int]) -> None:
    """Check that servers can listen on these ports.

    Raises:
        UserError: A port cannot be used.
    """
    from dmx.errors import UserError

    for port in ports:
        why = obstacle(host, port)
        if why == errno.EADDRINUSE:
            steps = range(min(ports) + 3, 65533, 3)
            free = next((p for p in steps if not any(obstacle(host, p + i) for i in range(3))), 0)
            raise UserError(f"port {port} of {host} is taken, perhaps by another `dmx ui`; `--port {free}` is free.")
        if why:
            raise UserError(f"cannot listen on {host}, port {port} ({os.strerror(why)}); try another --host or --port.")


def obstacle(host: str, port: int) -> int:
    """Return the errno with which listening fails; 0 if it succeeds."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except socket.gaierror:
        return errno.EADDRNOTAVAIL
    with socket.socket(family, kind, protocol) as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a server that has just ended is no obstacle
        try:
            one.bind(address)
        except OSError as error:
            return error.errno or errno.EADDRNOTAVAIL
    return 0
