"""`dmx list` and `dmx describe`."""

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from dmx.registry import Component

GROUPS = {
    "models": ("models",),
    "losses": ("mask_losses", "depth_losses"),
    "weightings": ("weightings",),
    "optimizers": ("optimizers",),
    "schedules": ("schedules",),
    "metrics": ("mask_metrics", "depth_metrics"),
    "importers": ("importers",),
    "augmentations": ("augmentations",),
}
plugins_option = click.option("--plugin", "plugins", multiple=True, metavar="MODULE", help="Load this module first.")


@click.command(name="list")
@click.argument("kind", type=click.Choice(sorted(GROUPS)))
@plugins_option
def list_(kind: str, plugins: tuple[str, ...]) -> None:
    """List the components of one kind."""
    from rich.console import Console
    from rich.table import Table

    from dmx.registry import REGISTRIES, load

    load(plugins)
    table = Table(box=None, pad_edge=False)
    for column in ("name", "kind", "what", "source"):
        table.add_column(column, overflow="fold")
    for registry in GROUPS[kind]:
        for name, component in sorted(REGISTRIES[registry].items()):
            table.add_row(name, component.kind, component.summary, component.source)
    Console().print(table)


@click.command()
@click.argument("words", nargs=-1, required=True, metavar="[KIND] NAME")
@plugins_option
def describe(words: tuple[str, ...], plugins: tuple[str, ...]) -> None:
    """Tell all about one component.

    Where a name stands in several kinds, all of them are told of, unless KIND (as in `dmx list`) is given.
    """
    from dmx.errors import UserError, did_you_mean
    from dmx.registry import REGISTRIES, load

    load(plugins)
    *kinds, name = words
    if len(kinds) > 1 or (kinds and kinds[0] not in GROUPS):
        raise UserError(f"no kind '{' '.join(kinds)}'; {did_you_mean(kinds[0], GROUPS)}")
    registries = [REGISTRIES[key] for key in (GROUPS[kinds[0]] if kinds else REGISTRIES)]
    found = [registry[name] for registry in registries if name in registry]
    if not found:
        raise UserError(f"no component '{name}'; {did_you_mean(name, {key for r in registries for key in r})}")
    for component in found:
        tell(component)


def tell(component: "Component") -> None:
    """Print what is known of a component."""
    import inspect

    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    console.print(f"[bold]{component.name}[/] ({component.kind})", f"Source: {component.source}", sep="\n")
    console.print(inspect.getdoc(component.function) or "", markup=False)
    if component.kind == "model":
        count = sum(p.numel() for p in component.params().bind()().parameters())
        console.print(f"Learned parameters at the defaults: {count:,}")
    table = Table(box=None, pad_edge=False)
    for column in ("parameter", "default", "legal", "searched"):
        table.add_column(column, overflow="fold")
    searched = component.search_space()
    properties = component.params.model_json_schema().get("properties", {})
    for name, field in component.params.model_fields.items():
        table.add_row(name, str(field.default), legal(properties[name]), str(searched.get(name, "-")))
    if component.params.model_fields:
        console.print(table)
    console.print()


def legal(schema: dict[str, object]) -> str:
    """The legal range of a parameter, from its JSON schema."""
    if "anyOf" in schema and isinstance(schema["anyOf"], list):
        return " or ".join(legal(one) for one in schema["anyOf"])
    if "enum" in schema and isinstance(schema["enum"], list):
        return " | ".join(map(str, schema["enum"]))
    signs = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
    bounds = [f"{sign} {schema[key]}" for key, sign in signs.items() if key in schema]
    return " ".join([str(schema.get("type", schema.get("const", "any"))), *bounds])
