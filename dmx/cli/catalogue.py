"""`dmx list` and `dmx describe`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from dmx.cli.options import plugins as plugins_option

if TYPE_CHECKING:
    from dmx.registry import Component

WIDE = 300
"""Width in columns without a terminal."""

GROUPS = {
    "models": ("models",),
    "losses": ("mask_losses", "depth_losses"),
    "weightings": ("weightings",),
    "optimizers": ("optimizers",),
    "schedules": ("schedules",),
    "metrics": ("mask_metrics", "depth_metrics", "joint_metrics"),
    "importers": ("importers",),
    "augmentations": ("augmentations",),
}
SIZE = 192


@click.command(name="list")
@click.argument("kind", type=click.Choice(sorted([*GROUPS, "encoders"])))
@click.option("--size", type=click.IntRange(1, 4096), help=f"models: the picture's side for multiply-adds. [{SIZE}]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@plugins_option
def list_(kind: str, size: int | None, as_json: bool, plugins: tuple[str, ...]) -> None:
    """List the components of one kind, or the encoders that models take.

    Models are built with their defaults, which takes a while. A multiply-add counts once, as two floating-point
    operations do.
    """
    import json

    from dmx.errors import UserError
    from dmx.registry import load

    if size is not None and kind != "models":
        raise UserError(f"--size is for models, but got it for {kind}; leave it out.")
    load(plugins)
    if kind == "encoders":
        from dmx.models.smp.encoders import catalogue

        rows = [dict(row) for row in catalogue()]
    else:
        rows = components_of(kind, size or SIZE)
    if as_json:
        click.echo(json.dumps(rows, indent=2))
    else:
        show(rows)


def components_of(kind: str, size: int) -> list[dict[str, Any]]:
    """Return a row for each component of a kind; rows of models include their cost."""
    from dmx.registry import REGISTRIES

    components = [one for registry in GROUPS[kind] for _, one in sorted(REGISTRIES[registry].items())]
    rows = [{"name": c.name, "kind": c.kind, "what": c.summary, "source": c.source} for c in components]
    if kind == "models":
        measured = measure(components, size)
        rows = [{"name": row["name"], **facts, **row} for row, facts in zip(rows, measured, strict=True)]
    return rows


def measure(components: Sequence["Component"], size: int) -> list[dict[str, Any]]:
    """Return learned parameters, multiply-adds and licences of models with their defaults.

    Costs are None for models with parameters that have no default, and for those that need an extra that is missing. A
    multiply-add counts as two of the floating-point operations that `torch.utils.flop_counter` reports.
    """
    from pydantic import ValidationError

    from dmx.cli.bar import bar
    from dmx.errors import UserError
    from dmx.models import DepthMaskModel, describe_parameters
    from dmx.models.joint import identity
    from dmx.training.device import forward_flops

    found = []
    with bar("building models") as update:
        for done, component in enumerate(components):
            update(done, len(components))
            row: dict[str, Any] = {"parameters": None, "multiply_adds": None, "licence_of_weights": None}
            found.append(row)
            try:
                params = component.params()
            except ValidationError:  # a plug-in's model may have parameters without a default
                continue
            if licence := component.facts.get("licence"):
                row["licence_of_weights"] = licence(params)
            try:
                net = params.bind()()
            except UserError:  # it needs an extra that is not installed
                continue
            row["parameters"] = describe_parameters(net)
            flops = forward_flops(DepthMaskModel(net, identity), (size, size), net.needs_background)
            row["multiply_adds"] = flops // 2
    return found


def show(rows: Sequence[dict[str, Any]]) -> None:
    """Print rows as a table, with large numbers in millions (M) and billions (G)."""
    from rich.table import Table

    from dmx.cli.console import console

    units = {"parameters": ("M", 1e6), "multiply_adds": ("G", 1e9)}
    table = Table(box=None, pad_edge=False)
    for column in rows[0] if rows else ():
        wide = column in ("what", "source")
        table.add_column(column.replace("_", " "), overflow="fold", min_width=20 if wide else None)
    for row in rows:
        texts = []
        for column, value in row.items():
            unit, one = units.get(column, ("", 1))
            texts.append("-" if value is None else f"{value / one:.2f} {unit}" if unit else str(value))
        table.add_row(*texts)
    console(WIDE).print(table)


@click.command()
@click.argument("words", nargs=-1, required=True, metavar="[KIND] NAME")
@plugins_option
def describe(words: tuple[str, ...], plugins: tuple[str, ...]) -> None:
    """Tell all about one component.

    Components of all kinds with this name are described, unless KIND (as in `dmx list`) is given.
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
    """Print the description of a component."""
    from rich.table import Table

    from dmx.cli.console import console
    from dmx.errors import UserError

    screen = console(WIDE)
    screen.print(f"[bold]{component.name}[/] ({component.kind})", f"Source: {component.source}", sep="\n")
    screen.print(explained(component), markup=False)
    if component.kind == "model":
        try:
            count = sum(p.numel() for p in component.params().bind()().parameters())
            screen.print(f"Learned parameters at the defaults: {count:,}")
        except UserError as error:  # it needs an extra that is not installed
            screen.print(f"It cannot be built here: {error}", markup=False)
        if reason := component.facts.get("fixed_size"):
            screen.print(f"`dmx export` writes it at a fixed size only: {reason}.", markup=False)
    table = Table(box=None, pad_edge=False)
    for column in ("parameter", "default", "legal", "searched"):
        table.add_column(column, overflow="fold")
    searched = component.search_space()
    properties = component.params.model_json_schema().get("properties", {})
    for name, field in component.params.model_fields.items():
        table.add_row(name, str(field.default), legal(properties[name]), str(searched.get(name, "-")))
    if component.params.model_fields:
        screen.print(table)
    screen.print()


def explained(component: "Component") -> str:
    """Return the docstring without the arguments that `dmx` itself passes, which users cannot set."""
    import inspect
    import re

    text = (inspect.getdoc(component.function) or "") + "\n"
    for name in set(inspect.signature(component.function).parameters) - set(component.params.model_fields):
        text = re.sub(rf"^    {name}: .*\n(?:        .*\n)*", "", text, flags=re.MULTILINE)
    return re.sub(r"^Args:\n(?!    )\n?", "", text, flags=re.MULTILINE).strip()


def legal(schema: dict[str, object]) -> str:
    """Format the legal range of a parameter from its JSON schema."""
    if "anyOf" in schema and isinstance(schema["anyOf"], list):
        return " or ".join(legal(one) for one in schema["anyOf"])
    if "enum" in schema and isinstance(schema["enum"], list):
        return " | ".join(map(str, schema["enum"]))
    signs = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
    bounds = [f"{sign} {schema[key]}" for key, sign in signs.items() if key in schema]
    return " ".join([str(schema.get("type", schema.get("const", "any"))), *bounds])
