"""`dmx ui`."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import click

from dmx.cli.options import home as home_option
from dmx.tracking.home import Home


@click.command()
@click.argument("study", required=False)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option(
    "--port", default=5000, show_default=True, help="MLflow's port; TensorBoard and Optuna take the next two."
)
@home_option
def ui(study: str | None, host: str, port: int, home: Home) -> None:
    """Serve MLflow, TensorBoard and the Optuna dashboard on this machine.

    The dashboard shows STUDY, or the study that was worked on last. Ctrl-C stops all three.
    """
    servers = commands(home, study, host, port)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # a shell's `&` and nohup leave some ignored
        signal.signal(number, lambda *_: sys.exit(130))
    running = {}
    try:
        for i, (name, command) in enumerate(servers.items()):
            environment = {
                **os.environ,
                "MLFLOW_DISABLE_TELEMETRY": "true",
                "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            }
            log = (home.root / f"{name}.log").open("w")
            running[name] = subprocess.Popen(
                command, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )
            click.echo(f"{name:10} http://{host}:{port + i}  (log: {log.name})")
        click.echo("MLflow takes some 20 seconds to answer. Ctrl-C stops all.")
        while all(process.poll() is None for process in running.values()):
            time.sleep(0.5)
        ended = next(name for name, process in running.items() if process.poll() is not None)
        raise click.ClickException(f"{ended} ended; see {home.root / ended}.log. Is its port taken? Try --port.")
    finally:
        for process in running.values():
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)  # MLflow starts processes of its own


def commands(home: Home, study: str | None, host: str, port: int) -> dict[str, list[str]]:
    """The command line of each server that has something to show.

    Raises:
        UserError: Nothing was ever run, or the study is not there.
    """
    from dmx.errors import UserError, did_you_mean

    if not home.mlflow_db.exists():
        raise UserError(f"nothing was ever run in {home.root}; `make sweep` runs a first study.")
    journals = sorted((home.root / "studies").glob("*/optuna.journal"), key=lambda path: path.stat().st_mtime)
    by_name = {path.parent.name: path for path in journals}
    if study is not None and study not in by_name:
        raise UserError(f"no study '{study}' in {home.root}; {did_you_mean(study, by_name)}")
    here = Path(sys.executable).parent
    mlflow = [str(here / "mlflow"), "ui", "--backend-store-uri", home.mlflow_uri, "--host", host]
    found = {
        "mlflow": [*mlflow, "--port", str(port), "--workers", "1"],
        "tensorboard": [
            str(here / "tensorboard"),
            "--logdir",
            str(home.root / "tensorboard"),
            "--host",
            host,
            "--port",
            str(port + 1),
        ],
    }
    if by_name:
        journal = by_name[study] if study else journals[-1]
        found["optuna"] = [str(here / "optuna-dashboard"), str(journal), "--host", host, "--port", str(port + 2)]
    return found
