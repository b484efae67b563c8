"""`dmx push`."""

from pathlib import Path

import click

from dmx.cli.paths import UserPath


@click.command()
@click.argument("bundle", type=UserPath(file_okay=False))
@click.argument("repository")
@click.option("--public", is_flag=True, help="Make a new repository public; without it, it is private.")
def push(bundle: Path, repository: str, public: bool) -> None:
    """Send a bundle to Hugging Face's model hub.

    BUNDLE is a folder of `dmx export --bundle`, REPOSITORY a name such as me/rooms; it is created if it is not there.
    The bundle's checksums are checked first, and a file that does not belong to a bundle, or could be a pickle, is
    refused. Needs dmx[depth], and the hub's own login (`hf auth login`, or HF_TOKEN); HF_ENDPOINT names another
    hub.
    """
    from dmx.deliver.bundle.push import push as sent

    where = sent(bundle, repository, public=public)
    click.echo(f"Sent {bundle} to {repository}: {where}")
