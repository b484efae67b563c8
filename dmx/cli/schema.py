"""`dmx schema`."""

import json

import click

from dmx.cli.options import plugins as plugins_option


@click.command()
@click.argument("kind", type=click.Choice(["experiment", "study"]))
@plugins_option
def schema(kind: str, plugins: tuple[str, ...]) -> None:
    """Print the JSON schema of a configuration, for editors."""
    from dmx.config import ExperimentConfig, StudyConfig
    from dmx.registry import load

    load(plugins)
    model = ExperimentConfig if kind == "experiment" else StudyConfig
    described = model.model_json_schema()
    described["properties"]["extends"] = {"type": "string", "description": "Another file, on which this one is laid."}
    described["required"] = []  # required keys may come from the file in `extends`
    click.echo(json.dumps(described, indent=1))
